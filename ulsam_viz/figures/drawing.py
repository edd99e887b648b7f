"""What a tile shows, apart from how: drawn by the page's script, and by :func:`paint` for files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..images.preprocessing import Crop
from .colours import Scaled
from .tiles import Display, attention_tile, attribution_tile, blend_tile, value_tile

#: ``map``: on a scale, over the picture. ``signed`` and ``magnitude``: up to ``limit``, over the picture. ``blend``:
#: the strongest of several. ``values``: by themselves. ``picture``: nothing over it.
Kind = Literal["map", "signed", "magnitude", "blend", "values", "picture"]


@dataclass(frozen=True)
class Reading:
    """One map on one scale: ``offset + factor * value`` is shown, on colours from ``low`` to ``high``."""

    factor: float
    offset: float
    low: float
    high: float
    unit: str
    logarithmic: bool


@dataclass(frozen=True)
class Drawing:
    """One tile's numbers, and what they are.

    Attributes:
        kind: How they are drawn.
        values: Shape (H, W); for ``blend`` the maps in multiples of uniform, (g, H, W); nothing for ``picture``.
        picture: What lies below.
        readings: Of a ``map``, by scale; under ``""`` for one that is always shown on the same scale.
        limit: End of the colours of ``signed`` and ``magnitude``.
        ends: Of the colours of ``values``, where they are not the values' own.
        hues: Of ``blend``: each subspace's colour.
        unit: Behind a value that is read; ``"signed"`` writes its sign instead. A ``map`` has its readings' units.
        block: Values are read as means of so many places a side.
    """

    kind: Kind
    values: np.ndarray
    picture: Crop | None = None
    readings: Mapping[str, Reading] | None = None
    limit: float = 0.0
    ends: tuple[float, float] | None = None
    hues: tuple[str, ...] = ()
    unit: str = ""
    block: int = 1


def draw_map(scales: Mapping[str, Scaled], k: int, picture: Crop) -> Drawing:
    """Return map k of a layer over the picture; ``scales`` as from :func:`~ulsam_viz.figures.colours.all_scales`."""
    readings = {
        name: Reading(_at(s.factor, k), _at(s.offset, k), s.low, s.high, s.unit, s.logarithmic)
        for name, s in scales.items()
    }
    return Drawing("map", next(iter(scales.values())).maps[k], picture, readings)


def draw_attribution(values: np.ndarray, limit: float, picture: Crop, *, signed: bool, block: int = 1) -> Drawing:
    """Return values (H, W) over the picture, on a scale that is symmetrical about 0 where they are signed."""
    kind: Kind = "signed" if signed else "magnitude"
    return Drawing(kind, values, picture, limit=limit, unit="signed" if signed else "", block=block)


def draw_picture(picture: Crop) -> Drawing:
    """Return the picture itself."""
    return Drawing("picture", np.empty((0, 0), np.float32), picture)


def draw_values(values: np.ndarray, ends: tuple[float, float] | None = None) -> Drawing:
    """Return a map's values (H, W) by themselves, from the smallest to the largest; about 0 where some are negative.

    ``ends`` of the colours in place of these, where several maps are compared; from
    :func:`~ulsam_viz.figures.tiles.value_range`.
    """
    return Drawing("values", values, ends=ends)


def paint(drawing: Drawing, display: Display, scale: str = "uniform") -> np.ndarray:
    """Draw a tile as the page does, shape (S, S, 3), uint8; ``scale`` is one of its readings'."""
    values, pixels = drawing.values, drawing.picture.pixels if drawing.picture else np.empty((0, 0, 3), np.uint8)
    if drawing.kind == "values":
        return value_tile(values, display, ends=drawing.ends)
    if drawing.kind == "picture":
        return pixels
    if drawing.kind == "blend":
        return blend_tile(pixels, values, list(drawing.hues), display)
    if drawing.kind != "map":
        return attribution_tile(pixels, values, drawing.limit, display, signed=drawing.kind == "signed")
    assert drawing.readings
    r = drawing.readings.get(scale) or drawing.readings[""]
    scaled = Scaled(values[None], r.low, r.high, r.unit, r.factor, r.offset, r.logarithmic)
    return attention_tile(pixels, scaled.fractions[0], display)


def _at(per_map: np.ndarray | float, k: int) -> float:
    return float(per_map[k].item()) if isinstance(per_map, np.ndarray) else float(per_map)
