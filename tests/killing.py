"""Processes that are killed at a chosen moment: when a function is called for the nth time."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import Any


def killed_at(place: Any, name: str, call: int) -> None:
    """Let this process be killed when a function of a module or class is called for the nth time."""
    real, calls = getattr(place, name), []

    def replaced(*things: Any, **settings: Any) -> Any:
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*things, **settings)

    setattr(place, name, replaced)


def in_a_child(work: Callable[[], object], *where: Any) -> int:
    """Do something in a process of its own, killed where that is said; return how it ended: 0, 1 or minus a signal."""
    pid = os.fork()
    if not pid:
        try:
            if where:
                killed_at(*where)
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
