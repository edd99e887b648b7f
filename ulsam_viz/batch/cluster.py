"""``batch`` on Ray Data: the same callable in a pool of actors on one machine or many; Ray schedules and retries.

Pictures may lie wherever Ray reads from. The output folder is one that all machines see, and so is the program: it is
installed there, or given with the job (``ray job submit --working-dir .``).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..zoo.variants import Variant, folders, load_network
from .local import PART
from .output import Output, Summary, shard_of, write_maps
from .pictures import BatchError, Crops, Folder, read_crops
from .rows import Look, PictureRows


class RayRows:
    """:class:`PictureRows` as Ray Data calls it, with a network in every actor.

    Args:
        look: What is asked.
        maps: Folder for the maps.
        device: ``"cpu"`` or ``"cuda"``.
    """

    def __init__(self, look: Look, maps: Path, device: str) -> None:
        self._look, self._maps = look, maps
        self._rows = PictureRows(replace(look, variant=_found_here(look.variant)), device)

    def __call__(self, batch: Mapping[str, np.ndarray]) -> pa.Table:
        """Return one row a file; the maps are written here, not sent through the cluster."""
        names = [str(name) for name in batch["picture"]]
        reasons, digests = ([str(text) for text in batch[key]] for key in ("reason", "digest"))
        rows = self._rows(Crops(names, reasons, batch["pixels"], digests))
        shard = shard_of(names)
        if rows.maps:
            write_maps(self._maps, shard, {layer: [maps] for layer, maps in rows.maps.items()})
        return rows.table(self._look, shard=shard)


def run_on_ray(
    folder: str,
    out: Path,
    look: Look,
    *,
    address: str = "local",
    batch: int = 16,
    workers: int | None = None,
    device: str = "auto",
    part: int = PART,
    update: bool = False,
    quiet: bool = False,
    rows: type[RayRows] = RayRows,
) -> Summary:
    """Look at every picture of a folder; a run that was killed goes on with the same call, and so does a local one.

    Args:
        folder: Where the pictures are: a path that all machines see, or an address such as ``s3://bucket/photos``.
        out: Folder for the table, which all machines see.
        look: What is asked about each picture.
        address: Of the cluster; ``"local"``: one on this machine, for this run.
        batch: Pictures in a pass.
        workers: Networks at once; None: as many as there are GPUs, or CPUs but one, which reads.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: GPUs if the cluster has any.
        part: Pictures in a block, which Ray deals out as one.
        update: Whether pictures may have come, gone or changed since the run was begun.
        quiet: No progress.
        rows: What computes.

    Raises:
        BatchError: If Ray is not installed, there are no pictures, or ``out`` belongs to another run.
        CheckpointError: If the variant's checkpoint is damaged.
        ConnectionError: If no cluster answers at the address.
    """
    try:
        import ray.data
    except ImportError as error:
        raise BatchError("Ray is not installed here: pip install -r requirements-ray.txt") from error
    output = Output(out, look, Folder.at(folder), update=update)
    load_network(look.variant)  # what is damaged shall say so here, not in some actor
    with output.opened():
        names = output.remaining()
        if names:
            with _connected(ray, address, quiet=quiet):
                if quiet:  # without bars, Ray would log its progress, and warn that there are none
                    logging.getLogger("ray.data").setLevel(logging.ERROR)
                ray.data.DataContext.get_current().enable_progress_bars = not quiet
                pool = _pool(ray, device, workers)
                files = ray.data.from_items(
                    [{"picture": name} for name in names], override_num_blocks=-(-len(names) // part)
                )
                crops = files.map_batches(
                    _read, fn_kwargs={"root": output.folder.root, "look": look}, batch_size=batch, batch_format="numpy"
                )
                settings = {
                    "look": look,
                    "maps": output.maps.resolve(),
                    "device": "cuda" if "num_gpus" in pool else "cpu",
                }
                table = crops.map_batches(
                    rows, fn_constructor_kwargs=settings, batch_size=batch, batch_format="numpy", **pool
                )
                table.write_parquet(str(output.parts.resolve()))
        return output.finish()


def _found_here(variant: Variant) -> Variant:
    """Return a variant with this machine's path of its checkpoint.

    The program may be installed elsewhere than on the first machine.
    """
    if variant.path is None or variant.path.exists():
        return variant
    here = (folder / variant.path.name for folder in folders())
    # Loading compares its sha256 anyway
    return replace(variant, path=next((path for path in here if path.exists()), variant.path))


def _read(batch: Mapping[str, np.ndarray], *, root: str, look: Look) -> dict[str, np.ndarray]:
    crops = read_crops(root, [str(name) for name in batch["picture"]], look.variant.preprocessing)
    texts = {"picture": crops.names, "reason": crops.reasons, "digest": crops.digests}
    return {**{key: np.array(values) for key, values in texts.items()}, "pixels": crops.pixels}


def _pool(ray: Any, device: str, workers: int | None) -> dict[str, Any]:
    """Return Ray's arguments for the pool of actors.

    Raises:
        BatchError: If a GPU is asked for and the cluster has none.
    """
    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0)) if device != "cpu" else 0
    if device == "cuda" and not gpus:
        raise BatchError("the cluster has no GPU; use --device cpu")
    most = workers or gpus or max(1, int(there.get("CPU", 1)) - 1)
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=most)
    return {"compute": pool, **({"num_gpus": 1} if gpus else {"num_cpus": 1})}


@contextmanager
def _connected(ray: Any, address: str, *, quiet: bool) -> Iterator[None]:
    """Connect to a cluster within the context; an existing connection is used and kept."""
    if ray.is_initialized():
        yield
        return
    settings = {"log_to_driver": False, "logging_level": logging.ERROR if quiet else logging.INFO}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # which Ray would send to its makers
    if address == "local":
        root = str(Path(__file__).resolve().parent.parent.parent)
        paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        ray.init("local", include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": paths}}, **settings)
    else:
        _reach(address)
        ray.init(address, **settings)
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raise BatchError unless a server answers at a host and port; Ray itself would retry for long."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except OSError as error:
            raise ConnectionError(f"no Ray cluster answers at {address} ({error.strerror or error})") from error
