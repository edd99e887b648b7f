"""The choice of a theme on every page; Streamlit's own is two dialogs deep, or missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from ..navigation import PATHS

_HERE = Path(__file__).parent


@st.cache_resource
def _component() -> Any:
    return st.components.v2.component(
        "ulsam_viz_theme",
        html='<label class="theme" title="Theme"><span aria-hidden="true">◐</span><select '
        'aria-label="Theme"></select></label>',
        css=(_HERE / "theme.css").read_text(encoding="utf-8"),
        js=(_HERE / "theme.js").read_text(encoding="utf-8"),
    )


def show_theme() -> None:
    """Mount the choice at the top right of the window."""
    with st.container(key="theme"):
        _component()(data={"pages": PATHS}, key="theme-choice")
