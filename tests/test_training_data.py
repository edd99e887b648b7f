"""The data of a training: the split, pictures as the app sees them, and augmentation."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.test_file_names import closed_folders
from ulsam_viz.cli.program import main
from ulsam_viz.images.preprocessing import decode_image
from ulsam_viz.training.classes import class_difference
from ulsam_viz.training.data import (
    AugmentedPictures,
    DataError,
    Pictures,
    all_batches,
    find_pictures,
    find_split,
    jitter,
    numbered_as,
    read_rgb,
)


def test_every_third_picture_of_each_class_is_held_out(folder: Path) -> None:
    kept, held_out = (find_pictures("imagefolder", folder, part) for part in ("train", "test"))  # type: ignore[arg-type]
    assert [p.name for p in held_out.files[:4]] == ["02.png", "05.png", "08.png", "11.png"]
    assert (len(kept.files), len(held_out.files)) == (24, 12)
    assert not set(kept.files) & set(held_out.files)
    assert kept.classes == ("class0", "class1", "class2")


def test_folders_that_hold_no_dataset_are_refused(tmp_path: Path) -> None:
    for dataset, reason in (
        ("imagefolder", "no pictures"),
        ("caltech101", "no Caltech-101"),
        ("mnist", "unknown dataset"),
    ):
        with pytest.raises(DataError, match=reason):
            find_pictures(dataset, tmp_path, "train")


def a_picture(path: Path, form: str = "JPEG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40)).save(path, form)


def test_what_systems_and_programs_leave_is_no_class_and_no_picture(tmp_path: Path) -> None:
    for name in (
        "1.jfif",
        "2.JPE",
        "3",
        "4.mpo",
        "5.tif",
        "._1.jpg",
        ".git/x.jpg",
        ".ipynb_checkpoints/x.jpg",
        "deep/6.jpg",
    ):
        a_picture(tmp_path / "a" / name)
    for name in (".git/1.jpg", ".ipynb_checkpoints/1.jpg", "__MACOSX/a/1.jpg", "b/1.jpg"):
        a_picture(tmp_path / name)
    (tmp_path / "a" / "README").write_text("no picture")
    split = find_split("imagefolder", tmp_path)
    assert split.train.classes == split.held_out.classes == ("a", "b")
    assert [p.name for p in split.train.files] == ["1.jfif", "2.JPE", "4.mpo", "5.tif", "1.jpg"]
    assert [p.name for p in split.held_out.files] == ["3", "6.jpg"]
    assert str(split) == "2 classes, 7 pictures: 5 to train on, 2 held out (every third of each class)"


def test_folders_that_are_no_dataset_as_they_lie_are_refused_with_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is trained, by the command as a user types it."""

    def refused(root: Path, *options: str) -> str:
        assert main(["train", "--data", str(root), "--device", "cpu", "--runs", str(tmp_path / "runs"), *options]) == 2
        return capsys.readouterr().err

    imagefolder = ("--dataset", "imagefolder")
    for name in (
        "empty/a/1.jpg",
        "one/data/a/1.jpg",
        "kaggle/train/a/1.jpg",
        "kaggle/test/a/1.jpg",
        "closed/a/in/1.jpg",
        "closed/b/1.jpg",
    ):
        a_picture(tmp_path / name)
    for name in ("b", "c"):
        (tmp_path / "empty" / name).mkdir()
    for name in ("train/a", "train/b", "train/c", "val/b", "val/c", "val/d"):
        a_picture(tmp_path / "parts" / name / "1.jpg")
    assert "without a picture" in (said := refused(tmp_path / "empty", *imagefolder)) and ": b, c;" in said
    assert "in train alone: a; in val alone: d" in refused(tmp_path / "parts", *imagefolder)
    assert "one class alone, 'data'" in refused(tmp_path / "one", *imagefolder)
    assert "test and train, which are no classes" in refused(tmp_path / "kaggle", *imagefolder)
    assert "pass --dataset imagefolder" in refused(tmp_path / "one")
    assert "is not a folder" in refused(tmp_path / "none", *imagefolder)
    closed_folders(monkeypatch, tmp_path / "closed" / "a" / "in")
    assert f"'{tmp_path / 'closed' / 'a' / 'in'}' cannot be listed (Permission denied)" in refused(
        tmp_path / "closed", *imagefolder
    )
    assert not (tmp_path / "runs").exists()


def test_classes_that_differ_are_named_and_the_same_in_another_order_are_no_others() -> None:
    assert class_difference("abc", "bcd") == "missing: a; not expected: d"
    assert (
        class_difference("ab", "ba") == "" and class_difference("abcdefgh", "a") == "missing: b, c, d, e, f and 2 more"
    )
    pictures = Pictures((Path("1"), Path("2")), (0, 1), ("a", "b"))
    assert numbered_as(pictures, ("b", "a"), "it").labels == (1, 0)


