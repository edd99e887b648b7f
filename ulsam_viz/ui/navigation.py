"""The app's pages, by title: for the navigation, and for what leads from one to another. It needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NoReturn

import streamlit as st
from streamlit.navigation.page import StreamlitPage

#: The one list of pages; the first is the app's own address.
TITLES = ("Inspect", "Compare", "Learn", "Evidence", "Dataset")
#: Below the app's address, in their order. The last is no page of its own: older addresses call the first one so.
PATHS = ("", *(title.lower() for title in TITLES[1:]), TITLES[0].lower())


def app_pages() -> list[StreamlitPage]:
    """Return the pages in order.

    Their functions run as part of the app's script, not as scripts of their own: Streamlit takes what another script's
    controls wrote out of the address when the page changes, and Back would find it gone.
    """
    return [_page(title, path) for title, path in zip(TITLES, PATHS, strict=False)]


def current_title() -> str:
    """Show the navigation, and return the title of the page that the address opens."""
    older = _page(TITLES[0], PATHS[-1], visibility="hidden")
    return st.navigation([*app_pages(), older], position="top").title


def _page(title: str, path: str, *, visibility: Literal["visible", "hidden"] = "visible") -> StreamlitPage:
    return st.Page(lambda: None, title=title, url_path=path, default=not path, visibility=visibility)


def go_to(title: str, address: Mapping[str, str]) -> NoReturn:
    """Leave this run for another page, as if its address had been opened."""
    st.switch_page(app_pages()[TITLES.index(title)], query_params=dict(address))
