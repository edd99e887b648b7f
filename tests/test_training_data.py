"""The data of a training: the split, pictures as the app sees them, and augmentation."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ulsam_viz.cli import main
from ulsam_viz.images import decode_image
from ulsam_viz.training.data import AugmentedPictures, DataError, all_batches, find_pictures, jitter, read_rgb


def test_every_third_picture_of_each_class_is_held_out(folder: Path) -> None:
    kept, held_out = (find_pictures("imagefolder", folder, part) for part in ("train", "test"))  # type: ignore[arg-type]
    assert [p.name for p in held_out.files[:4]] == ["02.png", "05.png", "08.png", "11.png"]
    assert (len(kept.files), len(held_out.files)) == (24, 12)
    assert not set(kept.files) & set(held_out.files)
    assert kept.classes == ("class0", "class1", "class2")


def test_folders_that_hold_no_dataset_are_refused(tmp_path: Path) -> None:
    for dataset, reason in (("imagefolder", "no pictures"), ("caltech101", "no Caltech-101"), ("mnist", "unknown dataset")):
        with pytest.raises(DataError, match=reason):
            find_pictures(dataset, tmp_path, "train")


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
    command = ["train", "--data", str(pictures), "--dataset", "imagefolder", "--width", "0.25", "--stages", "1x32", "--batch", "8"]
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
        assert all(torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(batches[start:], rest, strict=True))
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
