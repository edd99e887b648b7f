"""Begin and end every page: its style, and the list of networks or the reason why there are none."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from ...text.escaping import escape_markdown
from ...zoo.variants import CheckpointError, Variant, list_variants, problems
from .frame import show_frame
from .session import pending
from .uploaded_networks import uploaded_networks


def open_page(name: str) -> list[Variant]:
    """Begin a page; return the trained variants, or end it with the reason why there are none."""
    show_frame()
    if st.session_state.get("page") != name:
        st.session_state["page"] = name
        pending().release_earlier()  # what another page asked for, this one does not wait for
    try:
        variants = list_variants()
    except CheckpointError as error:
        st.error(f"There is nothing to show: {escape_markdown(str(error))}")
        st.stop()
    names = {v.name for v in variants}
    variants += [v if v.name not in names else replace(v, name=f"{v.name} (yours)") for v in uploaded_networks()]
    for problem in problems():
        st.error(escape_markdown(problem))
    if not variants:
        st.error("There is nothing to show: the manifest names no trained variant.")
        st.stop()
    return variants


def say_full() -> None:
    """Say in place of a page that nobody else can be served now."""
    show_frame()
    st.info("As many people as this server can serve are looking at networks now.", icon=":material/groups:")
    st.button("Try again", key="try-again")


def end_page() -> None:
    """End a page with the run's number, hidden, so that a browser under test can wait for the next run."""
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    st.html(f'<span data-run="{st.session_state["runs"]}"></span>')
