"""One visitor of the soak: what it does by lot, and what it keeps of what it sees."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

from streamlit.proto.WidgetStates_pb2 import WidgetState

from benchmarks.client import Client
from benchmarks.soak_files import Named, bad_files, good_files
from benchmarks.soak_views import EXPENSIVE, VIEWS, Query, inspect, nonsense
from ulsam_viz.ui.choose.picture import own_key

_PAUSE = 2.0  # seconds between two things that a visitor does
_LIMIT = 120.0  # seconds that an answer may take
_FILES = 12
#: What a visitor does, and how often of a hundred times.
_DEEDS = {
    "look": 46,
    "ask": 14,
    "change its mind": 12,
    "leave": 8,
    "bring": 6,
    "bring what is no picture": 6,
    "nonsense": 5,
    "download": 3,
}
_OF_ONE_PICTURE = ("inspect", "compare", "learn")
good, bad = lru_cache(good_files), lru_cache(bad_files)


@dataclass(frozen=True)
class View:
    """What is looked at.

    Attributes:
        page: Its name in the address.
        choices: What else the address says.
        own: Number of the picture that the visitor brought, in place of a sample.
    """

    page: str
    choices: tuple[tuple[str, str | tuple[str, ...]], ...]
    own: int | None = None

    @classmethod
    def of(cls, page: str, query: Query, own: int | None = None) -> View:
        """Take an address as a view."""
        values = {name: value if isinstance(value, str) else tuple(value) for name, value in query.items()}
        return cls(page, tuple(values.items()), own)

    def query(self, brought: str) -> Query:
        """Return the address, with the name that the picture has where the visitor brought it."""
        query: Query = {name: value if isinstance(value, str) else list(value) for name, value in self.choices}
        return query if self.own is None else query | {"picture": brought}


@dataclass
class Seen:
    """What all visitors did and saw.

    Attributes:
        done: How often each thing was done.
        maps: The prints of a view's maps, as far as they had come when the visitor went on.
        uncertain: Views that were left before it was clear that their maps were the answer to what was asked.
        gone: Of views of a visitor's own picture: it was said that it is not kept any more.
        waits: Seconds until a view's maps came.
        failed: What went wrong.
    """

    done: Counter[str] = field(default_factory=Counter)
    maps: list[tuple[View, Mapping[str, str]]] = field(default_factory=list)
    uncertain: int = 0
    gone: int = 0
    waits: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


async def bring(client: Client, view: View, file: Named, before: WidgetState | None = None) -> WidgetState:
    """Give a file to the uploader of a view that is shown, and wait for the page.

    What it held before is taken away first.
    """
    uploader = client.run.labelled("file_uploader", "Upload a photograph")
    if before:
        await client.ask(view.page, view.query(""), await client.take_away(before), walked=False)
        await client.until(lambda run: False, _LIMIT)
    state = await client.upload(uploader, *file)
    await client.ask(view.page, view.query(""), state, walked=False)
    await client.until(lambda run: False, _LIMIT)
    return state


def file_of(number: int, visitor: str) -> Named:
    """Return a good file under a name of the visitor's own.

    Who takes a picture away takes it from nobody else.
    """
    name, data = good(_FILES)[number]
    return f"{visitor} {name}", data


def name_in_address(name: str, data: bytes) -> str:
    """Return what an address calls a picture that was brought."""
    return f"{name} ({own_key(name, data)})"


class SoakVisitor:
    """A visitor who does things by lot.

    Args:
        number: Which one; what it does depends on that alone.
        address: The server's.
        seen: Gets what it sees.
    """

    def __init__(self, number: int, address: str, seen: Seen) -> None:
        self.name, self.address, self.seen = f"visitor {number}", address, seen
        self.own: int | None = None
        self._rng = Random(number)
        self.view = View.of("inspect", inspect(self._rng))
        self._holds: WidgetState | None = None
        self._deed = "come"

    async def stay(self, end: float) -> None:
        """Do one thing after the other until the time has come; whoever left comes back at once."""
        while time.monotonic() < end:
            self._holds = None  # a reload's uploader is empty
            try:
                async with Client(self.address) as client:
                    await self._show(client, self.view, to_its_end=True)
                    while time.monotonic() < end and await self._do_something(client):
                        await asyncio.sleep(_PAUSE)
            except Exception as error:  # whatever it is, it is a finding, and the others stay
                self.seen.failed.append(f"{self.name}: {self._deed}: {type(error).__name__} {error} at {self.view}")

    async def come_back(self) -> tuple[float, bool]:
        """Load the page anew; return when its maps were there, and if the visitor was told that a picture is gone."""
        async with Client(self.address) as client:
            await client.ask(self.view.page, self._query(self.view))
            await client.until(lambda run: run.prints, _LIMIT)
            at, told = time.monotonic(), client.run.gone
            self._note(client, self.view)
            return at, told

    async def keep_looking_at_own(self) -> None:
        """Bring a picture, and look at it for ever."""
        async with Client(self.address) as client:
            await client.ask("inspect", {"net": "V1-0.5"})
            await client.until(lambda run: False, _LIMIT)
            await self._bring(client)
            await asyncio.Future()

    async def _do_something(self, client: Client) -> bool:
        """Do something; tell whether the visitor is still there."""
        deed = self._deed = self._rng.choices(list(_DEEDS), list(_DEEDS.values()))[0]
        self.seen.done[deed] += 1
        if deed == "look":
            await self._show(client, self._draw(VIEWS))
        elif deed == "ask":
            await self._show(client, self._draw(EXPENSIVE), to_its_end=True)
        elif deed in ("leave", "change its mind"):
            view = self._draw(EXPENSIVE)
            await client.ask(view.page, self._query(view))
            await client.until(lambda run: run.begun, _LIMIT)
            await asyncio.sleep(self._rng.uniform(0, 2))
            return deed != "leave"
        elif deed == "bring":
            await self._bring(client)
        elif deed == "bring what is no picture":
            await self._bring_what_is_none(client)
        elif deed == "nonsense":
            page = self._rng.choice([page for page, _ in VIEWS.values()])
            await client.ask(page, nonsense(self._rng))
            await client.until(lambda run: False, _LIMIT)
            self._complain(client)
        else:
            await self._download(client)
        return True

    def _draw(self, views: Mapping[str, tuple[str, object]]) -> View:
        page, draw = views[self._rng.choice(list(views))]
        own = self.own if self._rng.random() < 0.5 else None
        return View.of(page, draw(self._rng), own if page in _OF_ONE_PICTURE else None)  # type: ignore[operator]

    def _query(self, view: View) -> Query:
        return view.query(name_in_address(*file_of(view.own, self.name)) if view.own is not None else "")

    async def _show(self, client: Client, view: View, *, to_its_end: bool = False) -> None:
        """Open a view, and wait for its maps, or for all that it has to say."""
        self.view = view
        await client.ask(view.page, self._query(view))
        waited = await client.until(lambda run: run.prints, _LIMIT)
        if client.run.prints:
            self.seen.waits.append(waited)
        if to_its_end:
            await client.until(lambda run: False, _LIMIT)
        self._note(client, view)

    def _note(self, client: Client, view: View) -> None:
        if view.own is not None and client.run.gone:
            self.seen.gone += 1
            self.own = None
        elif client.run.certain:
            self.seen.maps.append((view, dict(client.run.prints)))
        else:
            self.seen.uncertain += 1
        self._complain(client)

    def _complain(self, client: Client) -> None:
        self.seen.failed += [
            f"{self.name}: an exception was shown: {text} at {self.view}" for text in client.run.exceptions
        ]

    async def _bring(self, client: Client) -> None:
        view = await self._show_uploader(client)
        number = self._rng.randrange(_FILES)
        self._holds = await bring(client, view, file_of(number, self.name), self._holds)
        self.own = number
        self.view = View(view.page, view.choices, number)
        self._note(client, self.view)

    async def _bring_what_is_none(self, client: Client) -> None:
        view, what = await self._show_uploader(client), self._rng.choice(list(bad()))
        self._holds = await bring(client, view, bad()[what], self._holds)
        if not client.run.alerts:
            self.seen.failed.append(f"{self.name}: nothing was said of a file that is {what}")
        self._complain(client)

    async def _show_uploader(self, client: Client) -> View:
        view = View.of("inspect", inspect(self._rng))
        await self._show(client, view, to_its_end=True)
        return view

    async def _download(self, client: Client) -> None:
        await self._show_uploader(client)
        for button in client.run.of_kind("download_button"):
            if not await client.download(button, _LIMIT):
                self.seen.failed.append(f"{self.name}: an empty file")
