"""A folder of pictures that changes under its table: it is said, and an update leaves the table of a fresh run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.tables import photographs_and_others
from tests.test_file_names import closed_folders
from ulsam_viz.batch import local, output
from ulsam_viz.batch.local import run
from ulsam_viz.batch.pictures import BatchError, Crops, Folder, read_crops
from ulsam_viz.batch.rows import Look, PictureRows, explode, implode
from ulsam_viz.cli.program import main
from ulsam_viz.dataset.opened import open_folder
from ulsam_viz.dataset.table import TableError
from ulsam_viz.images.preprocessing import Preprocessing
from ulsam_viz.images.samples import ASSETS
from ulsam_viz.zoo.variants import get_variant

LOOK = Look(get_variant("mobilenet_v1-0.5-after11-g4"), (), effects=False)
SAID = r"2 are new \(animals/boats.jpg …\), 1 is gone \(rocket.jpg\), {} have changed \(animals/astronaut.jpg …\)"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs_and_others(tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def after(before: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some photographs come, one goes, one is another, what was cut short is whole, and a note is written anew."""
    root = shutil.copytree(before, tmp_path_factory.mktemp("after"), dirs_exist_ok=True)
    (root / "rocket.jpg").unlink()
    for name, sample in (("boats", "boats"), ("astronaut", "coffee"), ("cut", "astronaut")):
        shutil.copy(ASSETS / f"{sample}.jpg", root / "animals" / f"{name}.jpg")
    shutil.copy(ASSETS / "sheep.jpg", root)
    note = root / "notes.txt"
    note.write_text("NO picture")  # as many letters, written later
    os.utime(note, ns=(0, (before / "notes.txt").stat().st_mtime_ns + 10**9))
    return root


def _run(folder: Path, out: Path, **options: Any) -> output.Summary:
    # One picture a pass: its numbers are the same whatever the others are.
    return run(str(folder), out, LOOK, batch=1, workers=0, part=4, quiet=True, **options)


@pytest.fixture(scope="module")
def fresh(after: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fresh")
    _run(after, out)
    return out


def _begun(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *, finished: bool) -> None:
    """Leave a run of a folder, finished, or with the second of its parts missing."""
    with monkeypatch.context() as patched:
        if not finished:
            patched.setattr(output.Output, "finish", lambda self: None)
        _run(folder, out)
    if not finished:
        next(
            part for part in (out / "parts").iterdir() if "rocket.jpg" in pq.read_table(part)["picture"].to_pylist()
        ).unlink()


def _same_run(out: Path, fresh: Path) -> None:
    """Compare all but how the maps are dealt out to files.

    Each of these holds the maps that rows name, and no others.
    """
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in fresh.iterdir())
    ours, theirs = (pq.read_table(path / "attention.parquet") for path in (out, fresh))
    assert ours.drop_columns(["shard", "row"]).equals(theirs.drop_columns(["shard", "row"]))
    assert (out / "skipped.csv").read_bytes() == (fresh / "skipped.csv").read_bytes()
    assert pq.read_table(out / "pictures.parquet").equals(pq.read_table(fresh / "pictures.parquet"))
    assert np.array_equal(_maps(ours, out), _maps(theirs, fresh))
    places = {*zip(ours["shard"].to_pylist(), ours["row"].to_pylist(), strict=True)}
    assert places == {
        (path.stem, row) for path in (out / "maps").iterdir() for row in range(len(np.load(path)["layer_11"]))
    }


def _maps(table: Any, out: Path) -> np.ndarray:
    rows = table.select(["shard", "row", "subspace"]).to_pylist()
    return np.stack(
        [np.load(out / "maps" / f"{row['shard']}.npz")["layer_11"][row["row"], row["subspace"]] for row in rows]
    )


def test_rows_of_subspaces_become_the_rows_of_pictures_that_they_were(before: Path) -> None:
    crops = read_crops(str(before), ["animals/chelsea.jpg", "rocket.jpg"], LOOK.variant.preprocessing)
    rows = PictureRows(LOOK)(crops).table(LOOK, shard="s")
    assert implode(explode(rows, LOOK), LOOK, dict(zip(crops.names, crops.digests, strict=True))).equals(rows)


