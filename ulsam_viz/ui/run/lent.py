"""Pictures that a table lends to other pages: where each is read from, and not the picture itself, which the table has."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

from .uploads import Upload

_MOST = 5000  # of all visitors: one is a few hundred bytes
Read = Callable[[], Upload | None]  # None where the picture is gone


class Lent:
    """Ways to pictures, by a key made from their content; safe to use from several threads. Of too many the oldest goes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ways: OrderedDict[str, Read] = OrderedDict()

    def put(self, key: str, read: Read) -> None:
        """Keep the way to a picture."""
        with self._lock:
            self._ways[key] = read
            self._ways.move_to_end(key)
            if len(self._ways) > _MOST:
                self._ways.popitem(last=False)

    def get(self, key: str) -> Upload | None:
        """Read a picture; None if it is not there any more, or was never lent."""
        with self._lock:
            read = self._ways.get(key)
        return read() if read else None


@lru_cache
def lent() -> Lent:
    """Return the ways to pictures of all tables that visitors of this process look at."""
    return Lent()
