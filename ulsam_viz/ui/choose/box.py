"""A rectangle of the picture, drawn on it or set by sliders: one state, which lives in the address."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ...analysis.faithfulness import Box
from ...figures.drawing import draw_picture
from ...images.preprocessing import ModelInput, Preprocessing
from ..run.scene import Scene
from ..run.state import keep
from ..widgets.tiles import Tile, show_tiles


def choose_box(
    scene: Scene, name: str, heading: str, start: Box, *, of_picture: bool = False, covered: bool = False
) -> Box:
    """Let the visitor choose a rectangle of the crop, at least one pixel large.

    Args:
        scene: The view.
        name: Begins the names of the state: ``{name}-rows`` and ``{name}-columns``.
        heading: What the rectangle is for.
        start: The rectangle at the beginning.
        of_picture: Begin again with each picture; otherwise the rectangle stays when the picture changes.
        covered: Show the picture with the rectangle covered.
    """
    side = scene.variant.input_size
    picture = st.container()
    if of_picture and st.session_state.get(f"{name}-of") not in (None, scene.crop.key):
        st.session_state[f"{name}-rows"], st.session_state[f"{name}-columns"] = (
            (start.top, start.bottom),
            (start.left, start.right),
        )
    st.session_state[f"{name}-of"] = scene.crop.key
    rows = st.slider("Rows", 0, side, (start.top, start.bottom), key=keep(f"{name}-rows"), bind="query-params")
    columns = st.slider("Columns", 0, side, (start.left, start.right), key=keep(f"{name}-columns"), bind="query-params")
    top, left = min(rows[0], side - 1), min(columns[0], side - 1)
    box = Box(top, left, max(rows[1], top + 1), max(columns[1], left + 1))
    with picture:
        show_tiles(
            [
                Tile(
                    name,
                    heading,
                    note="draw with the pointer, or move the sliders",
                    drawing=draw_picture(
                        cover(scene.crop, box, scene.variant.preprocessing) if covered else scene.crop
                    ),
                    role="picture",
                    ask="box",
                    mark=(top / side, left / side, (box.bottom - top) / side, (box.right - left) / side),
                )
            ],
            width=224,
            key=f"{name}-picture",
            on_box=lambda: _take(name, side),
        )
    return box


def cover(crop: ModelInput, box: Box, preprocessing: Preprocessing) -> ModelInput:
    """Return the picture with a rectangle in the colour that is 0 to the network: the mean of the normalisation."""
    pixels, tensor = crop.pixels.copy(), crop.tensor.clone()
    pixels[box.top : box.bottom, box.left : box.right] = np.round(255 * np.array(preprocessing.mean))
    tensor[:, :, box.top : box.bottom, box.left : box.right] = 0
    return ModelInput(pixels, f"{crop.key}, {box} covered", tensor)


def _take(name: str, side: int) -> None:
    """Take a drawn rectangle over into the sliders, which the address knows."""
    drawn = getattr(st.session_state.get(f"{name}-picture"), "boxed", None)
    if drawn:
        top, left, bottom, right = (round(min(max(float(v), 0), 1) * side) for v in drawn["box"])
        st.session_state[f"{name}-rows"], st.session_state[f"{name}-columns"] = (top, bottom), (left, right)
