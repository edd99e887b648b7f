"""Choices whose addresses are ids, so that their names can change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from ..run.address import say_missing, take_missing
from ..run.interrupt import run_again
from ..run.state import keep


def choose_by_id(widget: Callable[..., object], label: str, names: Mapping[str, str], *, key: str, **look: Any) -> str:
    """Show a choice whose address is an id, so that its names can change and addresses stay.

    Streamlit writes into the address what an option is called. So a selectbox of ids, which nobody sees, is what the
    address knows, and the visitor's control follows it and moves it.

    Args:
        widget: What shows the choice, e.g. ``st.segmented_control``.
        label: Its label, which is not shown.
        names: What the options are called, by id; the first is the default. An address may hold a name in place of the
            id, as addresses once did.
        key: Of the id in the session and in the address; the visitor's control has ``{key}-shown``.
        look: Further arguments of ``widget``.

    Returns:
        The chosen id.
    """
    asked = st.query_params.get(key)
    of_names = {name: id for id, name in names.items()}
    if asked in of_names and asked not in names and key not in st.session_state:
        st.query_params[key] = of_names[asked]
        run_again()  # Streamlit reads the address before the script can
    st.html(f"<style>.st-key-{key} {{ display: none; }}</style>")
    missing = take_missing(key, list(names), str, next(iter(names)))
    chosen = st.selectbox(label, list(names), key=keep(key), bind="query-params")
    shown = f"{key}-shown"
    st.session_state[shown] = chosen
    widget(
        label,
        list(names),
        key=shown,
        format_func=names.__getitem__,
        on_change=lambda: st.session_state.update({key: st.session_state[shown]}),
        label_visibility="collapsed",
        **look,
    )
    if missing:
        say_missing(f"{label} “{missing}” is not known; “{names[chosen]}” is shown")
    return chosen