def test_a_download_that_was_cut_short_is_not_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision takes a half unpacked folder for a whole one."""
    picture = tmp_path / "caltech101" / "101_ObjectCategories" / "accordion" / "image_0001.jpg"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(picture)
    monkeypatch.setattr("torchvision.datasets.Caltech101", lambda root, download: None)
    with pytest.raises(DataError, match="not whole: 1 of 8,677"):
        find_pictures("caltech101", tmp_path, "train", download=True)
    assert len(find_pictures("caltech101", tmp_path, "train").files) == 1  # a part that was chosen is the user's affair


def test_training_sees_pictures_as_the_app_does(tmp_path: Path) -> None:
    """Turned by EXIF, transparent, or with 16 bits of grey."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(np.dstack([pixels, pixels[..., 0]])).save(tmp_path / "transparent.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "grey.png")
    for path in sorted(tmp_path.iterdir()):
        assert np.array_equal(np.asarray(read_rgb(path)), np.asarray(decode_image(path.read_bytes()))), path.name
    assert read_rgb(tmp_path / "turned.jpg").size == (40, 60)


def test_a_picture_that_cannot_be_read_is_named_before_anything_is_trained(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    shutil.copytree(folder, pictures)
    command = ["train", "--data", str(pictures), "--dataset", "imagefolder", "--width", "0.25"]
    command += ["--stages", "1x32", "--batch", "8"]
    command += ["--workers", "0", "--runs", str(tmp_path / "runs"), "--publish", str(tmp_path / "zoo")]
    for broken in ("02.png", "03.png"):  # held out, and trained on
        whole = (pictures / "class1" / broken).read_bytes()
        (pictures / "class1" / broken).write_bytes(whole[: len(whole) // 2])
        assert main(command) == 2
        message = capsys.readouterr().err
        assert broken in message and "out of the folder" in message
        (pictures / "class1" / broken).write_bytes(whole)
    assert not list(tmp_path.glob("runs/*/weights.safetensors"))
    assert main(command) == 0


def test_augmentation_depends_on_seed_epoch_and_picture_alone(folder: Path) -> None:
    pictures = find_pictures("imagefolder", folder, "train")
    a, b, c = (AugmentedPictures(pictures, seed=s, min_area=0.4) for s in (1, 1, 2))
    assert torch.equal(a[0, 5, 32][0], b[0, 5, 32][0])
    assert not torch.equal(a[0, 5, 32][0], a[1, 5, 32][0])
    assert not torch.equal(a[0, 5, 32][0], c[0, 5, 32][0])
    assert a[0, 5, 64][0].shape == (3, 64, 64)


def test_the_workers_of_a_run_live_through_all_its_epochs_and_a_later_start_sees_the_same_batches(folder: Path) -> None:
    class WithWorker(AugmentedPictures):
        def __getitem__(self, address: tuple[int, int, int]) -> tuple[torch.Tensor, int]:
            return super().__getitem__(address)[0], os.getpid()

    pictures = find_pictures("imagefolder", folder, "train")
    data = AugmentedPictures(pictures, seed=1, min_area=0.4)
    several = WithWorker(pictures, seed=1, min_area=0.4)
    sizes = [32, 32, 64]
    by_worker = list(all_batches(several, sizes=sizes, batch=10, workers=1))
    assert len({int(pid) for _, pids in by_worker for pid in pids} - {os.getpid()}) == 1
    batches = list(all_batches(data, sizes=sizes, batch=10, workers=0))
    assert [tuple(pixels.shape) for pixels, _ in batches] == [(10, 3, 32, 32)] * 4 + [(10, 3, 64, 64)] * 2
    for start in (0, 3, 4):
        rest = list(all_batches(data, sizes=sizes, batch=10, workers=0, start=start))
        assert all(
            torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(batches[start:], rest, strict=True)
        )
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(batches, by_worker, strict=True))


def test_jitter_changes_brightness_contrast_and_saturation() -> None:
    pixels = torch.randn(4, 3, 8, 8)
    rng = torch.Generator().manual_seed(0)
    assert torch.equal(jitter(pixels.clone(), rng, strength=0.0, batch=4), pixels)
    changed = jitter(pixels.clone(), rng, strength=0.3, batch=4)
    assert not torch.allclose(changed, pixels)
    grey = torch.full((2, 3, 8, 8), 0.5)
    moved = jitter(grey.clone(), rng, strength=0.3, batch=2)
    assert moved.std((1, 2, 3)).max() < 1e-5  # an even grey stays an even grey, only lighter or darker
