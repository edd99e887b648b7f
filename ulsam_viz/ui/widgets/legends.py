"""Colour scales with their ticks, as the tiles' script draws them above a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...figures.colours import Scaled


@dataclass(frozen=True)
class Legend:
    """The scale of a row of tiles.

    Attributes:
        scales: Ticks (position in [0, 1], label) and unit by scale; ``""`` for one that is always shown.
        signed: Blue to red, instead of the chosen colours.
    """

    scales: Mapping[str, tuple[list[tuple[float, str]], str]]
    signed: bool = False


def map_legend(scales: Mapping[str, Scaled]) -> Legend:
    """Return the legend of maps that are shown on whichever of these scales is chosen; ``""`` for one alone."""
    mark = {"× uniform": " (1 = no preference)"}
    return Legend({name: (s.ticks, s.unit + mark.get(s.unit, "")) for name, s in scales.items()})


def signed_legend(meaning: str) -> Legend:
    """Return the legend of signed maps, blue to red; ``meaning`` names both ends."""
    return Legend({"": ([(0.0, "−"), (0.5, "0"), (1.0, "+")], meaning)}, signed=True)
