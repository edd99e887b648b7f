"""A table of pictures in memory: the callable and columns of ``batch``, and nothing on a disk."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from weakref import ref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..batch.pictures import Crops
from ..batch.rows import Look, PictureRows, Rows, explode, folder_of
from ..images.preprocessing import Preprocessing
from ..models.network import Network
from ..zoo.variants import Variant
from .table import Table, read_table

MAX_PICTURES = 200
BATCH = 4  # pictures in a pass: between two of them others have their turn


def cut_of(preprocessing: Preprocessing) -> Preprocessing:
    """Return a preprocessing with the usual normalisation: the parts that decide the crop's pixels."""
    usual = Preprocessing()
    return replace(preprocessing, mean=usual.mean, std=usual.std)


def cuts_of(variants: Iterable[Variant]) -> tuple[Preprocessing, ...]:
    """Return the cuts that networks see pictures in, each once; the shipped networks' is first, and always there."""
    return tuple(dict.fromkeys([Preprocessing(), *(cut_of(v.preprocessing) for v in variants)]))


@dataclass(frozen=True)
class Photographs:
    """Pictures that a table is made of, each cut from the file itself, once for each way in which networks see it.

    Attributes:
        title: For people: where they are from.
        names: Of the files, with their folder where they came in one.
        pixels: As the shipped networks see them, shape (N, 224, 224, 3), uint8.
        others: As others see them: by cut (:func:`cut_of`), shape (N, S, S, 3), uint8.
        files: Tell files apart: of each its whole name and its bytes, as one hash; nothing where they came from no
            file.
    """

    title: str
    names: Sequence[str]
    pixels: np.ndarray
    others: Mapping[Preprocessing, np.ndarray] = field(default_factory=dict)
    files: Sequence[str] = ()

    @cached_property
    def key(self) -> str:
        """Names what is in it."""
        return hashlib.sha256("\n".join(self.names).encode() + self.pixels.tobytes()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.pixels.nbytes + sum(own.nbytes for own in self.others.values())

    def is_cut_for(self, preprocessing: Preprocessing) -> bool:
        """Return whether they were cut as a network sees them."""
        return cut_of(preprocessing) in (Preprocessing(), *self.others)

    def crops(self, preprocessing: Preprocessing) -> np.ndarray:
        """Return what a network sees of them, (N, S, S, 3), uint8.

        Raises:
            KeyError: If they were not cut for it.
        """
        cut = cut_of(preprocessing)
        return self.pixels if cut == Preprocessing() else self.others[cut]


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
        return None if photographs is None else photographs.crops(self.preprocessing)[picture]

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
    """Return the pictures in batches, without their names: results are kept longer than a visitor's pictures."""
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
