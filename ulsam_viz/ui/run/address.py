"""The page's address: reading it, writing it, and messages about values in it that do not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar
from urllib.parse import parse_qs, urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import get_script_run_ctx

from ...text.escaping import escape_markdown

T = TypeVar("T")


def has_walked() -> bool:
    """Return whether the visitor has come to this address by going back or forward, and not by a control."""
    context = get_script_run_ctx(suppress_warning=True)
    return bool(context and context.is_history_navigation)


def read_address() -> None:
    """Keep the address that the visitor has gone back to.

    Call it before the run's first control, from which on Streamlit writes another.
    """
    context = get_script_run_ctx(suppress_warning=True)
    st.session_state["walked_to"] = parse_qs(context.query_string) if context and has_walked() else None


def wish(key: str) -> str | None:
    """Return what the address says of a control."""
    return next(reversed(wishes(key)), None)


def wishes(key: str) -> list[str]:
    """Return all that the address says of a control.

    Of an address that the visitor has gone back to, Streamlit takes away what the control did not offer in the run
    before.
    """
    walked_to: dict[str, list[str]] | None = st.session_state.get("walked_to")
    return st.query_params.get_all(key) if walked_to is None else walked_to.get(key, [])


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
    chosen = st.session_state.get(key)
    missing = None
    if chosen is not None and chosen not in offered:
        st.session_state[key] = default  # so that the address says what is shown
        missing = words(chosen)
    found = _missing_of(key, [wish(key)], list(map(words, offered)))
    return missing if found is None else next(iter(found), None)


def take_all_missing(key: str, offered: Sequence[T], words: Callable[[T], str]) -> list[str]:
    """Return the same of a control of which several options can be chosen; arguments as for :func:`take_missing`."""
    return _missing_of(key, wishes(key), list(map(words, offered))) or []


def _missing_of(key: str, asked: Sequence[str | None], offered: Sequence[str]) -> list[str] | None:
    """Return what a new address asks for and is not offered; None where the address is not new.

    The browser may send what a control was set to before: what this session was offered is a wish only of who goes back
    to it.
    """
    once: set[str] = st.session_state.setdefault("offered_once", {}).setdefault(key, set())
    is_new = has_walked() or not once.issuperset(one for one in asked if one is not None)
    once.update(offered)
    return [one for one in asked if one is not None and one not in offered] if is_new else None


@contextmanager
def saying_missing(
    key: str,
    offered: Sequence[T],
    what: str,
    default: T,
    *,
    words: Callable[[T], str] = str,
    place: DeltaGenerator | None = None,
) -> Iterator[None]:
    """Show a control inside, and say below it, or in another place, what is wished of it and not offered.

    Args:
        key, offered, words, default: As for :func:`take_missing`.
        what: Names an option: ``"layer"``.
        place: Where it is said, if the control itself may be out of sight.
    """
    missing = take_missing(key, offered, words, default)
    yield
    if missing:
        say_missing(f"There is no {what} “{missing}”; {words(default)} is taken", place)


def say_missing(text: str, place: DeltaGenerator | None = None) -> None:
    """Say below a control, or in another place, what was not found; the text may hold what the address says."""
    with place or nullcontext():
        st.caption(f":material/info: {escape_markdown(text)}.")
