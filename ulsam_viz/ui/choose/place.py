"""One subspace, large: which one is looked at, its map, and its numbers."""

from __future__ import annotations

import re
from typing import Literal

import streamlit as st

from ..run.kept import keep
from ..run.scene import Scene


def subspace_name(number: int, k: int) -> str:
    """Name subspace k (from 0) of a layer as the page and the address do."""
    return f"layer {number}, subspace {k + 1}"


def select(key: str) -> None:
    """Take a click on a tile over into the control that the address knows."""
    selected = getattr(st.session_state.get(key), "selected", None)
    if selected and re.fullmatch(r"\d+\.\d+", selected):
        number, _, k = selected.partition(".")
        st.session_state["subspace"] = subspace_name(int(number), int(k))


def selection(scene: Scene) -> tuple[int, int]:
    """Return (layer, index) of the subspace that is looked at, the first where the wish does not exist here."""
    wish = st.session_state.get("subspace") or st.query_params.get("subspace", "")
    places = [(number, k) for number, maps in scene.attention.maps.items() for k in range(len(maps))]
    return next((place for place in places if subspace_name(*place) == wish), places[0])


def choose_subspace(scene: Scene, *, label_visibility: Literal["visible", "collapsed"] = "visible") -> tuple[int, int]:
    """Show the control, and return (layer, index)."""
    places = {subspace_name(n, i): (n, i) for n, maps in scene.attention.maps.items() for i in range(len(maps))}
    st.session_state["subspace"] = subspace_name(*selection(scene))
    chosen = st.selectbox("Subspace", list(places), key=keep("subspace"), bind="query-params", label_visibility=label_visibility)
    return places[chosen]
