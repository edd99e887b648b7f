"""TIFF: its directory, the same file without metadata, and values of kinds that Pillow does not read.

Pillow reads TIFFs of 8 bits. Of others it knows some (16-bit grey, but as a negative where 0 is white; 32-bit whole
numbers, but signed) and refuses most (floats in colour, float64, 16-bit grey with transparency). libtiff, which Pillow
brings, unpacks them all: here it is handed a directory that calls the same bytes a picture of 8 bits, and NumPy makes
values of them.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from .errors import DAMAGED, ImageError

(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIPS, ORIENTATION, SAMPLES) = (256, 257, 258, 259, 262, 273, 274, 277)
(STRIP_ROWS, STRIP_BYTES, PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES) = (
    278,
    279,
    284,
    317,
    322,
    323,
    324,
    325,
)
(FILL_ORDER, KIND, EXTRA, FORMAT, XMP, PROFILE) = (266, 254, 338, 339, 700, 34675)
# What decoding needs: also fax options, the palette, inks, JPEG tables, old JPEG, YCbCr.
_NEEDED = {*range(WIDTH, 260), PHOTOMETRIC, FILL_ORDER, STRIPS, *range(SAMPLES, 280), PLANAR, 292, 293, PREDICTOR, 320}
_NEEDED |= {*range(TILE_WIDTH, 326), 332, EXTRA, FORMAT, 347, *range(512, 522), *range(529, 533)}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
# None, LZW, deflate, PackBits, LZMA, Zstandard: bytes come out as they went in
_LOSSLESS = {1, 5, 8, 32773, 32946, 34925, 50000}
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # by photometric interpretation
_MOST_BYTES = 320_000_000
_MOST_PIXELS = 80_000_000  # Pillow warns above 89 million


class Entry(NamedTuple):
    """A tag: its type, how many values, and their bytes."""

    kind: int
    length: int
    value: bytes


@dataclass(frozen=True)
class Directory:
    """A TIFF's directory, or EXIF's, which is one.

    Attributes:
        order: ``"<"`` or ``">"``.
        big: Whether it is a BigTIFF's.
        entries: By tag.
        following: Where the next directory is; 0 where there is none.
    """

    order: str
    big: bool
    entries: Mapping[int, Entry]
    following: int

    @classmethod
    def read(cls, data: bytes, at: int | None = None) -> Directory | None:
        """Read the first directory, or the one at a place; None where there is none."""
        try:
            return cls._read(data, at)
        except (struct.error, KeyError):
            return None

    @classmethod
    def _read(cls, data: bytes, at: int | None) -> Directory | None:
        order = {b"II": "<", b"MM": ">"}[data[:2]]
        version = struct.unpack_from(order + "H", data, 2)[0]
        if version not in (42, 43):
            return None
        big = version == 43
        inline, length = (8, 20) if big else (4, 12)
        if at is None:
            (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, inline)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
        at += 8 if big else 2
        entries: dict[int, Entry] = {}
        for _ in range(min(count, 4096)):
            raw = data[at : at + length]
            if len(raw) < length:
                return cls(order, big, entries, 0)
            tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), raw)
            size, place = number * _SIZES.get(kind, 0), at + length - inline
            if size > inline:
                (place,) = struct.unpack_from(order + ("Q" if big else "I"), raw, length - inline)
            if len(value := data[place : place + size]) == size:  # not beyond the file's end
                entries.setdefault(tag, Entry(kind, number, value))
            at += length
        following = data[at : at + inline]
        return cls(order, big, entries, int.from_bytes(following, "little" if order == "<" else "big"))

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return a tag's whole numbers; none where it is missing, or of another type."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _WHOLE:
            return ()
        return struct.unpack(f"{self.order}{entry.length}{_WHOLE[entry.kind]}", entry.value)

    def number(self, tag: int, default: int) -> int:
        """Return a tag's first whole number."""
        return next(iter(self.numbers(tag)), default)

    def data(self, tag: int) -> bytes:
        """Return a tag's bytes, b"" where it is missing."""
        return self.entries[tag].value if tag in self.entries else b""

    def has_pages(self, data: bytes) -> bool:
        """Return whether a second page follows, which is not a preview or a mask of the first."""
        after = Directory.read(data, self.following) if self.following else None
        return after is not None and after.number(KIND, 0) & 0b101 == 0 and WIDTH in after.entries


