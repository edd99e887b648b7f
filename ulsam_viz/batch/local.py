"""A run on this machine: PyTorch's DataLoader reads and decodes ahead, one network computes in batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..images import Preprocessing
from .output import Output, Summary, shard_name
from .pictures import Crops, Folder, read_crops
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
        quiet: No progress bar.

    Raises:
        BatchError: If there are no pictures, or ``out`` belongs to another run.
        CheckpointError: If the variant's checkpoint is damaged.
    """
    output = Output(out, look, Folder.at(folder))
    with output.opened():
        names = output.remaining()
        if names:
            _look_at(output, names, PictureRows(look, device), batch=batch, workers=workers, part=part, quiet=quiet)
        return output.finish()


def _look_at(output: Output, names: list[str], rows: PictureRows, *, batch: int, workers: int, part: int, quiet: bool) -> None:
    """Compute the parts that are missing, one after the other."""
    parts = [range(start, min(start + part, len(names))) for start in range(0, len(names), part)]
    batches = [[list(numbers[i : i + batch]) for i in range(0, len(numbers), batch)] for numbers in parts]
    loaded = _load(output, names, [b for each in batches for b in each], workers)
    total = len(output.folder.names)
    with tqdm(total=total, initial=total - len(names), unit="picture", disable=quiet) as bar:
        for number, each in enumerate(batches, output.next_part()):
            found = []
            for crops in islice(loaded, len(each)):
                found.append(rows(crops))
                bar.update(len(crops.names))
            _write(output, number, found)


def _write(output: Output, number: int, found: list[Rows]) -> None:
    """Write a part: the maps first, since the rows say that they are there."""
    import pyarrow as pa

    shard, first, tables = shard_name(number), 0, []
    for rows in found:
        tables.append(rows.table(output.look, shard=shard, first=first))
        first += sum(not reason for reason in rows.reasons)
    if output.look.maps and first:
        layers = next(rows.maps for rows in found if rows.maps)
        output.write_maps(shard, {layer: [rows.maps[layer] for rows in found if rows.maps] for layer in layers})
    output.write_part(number, pa.concat_tables(tables))


class _Files(Dataset[Crops]):
    """Files by lists of their numbers."""

    def __init__(self, root: str, names: list[str], preprocessing: Preprocessing) -> None:
        self.root, self.names, self.preprocessing = root, names, preprocessing

    def __getitem__(self, numbers: list[int]) -> Crops:
        crops = read_crops(self.root, [self.names[i] for i in numbers], self.preprocessing)
        # As a tensor, pixels pass between processes in shared memory.
        return Crops(crops.names, crops.reasons, torch.from_numpy(crops.pixels))


def _load(output: Output, names: list[str], batches: list[list[int]], workers: int) -> Iterator[Crops]:
    files = _Files(output.folder.root, names, output.look.variant.preprocessing)
    # The sampler gives whole batches, so that a batch is read by one process, and none reaches over two parts.
    return iter(DataLoader(files, sampler=batches, batch_size=None, num_workers=workers))
