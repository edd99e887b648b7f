"""Pictures that visitors brought: kept in memory, never on a disk, so that a reload of the page finds them again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from PIL import Image

_LIMIT = 256 * 2**20  # bytes of all visitors' pictures together
_AFTERWARDS = 600.0  # seconds that a picture outlives its visitor's connection: a reload, a phone that slept


@dataclass
class _Kept:
    name: str
    image: Image.Image
    sessions: set[str] = field(default_factory=set)
    seen: float = 0.0

    @property
    def size(self) -> int:
        return self.image.width * self.image.height * 3


class Uploads:
    """Pictures by a key made from their content; safe to use from several threads.

    A picture stays while a session that has looked at it is there, and ten minutes more. Where all of them need more room
    than there is, the one that was not looked at for longest goes first.

    Args:
        limit: Bytes.
        clock: Seconds that only rise.
    """

    def __init__(self, limit: int = _LIMIT, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def put(self, key: str, name: str, image: Image.Image, session: str) -> None:
        """Keep a picture (RGB) that a session looks at."""
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = _Kept(name, image, {session}, self._clock())
            while sum(kept.size for kept in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)

    def get(self, key: str, session: str) -> tuple[str, Image.Image] | None:
        """Return a picture's name and pixels for a session that looks at it; None if it is not here any more."""
        with self._lock:
            if not (kept := self._kept.get(key)):
                return None
            self._kept.move_to_end(key)
            kept.sessions.add(session)
            kept.seen = self._clock()
            return kept.name, kept.image

    def remove(self, key: str) -> None:
        """Forget a picture at once."""
        with self._lock:
            self._kept.pop(key, None)

    def look(self, is_there: Callable[[str], bool]) -> None:
        """Forget the pictures of visitors who have left long enough ago; call it every few seconds."""
        with self._lock:
            now = self._clock()
            for key, kept in list(self._kept.items()):
                if any(map(is_there, kept.sessions)):
                    kept.seen = now
                elif now - kept.seen > _AFTERWARDS:
                    del self._kept[key]


@lru_cache
def uploads() -> Uploads:
    """Return the pictures of all visitors of this process."""
    return Uploads()