def without_metadata(data: bytes, directory: Directory) -> bytes:
    """Return the file with another directory, of only those tags that decoding needs."""
    entries = {tag: entry for tag, entry in directory.entries.items() if tag in _NEEDED}
    if directory.big:  # Pillow reads no BigTIFF that is big-endian
        wide = {tag: directory.numbers(tag) for tag, entry in entries.items() if entry.kind in (16, 17, 18)}
        entries |= _whole(wide, directory.order)
    return _with_directory(data, entries, directory.order)


def _whole(tags: Mapping[int, Sequence[int]], order: str) -> dict[int, Entry]:
    return {
        tag: Entry(4, len(numbers), struct.pack(f"{order}{len(numbers)}I", *numbers)) for tag, numbers in tags.items()
    }


def _with_directory(data: bytes, entries: Mapping[int, Entry], order: str) -> bytes:
    """Append another directory to a file, and let its header point to it."""
    table, values = struct.pack(order + "H", len(entries)), b""
    for tag, (kind, count, value) in sorted(entries.items()):
        if len(value) > 4:
            values += bytes((len(data) + len(values)) % 2)
            value, values = struct.pack(order + "I", len(data) + len(values)), values + value
        table += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
    values += bytes((len(data) + len(values)) % 2)
    header = data[:2] + struct.pack(order + "HI", 42, len(data) + len(values))
    return header + data[8:] + values + table + bytes(4)


@dataclass(frozen=True)
class Samples:
    """How a TIFF's values lie in the file.

    Attributes:
        width, height: In pixels.
        channels: Values of a pixel, those that are no colours too.
        bits: Of each value.
        kind: ``"u"``, ``"i"`` or ``"f"``, as NumPy has it.
        photometric: 0: white is 0; 1: black is 0; 2: RGB; 5: CMYK.
        alpha: 0: none; 1: colours are multiplied by it; 2: they are not.
        planar: Whether each channel lies by itself.
    """

    width: int
    height: int
    channels: int
    bits: int
    kind: str
    photometric: int
    alpha: int
    planar: bool

    @property
    def colours(self) -> int:
        """Channels that are colours."""
        return _COLOURS[self.photometric]


