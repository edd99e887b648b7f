"""Colours as a file's profile means them -> sRGB, which is what networks were trained on."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageCms

_D50 = (0.9642, 1.0, 0.8249)  # the white point of every ICC profile
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D65 = (0.3127, 0.3290)
_SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
# Code points of ITU-T H.273, which AVIF and PNG may name instead of a profile: primaries, and gammas (None: sRGB's
# curve).
_PRIMARIES = {1: _SRGB, 9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046), 12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)}
_GAMMAS = {1: None, 4: 2.2, 5: 2.8, 6: None, 8: 1.0, 13: None, 14: None, 15: None}


def to_srgb(image: Image.Image, profile: bytes = b"") -> Image.Image:
    """Convert colours to sRGB by an ICC profile, relative colorimetric.

    Args:
        image: Mode L, RGB or CMYK.
        profile: ICC profile; one that is broken, or made for other colours than the picture's, is left out.

    Returns:
        An RGB picture.
    """
    if profile:
        try:
            return _convert(image, profile)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError, MemoryError):
            pass  # a broken profile costs nothing
    return image.convert("RGB")


def _convert(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    if space == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    if (space, image.mode) not in {("RGB", "RGB"), ("GRAY", "L"), ("CMYK", "CMYK")}:
        raise ValueError("the profile is for other colours")
    transform = ImageCms.buildTransform(
        source, ImageCms.createProfile("sRGB"), image.mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    probe = _probe(image.mode)
    if probe and np.abs(_difference(transform.apply(probe), probe.convert("RGB"))).max() <= 1:
        return image.convert("RGB")  # sRGB itself, as most profiles are: no rounding, no time
    return transform.apply(image)


def _difference(a: Image.Image, b: Image.Image) -> np.ndarray:
    return np.asarray(a, np.int16) - np.asarray(b, np.int16)


def _probe(mode: str) -> Image.Image | None:
    """Return a picture of colours all over what a mode holds; None for CMYK, which is never sRGB."""
    if mode == "CMYK":
        return None
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 17).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(17, -1, 3))


def profile_of_codes(primaries: int, transfer: int) -> bytes:
    """Return the profile that two code points of ITU-T H.273 stand for.

    B"" for sRGB, and for those that have none (HDR).
    """
    if primaries not in _PRIMARIES or transfer not in _GAMMAS:
        return b""
    return matrix_profile(_GAMMAS[transfer], (*_D65, *_PRIMARIES[primaries]))


def matrix_profile(gamma: float | None = None, chromaticities: Sequence[float] = (*_D65, *_SRGB)) -> bytes:
    """Write the ICC profile of an RGB space.

    Args:
        gamma: Light is value ** gamma; None: sRGB's curve.
        chromaticities: x and y of white, red, green and blue.

    Returns:
        The profile; b"" where the numbers describe no colour space.
    """
    xy = np.array(chromaticities, float).reshape(4, 2)
    if not np.isfinite(xy).all() or (xy[:, 1] <= 0).any() or (gamma is not None and not 0.1 <= gamma <= 10):
        return b""
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in xy)
    matrix = np.array(primaries).T
    if abs(np.linalg.det(matrix)) < 1e-6:
        return b""
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    to_d50 = np.linalg.solve(_BRADFORD, cones[:, None] * _BRADFORD)
    columns = (to_d50 @ (matrix * np.linalg.solve(matrix, white))).T
    parameters = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045) if gamma is None else (gamma,)
    curve = b"para" + struct.pack(">IHH", 0, 3 if gamma is None else 0, 0) + _fixed(parameters)
    tags = {b"wtpt": _xyz(_D50)}
    for name, column in zip(b"rgb", columns, strict=True):
        tags |= {bytes([name]) + b"XYZ": _xyz(column), bytes([name]) + b"TRC": curve}
    return _pack(tags)


def _fixed(values: Sequence[float] | np.ndarray) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(float(v) * 65536) for v in values))


def _xyz(values: Sequence[float] | np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _pack(tags: dict[bytes, bytes]) -> bytes:
    """Write a display profile (ICC.1:2010, version 4.3) of these tags."""
    body, table, start = b"", struct.pack(">I", len(tags)), 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    kinds = struct.pack(">II", 0, 0x04300000) + b"mntrRGB XYZ "
    header = struct.pack(">I", start + len(body)) + kinds + bytes(12) + b"acsp" + bytes(28) + _fixed(_D50)
    return header.ljust(128, b"\0") + table + body
