"""Which pixels make a map."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ....analysis.methods import METHODS
from ....figures.drawing import draw_attribution
from ....figures.tiles import attribution_limit
from ....questions.view import source
from ...run.requests import answer, asked_of
from ...run.scene import Scene
from ...run.state import keep
from ...widgets.tiles import Tile, show_tiles


def show_sources(scene: Scene, number: int, k: int) -> None:
    """Ask which pixels make subspace k of a layer attend where it does."""
    maps = scene.attention.maps[number]
    height, width = maps.shape[1:]
    peak_row, peak_column = np.unravel_index(int(maps[k].argmax()), (height, width))
    left, right = st.columns([1, 1.4], gap="medium")
    with left:
        method = st.selectbox(
            "Method",
            list(METHODS),
            index=list(METHODS).index("saliency"),
            format_func=lambda m: METHODS[m].label,
            key=keep("source-method"),
        )
        at_peak = st.toggle("At its highest place", value=True, key=keep("source-peak"))
        row, column = int(peak_row), int(peak_column)
        if not at_peak:
            row = int(st.number_input("Row", 0, height - 1, min(row, height - 1), key="source-row"))
            column = int(st.number_input("Column", 0, width - 1, min(column, width - 1), key="source-column"))
    name, work = source(asked_of(scene), number, k, method, (row, column))
    result = answer(scene, name, f"{METHODS[method].label} of the attention", work)
    if result is None:
        return
    with right:
        limit = attribution_limit(result.values)
        show_tiles(
            [
                Tile(
                    "source",
                    METHODS[method].label,
                    note=result.note,
                    drawing=draw_attribution(result.values, limit, scene.crop, signed=result.signed, block=4),
                )
            ],
            width=260,
            key="source",
        )
        st.caption(
            f"Which pixels make subspace {k + 1} attend to row {row}, column {column}, where it is "
            f"{maps[k][row, column] * height * width:.2f} times uniform. No class is asked for here. Pixels far away "
            "can matter: the softmax compares all places. " + result.warning
        )