@pytest.mark.parametrize("finished", [True, False])
def test_other_pictures_are_refused_with_counts_an_example_each_and_the_remedy(
    finished: bool,
    before: Path,
    after: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _begun(before, tmp_path, monkeypatch, finished=finished)
    held = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = SAID.format(3 if finished else 2)  # what was not looked at yet may change
    with pytest.raises(BatchError, match=rf"begun with: {said}\. Give --update"):
        _run(after, tmp_path)
    assert held == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    command = ["batch", str(after), "--variant", LOOK.variant.name, "--out", str(tmp_path), "--device", "cpu"]
    command += ["--workers", "0"]
    command += ["--no-effects", "--methods"]
    assert main(command) == 2
    assert "Give --update" in capsys.readouterr().err
    assert main([*command, "--json", "--update"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 5
    assert main([*command, "--json"]) == 0


@pytest.mark.parametrize("group", [output._GROUP, 1])
@pytest.mark.parametrize("finished", [True, False])
def test_an_update_leaves_the_table_of_a_fresh_run_and_computes_no_more_than_it_must(
    finished: bool, group: int, before: Path, after: Path, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_GROUP", group)  # the maps of one file may then stand in several parts
    _begun(before, tmp_path, monkeypatch, finished=finished)
    read: list[str] = []

    def watched(root: str, names: list[str], preprocessing: Preprocessing) -> Crops:
        read.extend(names)
        return read_crops(root, names, preprocessing)

    monkeypatch.setattr(local, "read_crops", watched)
    _run(after, tmp_path, update=True)
    changed = ["animals/astronaut.jpg", "animals/boats.jpg", "animals/cut.jpg", "notes.txt", "sheep.jpg"]
    assert read == changed
    _same_run(tmp_path, fresh)
    for options in ({}, {"update": True}):
        _run(after, tmp_path, **options)
    assert read == changed
    _same_run(tmp_path, fresh)


def test_pictures_of_a_half_finished_run_may_change_before_they_are_looked_at(
    before: Path, after: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = shutil.copytree(before, tmp_path / "pictures")
    _begun(pictures, tmp_path / "out", monkeypatch, finished=False)
    shutil.copy(after / "sheep.jpg", pictures / "rocket.jpg")
    _run(pictures, tmp_path / "out")
    _run(pictures, tmp_path / "calm")
    _same_run(tmp_path / "out", tmp_path / "calm")


def test_a_run_that_had_only_just_begun_is_updated(before: Path, after: Path, fresh: Path, tmp_path: Path) -> None:
    with output.Output(tmp_path, LOOK, Folder.at(str(before))).opened():
        (tmp_path / "parts").rmdir()
    _run(after, tmp_path, update=True)
    _same_run(tmp_path, fresh)


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_that_cannot_be_listed_is_never_forgotten(
    finished: bool, before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _begun(before, tmp_path / "out", monkeypatch, finished=finished)
    _run(before, tmp_path / "calm")
    held = {row["picture"] for row in pq.read_table(tmp_path / "calm" / "attention.parquet").to_pylist()}
    with monkeypatch.context() as patched:
        closed_folders(patched, before / "animals")
        with pytest.raises(BatchError, match=r"begun with: 1 cannot be listed \(animals/\)\. Give --update"):
            _run(before, tmp_path / "out")
        for _ in range(2):
            summary = _run(before, tmp_path / "out", update=True)
            assert (summary.pictures, summary.skipped) == (3, 4)
        kept = pq.read_table(tmp_path / "out" / "attention.parquet").to_pylist()
        assert {row["picture"] for row in kept} == held and "animals/chelsea.jpg" in held
        assert (
            "animals/,The folder cannot be listed (Permission denied)."
            in (tmp_path / "out" / "skipped.csv").read_text()
        )
    _run(before, tmp_path / "out", update=True)
    _same_run(tmp_path / "out", tmp_path / "calm")


@pytest.mark.parametrize("finished", [True, False])
def test_a_copy_of_the_pictures_with_other_times_is_the_same_folder(
    finished: bool, before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures, out = shutil.copytree(before, tmp_path / "pictures"), tmp_path / "out"
    _begun(before, out, monkeypatch, finished=finished)
    for path in pictures.rglob("*"):
        os.utime(path, ns=(0, 10**18))
    _run(pictures, out)
    _run(pictures, tmp_path / "calm")
    _same_run(out, tmp_path / "calm")
    # Where the page looks for them
    assert json.loads((out / "settings.json").read_text())["folder"] == str(pictures.resolve())
    monkeypatch.setattr("ulsam_viz.batch.record.digest_of", lambda root, name: pytest.fail("read again"))
    _run(pictures, out)


def test_a_table_of_the_earlier_format_opens_but_is_not_gone_on_with(before: Path, tmp_path: Path) -> None:
    _run(before, tmp_path)
    (tmp_path / "pictures.parquet").unlink()
    settings = json.loads((tmp_path / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps(settings | {"format": 1, "files": 6, "names": "0"}))
    opened = open_folder(tmp_path)
    assert opened.looks is not None and opened.looks.crop(0) is not None
    for options in ({}, {"update": True}):
        with pytest.raises(BatchError, match="another version of this program"):
            _run(before, tmp_path, **options)


def test_a_reopened_table_is_unfinished_on_the_page(before: Path, after: Path, tmp_path: Path) -> None:
    _run(before, tmp_path)
    with output.Output(tmp_path, LOOK, Folder.at(str(after)), update=True).opened():
        pass
    with pytest.raises(TableError, match="not finished"):
        open_folder(tmp_path)


# Updates again and again in processes that are killed, each at another moment; then either the update is given again,
# or the pictures are put back.
SCRIPT = """
import shutil, signal, sys, torch
import pyarrow.dataset  # or each child would
from pathlib import Path
from functools import partial
from tests.killing import in_a_child
from tests.test_batch_update import LOOK, _run
from ulsam_viz.batch import local, output
from ulsam_viz.batch.rows import PictureRows
from ulsam_viz.models.optimize import optimize
from ulsam_viz.zoo.variants import load_network
torch.set_num_threads(1)
output._GROUP = 1
local.PictureRows = partial(PictureRows, network=optimize(load_network(LOOK.variant)))  # once for all
before, after, begun, outs = map(Path, sys.argv[1:])

def child(folder, out, *where):
    return in_a_child(lambda: _run(folder, out, update=True), *where)

for place, name in ((PictureRows, "__call__"), (output.shutil, "rmtree"), (Path, "unlink"), (output.os, "replace")):
    for call in range(1, 100):
        on = shutil.copytree(begun, outs / f"{name}{call}-on")
        code = child(after, on, place, name, call)
        if code == 0:
            break
        assert code == -signal.SIGKILL, code
        back = shutil.copytree(on, outs / f"{name}{call}-back")
        assert child(after, on) == child(before, back) == 0
    print(name, call - 1)
"""


@pytest.mark.parametrize("finished", [True, False])
def test_an_update_killed_at_any_moment_and_given_again_no_row_is_missing_or_double(
    finished: bool, before: Path, after: Path, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, begun, outs = Path(__file__).parent.parent, tmp_path / "begun", tmp_path / "outs"
    outs.mkdir()
    monkeypatch.setattr(output, "_GROUP", 1)  # as above
    _begun(before, begun, monkeypatch, finished=finished)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, (before, after, begun, outs))],
        env=os.environ | {"PYTHONPATH": str(root)},
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    moments = {name: int(count) for name, count in map(str.split, done.stdout.splitlines())}
    assert min(moments.values()) >= 1
    assert moments["__call__"] == 5
    _run(before, begun)
    for name, count in moments.items():
        for call in range(1, count + 1):
            _same_run(outs / f"{name}{call}-on", fresh)
            _same_run(outs / f"{name}{call}-back", begun)
