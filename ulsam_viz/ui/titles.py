"""The app's pages, by title: for the navigation, and for what leads from one to another. It needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import streamlit as st
from streamlit.navigation.page import StreamlitPage

TITLES = ("Inspect", "Compare", "Learn", "Evidence", "Dataset")


def app_pages() -> list[StreamlitPage]:
    """Return the pages in order.

    Their functions run as part of the app's script, not as scripts of their own: Streamlit takes what another script's controls
    wrote out of the address when the page changes, and Back would find it gone.
    """
    return [st.Page(lambda: None, title=title, url_path=title.lower(), default=title == TITLES[0]) for title in TITLES]


def go_to(title: str, address: Mapping[str, str]) -> NoReturn:
    """Leave this run for another page, as if its address had been opened."""
    st.switch_page(app_pages()[TITLES.index(title)], query_params=dict(address))
