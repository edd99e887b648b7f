"""The table of a folder: the page's own numbers, and honest about what it left out."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.tables import photographs_and_others
from tests.test_file_names import closed_folders
from ulsam_viz.analysis import measures
from ulsam_viz.analysis.attention import attend_each
from ulsam_viz.analysis.attribution import attribute, attribute_each
from ulsam_viz.analysis.computations import AttributionError
from ulsam_viz.analysis.effects import ablate
from ulsam_viz.analysis.interventions import intervene
from ulsam_viz.analysis.methods import METHODS
from ulsam_viz.analysis.removal import remove_each, run_pass
from ulsam_viz.batch import output
from ulsam_viz.batch.local import run
from ulsam_viz.batch.pictures import BatchError, Folder, read_crops
from ulsam_viz.batch.rows import Look, PictureRows, explode
from ulsam_viz.cli.program import main
from ulsam_viz.explanation import explain
from ulsam_viz.figures.tiles import block_means
from ulsam_viz.images.preprocessing import Preprocessing, decode_image, prepare
from ulsam_viz.images.samples import ASSETS
from ulsam_viz.models.network import Network, Placement
from ulsam_viz.models.optimize import optimize
from ulsam_viz.text.spreadsheets import read_csv
from ulsam_viz.zoo.variants import get_variant, load_variant

ONE, FOUR = "mobilenet_v1-0.5-after11-g4", "mobilenet_v1-0.5-after6_8_11_13-g4"
#: Some that take all pictures of a batch at once, and some that do not.
METHODS_OF = {
    ONE: ("grad_cam", "saliency", "input_x_gradient", "guided_backprop", "smooth_grad"),
    FOUR: ("grad_cam", "deep_lift"),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs_and_others(tmp_path_factory.mktemp("photos"))


@pytest.mark.parametrize(("name", "target"), [(FOUR, None), (ONE, 5)])
def test_the_numbers_are_the_pages(name: str, target: int | None, photos: Path, tmp_path: Path) -> None:
    variant, methods = get_variant(name), METHODS_OF[name]
    summary = run(str(photos), tmp_path, Look(variant, methods, target), batch=2, workers=0, quiet=True)
    rows = pq.read_table(summary.table).to_pylist()
    assert (summary.pictures, summary.skipped, summary.rows) == (3, 3, 3 * 4 * len(load_variant(name).attention))
    assert len({(row["picture"], row["layer"], row["subspace"]) for row in rows}) == len(rows) == summary.rows
    for picture in {row["picture"] for row in rows}:
        image = decode_image((photos / picture).read_bytes())
        ours = [row for row in rows if row["picture"] == picture]
        seen = explain(image, variant, methods, target, device="cpu")
        first, second = np.argsort(-seen.probabilities)[:2]
        for row in ours:
            assert (row["answer"], row["second"]) == (variant.classes[first], variant.classes[second])
            assert (row["answer_number"], row["second_number"], row["target_number"]) == (first, second, seen.target)
            assert row["probability"] == pytest.approx(seen.probabilities[first], abs=1e-5)
            assert row["second_probability"] == pytest.approx(seen.probabilities[second], abs=1e-5)
            assert row["target"] == variant.classes[seen.target]
            assert row["class_folder"] == ("animals" if "/" in picture else None)
            _same_subspace(row, seen.attention[row["layer"]], seen.attributions)
            with np.load(tmp_path / "maps" / f"{row['shard']}.npz") as maps:
                kept = maps[f"layer_{row['layer']}"][row["row"], row["subspace"]]
            assert kept.dtype == np.float16
            np.testing.assert_allclose(kept, seen.attention[row["layer"]][row["subspace"]], rtol=2e-3, atol=1e-7)
        _same_effects(ours, load_variant(name), prepare(image, variant.preprocessing).tensor, seen.target, variant)


def _same_subspace(row: dict[str, Any], maps: np.ndarray, attributions: Any) -> None:
    k = row["subspace"]
    assert row["dead"] == measures.is_dead(maps)[k]
    assert row["area"] == pytest.approx(measures.effective_area(maps)[k], rel=1e-4)
    assert row["peak"] == pytest.approx(measures.peak(maps)[k], rel=1e-4)
    assert row["entropy"] == pytest.approx(measures.entropy(maps)[k], rel=1e-4)
    if row["dead"]:
        assert row["peak_row"] is row["peak_column"] is row["redundancy"] is row["agreement_grad_cam"] is None
        return
    assert (row["peak_row"], row["peak_column"]) == np.unravel_index(maps[k].argmax(), maps[k].shape)
    others = np.delete(measures.redundancy(maps)[k], k)
    if np.isnan(others).all():
        assert row["redundancy"] is None
    else:
        assert row["redundancy"] == pytest.approx(np.nanmean(others), abs=1e-4)
    for method, values in attributions.items():
        expected = measures.agreement(maps[k], block_means(values, maps.shape[-1])).correlation
        # A rank may change where two values nearly tie
        assert row[f"agreement_{method}"] == pytest.approx(expected, abs=2e-3)


def _same_effects(rows: list[dict[str, Any]], network: Network, x: torch.Tensor, target: int, variant: Any) -> None:
    temperature = variant.calibration.temperature
    for layer in {row["layer"] for row in rows}:
        effects = ablate(network, x, layer=layer, target=target, temperature=temperature, shuffles=1)
        off = {effect.subspace: effect for effect in effects if effect.change == "off"}
        for row in (row for row in rows if row["layer"] == layer):
            effect = off[row["subspace"]]
            assert row["removed_logit"] == pytest.approx(effect.logit, abs=5e-5)
            assert row["removed_probability"] == pytest.approx(effect.probability, abs=1e-5)
            assert row["removed_flips"] == bool(effect.flips)


def test_the_numbers_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    """From 16 pictures on PyTorch takes other convolutions."""
    look = Look(get_variant(ONE))
    one, many = (
        pq.read_table(run(str(ASSETS), tmp_path / str(batch), look, batch=batch, workers=0, quiet=True).table)
        for batch in (1, 20)
    )
    for name in one.column_names:
        if pa.types.is_floating(one[name].type):
            tolerance = 2e-3 if name.startswith("agreement") else 1e-4  # ranks may change where two values nearly tie
            np.testing.assert_allclose(
                one[name].to_numpy(), many[name].to_numpy(), rtol=1e-4, atol=tolerance, err_msg=name
            )
        else:
            assert one[name].equals(many[name]), name


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.takes_several])
@pytest.mark.parametrize("backbone", ["mobilenet_v1", "mobilenet_v2"])
def test_methods_that_take_several_pictures_give_each_its_own(
    method: str, backbone: str, lively: Callable[..., Network], picture: Any
) -> None:
    network = optimize(lively(backbone, Placement((11,), 4)))
    x = torch.cat([picture.tensor, picture.tensor.flip(-1), picture.tensor.flip(-2)])
    seen, targets = attend_each(network, x), [2, 5, 2]
    together = attribute_each(network, x, method=method, targets=targets, preprocessing=Preprocessing(), seen=seen)
    for i, (values, target) in enumerate(zip(together, targets, strict=True)):
        alone = attribute(network, x[i : i + 1], method=method, target=target, preprocessing=Preprocessing()).values
        np.testing.assert_allclose(values, alone, atol=1e-4 * np.abs(alone).max())
    with pytest.raises(AttributionError, match="no class 7"):
        attribute_each(network, x, method=method, targets=[2, 7, 2], preprocessing=Preprocessing(), seen=seen)
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


@pytest.mark.parametrize("module", ["se", "cbam"])
def test_other_papers_modules_are_removed_as_a_whole(module: str, lively: Callable[..., Network], picture: Any) -> None:
    network = optimize(lively("mobilenet_v1", Placement((11,), 1, module=module)))
    x = torch.cat([picture.tensor, picture.tensor.flip(-1)])
    done = run_pass(network, x)
    removed = remove_each(network, done, layer=11, targets=[2, 3])
    with torch.inference_mode():
        after = network.from_attention(network.before_attention(x, 11), 11, intervene(network, "off"))[0]
    moved = (after - done.logits)[[0, 1], [2, 3]].numpy()
    np.testing.assert_allclose(removed.logit[:, 0], moved, atol=1e-5)


def test_files_that_are_no_pictures_are_listed_with_the_reason(photos: Path, tmp_path: Path) -> None:
    run(str(photos), tmp_path, Look(get_variant(ONE), (), maps=False, effects=False), workers=0, quiet=True)
    assert _skipped(tmp_path) == {
        "animals/cut.jpg": "The picture is damaged or cut short and cannot be decoded.",
        "empty.png": "The file is empty.",
        "notes.txt": "This is not a picture in a format that can be read here (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF).",
    }
    table = pq.read_table(tmp_path / "attention.parquet")
    assert table.num_rows == 12
    assert not {"shard", "agreement_grad_cam", "removed_logit"} & set(table.column_names)
    assert not (tmp_path / "maps").exists()


def test_what_cannot_be_read_is_a_reason_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    folder = Folder.at(str(tmp_path))
    assert read_crops(folder.root, folder.names, get_variant(ONE).preprocessing).reasons == [
        "The file cannot be read (No such file or directory).",
        "The file cannot be read (it is no ordinary file).",
    ]


def test_a_folder_at_an_address_is_listed_and_read_alike(photos: Path) -> None:
    here, there = Folder.at(str(photos)), Folder.at(photos.as_uri())
    assert here.files == there.files
    a, b = (read_crops(f.root, f.names, get_variant(ONE).preprocessing) for f in (here, there))
    assert a.reasons == b.reasons
    assert np.array_equal(a.pixels, b.pixels)
    with pytest.raises(BatchError, match="cannot be listed"):
        Folder.at("nothing://of/the/kind")


def test_a_folder_without_a_picture_gives_an_empty_table_of_the_same_columns(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    shutil.copy(photos / "notes.txt", tmp_path / "none")
    look = Look(get_variant(ONE))
    summary = run(str(tmp_path / "none"), tmp_path / "table", look, workers=0, quiet=True)
    assert (summary.pictures, summary.rows, summary.skipped) == (0, 0, 1)
    assert pq.read_schema(summary.table).equals(look.of_table)


def test_a_part_of_good_and_bad_files_keeps_them_apart(photos: Path) -> None:
    look = Look(get_variant(ONE))
    names = ["notes.txt", "rocket.jpg", "empty.png", "animals/chelsea.jpg"]
    rows = PictureRows(look)(read_crops(str(photos), names, look.variant.preprocessing))
    pictures = rows.table(look, shard="s", first=7)
    assert pictures["picture"].to_pylist() == names
    assert pictures["row"].to_pylist() == [None, 7, None, 8]
    assert [len(each or []) for each in pictures["subspaces"].to_pylist()] == [0, 4, 0, 4]
    assert explode(pictures, look)["picture"].to_pylist() == ["rocket.jpg"] * 4 + ["animals/chelsea.jpg"] * 4


def test_the_command_reads_ahead_and_says_what_it_did(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table"
    command = ["batch", str(photos), "--variant", ONE, "--out", str(out), "--workers", "1", "--batch", "2"]
    command += ["--device", "cpu"]
    assert main([*command, "--target", "Leopards", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"table": str(out / "attention.parquet"), "pictures": 3, "rows": 12, "skipped": 3}
    assert not said.err
    table = pq.read_table(out / "attention.parquet")
    assert set(table["target"].to_pylist()) == {"Leopards"}
    names = table["picture"].to_pylist()
    assert names == sorted(names)
    assert main([*command, "--target", "2"]) == 0  # the same class: the same run, which is done
    assert "12 rows of 3 pictures; 3 files skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--methods", "saliency"], "other methods"),
        (["--methods"], "other methods"),
        (["--target", "3"], "another target"),
        (["--no-maps"], "another choice of --no-maps"),
        (["--no-effects"], "another choice of --no-effects"),
        (["--variant", "mobilenet_v1-0.5-after11-g2"], "another variant and other weights"),
    ],
)
def test_a_run_with_other_settings_is_refused(
    changed: list[str], said: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = output.Output(tmp_path, Look(get_variant(ONE)), Folder.at(str(photos)))
    with out.opened():
        before = (tmp_path / "settings.json").read_bytes()
    assert main(["batch", str(photos), "--variant", ONE, "--out", str(tmp_path), "--device", "cpu", *changed]) == 2
    assert said in capsys.readouterr().err
    assert (tmp_path / "settings.json").read_bytes() == before


def test_what_cannot_be_is_refused_before_anything_is_computed(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variant = get_variant(ONE)
    with pytest.raises(BatchError, match="no attention module"):
        Look(get_variant("mobilenet_v1-0.5-plain"))
    with pytest.raises(AttributionError, match="unknown method 'lime'"):
        Look(variant, ("lime",))
    with pytest.raises(BatchError, match="is not a folder"):
        Folder.at(str(tmp_path / "nowhere"))
    with pytest.raises(BatchError, match="no files"):
        Folder.at(str(tmp_path))
    with pytest.raises(BatchError, match="lies in the folder"):
        run(str(photos), photos / "out", Look(variant), quiet=True)
    (tmp_path / "other").mkdir()
    shutil.copy(photos / "rocket.jpg", tmp_path / "other")
    held = output.Output(tmp_path / "out", Look(variant), Folder.at(str(photos)))
    with held.opened(), pytest.raises(BatchError, match="another process"):
        run(str(photos), tmp_path / "out", Look(variant), quiet=True)
    with pytest.raises(BatchError, match=r"5 are gone \(animals/astronaut.jpg …\)\. Give --update"):
        run(str(tmp_path / "other"), tmp_path / "out", Look(variant), quiet=True)
    command = ["batch", str(photos), "--variant", ONE, "--out", str(tmp_path / "out")]
    for wrong, said in (
        (["--target", "unicorn"], "no class 'unicorn'"),
        (["--target", "999"], "999"),
        (["--batch", "0"], "--batch"),
        (["--part", "0"], "--part"),
    ):
        assert main([*command, *wrong]) == 2
        assert said in capsys.readouterr().err


def test_links_in_a_circle_end(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    shutil.copy(photos / "rocket.jpg", tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert Folder.at(str(tmp_path)).names == ("a/rocket.jpg",)


def _skipped(out: Path) -> dict[str, str]:
    with (out / "skipped.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["reason"] for row in read_csv(file)}


def test_a_name_that_is_no_text_is_skipped_in_a_form_that_can_be_read(photos: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    shutil.copy(photos / "rocket.jpg", pictures / "back\\xslash.jpg")  # a name like any other
    try:
        shutil.copy(photos / "rocket.jpg", pictures / os.fsdecode(b"bad\xff.jpg"))
    except (OSError, UnicodeError):
        pytest.skip("a file system that holds no such names")
    summary = run(str(pictures), tmp_path / "out", Look(get_variant(ONE), (), effects=False), workers=0, quiet=True)
    assert (summary.pictures, summary.skipped) == (1, 1)
    assert _skipped(tmp_path / "out") == {r"bad\xff.jpg": "The file cannot be read (its name is not UTF-8: rename it)."}


def test_two_files_whose_names_print_alike_are_both_there(photos: Path, tmp_path: Path) -> None:
    names = [b"bad\\xff.jpg", b"bad\xff.jpg", "e\u0301.jpg".encode(), "\u00e9.jpg".encode()]
    try:
        for name in names:
            shutil.copy(photos / "rocket.jpg", tmp_path / os.fsdecode(name))
    except (OSError, UnicodeError):
        pytest.skip("a file system that holds no such names")
    if len([*tmp_path.iterdir()]) < len(names):
        pytest.skip("a file system for which some of these are one name")
    found = read_crops(str(tmp_path), Folder.at(str(tmp_path)).names, Preprocessing(32))
    assert list(found.names) == [r"bad\xff.jpg", r"bad\xff.jpg (2)", "e\u0301.jpg", "\u00e9.jpg"]
    assert [bool(reason) for reason in found.reasons] == [False, True, False, False] and "not UTF-8" in found.reasons[1]


def test_a_folder_that_cannot_be_listed_is_skipped_with_its_reason_and_a_root_says_so(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed_folders(monkeypatch, photos / "animals")
    summary = run(str(photos), tmp_path / "out", Look(get_variant(ONE), (), effects=False), workers=0, quiet=True)
    assert (summary.pictures, summary.skipped) == (1, 3)
    assert _skipped(tmp_path / "out")["animals/"] == "The folder cannot be listed (Permission denied)."
    closed_folders(monkeypatch, photos)
    assert main(["batch", str(photos), "--variant", ONE, "--out", str(tmp_path / "other"), "--device", "cpu"]) == 2
    assert f"'{photos}' cannot be listed (Permission denied)" in capsys.readouterr().err


def test_a_skipped_file_whose_name_is_a_formula_is_none_in_the_list_and_itself_afterwards(
    photos: Path, tmp_path: Path
) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    shutil.copy(photos / "rocket.jpg", pictures)
    names = ["+x.jpg", "'=cmd.txt", "-x.jpg", "=HYPERLINK(1).jpg", "@x.jpg"]
    for name in names:
        (pictures / name).write_text("no picture")
    look = Look(get_variant(ONE), (), effects=False)
    assert run(str(pictures), out, look, workers=0, quiet=True).skipped == len(names)
    cells = (out / "skipped.csv").read_text().splitlines()[1:]
    assert all(cell.startswith("'") for cell in cells) and {*_skipped(out)} == {*names}
    (pictures / "new.txt").write_text("no picture")
    assert run(str(pictures), out, look, workers=0, quiet=True, update=True).skipped == len(names) + 1
    assert {*_skipped(out)} == {*names, "new.txt"}


def test_a_file_that_is_too_large_is_said_to_have_its_size(tmp_path: Path) -> None:
    with (tmp_path / "large.bmp").open("wb") as file:
        file.truncate(34_000_000)
    for root in (str(tmp_path), tmp_path.as_uri()):
        read = read_crops(root, ["large.bmp"], get_variant(ONE).preprocessing)
        assert read.reasons == ["The file has 34 MB; at most 20 MB can be read."]


def test_a_folder_of_which_nothing_can_be_used_is_an_error(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none").mkdir()
    shutil.copy(photos / "notes.txt", tmp_path / "none")
    out = tmp_path / "out"
    for option in ([], ["--json"]):
        command = ["batch", str(tmp_path / "none"), "--variant", ONE, "--out", str(out), "--device", "cpu"]
        command += ["--workers", "0", *option]
        assert main(command) == 2
        said = capsys.readouterr()
        assert not said.out
        assert f"none of the files (1) could be used: {out / 'skipped.csv'} says why" in said.err
    assert list(_skipped(out)) == ["notes.txt"]
    assert (out / "attention.parquet").exists()


def test_a_place_that_cannot_be_a_folder_is_named(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for out, why in (
        (tmp_path / "file", "it is a file"),
        (tmp_path / "file" / "out", "Not a directory"),
        (Path("/proc/x"), "No such"),
    ):
        assert main(["batch", str(photos), "--variant", ONE, "--out", str(out), "--device", "cpu"]) == 2
        said = capsys.readouterr().err
        assert f"'{out}' cannot be the table's folder ({why}" in said
        assert "choose another one (--out)" in said


def _without_last_row(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("lost", "harm"),
    [
        ("maps/*.npz", Path.unlink),
        ("skipped.csv", Path.unlink),
        ("skipped.csv", _without_last_row),
        ("attention.parquet", lambda path: path.write_bytes(b"12345")),
        ("settings.json", lambda path: path.write_bytes(b"")),
        ("settings.json", lambda path: path.write_text("[1]")),
        ("pictures.parquet", Path.unlink),
        ("pictures.parquet", lambda path: path.write_bytes(b"")),
    ],
)
def test_what_is_lost_of_a_finished_run_is_named(
    lost: str, harm: Callable[[Path], Any], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["batch", str(photos), "--variant", ONE, "--out", str(tmp_path), "--device", "cpu"]
    command += ["--workers", "0", "--json"]
    assert main(command) == main(command) == 0
    capsys.readouterr()
    path = next(tmp_path.glob(lost))
    harm(path)
    for option in ([], ["--update"]):
        assert main([*command, *option]) == 2
        assert capsys.readouterr().err == (
            f"ulsam_viz: '{path}' is lost or damaged, so that the run in '{tmp_path}' is not complete: "
            "delete that folder and begin again, or choose another one (--out)\n"
        )


def test_rank_correlations_are_agreements_without_chance() -> None:
    rng = np.random.default_rng(0)
    maps, other = rng.integers(0, 5, (3, 6, 6)).astype(float), rng.random((6, 6))
    maps[2] = 1
    found = measures.rank_correlations(maps, other)
    expected = [measures.agreement(m, other).correlation for m in maps]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.isnan(found[2])


def test_the_table_needs_no_pickle_and_no_more_than_its_schema() -> None:
    look = Look(get_variant(ONE), ("grad_cam", "saliency"))
    assert look.of_table.names[:3] == ["picture", "layer", "subspace"]
    assert {"agreement_grad_cam", "agreement_saliency", "removed_logit", "removed_probability", "removed_flips"} <= set(
        look.of_table.names
    )
    assert not any(pa.types.is_nested(field.type) for field in look.of_table)
