"""A visitor's session: its id, its pending requests to the engine, and whether the visitor is still there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from ...engine.engine import default_engine
from ...engine.memory import give_back
from .limits import VISITORS, limit
from .uploads import everything

_LOOK_EVERY = 5.0  # seconds


def visitor() -> str:
    """Return the id of the visitor's session, for fair turns at the engine; empty outside of one."""
    context = get_script_run_ctx(suppress_warning=True)
    return context.session_id if context else ""


@dataclass
class Pending:
    """A session's pending requests to the engine: those of this run of the page, and those of earlier runs.

    Earlier requests are released only after the page has made its requests again: so a display setting that is moved
    during a computation does not start it anew.
    """

    now: list[Future[Any]] = field(default_factory=list)
    before: list[Future[Any]] = field(default_factory=list)
    running: int = 0  # runs of the page that have not come to their end
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Surround a run of the page; at its end, requests that only earlier runs made are released.

        An interrupted run releases nothing: it has not made all of its requests.
        """
        with self._lock:
            self.running += 1
        try:
            self.begin()
            yield
            self.release_earlier()
        finally:
            with self._lock:
                self.running -= 1

    def begin(self) -> None:
        """Begin a run."""
        with self._lock:
            self.before, self.now = self.before + self.now, []

    def release_earlier(self) -> None:
        """Release the requests of earlier runs; call it after making requests and before waiting for them."""
        with self._lock:  # a run that is ending and the watch may come at once: each future is released once
            gone, self.before = self.before, []
        default_engine().release(gone)


def pending() -> Pending:
    """Return this session's pending requests. Change it in place: Streamlit may end a run at any use of its state."""
    found: Pending = st.session_state.setdefault("pending", Pending())
    if visitor() and runtime.exists():
        _watched().sessions[visitor()] = found
    return found


def is_there(session: str = "") -> bool:
    """Return whether a visitor has not left; by default the one whose page runs."""
    return not runtime.exists() or runtime.get_instance().is_active_session(session or visitor())


def is_full() -> bool:
    """Return whether a visitor comes to a server that has as many as it may have."""
    return bool(visitor()) and runtime.exists() and not _watched().has_room(visitor(), limit(VISITORS))


@dataclass
class Watch:
    """Releases the requests of visitors who have left, since no later run of theirs does."""

    sessions: dict[str, Pending] = field(default_factory=dict)

    def has_room(self, session: str, most: int) -> bool:
        """Return whether a session is one of so many at most."""
        return session in self.sessions or len(self.sessions) < most

    def look(self, is_active: Callable[[str], bool]) -> None:
        """Release the requests of each session that has ended, once its page has stopped.

        Until then it waits for them.
        """
        for session in [s for s, requests in list(self.sessions.items()) if not (requests.running or is_active(s))]:
            gone = self.sessions.pop(session)
            gone.begin()
            gone.release_earlier()

    def keep_looking(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            time.sleep(_LOOK_EVERY)
            if runtime.exists():  # it goes before this thread does
                is_active = runtime.get_instance().is_active_session
                self.look(is_active)
                everything().look(is_active)
            give_back()


@st.cache_resource
def _watched() -> Watch:
    watch = Watch()
    threading.Thread(target=watch.keep_looking, name="visitors-who-left", daemon=True).start()
    return watch
