"""Opening a table: the folder that ``batch`` wrote, with its maps and, where they still are, its pictures.

Or a Parquet file alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ..batch.pictures import read_file
from ..batch.rows import VARIANT
from ..images.preprocessing import ImageError, Preprocessing, crop_centre, decode_image
from ..paths import program
from ..zoo.variants import get_variant
from .table import MAX_ROWS, TEXTS, Table, TableError, as_text, read_table, wanted_columns

_MAX_BYTES = 500_000_000  # of all columns that are read, as the file says they will be
_FILE_ROWS, _FILE_BYTES = 500_000, 100_000_000  # of a file that a visitor sent
_PLACES = ("shard", "row")


@dataclass
class FolderLooks:
    """Pictures where they lay when the table was made, and maps in the table's shards.

    Attributes:
        root: Where the pictures are: a path, or an address such as ``s3://bucket/photos``.
        names: Of the pictures, below it.
        preprocessing: Of the network.
        maps_folder: Where the shards are.
        shards, rows: For each picture its shard, or None, and its place there.
    """

    root: str
    names: Sequence[str]
    preprocessing: Preprocessing
    maps_folder: Path
    shards: Sequence[str | None]
    rows: np.ndarray

    @property
    def are_here(self) -> bool:
        """Whether pictures that were seen before may still be looked at: yes, they are files of the server."""
        return True

    def image(self, picture: int) -> Image.Image | None:
        """Return the whole picture; None if the file is gone, or is none any more."""
        name = self.names[picture]
        if not self.root or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            return None
        try:
            return decode_image(read_file(self.root, name))
        except (OSError, ImageError, ValueError):
            return None

    def crop(self, picture: int) -> np.ndarray | None:
        """Return the pixels that the network saw; None if the file is gone, or is none any more."""
        image = self.image(picture)
        return None if image is None else crop_centre(image, self.preprocessing).pixels

    def only(self, picture: int) -> FolderLooks:
        """Return one picture without the others."""
        return replace(
            self, names=[self.names[picture]], shards=[self.shards[picture]], rows=self.rows[picture : picture + 1]
        )

    def maps(self, picture: int, layer: int) -> np.ndarray | None:
        """Return a layer's maps of a picture."""
        shard = self.shards[picture]
        found = None if shard is None else self._read(shard, layer, int(self.rows[picture]))
        return None if found is None else found.astype(np.float32)

    def all_maps(self, layer: int) -> Iterator[np.ndarray]:
        """Return all pictures' maps of a layer, a shard at a time."""
        for shard in dict.fromkeys(self.shards):
            if shard is not None and (found := self._read(shard, layer)) is not None:
                yield found

    @property
    def with_maps(self) -> int:
        """How many of the pictures' maps were kept, whether or not their files can be read."""
        return sum(shard is not None for shard in self.shards)

    def _read(self, shard: str, layer: int, row: int | None = None) -> np.ndarray | None:
        """Return a shard's maps of a layer, or one picture's; None where there are none that can be read."""
        if PurePosixPath(shard).name != shard:  # a table may come from anyone
            return None
        path, name = self.maps_folder / f"{shard}.npz", f"layer_{layer}"
        try:
            return _read_all(path, name) if row is None else _read_row(path, name, row)
        except (
            OSError,
            KeyError,
            ValueError,
            EOFError,
            MemoryError,
            RuntimeError,
            struct.error,
            zipfile.BadZipFile,
            zlib.error,
        ):
            return None


def _read_all(path: Path, name: str) -> np.ndarray:
    with np.load(path, allow_pickle=False) as file:
        maps: np.ndarray = file[name]
    if maps.ndim != 4 or maps.dtype.kind != "f":
        raise ValueError("no maps")
    return maps


def _read_row(path: Path, name: str, row: int) -> np.ndarray:
    """Read one picture's maps, and no others: what ``np.savez`` writes is not packed, so that their place is known."""
    with path.open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            member = archive.getinfo(f"{name}.npy")
        # Where the archive says how long the member's name and its extra field are
        file.seek(member.header_offset + 26)
        file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        size = dtype.itemsize * math.prod(shape[1:])
        if len(shape) != 4 or dtype.kind != "f" or not 0 <= row < shape[0] or size > member.file_size:
            raise ValueError("no maps")
        file.seek(row * size, os.SEEK_CUR)
        return np.frombuffer(file.read(size), dtype).reshape(shape[1:])


