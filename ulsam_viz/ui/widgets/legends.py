"""Colour scales with their ticks, as the pages show them above pictures."""

from __future__ import annotations

import streamlit as st

from ...figures.colours import DIVERGING, Scaled, colour_stops


def legend(colours: str, layer: Scaled) -> None:
    """Draw the colour scale with its ticks."""
    ticks = "".join(f'<span style="left:{position:.1%}">{label}</span>' for position, label in layer.ticks)
    mark = " (1 = no preference)" if layer.unit == "× uniform" else ""
    st.html(
        f'<div class="ulsam-legend"><div class="scale"><div class="bar" style="{_gradient(colours)}"></div>{ticks}</div>'
        f"<div>{layer.unit}{mark}</div></div>"
    )


def _gradient(colours: str) -> str:
    return f"background:linear-gradient(90deg,{', '.join(colour_stops(colours))})"


def signed_legend(meaning: str) -> None:
    """Draw the scale of signed maps, blue to red; ``meaning`` names both ends."""
    ticks = '<span style="left:0%">−</span><span style="left:50%">0</span><span style="left:100%">+</span>'
    st.html(
        f'<div class="ulsam-legend"><div class="scale"><div class="bar" style="{_gradient(DIVERGING)}"></div>{ticks}</div><div>{meaning}</div></div>'
    )
