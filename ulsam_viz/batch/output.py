"""The folder of a run: what it holds while the run is under way, what of it counts after a kill, and the table at the end.

    DIR/settings.json            what is asked, of which pictures; another run is refused
    DIR/parts/*.parquet          rows of pictures, as they become ready; a file is there as a whole or not at all
    DIR/maps/*.npz               float16 maps, by layer (pictures, g, H, W); the table names file and row
    DIR/attention.parquet        the table; it comes last, and the parts go then
    DIR/skipped.csv              files that are no pictures, and why

No record of the progress is kept: it is what complete parts hold.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from .pictures import BatchError, Folder
from .rows import Look, explode

FORMAT = 1
_GROUP = 50_000  # rows in a row group of the table


@dataclass(frozen=True)
class Summary:
    """What a run left.

    Attributes:
        table: The Parquet file.
        pictures: That are in it.
        rows: Of the table.
        skipped: Files that are no pictures.
    """

    table: str
    pictures: int
    rows: int
    skipped: int


class Output:
    """A run's folder.

    Args:
        path: The folder; need not be there yet.
        look: What is asked.
        folder: The pictures.

    Raises:
        BatchError: If it holds a run with other settings or pictures, or lies where the pictures lie.
    """

    def __init__(self, path: Path, look: Look, folder: Folder) -> None:
        if "://" not in folder.root and path.resolve().is_relative_to(folder.root):
            raise BatchError(f"'{path}' lies in the folder of the pictures: choose another place for the table")
        self.path, self.look, self.folder = path, look, folder
        self.parts, self.maps = path / "parts", path / "maps"
        self.table, self.skipped = path / "attention.parquet", path / "skipped.csv"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Claim the folder for this process and this run, as long as the context lasts.

        Raises:
            BatchError: If another process or another run has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / "lock", timeout=0):
                self._claim()
                yield
        except Timeout as error:
            raise BatchError(f"another process is at '{self.path}'; wait for it, or choose another folder") from error

    def _claim(self) -> None:
        """Write down the settings, or compare with those that are there."""
        record = self.path / "settings.json"
        ours = json.loads(json.dumps(_settings(self.look, self.folder)))
        if record.exists():
            theirs = json.loads(record.read_text(encoding="utf-8"))
            if other := [_NAMES[key] for key in _NAMES if theirs.get(key) != ours[key]]:
                raise BatchError(
                    f"'{self.path}' holds a run of {' and '.join(dict.fromkeys(other))}: "
                    "give what it was begun with, or choose another folder (--out)"
                )
        elif self.table.exists() or self.parts.exists():
            raise BatchError(f"'{self.path}' holds a table or parts without their settings; choose another folder (--out)")
        else:
            _replace(record, lambda partial: partial.write_text(json.dumps(ours, indent=1) + "\n", encoding="utf-8"))
        if not self.table.exists():
            self.parts.mkdir(exist_ok=True)
            if self.look.maps:
                self.maps.mkdir(exist_ok=True)

    def files(self) -> list[Path]:
        """Return the complete parts, in the order of their first pictures."""
        return sorted((path for path in sorted(self.parts.glob("*.parquet")) if _is_whole(path)), key=_first_picture)

    def remaining(self) -> list[str]:
        """Return the pictures that no complete part holds, in order."""
        if self.table.exists():
            return []
        done: set[str] = set()
        for path in self.files():
            done.update(pq.read_table(path, columns=["picture"])["picture"].to_pylist())
        return [name for name in self.folder.names if name not in done]

    def next_part(self) -> int:
        """Return the first number that no part has."""
        numbers = [int(path.stem.removeprefix("part-")) for path in self.parts.glob("part-*.parquet")]
        return max(numbers, default=-1) + 1

    def write_part(self, number: int, pictures: pa.Table) -> None:
        """Write a numbered part, whole or not at all; its maps must be there."""
        _replace(self.parts / f"{shard_name(number)}.parquet", lambda partial: pq.write_table(pictures, partial))

    def write_maps(self, shard: str, maps: Mapping[int, Sequence[np.ndarray]]) -> None:
        """Write the maps of a shard, by layer in batches (pictures, g, H, W), whole or not at all."""
        write_maps(self.maps, shard, maps)

    def finish(self) -> Summary:
        """Join the parts into the table, a few at a time, and list what was skipped; the parts go when all is there."""
        if not self.table.exists():
            _replace(self.skipped, self._write_skipped)
            _replace(self.table, self._write_table)
        if self.parts.exists():  # also where a kill came between the table and the end
            shutil.rmtree(self.parts)
        for left in self.maps.glob("*.partial"):  # by a kill
            left.unlink()
        rows = pq.read_metadata(self.table).num_rows
        with self.skipped.open(newline="", encoding="utf-8") as file:
            skipped = sum(1 for _ in csv.DictReader(file))
        return Summary(str(self.table), len(self.folder.names) - skipped, rows, skipped)

    def _write_skipped(self, partial: Path) -> None:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("file", "reason"))
            for path in self.files():
                part = pq.read_table(path, columns=["picture", "reason"])
                writer.writerows(row.values() for row in part.filter(part["reason"].is_valid()).to_pylist())

    def _write_table(self, partial: Path) -> None:
        with pq.ParquetWriter(partial, self.look.of_table) as writer:
            waiting: list[pa.Table] = []
            for path in self.files():
                waiting.append(explode(pq.read_table(path).cast(self.look.of_pictures), self.look))
                if sum(table.num_rows for table in waiting) >= _GROUP:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting = []
            writer.write_table(pa.concat_tables([*waiting, self.look.of_table.empty_table()]))


def shard_name(number: int) -> str:
    """Return the name of a part, and of the file with its maps: ``"part-00000"``."""
    return f"part-{number:05d}"


def write_maps(folder: Path, shard: str, maps: Mapping[int, Sequence[np.ndarray]]) -> None:
    """Write ``FOLDER/SHARD.npz``, an array ``layer_L`` (pictures, g, H, W) for each layer L, whole or not at all."""
    arrays = {f"layer_{layer}": np.concatenate(batches) for layer, batches in maps.items()}

    def write(partial: Path) -> None:
        with partial.open("wb") as file:  # given a name, NumPy would add an ending
            np.savez(file, allow_pickle=False, **arrays)

    _replace(folder / f"{shard}.npz", write)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name, and give it its own when it is whole."""
    partial = path.with_name(f"{path.name}.partial")
    write(partial)
    os.replace(partial, path)


def _is_whole(path: Path) -> bool:
    """Tell whether a part was written to its end, where its footer is, and holds anything."""
    try:
        return pq.read_metadata(path).num_rows > 0
    except (OSError, pa.ArrowInvalid):
        return False


def _first_picture(path: Path) -> str:
    """Return what orders the parts of a run that several machines shared; those of one machine are numbered alike."""
    names = pq.ParquetFile(path).read_row_group(0, columns=["picture"])["picture"]
    return str(names[0])


#: What must be the same for a run to be gone on with, and what it is called.
_NAMES = {
    "format": "another version of this program",
    "variant": "another variant",
    "weights": "other weights",
    "methods": "other methods",
    "target": "another target",
    "maps": "another choice of --no-maps",
    "effects": "another choice of --no-effects",
    "files": "other pictures",
    "names": "other pictures",
}


def _settings(look: Look, folder: Folder) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "variant": look.variant.name,
        "weights": look.variant.key,
        "methods": look.methods,
        "target": look.target,
        "maps": look.maps,
        "effects": look.effects,
        "folder": folder.root,  # for people: pictures may be moved while nothing runs
        "files": len(folder.names),
        "names": hashlib.sha256("\n".join(folder.names).encode()).hexdigest(),
    }
