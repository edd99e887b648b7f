"""Scale values of more than 8 bits, or floats, to 8 bits, and say so where that was a choice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_ROWS = 64  # at a time: a large picture would need its memory many times over


def to_eight_bits(values: np.ndarray, bits: int = 16) -> tuple[np.ndarray, str]:
    """Scale values to 0 ... 255.

    A usual range (0 to 1 for floats, 0 to 255, 0 to 65535, or what the bits hold) is taken where the values fill at
    least a quarter of it. Others are shown from their least to their largest: 12-bit data in 16 bits would be nearly
    black.

    Args:
        values: Whole numbers or floats, of any shape from two axes on.
        bits: Of each value, where these are unsigned.

    Returns:
        uint8 of the same shape, and the sentence for the visitor; "" where a usual range was taken.
    """
    if values.dtype == np.uint8:
        return values, ""
    low, high = _range(values)
    usual = next((top for top in _usual(values.dtype, bits) if low >= 0 and top / 4 <= high <= top), None)
    if usual is None and (low == high or not np.isfinite(high - low)):
        usual = float(2**bits - 1)  # a plain area has no range to show
    first, last = (low, high) if usual is None else (0.0, float(usual))
    scaled = _scale(values, first, last)
    return (
        scaled,
        ""
        if usual is not None
        else f"The picture's values reach from {low:g} to {high:g}, and are shown over that range.",
    )


def full_range(values: np.ndarray, bits: int = 16) -> np.ndarray:
    """Scale opacities, from 0 to what the bits hold, or to 1 for floats, to 0 ... 255."""
    return _scale(values, 0, 1 if values.dtype.kind == "f" else 2**bits - 1)


def _usual(dtype: np.dtype, bits: int) -> tuple[float, ...]:
    if dtype.kind == "u" and bits <= 16:
        return (2**bits - 1,)
    return (1, 255, 65535) if dtype.kind == "f" else (255, 65535) if bits > 16 else (127,) if bits == 8 else (255,)


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    return (values[i : i + _ROWS] for i in range(0, len(values), _ROWS))


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the least and the largest value; NaN and infinity are none."""
    if values.dtype.kind != "f":
        return float(values.min()), float(values.max())
    lows, highs = [], []
    for block in _blocks(values):
        finite = block[np.isfinite(block)]
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    return min(lows, default=0.0), max(highs, default=0.0)


def _scale(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if values.dtype == np.uint16:  # a table of all values is faster
        return _levels(np.arange(65536), low, high)[values]
    scaled = np.empty(values.shape, np.uint8)
    for block, into in zip(_blocks(values), _blocks(scaled), strict=True):
        into[...] = _levels(block, low, high)
    return scaled


def _levels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    known = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    return (np.clip((known - low) / max(high - low, 1e-300), 0, 1) * 255).round().astype(np.uint8)
