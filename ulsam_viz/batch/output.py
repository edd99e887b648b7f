"""The folder of a run: its parts while the run goes on, recovery after a kill, and the final table.

    DIR/settings.json            what is asked; another run is refused
    DIR/pictures.parquet         the files that it is asked of; where others are found, only an update goes on
    DIR/parts/*.parquet          rows of pictures, as they become ready; a file is there as a whole or not at all
    DIR/parts/outdated.txt       files in maps that an update forgot some pictures of
    DIR/maps/*.npz               float16 maps, by layer (pictures, g, H, W); the table names file and row
    DIR/attention.parquet        the table; it comes last, and the parts go then
    DIR/skipped.csv              files that are no pictures and folders that cannot be listed, and why

No record of the progress is kept: it is what complete parts hold. An update turns the table back into parts, and takes
out of them what is of files that went or changed; then it is a run like any other.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from ..text.spreadsheets import read_csv, write_csv
from .pictures import BatchError, Folder
from .record import Record
from .rows import Look, explode, implode

FORMAT = 2
_GROUP = 2048  # pictures in a row group, of parts and of the table


@dataclass(frozen=True)
class Summary:
    """Counts of a finished run.

    Attributes:
        table: The Parquet file.
        pictures: That are in it.
        rows: Of the table.
        skipped: Files that are no pictures, and folders that cannot be listed.
    """

    table: str
    pictures: int
    rows: int
    skipped: int


class _Held(NamedTuple):
    """A file's entry in the parts: its row, or why it is skipped, its digest, and where its maps are."""

    path: Path
    reason: str | None
    digest: str
    shard: str | None = None
    row: int | None = None


