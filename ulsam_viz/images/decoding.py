"""From bytes to an upright sRGB picture, in one function: :func:`decode`."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from . import tiff
from .colour import to_srgb
from .errors import DAMAGED, ImageError
from .levels import full_range, to_eight_bits
from .metadata import orientation_of, take_apart

# Only well-tested decoders: Pillow would otherwise try some forty, one of which starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MAX_BYTES = 20_000_000  # what a browser calls 20 MB, too
MAX_PIXELS = 50_000_000
_PNG_KINDS = {"I;16B": 1, "LA;16B": 2, "RGB;16B": 3, "RGBA;16B": 4}  # Pillow's names of 16-bit PNGs: channels
_TURNS: Mapping[int, Image.Transpose] = {  # by EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Decoded:
    """A picture and what the visitor should know of how it is shown.

    Attributes:
        image: Upright, RGB, sRGB, fully loaded.
        notes: Sentences: an animation's first frame, a range of values that was chosen.
    """

    image: Image.Image
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Pixels:
    """Colours in 8 bits (mode L, RGB or CMYK), how opaque they are (mode L; None: all), and what is to be said."""

    colours: Image.Image
    alpha: Image.Image | None = None
    note: str = ""


def decode(data: bytes, *, draft: int | None = None) -> Decoded:
    """Decode a file; see :func:`ulsam_viz.decode_image`.

    Args:
        data: The whole file.
        draft: A JPEG may be decoded at a half, a quarter or an eighth of its size, as long as both sides keep so many
            pixels.

    Raises:
        ImageError: If it cannot be shown.
    """
    if not data:
        raise ImageError("The file is empty.")
    if len(data) > MAX_BYTES:
        raise ImageError(too_large(len(data)))
    try:
        return _decode(data, draft)
    except ImageError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(
            f"The picture is too large; at most {MAX_PIXELS // 10**6} million pixels can be read."
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            "This is not a picture in a format that can be read here (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF)."
        ) from error
    except MemoryError as error:
        raise ImageError("The picture needs more memory than there is.") from error
    except Exception as error:  # Pillow's decoders raise nearly every built-in type on damaged files
        raise ImageError(DAMAGED) from error


def too_large(size: int) -> str:
    """Return the sentence for a file of so many bytes, which are too many."""
    return f"The file has {math.ceil(size / 10**5) / 10:g} MB; at most {MAX_BYTES // 10**6} MB can be read."


def _decode(data: bytes, draft: int | None) -> Decoded:
    parts, notes = take_apart(data), []
    profile, orientation = parts.profile, parts.orientation
    if parts.directory and (samples := tiff.describe(parts.directory)):
        _check_size(samples.width, samples.height)
        pixels = _deep_tiff(data, parts.directory, samples)
    else:
        with Image.open(io.BytesIO(parts.pixels), formats=FORMATS) as image:
            _check_size(*image.size)
            if draft:
                image.draft("RGB", (draft, draft))
            pixels = _deep_png(image, parts.pixels) or _pixels(image)
            if image.format == "AVIF":
                profile = image.info.get("icc_profile") or profile
                orientation = orientation_of(image.info.get("exif"))
            if parts.animated or _is_animation(image):
                notes.append("The first frame of the animation is shown.")
    if parts.directory and parts.directory.has_pages(data):
        notes.append("The first of the file's pages is shown.")
    rgb = to_srgb(pixels.colours, profile)
    if pixels.alpha:
        rgb.putalpha(pixels.alpha)
        rgb = Image.alpha_composite(Image.new("RGBA", rgb.size, "white"), rgb).convert("RGB")
    if turn := _TURNS.get(orientation):
        rgb = rgb.transpose(turn)
    return Decoded(rgb, (*notes, *([pixels.note] if pixels.note else [])))


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"The picture has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million can be read."
        )
    if width < 8 or height < 8:
        raise ImageError(f"The picture has {width} x {height} pixels; at least 8 x 8 are needed.")
    if max(width, height) > 50 * min(width, height):
        raise ImageError(f"The picture is a strip of {width} x {height} pixels; a square crop would show nothing.")


def _is_animation(image: Image.Image) -> bool:
    """Return whether a GIF or an AVIF has more than one frame."""
    try:
        return image.format in ("GIF", "AVIF") and bool(getattr(image, "is_animated", False))
    except Exception:  # only a courtesy: the first frame is there, whatever the second is
        return False


def _pixels(image: Image.Image) -> _Pixels:
    """Load a picture of 8 bits, and part its colours from its transparency."""
    image.load()
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return _Pixels(rgba.getchannel(0) if grey else rgba.convert("RGB"), rgba.getchannel(3))
    return _Pixels(image.convert("L" if grey else "CMYK" if image.mode == "CMYK" else "RGB"))


def _deep_png(image: Image.Image, data: bytes) -> _Pixels | None:
    """Load a PNG of 16 bits, all of them: Pillow gives the upper 8, where it does not clip.

    None for any other picture.
    """
    kind = image.tile[0].args if isinstance(image, ImageFile) and image.format == "PNG" and image.tile else None
    if not isinstance(kind, str) or kind not in _PNG_KINDS:
        return None
    if kind == "I;16B":
        values = np.asarray(image)[..., None]
    elif kind == "LA;16B":
        values = _load_as("RGBA", data).view(">u2").astype(np.uint16)
    else:  # Pillow takes each value's first byte; told that the file is little-endian, its second
        values = _load_as(kind, data).astype(np.uint16) << 8
        values |= _load_as(kind.removesuffix("B") + "L", data)
    alpha = None
    if kind in ("LA;16B", "RGBA;16B"):
        values, alpha = values[..., :-1], values[..., -1]
    elif (key := image.info.get("transparency")) is not None:
        alpha = (values != np.array(key)).any(-1).astype(np.uint16) * np.uint16(65535)
    return _of_values(values, alpha)


def _load_as(kind: str, data: bytes) -> np.ndarray:
    """Load a PNG anew, with its values read in another way."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as again:
        again.tile = [again.tile[0]._replace(args=kind)]
        return np.asarray(again)


def _deep_tiff(data: bytes, directory: tiff.Directory, samples: tiff.Samples) -> _Pixels:
    values = tiff.read_samples(data, directory, samples)
    alpha = values[..., samples.colours] if samples.alpha else None
    return _of_values(
        values[..., : samples.colours],
        alpha,
        samples.bits,
        white_is_0=samples.photometric == 0,
        multiplied=samples.alpha == 1,
    )


def _of_values(
    values: np.ndarray, alpha: np.ndarray | None, bits: int = 16, *, white_is_0: bool = False, multiplied: bool = False
) -> _Pixels:
    """Bring values, shape (H, W, colours), and their opacity, shape (H, W), to 8 bits."""
    scaled, note = to_eight_bits(values, bits)
    opacity = None if alpha is None else full_range(alpha, bits)
    if multiplied and opacity is not None:
        scaled = np.minimum(scaled * np.float32(255) / np.maximum(opacity, 1)[..., None], 255).round().astype(np.uint8)
    bands = [Image.fromarray(255 - band if white_is_0 else band) for band in np.moveaxis(scaled, -1, 0)]
    colours = Image.merge({1: "L", 3: "RGB", 4: "CMYK"}[len(bands)], bands)
    return _Pixels(colours, None if opacity is None else Image.fromarray(opacity), note)
