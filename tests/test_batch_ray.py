"""The same rows from Ray Data as from this machine alone, also when a worker is killed; skipped where Ray is not installed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ulsam_viz.batch.cluster import RayRows, _found_here, run_on_ray
from ulsam_viz.batch.local import run
from ulsam_viz.batch.rows import Look
from ulsam_viz.samples import ASSETS
from ulsam_viz.zoo import get_variant

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")
LOOK = Look(get_variant("mobilenet_v1-0.5-after11-g4"))


class Killed(RayRows):
    """Kills the process of its actor, once, in the middle of the run: when some pictures are done and others are not."""

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
    there = run_on_ray(str(ASSETS), tmp_path / "there", LOOK, batch=2, part=4, workers=1, device="cpu", quiet=True, rows=rows)
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
    for a, b in zip(_maps_of(ours, tmp_path / "here" / "maps"), _maps_of(theirs, tmp_path / "there" / "maps"), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    skipped = [sorted((tmp_path / run / "skipped.csv").read_text().splitlines()) for run in ("here", "there")]
    assert skipped[0] == skipped[1]


def test_a_local_run_that_was_killed_goes_on_on_ray(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ulsam_viz.batch.output import Output

    monkeypatch.setattr(Output, "finish", lambda self: None)  # the parts stay
    run(str(ASSETS), tmp_path / "one", LOOK, workers=0, part=8, quiet=True)
    for part in sorted((tmp_path / "one" / "parts").iterdir())[1:]:
        part.unlink()
    monkeypatch.undo()
    run_on_ray(str(ASSETS), tmp_path / "one", LOOK, batch=4, part=8, workers=1, device="cpu", quiet=True)
    whole = run(str(ASSETS), tmp_path / "whole", LOOK, workers=0, quiet=True)
    keys = [
        list(zip(*(_sorted(t)[c].to_pylist() for c in ("picture", "layer", "subspace", "answer")), strict=True))
        for t in (str(tmp_path / "one" / "attention.parquet"), whole.table)
    ]
    assert keys[0] == keys[1]
