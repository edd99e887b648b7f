"""The page's address: Back and Forward walk through its views, what it asks for in vain is said, and it can be written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlencode

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from ...escaping import escape_markdown

T = TypeVar("T")

_HISTORY = Path(__file__).parent / "history.js"


def walk_by_history() -> None:
    """Make each choice of picture, network, position and g a step of the browser's history."""
    with st.container(key="history"):  # a script takes no room: the page's style hides it
        st.html(f"<script>{_HISTORY.read_text(encoding='utf-8')}</script>", unsafe_allow_javascript=True)


def has_walked() -> bool:
    """Tell whether the visitor has come to this address by going back or forward, and not by a control."""
    context = get_script_run_ctx(suppress_warning=True)
    return bool(context and context.is_history_navigation)


def read_address() -> None:
    """Keep the address that the visitor has gone back to; call it before the run's first control, from which on Streamlit writes another."""
    context = get_script_run_ctx(suppress_warning=True)
    st.session_state["walked_to"] = parse_qs(context.query_string) if context and has_walked() else None


def wish(key: str) -> str | None:
    """Return what the address says of a control.

    Of an address that the visitor has gone back to, Streamlit takes away what the control did not offer in the run before.
    """
    walked_to: dict[str, list[str | None]] | None = st.session_state.get("walked_to")
    return st.query_params.get(key) if walked_to is None else walked_to.get(key, [None])[-1]


def this_view() -> str:
    """Return the address that opens what is shown again."""
    choices = {key: st.query_params.get_all(key) for key in st.query_params}
    return (st.context.url or "") + (f"?{urlencode(choices, doseq=True)}" if choices else "")


def take_missing(key: str, offered: Sequence[T], words: Callable[[T], str], default: T) -> str | None:
    """Return what is wished of a control and not offered, in words; call it before the control is shown.

    Streamlit shows the default instead and says nothing. A wish comes from the address where that is new (the page was
    opened, or the visitor went back), and from what was chosen before, where another choice has taken that away.

    Args:
        key: The control's key, in the session and in the address.
        offered: The control's options.
        words: Writes an option as the address does.
        default: The option that is shown in place of another one.
    """
    read: dict[str, str | None] = st.session_state.setdefault("address_read", {})
    asked, before = wish(key), read.get(key)
    read[key] = asked
    missing = None
    chosen = st.session_state.get(key)
    if chosen is not None and chosen not in offered:
        st.session_state[key] = default  # so that the address says what is shown
        missing = words(chosen)
    if asked != before:
        missing = None if asked is None or asked in map(words, offered) else asked
    return missing


def say_missing(text: str) -> None:
    """Say below a control what was not found; the text may hold what the address says."""
    st.caption(f":material/info: {escape_markdown(text)}.")
