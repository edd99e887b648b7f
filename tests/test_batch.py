"""The table of a folder: the page's own numbers, whole after a kill at any moment, and honest about what it left out."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

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
from ulsam_viz.cli import main
from ulsam_viz.explanation import explain
from ulsam_viz.figures.tiles import block_means
from ulsam_viz.images import Preprocessing, decode_image, prepare
from ulsam_viz.models.network import Network, Placement
from ulsam_viz.models.optimize import optimize
from ulsam_viz.samples import ASSETS
from ulsam_viz.zoo import get_variant, load_variant

ONE, FOUR = "mobilenet_v1-0.5-after11-g4", "mobilenet_v1-0.5-after6_8_11_13-g4"
#: Some that take all pictures of a batch at once, and some that do not.
METHODS_OF = {ONE: ("grad_cam", "saliency", "input_x_gradient", "guided_backprop", "smooth_grad"), FOUR: ("grad_cam", "deep_lift")}
PHOTOGRAPHS = ("astronaut.jpg", "chelsea.jpg", "rocket.jpg")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs, two of them in a folder of their own, and files that are none."""
    root = tmp_path_factory.mktemp("photos")
    (root / "animals").mkdir()
    for name in PHOTOGRAPHS:
        shutil.copy(ASSETS / name, root / "animals" if name != "rocket.jpg" else root)
    (root / "animals" / "cut.jpg").write_bytes((ASSETS / "astronaut.jpg").read_bytes()[:2000])
    (root / "empty.png").touch()
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden").write_text("not looked at")
    return root


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
        assert row[f"agreement_{method}"] == pytest.approx(expected, abs=2e-3)  # a rank may change where two values nearly tie


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
        pq.read_table(run(str(ASSETS), tmp_path / str(batch), look, batch=batch, workers=0, quiet=True).table) for batch in (1, 20)
    )
    for name in one.column_names:
        if pa.types.is_floating(one[name].type):
            tolerance = 2e-3 if name.startswith("agreement") else 1e-4  # ranks may change where two values nearly tie
            np.testing.assert_allclose(one[name].to_numpy(), many[name].to_numpy(), rtol=1e-4, atol=tolerance, err_msg=name)
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
    with (tmp_path / "skipped.csv").open(newline="", encoding="utf-8") as file:
        skipped = {row["file"]: row["reason"] for row in csv.DictReader(file)}
    assert skipped == {
        "animals/cut.jpg": "The picture is damaged or cut short and cannot be decoded.",
        "empty.png": "The file is empty.",
        "notes.txt": "This is not a picture in a format that can be read here (JPEG, PNG, WebP, GIF, BMP, TIFF).",
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
    assert here.names == there.names
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


# Runs again and again in processes that are killed, each at another moment, by a signal of their own: before each file is put in
# its place, at each batch, and when the parts are to be taken away. Then each run is gone on with.
SCRIPT = """
import os, shutil, signal, sys, traceback, torch
from pathlib import Path
from ulsam_viz.batch import output
from ulsam_viz.batch.local import run
from ulsam_viz.batch.rows import Look, PictureRows
from ulsam_viz.zoo import get_variant
torch.set_num_threads(1)
look = Look(get_variant("mobilenet_v1-0.5-after11-g4"))

def killed_at(place, name, call):
    real, calls = getattr(place, name), []
    def replaced(*things, **settings):
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*things, **settings)
    setattr(place, name, replaced)

def child(out, *where):
    pid = os.fork()
    if not pid:
        try:
            if where:
                killed_at(*where)
            run(sys.argv[1], out, look, batch=2, workers=0, part=4, quiet=True)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

moments = [(PictureRows, "__call__", n) for n in (1, 2, 3)] + [(output.shutil, "rmtree", 1)]
moments += [(output.os, "replace", n) for n in range(1, 100)]
for number, moment in enumerate(moments):
    out = Path(sys.argv[2]) / str(number)
    code = child(out, *moment)
    if code == 0:
        break  # there are no more files than that
    assert code == -signal.SIGKILL, code
    assert child(out) == 0
print(number)
"""


def test_killed_at_any_moment_and_begun_again_no_row_is_missing_or_double(photos: Path, tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(photos), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(root)},
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    calm = tmp_path / done.stdout.strip()  # the one that no moment killed
    expected = pq.read_table(calm / "attention.parquet")
    assert expected.num_rows == 12
    killed = [path for path in tmp_path.iterdir() if path != calm]
    # Three batches; the parts' end; settings, two parts with maps, the list and the table.
    assert len(killed) == 3 + 1 + (1 + 2 * 2 + 2)
    for path in killed:
        _same_run(path, calm)


def _same_run(killed: Path, calm: Path) -> None:
    assert sorted(p.name for p in killed.rglob("*")) == sorted(p.name for p in calm.rglob("*"))
    assert pq.read_table(killed / "attention.parquet").equals(pq.read_table(calm / "attention.parquet")), killed
    for path in [calm / "skipped.csv", *(calm / "maps").iterdir()]:
        assert (killed / path.relative_to(calm)).read_bytes() == path.read_bytes()


def _killed_in_the_middle(command: list[str], out: Path, rng: random.Random) -> str:
    """Run a command until it has written one to three more parts, or is about to, and kill it; return what was there."""
    with subprocess.Popen(
        command, cwd=Path(__file__).parent.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        parts = len(list(out.glob("parts/*.parquet")))
        kind, goal = rng.choice(("a part", "maps half written", "rows half written")), parts + rng.randint(1, 3)
        half = {"maps half written": "maps/*.partial", "rows half written": "parts/*.partial"}.get(kind)
        left = {path.name for path in out.glob("*/*.partial")}  # by an earlier kill
        while process.poll() is None:
            parts = len(list(out.glob("parts/*.parquet")))
            # A file is half written for an instant; where none is caught, the second part more has to do.
            caught = half and any(path.name not in left for path in out.glob(half))
            if (parts >= goal - 1 and caught) or parts >= goal + bool(half):
                process.kill()
    return f"{kind}: exit {process.returncode}, {len(list(out.glob('parts/*.parquet')))} parts, {[p.name for p in out.glob('*/*.partial')]}"


def test_the_command_killed_at_five_random_moments_leaves_the_table_of_a_calm_run(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # pytest shows it where the test fails
    rng, photos = random.Random(seed), tmp_path / "photos"
    samples = [decode_image((ASSETS / name).read_bytes()) for name in PHOTOGRAPHS]
    for number in range(90):
        path = photos / f"class{number % 4}" / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = samples[number % 3].resize((96, 80)).rotate(number)
        image.save(path)
        if number % 9 == 4:
            path.write_bytes(path.read_bytes()[:300])
    common = [sys.executable, "-m", "ulsam_viz", "batch", str(photos), "--variant", ONE, "--no-effects", "--device", "cpu"]
    common += ["--part", "4", "--batch", "4", "--out"]
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    for moment in range(5):
        print(moment, _killed_in_the_middle([*common, str(killed)], killed, rng))
    for out in (killed, calm):
        subprocess.run([*common, str(out)], cwd=Path(__file__).parent.parent, check=True)
    table = pq.read_table(calm / "attention.parquet")
    assert (table.num_rows, len(set(table["picture"].to_pylist()))) == (4 * 80, 80)
    _same_run(killed, calm)


def test_a_part_that_was_cut_short_is_computed_again(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = Look(get_variant(ONE), maps=False)
    monkeypatch.setattr(output.Output, "finish", lambda self: None)  # so that the parts stay
    run(str(photos), tmp_path / "a", look, workers=0, part=2, quiet=True)
    part = tmp_path / "a" / "parts" / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    monkeypatch.undo()
    again = run(str(photos), tmp_path / "a", look, workers=0, part=2, quiet=True)
    calm = run(str(photos), tmp_path / "b", look, workers=0, part=2, quiet=True)
    key = [("picture", "ascending"), ("subspace", "ascending")]
    assert pq.read_table(again.table).sort_by(key).equals(pq.read_table(calm.table).sort_by(key))


def test_the_command_reads_ahead_and_says_what_it_did(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table"
    command = ["batch", str(photos), "--variant", ONE, "--out", str(out), "--workers", "1", "--batch", "2", "--device", "cpu"]
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
    with pytest.raises(BatchError, match="other pictures"):
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


def test_links_in_a_circle_end_and_names_that_are_no_text_are_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    shutil.copy(photos / "rocket.jpg", tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert Folder.at(str(tmp_path)).names == ("a/rocket.jpg",)
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    except (OSError, UnicodeError):
        return  # a file system that holds no such names
    with pytest.raises(BatchError, match="rename"):
        Folder.at(str(tmp_path))


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