class Output:
    """A run's folder.

    Args:
        path: The folder; need not be there yet.
        look: What is asked.
        folder: The pictures.
        update: Whether pictures may have come, gone or changed since the run was begun.

    Raises:
        BatchError: If it lies where the pictures lie.
    """

    def __init__(self, path: Path, look: Look, folder: Folder, *, update: bool = False) -> None:
        if "://" not in folder.root and path.resolve().is_relative_to(folder.root):
            raise BatchError(f"'{path}' lies in the folder of the pictures: choose another place for the table")
        self.path, self.look, self.folder, self.update = path, look, folder, update
        self.parts, self.maps = path / "parts", path / "maps"
        self.outdated = self.parts / "outdated.txt"
        self.settings, self.record = path / "settings.json", path / "pictures.parquet"
        self.table, self.skipped = path / "attention.parquet", path / "skipped.csv"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Claim the folder for this process and this run, as long as the context lasts.

        Raises:
            BatchError: If it cannot be a folder, another process or another run has it, something of it is lost, or the
                pictures are not those of the run and this is no update.
        """
        with self._locked():
            self._claim()
            yield

    def _locked(self) -> AbstractContextManager[Any]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return FileLock(self.path / "lock", timeout=0).acquire()
        except Timeout as error:
            raise BatchError(f"another process is at '{self.path}'; wait for it, or choose another folder") from error
        except OSError as error:
            why = "it is a file" if self.path.is_file() else error.strerror
            raise BatchError(
                f"'{self.path}' cannot be the table's folder ({why}): choose another one (--out)"
            ) from error

    def _claim(self) -> None:
        """Write down what the run is of, or compare with what is there."""
        ours = json.loads(json.dumps(_settings(self.look, self.folder)))
        if self.settings.exists():
            theirs = self._compare(ours)
            self._follow()
            # The same pictures in another place, where the page shall find them
            if theirs.get("folder") != ours["folder"]:
                self._write_settings(ours)
        elif self.table.exists() or self.parts.exists():
            raise BatchError(
                f"'{self.path}' holds a table or parts without their settings; choose another folder (--out)"
            )
        else:
            self._write_record({})
            self._write_settings(ours)
        if not self.table.exists():
            self.parts.mkdir(exist_ok=True)
            if self.look.maps:
                self.maps.mkdir(exist_ok=True)

    def _write_settings(self, settings: Mapping[str, Any]) -> None:
        _replace(
            self.settings, lambda partial: partial.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        )

    def _compare(self, ours: Mapping[str, Any]) -> Mapping[str, Any]:
        """Refuse a run with other settings, and return those that are there."""
        try:
            theirs = dict(json.loads(self.settings.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise self._broken(self.settings) from error
        if other := [_NAMES[key] for key in _NAMES if theirs.get(key) != ours[key]]:
            raise BatchError(
                f"'{self.path}' holds a run of {' and '.join(other)}: give what it was begun with, or choose another "
                "folder (--out)"
            )
        return theirs

    def _follow(self) -> None:
        """Compare the pictures with those of the run; an update forgets what is of others."""
        try:
            known = Record.read(self.record)
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise self._broken(self.record) from error
        if not self.table.exists():
            known = replace(known, digests={name: held.digest for name, held in self._held().items()})
        self.folder = self.folder.with_unseen(known.files)
        changes = known.changes(self.folder)
        if changes and not self.update:
            raise BatchError(
                f"the pictures are not those that '{self.path}' was begun with: {changes}. Give --update to look at "
                "what is new or changed and to forget what is gone, or choose another folder (--out)"
            )
        if changes:
            if self.table.exists():
                self._reopen(known)
            self._forget({*changes.gone, *changes.changed})
        if known.files != self.folder.files:  # last: what a kill left before is the run as it was, with rows less
            self._write_record(known.digests if self.table.exists() else {})

    def _broken(self, path: Path) -> BatchError:
        return BatchError(
            f"'{path}' is lost or damaged, so that the run in '{self.path}' is not complete: "
            "delete that folder and begin again, or choose another one (--out)"
        )

    def _reopen(self, known: Record) -> None:
        """Turn the finished table back into parts; as long as it is there, they count for nothing."""
        self._count(len(known.files))
        shutil.rmtree(self.parts, ignore_errors=True)  # of a kill
        self.parts.mkdir()
        table = pq.ParquetFile(self.table)
        for number in range(table.num_row_groups):
            self.write_part(f"earlier-{number:05d}", implode(table.read_row_group(number), self.look, known.digests))
        skipped = [
            {"picture": name, "reason": why, "digest": known.digests.get(name)} for name, why in self._read_skipped()
        ]
        self.write_part("earlier-skipped", pa.Table.from_pylist(skipped, self.look.of_pictures))
        self.table.unlink()

    def _forget(self, stale: Collection[str]) -> None:
        """Take pictures out of the parts, and note which files their maps share with those of others."""
        held = {name: about for name, about in self._held().items() if name in stale}
        if not held:
            return
        outdated = self._read_outdated() | {about.shard for about in held.values() if about.shard}
        _replace(self.outdated, lambda partial: partial.write_text("\n".join(sorted(outdated))))
        for path in {about.path for about in held.values()}:
            part = pq.read_table(path)
            self.write_part(path.stem, part.filter(pc.invert(pc.is_in(part["picture"], pa.array(list(stale))))))

    def _read_outdated(self) -> set[str]:
        return {*self.outdated.read_text().split()} if self.outdated.exists() else set()

    def _without_forgotten_maps(self, held: Mapping[str, _Held]) -> Mapping[str, _Held]:
        """Copy maps out of files shared with forgotten pictures, and return where all maps are then."""
        outdated, shards = self._read_outdated(), defaultdict(list)
        moved: dict[str, _Held] = {}
        for name in self.folder.names:
            if (shard := held[name].shard) in outdated:
                shards[shard].append(name)
        for shard, names in shards.items():
            to, rows = shard_of(names), [held[name].row for name in names]
            try:
                with np.load(self.maps / f"{shard}.npz") as maps:
                    _write_arrays(self.maps, to, {layer: maps[layer][rows] for layer in maps.files})
            except (OSError, ValueError, IndexError, zipfile.BadZipFile) as error:
                raise self._broken(self.maps / f"{shard}.npz") from error
            moved |= {name: held[name]._replace(shard=to, row=row) for row, name in enumerate(names)}
        return {**held, **moved}

    def _held(self) -> dict[str, _Held]:
        """Return what complete parts hold, by picture; one that a kill cut short has no footer, and is none."""
        held: dict[str, _Held] = {}
        columns = ["picture", "reason", "digest", *(["shard", "row"] if self.look.maps else [])]
        for path in sorted(self.parts.glob("*.parquet")):
            try:
                part = pq.read_table(path, columns=columns)
            except (OSError, pa.ArrowInvalid):
                continue
            rows = zip(*(part[column].to_pylist() for column in columns), strict=True)
            held |= {name: _Held(path, *about) for name, *about in rows}
        return held

    def remaining(self) -> list[str]:
        """Return the pictures that no complete part holds, in order."""
        if self.table.exists():
            return []
        held = self._held()
        return [name for name in self.folder.names if name not in held]

    def write_part(self, name: str, pictures: pa.Table) -> None:
        """Write a part, whole or not at all; its maps must be there."""
        _replace(
            self.parts / f"{name}.parquet", lambda partial: pq.write_table(pictures, partial, row_group_size=_GROUP)
        )

    def finish(self) -> Summary:
        """Join the parts into the table, and list what was skipped.

        The parts go when all is there, and maps that no row names.

        Raises:
            BatchError: If something that belongs to the table is lost or damaged.
        """
        if not self.table.exists():
            held = self._without_forgotten_maps(self._held())
            _replace(self.skipped, lambda partial: self._write_skipped(partial, held))
            self._write_record({name: about.digest for name, about in held.items()})
            _replace(self.table, lambda partial: self._write_table(partial, held))
        summary, shards = self._count(len(self.folder.names))
        if self.parts.exists():  # also where a kill came between the table and the end
            shutil.rmtree(self.parts)
        unnamed = (path for path in self.maps.glob("part-*") if path.stem not in shards)
        for path in [*unnamed, *self.path.glob("*.partial")]:  # left by a kill, or of pictures that an update forgot
            path.unlink()
        return summary

    def _write_record(self, digests: Mapping[str, str]) -> None:
        _replace(self.record, Record(self.folder.files, digests).write)

    def _write_skipped(self, partial: Path, held: Mapping[str, _Held]) -> None:
        with partial.open("w", newline="", encoding="utf-8") as file:
            write_csv(file, ("file", "reason"), ((n, held[n].reason) for n in self.folder.names if held[n].reason))

    def _write_table(self, partial: Path, held: Mapping[str, _Held]) -> None:
        """Write the rows in the order of the pictures, a few at a time.

        Parts of several machines, or of an update, interleave.
        """
        schema, names = self.look.of_pictures, self.folder.names
        with pq.ParquetWriter(partial, self.look.of_table) as writer:
            for start in range(0, len(names), _GROUP):
                some = names[start : start + _GROUP]
                span = [("picture", ">=", some[0]), ("picture", "<=", some[-1])]
                paths = dict.fromkeys(held[name].path for name in some)
                pictures = pa.concat_tables([pq.read_table(path, filters=span).cast(schema) for path in paths])
                pictures = self._placed(pictures.sort_by("picture"), held)
                rows = explode(pictures, self.look)
                if rows.num_rows:
                    writer.write_table(rows, row_group_size=rows.num_rows)  # no picture stands in two groups

    def _placed(self, pictures: pa.Table, held: Mapping[str, _Held]) -> pa.Table:
        """Say where the maps of pictures are."""
        names = pictures["picture"].to_pylist()
        for column in ("shard", "row") if self.look.maps else ():
            field = pictures.schema.field(column)
            values = pa.array([getattr(held[name], column) for name in names], field.type)
            pictures = pictures.set_column(pictures.schema.get_field_index(column), field, values)
        return pictures

    def _count(self, files: int) -> tuple[Summary, set[str]]:
        """Count what a finished run of so many files left, and return which files of maps its table names."""
        keys = ["picture", *(["shard"] if self.look.maps else [])]
        pictures, shards = 0, set()
        try:
            table = pq.ParquetFile(self.table, read_dictionary=keys)
            for number in range(table.num_row_groups):
                group = table.read_row_group(number, columns=keys)
                pictures += len(group["picture"].unique())
                shards |= _shards_of(group)
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise self._broken(self.table) from error
        if pictures + (skipped := len(self._read_skipped())) != files:
            raise self._broken(self.skipped)
        if lost := sorted(shards - {path.stem for path in self.maps.glob("*.npz")}):
            raise self._broken(self.maps / f"{lost[0]}.npz")
        return Summary(str(self.table), pictures, table.metadata.num_rows, skipped), shards

    def _read_skipped(self) -> list[tuple[str, str]]:
        try:
            with self.skipped.open(newline="", encoding="utf-8") as file:
                return [(row["file"], row["reason"]) for row in read_csv(file)]
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise self._broken(self.skipped) from error


def _shards_of(rows: pa.Table) -> set[str]:
    """Return the names of the files that rows say their maps are in."""
    return {*rows["shard"].unique().to_pylist()} - {None} if "shard" in rows.column_names else set()


def shard_of(names: Sequence[str]) -> str:
    """Return the name of a part with these pictures and of its file of maps; the same pictures give the same name."""
    return f"part-{hashlib.sha256(chr(10).join(names).encode()).hexdigest()[:16]}"


def write_maps(folder: Path, shard: str, maps: Mapping[int, Sequence[np.ndarray]]) -> None:
    """Write ``FOLDER/SHARD.npz``, an array ``layer_L`` (pictures, g, H, W) for each layer L, whole or not at all."""
    _write_arrays(folder, shard, {f"layer_{layer}": np.concatenate(batches) for layer, batches in maps.items()})


def _write_arrays(folder: Path, shard: str, arrays: Mapping[str, np.ndarray]) -> None:
    def write(partial: Path) -> None:
        with partial.open("wb") as file:  # given a name, NumPy would add an ending
            np.savez(file, allow_pickle=False, **arrays)

    _replace(folder / f"{shard}.npz", write)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name, and give it its own when it is whole."""
    partial = path.with_name(f"{path.name}.partial")
    write(partial)
    os.replace(partial, path)


#: What must be the same for a run to be gone on with, and what it is called.
_NAMES = {
    "format": "another version of this program",
    "variant": "another variant",
    "weights": "other weights",
    "methods": "other methods",
    "target": "another target",
    "maps": "another choice of --no-maps",
    "effects": "another choice of --no-effects",
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
        "folder": folder.root,  # for the page: pictures may be moved while nothing runs
    }
