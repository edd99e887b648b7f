"""How maps are drawn: the browser changes it at once, the session and the address follow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from ...figures.colours import SCALES, SEQUENTIAL
from ...figures.tiles import Display
from ..run.address import say_missing
from ..run.scene import View
from ..widgets import script

_HERE = Path(script.__file__).parent
_DEFAULT: Mapping[str, Any] = {
    "scale": "uniform",
    "colours": "viridis",
    "opacity": 0.65,
    "smooth": False,
    "blend": False,
}
_STATE = "display"


def current_view() -> View:
    """Return how maps are drawn, as the address says where that is new, else as the visitor last chose."""
    state = st.session_state
    asked = {name: st.query_params[name] for name in _DEFAULT if name in st.query_params}
    if _STATE not in state or asked != state["display_written"]:  # the page was opened, or the visitor went back
        changes = state[_STATE]["changes"] + 1 if _STATE in state else 0
        state[_STATE] = {name: _valid(name, asked.get(name)) for name in _DEFAULT} | {"changes": changes}
        _write_address()
        for name in ("scale", "colours"):
            if name in asked and asked[name] != state[_STATE][name]:
                say_missing(
                    f"There are no {name} “{asked[name]}”"
                    if name == "colours"
                    else f"There is no {name} “{asked[name]}”"
                )
    chosen = state[_STATE]
    return View(chosen["scale"], chosen["blend"], Display(chosen["colours"], chosen["opacity"], chosen["smooth"]))


@st.fragment
def show_view(*, blend: bool = True) -> None:
    """Show the button that opens the controls; ``blend`` where there is a picture that it shows."""
    current_view()
    chosen = st.session_state[_STATE]
    _component()(
        data={
            "display": {name: chosen[name] for name in _DEFAULT},
            "changes": chosen["changes"],
            "scales": list(SCALES.items()),
            "colours": [(name, name) for name in SEQUENTIAL],
            "blend": blend,
        },
        key="view",
        on_display_change=_take,
    )


@st.cache_resource
def _component() -> Any:
    return st.components.v2.component(
        "ulsam_viz_view",
        html='<div class="view"></div>',
        css=(_HERE / "view.css").read_text(encoding="utf-8"),
        js=script.script("view.js"),
    )


def _take() -> None:
    told = getattr(st.session_state.get("view"), "display", None)
    if not isinstance(told, Mapping):
        return
    changes = told.get("changes")
    if isinstance(changes, int | float):
        st.session_state[_STATE] = {name: _valid(name, told.get(name)) for name in _DEFAULT} | {"changes": int(changes)}
        _write_address()


def _write_address() -> None:
    """Let the address say what differs from the defaults."""
    chosen = st.session_state[_STATE]
    for name, default in _DEFAULT.items():
        if chosen[name] != default:
            st.query_params[name] = str(chosen[name]).lower() if isinstance(default, bool) else str(chosen[name])
        elif name in st.query_params:
            del st.query_params[name]
    st.session_state["display_written"] = {name: st.query_params[name] for name in _DEFAULT if name in st.query_params}


def _valid(name: str, wish: Any) -> Any:
    """Return a wish that comes from outside, or the default where there is no such thing."""
    default = _DEFAULT[name]
    if name == "opacity":
        try:
            value = float(wish)
        except (TypeError, ValueError):
            return default
        return round(min(max(value, 0.0), 1.0), 2) if math.isfinite(value) else default
    if isinstance(default, bool):
        return default if wish is None else str(wish).lower() == "true"
    return wish if wish in (SCALES if name == "scale" else SEQUENTIAL) else default
