"""A pause in which the browser draws what it has."""

from __future__ import annotations

import time

import streamlit as st

_PAUSE = 0.5  # seconds


def let_the_browser_draw() -> None:
    """On a visitor's first run, pause for what was sent to be drawn, before what keeps the browser or the server busy.

    That is the chart library, 4.7 MB, which a browser would load and start before it draws anything, and on a fresh
    server the import of torch, during which no other thread can send.
    """
    if st.context.headers and "drawn" not in st.session_state:  # without headers there is no browser
        st.session_state["drawn"] = True
        time.sleep(_PAUSE)
