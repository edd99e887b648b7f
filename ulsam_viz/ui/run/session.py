"""Who is looking, and what they wait for: what tells one visitor from another."""

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
class Asked:
    """What a session has asked the engine for and not let go of: in this run of the page, and in runs before it.

    A run lets go of the earlier ones' only when it has asked for the same again where it wants it: so a display setting,
    moved while something computes, does not start that anew.
    """

    now: list[Future[Any]] = field(default_factory=list)
    before: list[Future[Any]] = field(default_factory=list)
    running: int = 0  # runs of the page that have not come to their end
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Surround a run of the page: at its end, it lets go of what only earlier runs had asked for.

        A run that is interrupted has not asked for all that it wants: it lets go of nothing.
        """
        with self._lock:
            self.running += 1
        try:
            self.begin()
            yield
            self.let_go()
        finally:
            with self._lock:
                self.running -= 1

    def begin(self) -> None:
        """Begin a run."""
        with self._lock:
            self.before, self.now = self.before + self.now, []

    def let_go(self) -> None:
        """Let go of what earlier runs asked for; call it before waiting, when what is waited for has been asked for."""
        with self._lock:  # a run that is ending and the watch may come at once: each future is released once
            gone, self.before = self.before, []
        default_engine().release(gone)


def asked() -> Asked:
    """Return what this session has asked for. Change it in place: Streamlit may end a run at any use of its state."""
    found: Asked = st.session_state.setdefault("asked", Asked())
    if visitor() and runtime.exists():
        _watched().sessions[visitor()] = found
    return found


def is_there(session: str = "") -> bool:
    """Tell whether a visitor has not left; by default the one whose page runs."""
    return not runtime.exists() or runtime.get_instance().is_active_session(session or visitor())


def is_full() -> bool:
    """Tell whether a visitor comes to a server that has as many as it may have."""
    return bool(visitor()) and runtime.exists() and not _watched().has_room(visitor(), limit(VISITORS))


@dataclass
class Watch:
    """Lets go of what visitors who have left had asked for, since no later run of theirs does."""

    sessions: dict[str, Asked] = field(default_factory=dict)

    def has_room(self, session: str, most: int) -> bool:
        """Tell whether a session is one of so many at most."""
        return session in self.sessions or len(self.sessions) < most

    def look(self, is_active: Callable[[str], bool]) -> None:
        """Let go for each session that is not there any more, once its page has stopped: until then it waits for what it asked."""
        for session in [s for s, asked in list(self.sessions.items()) if not (asked.running or is_active(s))]:
            gone = self.sessions.pop(session)
            gone.begin()
            gone.let_go()

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
