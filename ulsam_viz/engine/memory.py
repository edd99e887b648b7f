"""Return freed memory of a long-lived server to the system (glibc only).

glibc keeps what was freed for the next allocation, in up to eight arenas a core, and gives little of it back: with
sixteen visitors that came to 1.1 to 1.8 GB, more than all caches hold.
"""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # the same, in bytes
_ARENAS = 2  # each thread that computes finds one that is free: the others wait for the interpreter's lock anyway


def use_few_arenas() -> None:
    """Let threads share their arenas; call it before there are many threads."""
    if c := _glibc():
        c.mallopt(_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return free memory to the system."""
    if c := _glibc():
        c.malloc_trim(0)


def keep_freed() -> None:
    """Keep freed memory for the next batch, which needs the same again (measured: a quarter of the time)."""
    if c := _glibc():
        for setting in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            c.mallopt(setting, 1 << 30)


@lru_cache
def _glibc() -> ctypes.CDLL | None:
    """Return the C library where it is glibc: musl has neither function, other systems other libraries."""
    if not sys.platform.startswith("linux"):
        return None
    c = ctypes.CDLL(None)
    return c if hasattr(c, "gnu_get_libc_version") and hasattr(c, "malloc_trim") else None
