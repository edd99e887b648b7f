"""A rectangle of the picture, drawn on it or set by sliders: one state, which lives in the address."""

from __future__ import annotations

import streamlit as st

from ..analysis.faithfulness import Box
from ..figures.tiles import data_uri
from .scene import Scene
from .tiles import Tile, show_tiles


def choose_box(scene: Scene, name: str, heading: str, start: tuple[int, int]) -> Box:
    """Let the visitor choose a rectangle of the crop, at least one pixel large.

    Args:
        scene: The view.
        name: Begins the names of the state: ``{name}-rows`` and ``{name}-columns``.
        heading: What the rectangle is for.
        start: First and last row, and column, at the beginning.
    """
    side = scene.variant.input_size
    picture = st.container()
    rows = st.slider("Rows", 0, side, start, key=f"{name}-rows", bind="query-params")
    columns = st.slider("Columns", 0, side, start, key=f"{name}-columns", bind="query-params")
    top, left = min(rows[0], side - 1), min(columns[0], side - 1)
    box = Box(top, left, max(rows[1], top + 1), max(columns[1], left + 1))
    with picture:
        show_tiles(
            [
                Tile(
                    name,
                    heading,
                    note="draw with the pointer, or move the sliders",
                    source=data_uri(scene.crop.pixels),
                    ask="box",
                    mark=(top / side, left / side, (box.bottom - top) / side, (box.right - left) / side),
                )
            ],
            width=224,
            key=f"{name}-picture",
            on_box=lambda: _take(name, side),
        )
    return box


def _take(name: str, side: int) -> None:
    """Take a drawn rectangle over into the sliders, which the address knows."""
    drawn = getattr(st.session_state.get(f"{name}-picture"), "boxed", None)
    if drawn:
        top, left, bottom, right = (round(min(max(float(v), 0), 1) * side) for v in drawn["box"])
        st.session_state[f"{name}-rows"], st.session_state[f"{name}-columns"] = (top, bottom), (left, right)
