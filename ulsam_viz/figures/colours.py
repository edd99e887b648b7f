"""Colour scales, subspace hues, and the scales on which attention maps are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from plotly import colors

from ..analysis import measures

SEQUENTIAL = ("viridis", "magma", "inferno", "cividis", "gray")
DIVERGING = "balance"
Scale = Literal["uniform", "raw", "gain", "stretched"]
SCALES: dict[Scale, str] = {
    "uniform": "× uniform",
    "raw": "raw A",
    "gain": "gain",
    "stretched": "min-max (stretched)",
}


@lru_cache
def colour_table(name: str) -> np.ndarray:
    """Return 256 colours of a Plotly colour scale, shape (256, 3), uint8."""
    sampled = colors.sample_colorscale(colors.get_colorscale(name), list(np.linspace(0, 1, 256)), colortype="tuple")
    return (np.array(sampled) * 255).round().astype(np.uint8)


def colour_stops(name: str) -> list[str]:
    """Return 18 evenly spaced colours of a scale as CSS, the first and the last among them: enough for a gradient."""
    return [f"rgb({r},{g},{b})" for r, g, b in colour_table(name)[::15].tolist()]


def subspace_colour(index: int, groups: int) -> str:
    """Return a subspace's own colour, as ``#rrggbb``.

    Hues follow the channels: subspace k of g has the hue of the middle of its channels, so the children that a subspace
    splits into at 2 g stand on both sides of their parent. Lightness is even (OKLCH), so no subspace looks stronger.
    """
    hue = 2 * math.pi * ((index + 0.5) / groups) + 0.35
    lightness, chroma = 0.70, 0.14
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    cubes = (
        (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3,
        (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3,
        (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3,
    )
    matrix = (
        (4.0767416621, -3.3077115913, 0.2309699292),
        (-1.2684380046, 2.6097574011, -0.3413193965),
        (-0.0041960863, -0.7034186147, 1.7076147010),
    )
    linear = [min(max(sum(m * c for m, c in zip(row, cubes, strict=True)), 0.0), 1.0) for row in matrix]
    srgb = [12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in linear]
    return "#" + "".join(f"{round(255 * v):02x}" for v in srgb)


def rgb(colour: str) -> tuple[int, int, int]:
    """Parse ``#rrggbb``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


@dataclass(frozen=True)
class Scaled:
    """Maps of one layer on the scale they are shown on.

    Attributes:
        maps: Shape (g, H, W), as the network made them.
        factor, offset: Shape (g, 1, 1) or a number: what turns a map into ``values``.
        low, high: Ends of the colour scale.
        unit: What the numbers are, for labels.
        logarithmic: Equal ratios are equal steps of colour.
        open_end: Values above ``high`` (on a logarithmic scale, below ``low`` too) have the colour of that end.
    """

    maps: np.ndarray
    low: float
    high: float
    unit: str
    factor: np.ndarray | float = 1.0
    offset: np.ndarray | float = 0.0
    logarithmic: bool = False
    open_end: bool = False

    @property
    def values(self) -> np.ndarray:
        """The maps in ``unit``, shape (g, H, W)."""
        return self.offset + self.factor * self.maps

    @property
    def fractions(self) -> np.ndarray:
        """Positions on the colour scale, clipped to [0, 1]."""
        return self._position(self.values)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Positions and labels for a legend, from the lower end to the upper one; open ends say so."""
        if self.logarithmic:
            exponents = range(round(math.log2(self.low)), round(math.log2(self.high)) + 1, 2)
            marks = [2.0**e for e in sorted({0, *exponents, round(math.log2(self.high))})]
            labels = [f"≤ {marks[0]:g}", *(f"{m:g}" for m in marks[1:])]
        else:
            marks = [self.low, (self.low + self.high) / 2, self.high]
            labels = [f"{m:.4g}" for m in marks]
        if self.open_end:
            labels[-1] = f"≥ {labels[-1]}"
        return list(zip(self._position(np.array(marks)).tolist(), labels, strict=True))

    def _position(self, values: np.ndarray) -> np.ndarray:
        if self.logarithmic:
            return np.clip(np.log2(np.maximum(values, 1e-9) / self.low) / math.log2(self.high / self.low), 0, 1)
        span = self.high - self.low
        return np.clip((values - self.low) / span, 0, 1) if span > 0 else np.zeros_like(values)


def scale_end(maps: np.ndarray) -> float:
    """Return the end of the colours of a layer's maps (..., H, W), in multiples of uniform: the power of two next to H.

    Peaks grow with the grid and with g. In each of the shipped networks, of 112 pictures at most 4, 17, 11 and 20 in
    100 have a peak beyond the end on grids of 7, 14, 28 and 56 places a side, and so many only at g = 16.
    """
    return 2.0 ** round(math.log2(maps.shape[-2]))


def scale_maps(
    attention: Mapping[int, np.ndarray], scale: Scale, *, shared: bool = False, gains: Mapping[int, str] | None = None
) -> dict[int, Scaled]:
    """Put the maps of all layers on one scale.

    ``uniform`` and ``gain`` share one colour scale over all layers and maps. Multiples of uniform are ratios, so their
    scale is logarithmic, from 1/4 to :func:`scale_end`. ``raw`` has one for each layer, since raw values shrink with
    the number of positions. The ends follow from the grids alone, never from the maps: pictures and numbers of
    subspaces compare by eye. ``stretched`` uses each map's own range and invents contrast: a dead map stays flat.

    Args:
        attention: Maps by layer, each (g, H, W), each map summing to 1.
        scale: One of :data:`SCALES`.
        shared: One scale for all of ``raw``, too, where maps of several networks are compared.
        gains: What maps become of features, by layer; as published where nothing is said.
    """
    if scale == "uniform":
        high = max((scale_end(m) for m in attention.values()), default=1.0)
        return {
            n: Scaled(m, 0.25, high, "× uniform", m[0].size, logarithmic=True, open_end=True)
            for n, m in attention.items()
        }
    ends = {n: scale_end(m) / m[0].size for n, m in attention.items()}
    if scale == "gain":
        lines = {
            n: (1.0, 1.0) if (gains or {}).get(n, "published") == "published" else (0.5, m[0].size / 2)
            for n, m in attention.items()
        }
        low = min((offset for offset, _ in lines.values()), default=1.0)
        high = max((offset + factor * ends[n] for n, (offset, factor) in lines.items()), default=1.0)
        return {n: Scaled(m, low, high, "gain", lines[n][1], lines[n][0], open_end=True) for n, m in attention.items()}
    if scale == "raw":
        return {
            n: Scaled(m, 0.0, max(ends.values()) if shared else ends[n], "A", open_end=True)
            for n, m in attention.items()
        }
    stretched = {}
    for number, maps in attention.items():
        low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
        alive = ~measures.is_dead(maps)[:, None, None] & (high > low)
        factor = np.where(alive, 1 / np.where(alive, high - low, 1), 0)
        stretched[number] = Scaled(maps, 0.0, 1.0, "of its own range", factor, -low * factor)
    return stretched


def all_scales(
    attention: Mapping[int, np.ndarray], *, shared: bool = False, gains: Mapping[int, str] | None = None
) -> dict[int, dict[str, Scaled]]:
    """Return the maps of each layer on every scale of :data:`SCALES`; arguments as for :func:`scale_maps`."""
    by_scale = {scale: scale_maps(attention, scale, shared=shared, gains=gains) for scale in SCALES}
    return {number: {scale: scaled[number] for scale, scaled in by_scale.items()} for number in attention}
