"""How every page begins: its style beside the theme, and the zoo or the reason why there is none."""

from __future__ import annotations

import time

import streamlit as st

from ...zoo import CheckpointError, Variant, list_variants
from .address import walk_by_history
from .pictures import send_pictures_again
from .session import asked

_STYLE = """
<style>
.stMainBlockContainer { padding: 3.9rem 1.5rem 3rem; max-width: none; }
[data-testid="stSidebar"] h3 { padding: 0.4rem 0 0; font-size: 1rem; }
.st-key-history { display: none; }
.ulsam-card { font-size: 13px; line-height: 1.55; font-variant-numeric: tabular-nums; }
.ulsam-card td { padding: 1px 14px 1px 0; border: 0; vertical-align: top; }
.ulsam-card td:first-child { opacity: 0.7; white-space: nowrap; }
/* Streamlit's own faded text and the dark theme's primary button have less contrast than WCAG AA asks for. */
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] * { color: inherit !important; }
[data-testid="stCaptionContainer"] { opacity: 0.82; }
[data-testid^="stBaseButton"] kbd { color: inherit !important; opacity: 1 !important; }
[data-testid="stBaseButton-primary"] * { color: light-dark(#ffffff, #12171b) !important; }
.stMarkdown .katex-display { overflow-x: auto; overflow-y: hidden; padding: 2px 0; }
.ulsam-grids { display: flex; flex-wrap: wrap; gap: 14px; }
.ulsam-grid { border-collapse: separate; border-spacing: 2px; font-size: 12px; font-variant-numeric: tabular-nums; }
.ulsam-grid caption { text-align: left; font-size: 12px; padding-bottom: 2px; }
.ulsam-grid caption span { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px; }
.ulsam-grid td { min-width: 44px; height: 30px; text-align: center; border: 0; border-radius: 2px; padding: 0 3px; }
@media (max-width: 640px) { .stMainBlockContainer { padding: 3.2rem 0.9rem 2rem; } }
</style>
"""


_TIME_TO_DRAW = 0.8  # seconds


def let_the_browser_draw() -> None:
    """On a visitor's first run, pause for what was sent to be drawn, before the first chart is.

    Results come from caches so fast that a browser would load and start the chart library, 4.7 MB, before it draws anything:
    maps were on the screen after 3.2 s without this pause, after 1.5 s with it.
    """
    if st.context.headers and "drawn" not in st.session_state:  # without headers there is no browser
        st.session_state["drawn"] = True
        time.sleep(_TIME_TO_DRAW)


def open_page(name: str) -> list[Variant]:
    """Begin a page; return the trained variants, or end it with the reason why there are none."""
    st.html(_STYLE)
    send_pictures_again()
    walk_by_history()
    asked().begin()
    if st.session_state.get("page") != name:
        st.session_state["page"] = name
        asked().let_go()  # what another page asked for, this one does not wait for
    try:
        variants = list_variants()
    except CheckpointError as error:
        st.error(f"There is nothing to show: {error}")
        st.stop()
    if not variants:
        st.error("There is nothing to show: the manifest names no trained variant.")
        st.stop()
    return variants


def end_page() -> None:
    """End a page with the number of this run, which cannot be seen: a browser that is driven can wait for the next one."""
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    st.html(f'<span data-run="{st.session_state["runs"]}"></span>')
