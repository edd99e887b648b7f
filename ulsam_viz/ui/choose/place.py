"""Which subspace is looked at: on the tiles, in a control, and in the address."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ..run.address import say_missing, take_all_missing

if TYPE_CHECKING:  # it needs torch, and a click on a map is taken before that is there
    from ..run.scene import Scene

_KEY = "subspace"  # the control's, and in the address
_KEPT = "subspace_opened"  # what was last looked at, on the other pages and where they lead back to


def subspace_name(number: int, k: int) -> str:
    """Name subspace k (from 0) of a layer as the page and the address do."""
    return f"layer {number}, subspace {k + 1}"


def toggle(key: str) -> None:
    """Open the subspace whose tile was clicked, or close it; the control and the address follow."""
    selected = getattr(st.session_state.get(key), "selected", None)
    if selected and re.fullmatch(r"\d+\.\d+", selected):
        number, _, k = selected.partition(".")
        name = subspace_name(int(number), int(k))
        if _wish() == name:
            close()
        else:
            _look_at(name)


def close() -> None:
    """Look at no subspace."""
    st.session_state.pop(_KEPT, None)
    st.query_params.pop(_KEY, None)


def opened(scene: Scene) -> tuple[int, int] | None:
    """Return (layer, index) of the subspace that is looked at, or None."""
    wish = _wish()
    places = [(number, k) for number, maps in scene.attention.maps.items() for k in range(len(maps))]
    return next((place for place in places if subspace_name(*place) == wish), None)


def selection(scene: Scene) -> tuple[int, int]:
    """Return the same, the first subspace where none is looked at or the wish does not exist here."""
    return opened(scene) or (next(iter(scene.attention.maps)), 0)


def say_missing_subspace(scene: Scene, place: DeltaGenerator | None = None) -> None:
    """Say which subspace a new address asks for that the network does not have; it then leaves the address."""
    names = [subspace_name(number, k) for number, maps in scene.attention.maps.items() for k in range(len(maps))]
    for name in take_all_missing(_KEY, names, str):
        close()
        say_missing(f"The network has no “{name}”", place)


def choose_subspace(scene: Scene, *, label_visibility: Literal["visible", "collapsed"] = "visible") -> tuple[int, int]:
    """Show the control, and return (layer, index)."""
    places = {subspace_name(n, i): (n, i) for n, maps in scene.attention.maps.items() for i in range(len(maps))}
    st.session_state[_KEY] = subspace_name(*selection(scene))
    # Not bound to the address: Streamlit leaves out what stands first, and here that differs from looking at none.
    chosen = st.selectbox(
        "Subspace", list(places), key=_KEY, on_change=_follow_control, label_visibility=label_visibility
    )
    return places[chosen]


def _follow_control() -> None:
    _look_at(st.session_state[_KEY])


def _look_at(name: str) -> None:
    st.session_state[_KEPT] = st.query_params[_KEY] = name


def _wish() -> str:
    wish: str = st.query_params.get(_KEY) or st.session_state.get(_KEPT, "")
    return wish
