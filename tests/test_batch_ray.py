"""The same rows from Ray Data as from this machine alone, also when a worker is killed.

Skipped where Ray is not installed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tables import photographs_and_others
from ulsam_viz.batch.cluster import RayRows, _found_here, run_on_ray
from ulsam_viz.batch.local import run
from ulsam_viz.batch.output import Summary
from ulsam_viz.batch.rows import Look
from ulsam_viz.cli.program import main
from ulsam_viz.images.samples import ASSETS
from ulsam_viz.zoo.variants import get_variant

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")
LOOK = Look(get_variant("mobilenet_v1-0.5-after11-g4"))


class Killed(RayRows):
    """Kills the process of its actor, once, in the middle of the run.

    When some pictures are done and others are not.
    """

    def __call__(self, batch: Mapping[str, np.ndarray]) -> pa.Table:
        table, marker = super().__call__(batch), self._maps / "killed"
        if len(list(self._maps.glob("*.npz"))) >= 3 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return table


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    root = str(Path(__file__).parent.parent)
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": root}},
        _system_config={"worker_niceness": 0},  # 15 unless said: beside other tests its workers would hardly run
    )
    yield
    ray.shutdown()


def test_a_checkpoint_is_found_where_the_program_lies(tmp_path: Path) -> None:
    variant = LOOK.variant
    assert variant.path is not None
    elsewhere = replace(variant, path=tmp_path / variant.path.name)
    assert _found_here(elsewhere) == _found_here(variant) == variant


def test_an_address_at_which_nothing_answers_is_told_at_once_in_one_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = ["batch", str(ASSETS), "--variant", LOOK.variant.name, "--out", str(tmp_path), "--device", "cpu"]
    assert main([*command, "--ray", f"127.0.0.1:{port}"]) == 2
    assert capfd.readouterr().err == f"ulsam_viz: no Ray cluster answers at 127.0.0.1:{port} (Connection refused)\n"


def _sorted(path: str) -> pa.Table:
    return pq.read_table(path).sort_by([("picture", "ascending"), ("layer", "ascending"), ("subspace", "ascending")])


def _maps_of(table: pa.Table, folder: Path) -> list[np.ndarray]:
    maps = []
    for row in table.select(["layer", "subspace", "shard", "row"]).to_pylist():
        with np.load(folder / f"{row['shard']}.npz") as shard:
            maps.append(shard[f"layer_{row['layer']}"][row["row"], row["subspace"]].astype(np.float32))
    return maps


@pytest.mark.parametrize("rows", [RayRows, Killed])
def test_the_same_table_as_the_local_runs(rows: type[RayRows], cluster: None, tmp_path: Path) -> None:
    here = run(str(ASSETS), tmp_path / "here", LOOK, workers=0, quiet=True)
    there = run_on_ray(
        str(ASSETS), tmp_path / "there", LOOK, batch=2, part=4, workers=1, device="cpu", quiet=True, rows=rows
    )
    assert (tmp_path / "there" / "maps" / "killed").exists() == (rows is Killed)
    assert (here.pictures, here.rows, here.skipped) == (there.pictures, there.rows, there.skipped)
    ours, theirs = _sorted(here.table), _sorted(there.table)
    for name in ours.column_names:
        if name in ("shard", "row"):
            continue
        a, b = ours[name], theirs[name]
        if pa.types.is_floating(a.type):
            tolerance = 2e-3 if name.startswith("agreement") else 1e-4  # ranks may change where two values nearly tie
            np.testing.assert_allclose(a.to_numpy(), b.to_numpy(), rtol=tolerance, atol=tolerance, err_msg=name)
        else:
            assert a.equals(b), name
    for a, b in zip(
        _maps_of(ours, tmp_path / "here" / "maps"), _maps_of(theirs, tmp_path / "there" / "maps"), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-4)
    skipped = [sorted((tmp_path / run / "skipped.csv").read_text().splitlines()) for run in ("here", "there")]
    assert skipped[0] == skipped[1]


def test_a_local_run_that_was_killed_goes_on_on_ray(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from ulsam_viz.batch.output import Output

    monkeypatch.setattr(Output, "finish", lambda self: None)  # the parts stay
    run(str(ASSETS), tmp_path / "one", LOOK, workers=0, part=8, quiet=True)
    for part in sorted((tmp_path / "one" / "parts").iterdir())[1:]:
        part.unlink()
    monkeypatch.undo()
    command = ["batch", str(ASSETS), "--variant", LOOK.variant.name, "--out", str(tmp_path / "one")]
    command += ["--device", "cpu", "--batch", "4"]
    capfd.readouterr()
    assert main([*command, "--part", "8", "--workers", "1", "--ray", "--json"]) == 0
    said = capfd.readouterr()
    assert json.loads(said.out)["pictures"] == 20
    assert "Running Dataset" not in said.err and "WARNING" not in said.err
    whole = run(str(ASSETS), tmp_path / "whole", LOOK, workers=0, quiet=True)
    keys = [
        list(zip(*(_sorted(t)[c].to_pylist() for c in ("picture", "layer", "subspace", "answer")), strict=True))
        for t in (str(tmp_path / "one" / "attention.parquet"), whole.table)
    ]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("first", ["here", "on ray"])
def test_a_table_of_one_way_is_updated_the_other_way(first: str, cluster: None, tmp_path: Path) -> None:
    pictures, out = photographs_and_others(tmp_path), tmp_path.parent / f"{tmp_path.name}-out"
    ways: list[Callable[..., Summary]] = [partial(run, workers=0), partial(run_on_ray, workers=1, device="cpu")]
    begin, go_on = ways if first == "here" else ways[::-1]
    begin(str(pictures), out, LOOK, part=4, quiet=True)
    for name in ("animals/astronaut.jpg", "later.jpg"):
        shutil.copy(ASSETS / "coffee.jpg", pictures / name)
    (pictures / "rocket.jpg").unlink()
    summary = go_on(str(pictures), out, LOOK, part=4, update=True, quiet=True)
    fresh = run(str(pictures), out / "fresh", LOOK, workers=0, quiet=True)
    assert (
        (summary.pictures, summary.rows, summary.skipped) == (fresh.pictures, fresh.rows, fresh.skipped) == (3, 12, 3)
    )
    ours, theirs = pq.read_table(summary.table), pq.read_table(fresh.table)
    assert ours.select(["picture", "subspace", "answer"]).equals(theirs.select(["picture", "subspace", "answer"]))
    for a, b in zip(_maps_of(ours, out / "maps"), _maps_of(theirs, out / "fresh" / "maps"), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert {path.stem for path in (out / "maps").iterdir()} == set(ours["shard"].to_pylist())
