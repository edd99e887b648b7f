"""The network and the module as a row of blocks: each leads to its step, the one that is shown is lit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from ...lesson.steps import STEPS

_HERE = Path(__file__).parent
_SHORT = {
    "why": "Picture",
    "channels": "Channels",
    "subspaces": "Split",
    "depthwise": "DW",
    "batchnorm": "BN",
    "relu": "ReLU",
    "max-pool": "Max-pool",
    "pointwise": "PW",
    "map-batchnorm": "BN",
    "map-relu": "ReLU",
    "softmax": "Softmax",
    "gain": "1 + A",
    "output": "×",
    "groups": "g",
    "positions": "Position",
    "cost": "Cost",
    "reading": "Reading",
}


@st.cache_resource
def _component() -> Any:
    return st.components.v2.component(
        "ulsam_viz_diagram",
        html='<nav aria-label="Steps of the lesson"></nav>',
        css=(_HERE / "diagram.css").read_text(encoding="utf-8"),
        js=(_HERE / "diagram.js").read_text(encoding="utf-8"),
    )


def show_diagram(current: str, on_step: Callable[[str], None], *, normalised: bool = False) -> None:
    """Mount the blocks; ``on_step`` gets the id of the step whose block was clicked, before the page runs again.

    Args:
        current: Id of the step that is shown.
        on_step: Called with an id of :data:`~ulsam_viz.lesson.steps.STEPS`.
        normalised: Whether the network has the normalised gain.
    """
    names = _SHORT | ({"gain": "½(1 + HWA)"} if normalised else {})

    def take() -> None:
        chosen = getattr(st.session_state.get("diagram"), "step", None)
        if chosen in _SHORT:
            on_step(chosen)

    chapters: dict[str, list[dict[str, str]]] = {}
    for step in STEPS:
        chapters.setdefault(step.chapter, []).append({"id": step.id, "name": names[step.id], "title": step.title})
    _component()(data={"chapters": list(chapters.items()), "current": current}, key="diagram", on_step_change=take)
