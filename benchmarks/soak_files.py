"""Files that visitors of the soak bring: pictures, and what only calls itself one."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from random import Random

from PIL import Image

from ulsam_viz.images import MAX_BYTES
from ulsam_viz.images.samples import list_samples

Named = tuple[str, bytes]


def good_files(count: int) -> list[Named]:
    """Return photographs of all sizes, no two alike; every fourth has 24 megapixels."""
    rng, samples, files = Random(1), list_samples(), []
    for number in range(count):
        with Image.open(samples[number % len(samples)].path) as image:
            width, height = image.size
            left, top = rng.randrange(width // 4), rng.randrange(height // 4)
            picture = image.convert("RGB").crop((left, top, width - left, height - top))
        if number % 4 == 3:
            picture = picture.resize((6000, 4000))
        files.append((f"photo {number}.jpg", _jpeg(picture)))
    return files


def bad_files() -> Mapping[str, Named]:
    """Return a file of each kind that must be answered with a sentence, by what it is."""
    photo, rng = _jpeg(Image.open(list_samples()[0].path).convert("RGB")), Random(2)
    return {
        "cut short": ("cut.jpg", photo[: len(photo) // 3]),
        "text": ("text.jpg", b"This is no picture.\n" * 100),
        "empty": ("empty.png", b""),
        "damaged": ("damaged.jpg", photo[:600] + rng.randbytes(2000) + photo[2600:4000]),
        "bomb": ("bomb.png", _bomb(30_000)),
        "noise": ("noise.png", rng.randbytes(MAX_BYTES)),
        "too large": ("large.jpg", photo + bytes(MAX_BYTES)),
    }


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _bomb(side: int) -> bytes:
    """Return a small PNG of so many pixels a side, all black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side // 8 + 2)) for _ in range(side)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