def open_folder(path: Path) -> Table:
    """Open a folder that ``batch`` wrote.

    Raises:
        TableError: If it holds no finished table.
    """
    file = path / "attention.parquet"
    if not path.is_dir():
        raise TableError(f"'{path}' is not a folder")
    if not file.is_file():
        unfinished = (path / "parts").is_dir()
        hint = "the run that makes it is not finished" if unfinished else f"`{program()} batch` writes it"
        raise TableError(f"'{path}' holds no table (attention.parquet): {hint}")
    try:
        settings = json.loads((path / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = {}
    settings = settings if isinstance(settings, dict) else {}
    with file.open("rb") as opened:
        rows = _read_rows(opened, file.name, most_rows=MAX_ROWS, most_bytes=_MAX_BYTES)
    variant = str(settings.get("variant", "")) or _variant_of(rows)
    table = read_table(rows, title=path.resolve().name, key=stamp(path), variant=variant)
    shards, places = _places(rows, len(table.pictures))
    looks = FolderLooks(
        str(settings.get("folder", "")), table.pictures, _preprocessing(variant), path / "maps", shards, places
    )
    return replace(table, looks=looks)


def open_file(data: bytes, name: str) -> Table:
    """Open a Parquet file that a visitor sent: its numbers alone.

    Raises:
        TableError: If it is no table of attention, or too large.
    """
    rows = _read_rows(io.BytesIO(data), name, most_rows=_FILE_ROWS, most_bytes=_FILE_BYTES)
    return read_table(rows, title=name, key=hashlib.sha256(data).hexdigest(), variant=_variant_of(rows))


def _variant_of(rows: pa.Table) -> str:
    """Return the name of the network that a file says it was made with; "" where it says none, or what is no name."""
    name = (rows.schema.metadata or {}).get(VARIANT.encode(), b"").decode(errors="replace")
    return name if re.fullmatch(r"[\w.()\- ]{1,200}", name) else ""


def stamp(path: Path) -> str:
    """Return what changes when a folder's table is another one."""
    about = (path / "attention.parquet").stat()
    return f"{path.resolve()}-{about.st_mtime_ns}-{about.st_size}"


def _read_rows(file: BinaryIO, name: str, *, most_rows: int, most_bytes: int) -> pa.Table:
    """Return the columns that are known, those among them that say where a picture's maps are.

    Texts stay in dictionaries.
    """
    try:
        about = pq.read_metadata(file)
        file.seek(0)
        texts = [column for column in (*TEXTS, "shard") if column in about.schema.names]
        opened = pq.ParquetFile(file, metadata=about, read_dictionary=texts)
        schema = opened.schema_arrow
        wanted = wanted_columns(schema.names) + [column for column in _PLACES if column in schema.names]
        if about.num_rows > most_rows:
            raise TableError(f"'{name}' has {about.num_rows:,} rows; at most {most_rows:,} are shown here")
        if odd := [column for column in wanted if not _is_plain(schema.field(column).type)]:
            raise TableError(f"the column '{odd[0]}' holds neither numbers nor text")
        if _bytes_of(about, {*wanted}) > most_bytes:
            raise TableError(f"'{name}' needs more than {most_bytes // 10**6} MB of memory")
        return opened.read(columns=wanted)
    except (pa.ArrowException, OSError, MemoryError, KeyError, UnicodeDecodeError) as error:
        raise TableError(
            f"'{name}' is not a Parquet file that can be read: {(str(error) or 'damaged').splitlines()[0]}"
        ) from error


def _is_plain(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_null,
    )
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(test(kind) for test in tests)


def _places(rows: pa.Table, count: int) -> tuple[list[str | None], np.ndarray]:
    """Return each picture's shard, None where its maps were not kept, and its place there."""
    if not {*_PLACES} <= {*rows.column_names}:
        return [None] * count, np.zeros(count, int)
    each = rows.num_rows // count
    try:
        shards = as_text("shard", rows["shard"])[::each].to_pylist()
        places = np.asarray(rows["row"].combine_chunks().cast(pa.int64()).fill_null(-1))[::each]
    except pa.ArrowException as error:
        raise TableError("the table does not say where its maps are") from error
    return shards, places


def _bytes_of(about: Any, names: set[str]) -> int:
    groups = (about.row_group(i) for i in range(about.num_row_groups))
    chunks = (group.column(j) for group in groups for j in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in names)


def _preprocessing(variant: str) -> Preprocessing:
    """Return the network's; where it is not here, that of most."""
    try:
        return get_variant(variant).preprocessing
    except KeyError:
        return Preprocessing()
