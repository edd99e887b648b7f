"""The record of a run's files, by which new, missing and replaced files are noticed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .pictures import Folder, Stamp, digest_of

_SCHEMA = pa.schema({"picture": pa.string(), "size": pa.int64(), "modified": pa.int64(), "digest": pa.string()})


@dataclass(frozen=True)
class Changes:
    """How a folder differs from the one that a run is of.

    Attributes:
        new: Files that are not in the run.
        gone: Files of the run that are not there.
        changed: Files whose rows are of other bytes.
    """

    new: Sequence[str]
    gone: Sequence[str]
    changed: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.changed)

    def __str__(self) -> str:
        """Say it with counts and an example each: ``"3 are new (a.jpg …), 1 is gone (b.jpg)"``."""
        closed = [name for name in self.new if name.endswith("/")]  # see Folder.files
        new = [name for name in self.new if not name.endswith("/")]
        kinds = (
            (new, "is new", "are new"),
            (closed, "cannot be listed", "cannot be listed"),
            (self.gone, "is gone", "are gone"),
            (self.changed, "has changed", "have changed"),
        )
        return ", ".join(
            f"{len(names):,} {one if len(names) == 1 else many} ({names[0]}{' …' if len(names) > 1 else ''})"
            for names, one, many in kinds
            if names
        )


@dataclass(frozen=True)
class Record:
    """The files of a run.

    Attributes:
        files: By name.
        digests: SHA-256 of those that rows are of, "" of what could not be read.
    """

    files: Mapping[str, Stamp]
    digests: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read what :meth:`write` wrote.

        Raises:
            OSError, pa.ArrowInvalid, KeyError: If it is lost or damaged.
        """
        table = pq.read_table(path)
        names, sizes, times, digests = (table[name].to_pylist() for name in _SCHEMA.names)
        return cls(
            dict(zip(names, map(Stamp, sizes, times), strict=True)),
            {name: digest for name, digest in zip(names, digests, strict=True) if digest is not None},
        )

    def write(self, path: Path) -> None:
        """Write a row a file; the digest is null where there is none."""
        columns = [
            list(self.files),
            [stamp.size for stamp in self.files.values()],
            [stamp.modified for stamp in self.files.values()],
            [self.digests.get(name) for name in self.files],
        ]
        pq.write_table(pa.table(columns, schema=_SCHEMA), path)

    def changes(self, folder: Folder) -> Changes:
        """Compare with a folder as it is now; only files that rows are of can have changed."""
        return Changes(
            [name for name in folder.files if name not in self.files],
            [name for name in self.files if name not in folder.files],
            [name for name in self.digests if name in folder.files and self._is_changed(folder, name)],
        )

    def _is_changed(self, folder: Folder, name: str) -> bool:
        """Compare stamps, and where times alone differ, as after copying, the bytes."""
        before, now = self.files[name], folder.files[name]
        if before == now:
            return False
        return before.size != now.size or not self.digests[name] or digest_of(folder.root, name) != self.digests[name]
