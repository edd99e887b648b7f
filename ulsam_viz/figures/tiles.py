"""Maps drawn over the picture: small RGB tiles for the page and for exports."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .colours import DIVERGING, colour_table, rgb


@dataclass(frozen=True)
class Display:
    """How maps are drawn; changing it recomputes nothing.

    Attributes:
        colours: Name of the sequential colour scale.
        opacity: Of the map over the picture, 0 to 1.
        smooth: Interpolate between cells; otherwise every cell is drawn as it is.
    """

    colours: str = "viridis"
    opacity: float = 0.65
    smooth: bool = False


def resize_map(values: np.ndarray, size: int, *, smooth: bool) -> np.ndarray:
    """Enlarge a map (H, W) to (size, size): bilinear, or cell by cell."""
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((size, size), method))


def attention_tile(pixels: np.ndarray, fractions: np.ndarray, display: Display) -> np.ndarray:
    """Draw one map over the picture.

    Args:
        pixels: The crop, shape (S, S, 3), uint8.
        fractions: Positions on the colour scale, shape (H, W), in [0, 1].
        display: Colours, opacity, smoothing.

    Returns:
        Shape (S, S, 3), uint8. The picture under the map is grey, so colour means attention only.
    """
    large = resize_map(fractions, len(pixels), smooth=display.smooth)
    coloured = colour_table(display.colours)[np.clip(large * 255, 0, 255).round().astype(np.uint8)]
    return _mix(grey(pixels), coloured, np.float32(display.opacity))


def attribution_tile(
    pixels: np.ndarray, values: np.ndarray, limit: float, display: Display, *, signed: bool
) -> np.ndarray:
    """Draw one attribution over the picture, on a scale that is symmetrical about 0 where it is signed.

    Args:
        pixels: The crop, shape (S, S, 3), uint8.
        values: Shape (H, W).
        limit: Value at the end of the colour scale; larger ones are clipped.
        display: Opacity; colours for magnitudes.
        signed: Red speaks for the class, blue against; otherwise the sequential scale.
    """
    large = resize_map(values, len(pixels), smooth=display.smooth) if len(values) != len(pixels) else values
    fractions = np.clip(large / limit, -1, 1) if limit > 0 else np.zeros_like(large)
    strength = np.abs(fractions).astype(np.float32)
    table = colour_table(DIVERGING if signed else display.colours)
    index = (fractions + 1) / 2 if signed else fractions
    coloured = table[np.clip(index * 255, 0, 255).round().astype(np.uint8)]
    # Near 0 a signed map shows the picture, not the colour scale's white middle.
    alpha = display.opacity * (np.sqrt(strength) if signed else 1.0)
    return _mix(grey(pixels), coloured, np.asarray(alpha, np.float32)[..., None] if signed else np.float32(alpha))


def blend_tile(pixels: np.ndarray, relative: np.ndarray, hues: list[str], display: Display) -> np.ndarray:
    """Colour each place by the subspace that attends to it most, the stronger the more opaque.

    Args:
        pixels: The crop, shape (S, S, 3), uint8.
        relative: Maps in multiples of uniform, shape (g, H, W).
        hues: Each subspace's colour.
        display: Opacity, smoothing.

    Returns:
        Shape (S, S, 3), uint8. Where no subspace exceeds uniform, the grey picture shows.
    """
    large = np.stack([resize_map(m, len(pixels), smooth=display.smooth) for m in relative])
    winner, strength = large.argmax(0), large.max(0)
    coloured = np.array([rgb(h) for h in hues], np.uint8)[winner]
    alpha = display.opacity * np.clip((strength - 1) / 3, 0, 1)
    return _mix(grey(pixels), coloured, alpha[..., None].astype(np.float32))


def value_tile(
    values: np.ndarray, display: Display, *, side: int = 160, ends: tuple[float, float] | None = None
) -> np.ndarray:
    """Draw one map's values by themselves, cell by cell, from the smallest to the largest.

    About 0 where some are negative.

    Args:
        values: Shape (H, W).
        display: Colours for values without a sign.
        side: Of the result, in pixels.
        ends: Of the colours, in place of the values' own.

    Returns:
        Shape (side, side, 3), uint8.
    """
    low, high = ends or value_range(values)
    fractions = (values - low) / (high - low) if high > low else np.zeros_like(values)
    table = colour_table(DIVERGING if low < 0 else display.colours)
    return table[np.clip(resize_map(fractions, side, smooth=False) * 255, 0, 255).round().astype(np.uint8)]


def value_range(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the colour scale of :func:`value_tile`."""
    low, high = float(values.min()), float(values.max())
    if low < 0:
        return -max(-low, high), max(-low, high)
    return low, high


def mosaic(maps: np.ndarray, display: Display, *, least_side: int = 160) -> np.ndarray:
    """Draw many maps (n, H, W) side by side on one colour scale, with gaps, in a nearly square grid.

    Returns:
        Shape (rows, columns, 3), uint8, at least ``least_side`` pixels wide.
    """
    n, height, width = maps.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, 3), 255, np.uint8)
    low, high = value_range(maps)
    table = colour_table(DIVERGING if low < 0 else display.colours)
    index = np.clip((maps - low) / max(high - low, 1e-12) * 255, 0, 255).round().astype(np.uint8)
    for i, cells in enumerate(table[index]):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        sheet[top : top + height, left : left + width] = cells
    times = math.ceil(least_side / sheet.shape[1])
    return sheet.repeat(times, 0).repeat(times, 1)


def attribution_limit(values: np.ndarray) -> float:
    """Return the end of an attribution's colour scale.

    The 99.5th percentile of magnitudes, so one pixel does not set it.
    """
    return float(np.percentile(np.abs(values), 99.5))


def block_means(values: np.ndarray, side: int) -> np.ndarray:
    """Average (S, S) values over equal blocks to (side, side); S must be a multiple of ``side``."""
    block = len(values) // side
    if block * side != len(values):
        raise ValueError(f"{side} does not divide {len(values)}")
    return values.reshape(side, block, side, block).mean((1, 3))


def data_uri(pixels: np.ndarray, *, quality: int = 85) -> str:
    """Encode an RGB array as a JPEG data URI (a quarter of the PNG's bytes)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def grey(pixels: np.ndarray) -> np.ndarray:
    """Take the colours out of a picture (S, S, 3), so that a map over it has all the colour; float32, 0 to 255."""
    return np.repeat((pixels @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], 3, -1)


def _mix(under: np.ndarray, over: np.ndarray, alpha: np.ndarray | np.float32) -> np.ndarray:
    return (under * (1 - alpha) + over * alpha).round().astype(np.uint8)