def describe(directory: Directory) -> Samples | None:
    """Return how values lie in a file; None where Pillow reads the file well, or no other reader would.

    Raises:
        ImageError: For values of a kind that cannot be shown.
    """
    bits, formats = directory.numbers(BITS) or (1,), directory.numbers(FORMAT) or (1,)
    channels = directory.number(SAMPLES, 1)
    photometric = directory.number(PHOTOMETRIC, 2 if channels > 2 else 1)  # as libtiff takes a file that does not say
    lossless = directory.number(COMPRESSION, 1) in _LOSSLESS
    if max(bits) <= 8 and set(formats) == {1} and not (set(bits) == {8} and photometric in _COLOURS and lossless):
        return None
    if len(set(bits)) > 1 or len(set(formats)) > 1 or photometric not in _COLOURS or channels < _COLOURS[photometric]:
        raise ImageError(_OTHER)
    kind = {1: "u", 2: "i", 3: "f", 4: "u"}.get(formats[0], "")
    known = {"u": (*range(8, 17), 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}.get(kind, ())
    if bits[0] not in known or not 1 <= channels <= 64 or not lossless:
        raise ImageError(_OTHER)
    extra = directory.numbers(EXTRA) or ((2,) if (photometric, channels) == (2, 4) else ())
    alpha = extra[0] if extra and extra[0] in (1, 2) and channels > _COLOURS[photometric] else 0
    width, height = directory.number(WIDTH, 0), directory.number(HEIGHT, 0)
    return Samples(width, height, channels, bits[0], kind, photometric, alpha, directory.number(PLANAR, 1) == 2)


_OTHER = "This TIFF holds values of a kind that cannot be read here; save the picture with 8 or 16 bits and try again."


def read_samples(data: bytes, directory: Directory, samples: Samples) -> np.ndarray:
    """Unpack a TIFF's values.

    Returns:
        Shape (H, W, channels) as the file has them, in the machine's byte order.

    Raises:
        ImageError: If they are too many.
    """
    planes = samples.channels if samples.planar else 1
    each = samples.channels // planes
    if samples.width * samples.height * samples.channels * samples.bits > 8 * _MOST_BYTES:
        raise ImageError(_LARGE)
    if TILES in directory.entries:
        width, height = directory.number(TILE_WIDTH, 0), directory.number(TILE_HEIGHT, 0)
        places, sizes = directory.numbers(TILES), directory.numbers(TILE_BYTES)
    else:
        width, height = samples.width, min(directory.number(STRIP_ROWS, samples.height), samples.height)
        places, sizes = directory.numbers(STRIPS), directory.numbers(STRIP_BYTES)
    if not (width > 0 and height > 0 and places) or len(places) != len(sizes):
        raise ImageError(DAMAGED)
    across, down = -(-samples.width // width), -(-samples.height // height)
    if len(places) < planes * across * down:
        raise ImageError(DAMAGED)
    row = -(-width * each * samples.bits // 8)
    found = []
    for i in range(planes):
        own = slice(i * across * down, (i + 1) * across * down)
        pieces = _Pieces(
            row, height, across, samples.height if across == 1 and TILES not in directory.entries else down * height
        )
        raw = _unpack(data, directory, pieces, places[own], sizes[own])
        values = _values(raw.reshape(-1, across, row), width * each, each, directory, samples)
        found.append(values.reshape(len(raw), -1, each)[: samples.height, : samples.width])
    return found[0] if planes == 1 else np.concatenate(found, axis=2)


_LARGE = f"The TIFF's values need more memory than there is for a picture ({_MOST_BYTES // 10**6} MB)."


class _Pieces(NamedTuple):
    """Strips or tiles: bytes of a row, rows, how many stand beside each other, and rows of them all."""

    row: int
    rows: int
    across: int
    height: int


def _unpack(
    data: bytes, directory: Directory, pieces: _Pieces, places: Sequence[int], sizes: Sequence[int]
) -> np.ndarray:
    """Let libtiff unpack strips or tiles as if they were a picture of 8 bits; shape (rows, bytes)."""
    fill_order = directory.number(FILL_ORDER, 1)
    bundle = 4 if pieces.row % 4 == 0 and fill_order == 1 else 1  # bytes that are called a pixel: CMYK or grey
    width = pieces.row * pieces.across
    if width // bundle * pieces.height > _MOST_PIXELS:
        raise ImageError(_LARGE)
    tags: dict[int, Sequence[int]] = {
        WIDTH: (width // bundle,),
        HEIGHT: (pieces.height,),
        BITS: (8,) * bundle,
        COMPRESSION: (directory.number(COMPRESSION, 1),),
        PHOTOMETRIC: (5 if bundle == 4 else 1,),
        FILL_ORDER: (fill_order,),
        SAMPLES: (bundle,),
    }
    if TILES in directory.entries:
        tags |= {TILE_WIDTH: (pieces.row // bundle,), TILE_HEIGHT: (pieces.rows,), TILES: places, TILE_BYTES: sizes}
    else:
        tags |= {STRIPS: places, STRIP_ROWS: (pieces.rows,), STRIP_BYTES: sizes}
    with Image.open(
        io.BytesIO(_with_directory(data, _whole(tags, directory.order), directory.order)), formats=("TIFF",)
    ) as image:
        return np.asarray(image).reshape(pieces.height, width)


def _values(raw: np.ndarray, count: int, each: int, directory: Directory, samples: Samples) -> np.ndarray:
    """Decode bytes (rows, pieces beside each other, bytes) to values (rows, pieces, values), predictors undone."""
    predictor, order, size = directory.number(PREDICTOR, 1), directory.order, samples.bits // 8
    if samples.bits % 8:
        return _unpacked_bits(raw, count, samples.bits)
    # Adobe's technical note 3: differences of bytes, all first bytes of a row before all second ones
    if predictor == 3:
        sums = np.cumsum(raw.reshape(*raw.shape[:2], -1, each), axis=2, dtype=np.uint8).reshape(
            *raw.shape[:2], size, count
        )
        raw, order = np.ascontiguousarray(sums.swapaxes(2, 3)).reshape(raw.shape), ">"
    kind = "u" if predictor == 2 else samples.kind
    values = np.ascontiguousarray(raw).view(f"{order}{kind}{size}").astype(f"={kind}{size}")
    if predictor == 2:  # differences from the pixel before
        pixels = values.reshape(*values.shape[:2], -1, each)
        values = np.cumsum(pixels, axis=2, dtype=values.dtype).reshape(values.shape).view(f"={samples.kind}{size}")
    return values


def _unpacked_bits(raw: np.ndarray, count: int, bits: int) -> np.ndarray:
    """Return numbers of 9 to 15 bits that follow each other without gaps; rows begin at whole bytes."""
    values = np.empty((*raw.shape[:2], count), np.uint16)
    weights = 1 << np.arange(bits - 1, -1, -1, dtype=np.uint16)
    for row, into in zip(raw, values, strict=True):
        into[...] = np.unpackbits(row, axis=-1)[:, : count * bits].reshape(len(row), count, bits) @ weights
    return values
