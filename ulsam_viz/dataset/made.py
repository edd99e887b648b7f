"""A table of pictures that are in memory: the same callable and the same columns as ``batch``, and nothing on a disk."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from weakref import ref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ..batch.pictures import Crops
from ..batch.rows import Look, PictureRows, Rows, explode, folder_of
from ..images import Preprocessing, crop_centre
from ..models.network import Network
from ..zoo import Variant
from .table import Table, read_table

MAX_PICTURES = 200
BATCH = 4  # pictures in a pass: between two of them others have their turn


@dataclass(frozen=True)
class Photographs:
    """Pictures that a table is made of, each cut to the square that the shipped networks see.

    Attributes:
        title: For people: where they are from.
        names: Of the files, with their folder where they came in one.
        pixels: Shape (N, S, S, 3), uint8.
    """

    title: str
    names: Sequence[str]
    pixels: np.ndarray

    @cached_property
    def key(self) -> str:
        """Names what is in it."""
        return hashlib.sha256("\n".join(self.names).encode() + self.pixels.tobytes()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.pixels.nbytes

    def crops(self, preprocessing: Preprocessing) -> np.ndarray:
        """Return what a network sees of them, (N, S, S, 3), uint8; as they are kept for the networks that are shipped."""
        if self._fits(preprocessing):
            return self.pixels
        return np.stack([self.crop(picture, preprocessing) for picture in range(len(self.pixels))])

    def crop(self, picture: int, preprocessing: Preprocessing) -> np.ndarray:
        """Return what a network sees of one of them, (S, S, 3), uint8."""
        own: np.ndarray = self.pixels[picture]
        return own if self._fits(preprocessing) else crop_centre(Image.fromarray(own), preprocessing).pixels

    def _fits(self, preprocessing: Preprocessing) -> bool:
        return preprocessing.crop == 1 and preprocessing.input_size == self.pixels.shape[1]


@dataclass(frozen=True)
class KeptLooks:
    """Pictures and maps in memory; the pictures as long as somebody else keeps them, for a table holds none itself.

    Attributes:
        photographs: Returns the pictures; None when they are gone.
        preprocessing: Of the network.
        by_layer: Maps, each (N, g, H, W), float16.
    """

    photographs: Callable[[], Photographs | None]
    preprocessing: Preprocessing
    by_layer: Mapping[int, np.ndarray]

    @property
    def are_here(self) -> bool:
        """Whether the pictures can still be looked at."""
        return self.photographs() is not None

    def crop(self, picture: int) -> np.ndarray | None:
        """Return the pixels that the network saw; None where the pictures are gone."""
        photographs = self.photographs()
        return None if photographs is None else photographs.crop(picture, self.preprocessing)

    def maps(self, picture: int, layer: int) -> np.ndarray | None:
        """Return a layer's maps of a picture."""
        return np.asarray(self.by_layer[layer][picture], np.float32)

    def all_maps(self, layer: int) -> Iterator[np.ndarray]:
        """Return all pictures' maps of a layer."""
        yield self.by_layer[layer]

    @property
    def with_maps(self) -> int:
        """How many of the pictures' maps were kept: all."""
        return len(next(iter(self.by_layer.values())))


def batches(photographs: Photographs, variant: Variant) -> list[Crops]:
    """Return the pictures as the passes take them, without their names: results are kept longer than a visitor's pictures."""
    pixels = photographs.crops(variant.preprocessing)
    starts = range(0, len(pixels), BATCH)
    parts = [pixels[i : i + BATCH] for i in starts]
    return [Crops([""] * len(part), [""] * len(part), part) for part in parts]


def compute(network: Network, crops: Crops, look: Look) -> Rows:
    """Compute the rows of a batch with the variant's optimised network."""
    return PictureRows(look, network=network)(crops)


def joined(photographs: Photographs, look: Look, found: Sequence[Rows]) -> tuple[Table, pa.Table]:
    """Return the table of the batches, the first of the pictures or all, and the same rows as ``batch`` writes them.

    The places of maps in files are left out. The table shows the pictures as long as ``photographs`` is kept elsewhere.
    """
    named = [_named(part, photographs.names[i * BATCH :]) for i, part in enumerate(found)]
    rows = explode(pa.concat_tables([part.table(look) for part in named]), look)
    rows = rows.drop_columns(["shard", "row"])
    maps = {layer: np.concatenate([part.maps[layer] for part in found]) for layer in found[0].maps}
    looks = KeptLooks(ref(photographs), look.variant.preprocessing, maps)
    key = hashlib.sha256(f"{photographs.key} {look.variant.key} {looks.with_maps}".encode()).hexdigest()
    return read_table(rows, title=photographs.title, key=key, variant=look.variant.name, looks=looks), rows


def _named(part: Rows, names: Sequence[str]) -> Rows:
    """Give a batch its pictures' names, the first of these."""
    own = list(names[: len(part.names)])
    return replace(part, names=own, answers={**part.answers, "class_folder": [folder_of(name) for name in own]})


def as_parquet(rows: pa.Table) -> bytes:
    """Write rows as a file."""
    buffer = io.BytesIO()
    pq.write_table(rows, buffer)
    return buffer.getvalue()
