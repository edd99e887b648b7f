"""What visitors uploaded: kept in memory, never on a disk, so that a reload of the page finds it again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

from PIL import Image
from starlette.formparsers import MultiPartParser
from streamlit import net_util

from .limits import UPLOADS, limit

OWN_PICTURES = 3  # uploads of one session at most: nobody can push out everybody else's
_AFTERWARDS = 600.0  # seconds that a picture outlives its visitor's connection: a reload, a phone that slept


@dataclass(frozen=True)
class Upload:
    """A picture that a visitor uploaded.

    Attributes:
        name: For people.
        image: What is looked at where no crop is chosen: the whole (RGB), or the centre square of a large one.
        whole: What a crop is chosen from.
    """

    name: str
    image: Image.Image
    whole: Image.Image

    @property
    def size(self) -> int:
        """Bytes in memory."""
        images = [self.image] if self.whole is self.image else [self.image, self.whole]
        return sum(image.width * image.height * 3 for image in images)


class Sized(Protocol):
    """Anything that a visitor uploaded: a picture, or many."""

    @property
    def size(self) -> int:
        """Bytes in memory."""


T = TypeVar("T", bound=Sized)


@dataclass
class _Kept(Generic[T]):
    upload: T
    uploaders: set[str]
    sessions: set[str] = field(default_factory=set)
    seen: float = 0.0


class Uploads(Generic[T]):
    """Pictures, or albums of them, by a key made from their content; safe to use from several threads.

    A picture stays while a session that has looked at it is there, and ten minutes more. Of those that a session
    uploaded, the latest few stay, and any at which others look. Where all of them need more room than there is, the one
    that was not looked at for longest goes first.

    Args:
        limit: Bytes of all visitors' pictures together.
        clock: Seconds that only rise.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept[T]] = OrderedDict()

    @property
    def used(self) -> int:
        """Bytes that are kept."""
        with self._lock:
            return self._sum()

    def _sum(self) -> int:
        return sum(kept.upload.size for kept in self._kept.values())

    def put(self, key: str, upload: T, session: str) -> None:
        """Keep a picture that a session uploaded and looks at."""
        with self._lock:
            before = self._kept.pop(key, None)
            uploaders, sessions = (before.uploaders, before.sessions) if before else (set(), set())
            self._kept[key] = _Kept(upload, uploaders | {session}, sessions | {session}, self._clock())
            kind = type(upload)  # an album does not push out a picture
            own = [
                key
                for key, kept in self._kept.items()
                if isinstance(kept.upload, kind) and kept.uploaders == kept.sessions == {session}
            ]
            for old in own[:-OWN_PICTURES]:
                del self._kept[old]
            while self._sum() > self._limit:
                self._kept.popitem(last=False)

    def get(self, key: str, session: str) -> T | None:
        """Return a picture for a session that looks at it; None if it is not here any more."""
        with self._lock:
            if not (kept := self._kept.get(key)):
                return None
            self._kept.move_to_end(key)
            kept.sessions.add(session)
            kept.seen = self._clock()
            return kept.upload

    def is_mine(self, key: str, session: str, is_there: Callable[[str], bool] = lambda _: True) -> bool:
        """Return whether this session uploaded the picture, or everyone who did has left.

        Arguments as for :meth:`remove`.
        """
        with self._lock:
            kept = self._kept.get(key)
            return kept is not None and (session in kept.uploaders or not any(map(is_there, kept.uploaders)))

    def remove(
        self, key: str, session: str, is_there: Callable[[str], bool] = lambda _: True, *, from_all: bool = True
    ) -> None:
        """Delete a session's upload at once, unless another session that is still there uploaded the same.

        Args:
            key: The picture's; nothing happens if there is none.
            session: Who deletes it.
            is_there: Tells of a session whether it has not left: a reload is another session.
            from_all: Also while others look at it who did not upload it.
        """
        with self._lock:
            if not (kept := self._kept.get(key)):
                return
            kept.sessions.discard(session)
            kept.uploaders = {other for other in kept.uploaders - {session} if is_there(other)}
            if not kept.uploaders and (from_all or not any(map(is_there, kept.sessions))):
                del self._kept[key]

    def look(self, is_there: Callable[[str], bool]) -> None:
        """Forget the pictures of visitors who have left long enough ago; call it every few seconds."""
        with self._lock:
            now = self._clock()
            for key, kept in list(self._kept.items()):
                if any(map(is_there, kept.sessions)):
                    kept.seen = now
                elif now - kept.seen > _AFTERWARDS:
                    del self._kept[key]


def keep_off_disks() -> None:
    """Keep uploads in memory alone: by default, parts above a megabyte go through a temporary file."""
    MultiPartParser.spool_max_size = 0  # no such file: how much may come, `server.maxUploadSize` says


def ask_no_host() -> None:
    """Stop Streamlit from asking a foreign host for the server's address before it refuses a page of another origin."""
    net_util.get_external_ip = lambda: None


@lru_cache
def everything() -> Uploads[Any]:
    """Return the store of all visitors' uploads: pictures and albums share its limit, and their keys differ."""
    return Uploads(limit(UPLOADS) * 10**6)


def uploads() -> Uploads[Upload]:
    """Return the pictures of all visitors of this process."""
    return everything()


def albums() -> Uploads[Any]:
    """Return the sets of photographs of all visitors of this process, as the page Dataset looks at them."""
    return everything()
