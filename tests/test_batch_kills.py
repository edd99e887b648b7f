"""A run that is killed, at whatever moment, and begun again: the table is that of a calm run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.tables import PHOTOGRAPHS, photographs_and_others
from ulsam_viz.batch import local, output
from ulsam_viz.batch.local import run
from ulsam_viz.batch.pictures import Crops, read_crops
from ulsam_viz.batch.rows import Look
from ulsam_viz.cli.program import main
from ulsam_viz.images.preprocessing import Preprocessing, decode_image
from ulsam_viz.images.samples import ASSETS
from ulsam_viz.zoo.variants import get_variant

ONE = "mobilenet_v1-0.5-after11-g4"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs_and_others(tmp_path_factory.mktemp("photos"))


# Runs again and again in processes that are killed, each at another moment, by a signal of their own: before each file
# is put in its place, at each batch, and when the parts are to be taken away. Then each run is gone on with.
SCRIPT = """
import shutil, signal, sys, torch
import pyarrow.dataset  # or each child would
from pathlib import Path
from tests.killing import in_a_child
from ulsam_viz.batch import output
from ulsam_viz.batch.local import run
from ulsam_viz.batch.rows import Look, PictureRows
from ulsam_viz.zoo.variants import get_variant
torch.set_num_threads(1)
look = Look(get_variant("mobilenet_v1-0.5-after11-g4"))

def child(out, *where):
    return in_a_child(lambda: run(sys.argv[1], out, look, batch=2, workers=0, part=4, quiet=True), *where)

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
    # Three batches; the parts' end; record and settings, two parts with maps, the list, the record again and the table.
    assert len(killed) == 3 + 1 + (2 + 2 * 2 + 3)
    for path in killed:
        _same_run(path, calm)


def _same_run(killed: Path, calm: Path) -> None:
    assert sorted(p.name for p in killed.rglob("*")) == sorted(p.name for p in calm.rglob("*"))
    assert pq.read_table(killed / "attention.parquet").equals(pq.read_table(calm / "attention.parquet")), killed
    for path in [calm / "skipped.csv", *(calm / "maps").iterdir()]:
        assert (killed / path.relative_to(calm)).read_bytes() == path.read_bytes()


def _killed_in_the_middle(command: list[str], out: Path, rng: random.Random) -> str:
    """Run a command until it has written one to three more parts, or is about to, and kill it.

    Return what was there.
    """
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
    return (
        f"{kind}: exit {process.returncode}, {len(list(out.glob('parts/*.parquet')))} parts, "
        f"{[p.name for p in out.glob('*/*.partial')]}"
    )


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
    common = [sys.executable, "-m", "ulsam_viz", "batch", str(photos), "--variant", ONE, "--no-effects"]
    common += ["--device", "cpu"]
    common += ["--part", "4", "--batch", "4", "--out"]
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    for moment in range(5):
        print(moment, _killed_in_the_middle([*common, str(killed)], killed, rng))
    for out in (killed, calm):
        subprocess.run([*common, str(out)], cwd=Path(__file__).parent.parent, check=True)
    table = pq.read_table(calm / "attention.parquet")
    assert (table.num_rows, len(set(table["picture"].to_pylist()))) == (4 * 80, 80)
    _same_run(killed, calm)


def test_a_part_that_was_cut_short_is_computed_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Look(get_variant(ONE), maps=False)
    monkeypatch.setattr(output.Output, "finish", lambda self: None)  # so that the parts stay
    run(str(photos), tmp_path / "a", look, workers=0, part=2, quiet=True)
    part = next((tmp_path / "a" / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-20])
    monkeypatch.undo()
    again = run(str(photos), tmp_path / "a", look, workers=0, part=2, quiet=True)
    calm = run(str(photos), tmp_path / "b", look, workers=0, part=2, quiet=True)
    assert pq.read_table(again.table).equals(pq.read_table(calm.table))


def test_maps_that_no_row_names_are_taken_away(photos: Path, tmp_path: Path) -> None:
    """A run on Ray that was killed deals its pictures out anew, so that other pictures share a file of maps."""
    look = Look(get_variant(ONE), (), effects=False)
    (tmp_path / "maps").mkdir()
    for name in ("part-0123456789abcdef.npz", "part-0123456789abcdef.npz.partial"):
        (tmp_path / "maps" / name).touch()
    table = pq.read_table(run(str(photos), tmp_path, look, workers=0, quiet=True).table)
    assert {path.stem for path in (tmp_path / "maps").iterdir()} == set(table["shard"].to_pylist())


def test_a_killed_process_that_loads_is_told_in_a_sentence_and_nothing_is_lost(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(root: str, names: Sequence[str], preprocessing: Preprocessing) -> Crops:
        if "rocket.jpg" in names:
            os.kill(os.getpid(), signal.SIGKILL)
        return read_crops(root, names, preprocessing)

    monkeypatch.setattr(local, "read_crops", killed)
    command = ["batch", str(photos), "--variant", ONE, "--out", str(tmp_path), "--device", "cpu"]
    command += ["--batch", "1", "--part", "1"]
    assert main([*command, "--no-effects", "--json", "--workers", "1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "ulsam_viz: a process that loads pictures was killed, likely for want of memory. What was computed is kept"
    )
    assert "--workers 0" in said
    assert list((tmp_path / "parts").glob("*.parquet"))
    monkeypatch.undo()
    assert main([*command, "--no-effects", "--json", "--workers", "0"]) == 0
    assert len(set(pq.read_table(tmp_path / "attention.parquet")["picture"].to_pylist())) == 3
