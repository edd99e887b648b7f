"""``batch`` on this machine: PyTorch's DataLoader decodes ahead, one network computes in batches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..images.preprocessing import Preprocessing
from .output import Output, Summary, shard_of, write_maps
from .pictures import BatchError, Crops, Folder, read_crops
from .rows import Look, PictureRows, Rows

PART = 256  # pictures; a kill loses at most what was computed of one part


def run(
    folder: str,
    out: Path,
    look: Look,
    *,
    batch: int = 16,
    workers: int = 1,
    device: str = "cpu",
    part: int = PART,
    update: bool = False,
    quiet: bool = False,
) -> Summary:
    """Look at every picture of a folder; a run that was killed goes on with the same call.

    Args:
        folder: Where the pictures are.
        out: Folder for the table and what belongs to it.
        look: What is asked about each picture.
        batch: Pictures in a pass; numbers do not depend on it beyond float error.
        workers: Processes that read and decode; 0 does so in this one.
        device: ``"cpu"`` or ``"cuda"``.
        part: Pictures in a part.
        update: Whether pictures may have come, gone or changed since the run was begun.
        quiet: No progress bar.

    Raises:
        BatchError: If there are no pictures, ``out`` belongs to another run, or a process that loads pictures was
            killed.
        CheckpointError: If the variant's checkpoint is damaged.
    """
    output = Output(out, look, Folder.at(folder), update=update)
    with output.opened():
        names = output.remaining()
        if names:
            _look_at(output, names, PictureRows(look, device), batch=batch, workers=workers, part=part, quiet=quiet)
        return output.finish()


def _look_at(
    output: Output, names: list[str], rows: PictureRows, *, batch: int, workers: int, part: int, quiet: bool
) -> None:
    """Compute the parts that are missing, one after the other."""
    parts = [range(start, min(start + part, len(names))) for start in range(0, len(names), part)]
    batches = [[list(numbers[i : i + batch]) for i in range(0, len(numbers), batch)] for numbers in parts]
    loaded = _load(output, names, [b for each in batches for b in each], workers)
    total = len(output.folder.names)
    with _told_of_killed_workers(), tqdm(total=total, initial=total - len(names), unit="picture", disable=quiet) as bar:
        for each in batches:
            found = []
            for crops in islice(loaded, len(each)):
                found.append(rows(crops))
                bar.update(len(crops.names))
            _write(output, found)


@contextmanager
def _told_of_killed_workers() -> Iterator[None]:
    """Raise BatchError if the system killed a process of the DataLoader, which PyTorch reports in several ways."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        if not isinstance(error, RuntimeError):
            with suppress(RuntimeError):
                time.sleep(1)  # PyTorch's word follows on the broken pipe's: here it does no harm
        elif not str(error).startswith("DataLoader worker"):
            raise
        raise BatchError(
            "a process that loads pictures was killed, likely for want of memory. What was computed is kept, and the "
            "same command goes on; --workers 0 or a smaller --batch needs less memory"
        ) from error


def _write(output: Output, found: list[Rows]) -> None:
    """Write a part: the maps first, since the rows say that they are there."""
    import pyarrow as pa

    shard, first, tables = shard_of([name for rows in found for name in rows.names]), 0, []
    for rows in found:
        tables.append(rows.table(output.look, shard=shard, first=first))
        first += sum(not reason for reason in rows.reasons)
    if output.look.maps and first:
        layers = next(rows.maps for rows in found if rows.maps)
        write_maps(output.maps, shard, {layer: [rows.maps[layer] for rows in found if rows.maps] for layer in layers})
    output.write_part(shard, pa.concat_tables(tables))


class _Files(Dataset[Crops]):
    """Files by lists of their numbers."""

    def __init__(self, root: str, names: list[str], preprocessing: Preprocessing) -> None:
        self.root, self.names, self.preprocessing = root, names, preprocessing

    def __getitem__(self, numbers: list[int]) -> Crops:
        crops = read_crops(self.root, [self.names[i] for i in numbers], self.preprocessing)
        # As a tensor, pixels pass between processes in shared memory.
        return replace(crops, pixels=torch.from_numpy(crops.pixels))


def _load(output: Output, names: list[str], batches: list[list[int]], workers: int) -> Iterator[Crops]:
    files = _Files(output.folder.root, names, output.look.variant.preprocessing)
    # The sampler gives whole batches, so that a batch is read by one process, and none reaches over two parts.
    return iter(DataLoader(files, sampler=batches, batch_size=None, num_workers=workers))
