"""Pictures of tables on other pages: how to read each again; the pictures themselves stay with the table."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from .uploads import Upload

_MOST = 5000  # of all visitors: one is a few hundred bytes


@dataclass(frozen=True)
class Way:
    """How to come to a picture.

    Attributes:
        read: Reads it; None where it is gone.
        is_open: Tells whether it may still be looked at, without reading it.
    """

    read: Callable[[], Upload | None]
    is_open: Callable[[], bool] = lambda: True


class Lent:
    """Ways to pictures, by a key made from their content; safe to use from several threads.

    Of too many the oldest goes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ways: OrderedDict[str, Way] = OrderedDict()

    def put(self, key: str, way: Way) -> None:
        """Keep the way to a picture."""
        with self._lock:
            self._ways[key] = way
            self._ways.move_to_end(key)
            if len(self._ways) > _MOST:
                self._ways.popitem(last=False)

    def get(self, key: str) -> Upload | None:
        """Read a picture; None if it is not there any more, or was never lent."""
        way = self._way(key)
        return way.read() if way else None

    def is_open(self, key: str) -> bool:
        """Return whether a picture that was read may still be looked at."""
        way = self._way(key)
        return way is not None and way.is_open()

    def _way(self, key: str) -> Way | None:
        with self._lock:
            return self._ways.get(key)


@lru_cache
def lent() -> Lent:
    """Return the ways to pictures of all tables that visitors of this process look at."""
    return Lent()
