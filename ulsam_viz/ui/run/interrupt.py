"""Points at which a run of the page ends early because its visitor has asked for another.

One session's runs never overlap (``fastReruns`` is off in ``.streamlit/config.toml``): two would write the same state,
and the older one's address could overwrite the newer one's. So a run ends only where it calls Streamlit, and nothing
that takes longer than a moment may be waited for anywhere else.
"""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import NoReturn, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

T = TypeVar("T")
_LOOK_EVERY = 0.1  # seconds


def give_way() -> None:
    """End this run here if its visitor has asked for another one, or has left; where no page runs, do nothing."""
    if get_script_run_ctx(suppress_warning=True):
        st.session_state.get("runs")  # Streamlit ends a run at any use of its state


def result_of(future: Future[T]) -> T:
    """Return the result of a future; end this run while waiting if its visitor asks for another.

    Raises:
        Exception: What the computation raised.
    """
    while not future.done():
        wait([future], timeout=_LOOK_EVERY)
        give_way()
    return future.result()


def run_again() -> NoReturn:
    """Run the page again: the same one, unless the visitor has asked for another, which Streamlit would else forget."""
    give_way()
    st.rerun()
