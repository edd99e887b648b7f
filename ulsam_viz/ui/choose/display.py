"""How maps are drawn."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from ...figures.colours import SCALES, SEQUENTIAL
from ...figures.tiles import Display
from ..run.kept import keep
from ..run.scene import View

_BIND: Literal["query-params"] = "query-params"


def choose_view() -> View:
    """Show the display controls."""
    st.subheader("Display", help="Changes how results are drawn; nothing is computed again.")
    scale = st.selectbox(
        "Scale of the maps",
        list(SCALES),
        key=keep("scale"),
        bind=_BIND,
        format_func=SCALES.__getitem__,
        help="× uniform: 1 means no preference, one scale for all maps. Raw: the softmax values. Gain: what features are multiplied by. "
        "Min-max stretches each map by itself and so invents contrast.",
    )
    colours = st.selectbox("Colours", SEQUENTIAL, key=keep("colours"), bind=_BIND, help="All are perceptually uniform.")
    opacity = st.slider("Opacity of the map", 0.0, 1.0, 0.65, 0.05, key=keep("opacity"), bind=_BIND)
    smooth = st.toggle(
        "Smooth",
        key=keep("smooth"),
        bind=_BIND,
        help="Interpolates between cells. Off shows each cell of the network's grid as it is.",
    )
    blend = st.toggle(
        "Blend view",
        key=keep("blend"),
        bind=_BIND,
        help="Adds one picture a layer, coloured by the subspace that attends most at each place.",
    )
    return View(scale, blend, Display(colours, opacity, smooth))
