"""Many visitors at once at the real server.

What each waits, whether each sees the right maps, and what the server needs.

A visitor is a client of the page's own protocol (a websocket), without the cost of a browser: it opens the page with
one of the sample pictures, then moves the slider of g every three seconds and waits for the maps. There are twelve
pictures and five stops, so most of what a visitor asks for has been computed before.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.WidgetStates_pb2 import WidgetState

from benchmarks.client import Client
from benchmarks.process import memory_of, server_at
from tests.browser import running_app
from tests.patience import PATIENCE
from ulsam_viz.images.samples import list_samples

_COUNTS = (1, 4, 8, 16)
_LONGER = 3  # times as long, once more for the most visitors: does memory stay?
_EVERY = 3.0


@dataclass
class Visitor:
    """One open page.

    Attributes:
        picture: Title of the sample it looks at.
        address: The server's.
        seen: (g, prints of the maps) for each answer.
        waited: Seconds from a move to its maps.
        received: Bytes.
    """

    picture: str
    address: str
    seen: list[tuple[str, str]] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    received: int = 0

    async def visit(self, moves: list[int], *, every: float = _EVERY) -> None:
        """Open the page, then make the moves (stops of the slider), so many seconds apart."""
        async with Client(self.address) as client:
            slider = await self._look(client, "4")
            for stop in moves:
                started, g = time.monotonic(), str(slider.options[stop])
                state = WidgetState(id=slider.id)
                state.string_array_value.data.append(g)
                slider = await self._look(client, g, state)
                await asyncio.sleep(max(0.0, started + every - time.monotonic()))
            self.received = client.received

    async def _look(self, client: Client, g: str, *states: WidgetState) -> Any:
        """Ask for a run of the page and note its maps; return the slider of g.

        What else comes is read with the next run.
        """
        await client.ask("inspect", {"net": "V1-0.5", "picture": self.picture}, *states, walked=False)
        self.waited.append(await client.until(lambda run: run.prints, PATIENCE))
        assert client.run.prints and not client.run.exceptions, client.run.exceptions
        self.seen.append((g, "".join(f"{place} {own} " for place, own in sorted(client.run.prints.items()))))
        return client.run.labelled("slider", "Subspaces g")


def visitors(repeats: int) -> list[dict[str, Any]]:
    """Let 1, 4, 8 and 16 visitors move the slider; compare what they saw with what one alone sees."""
    moves = max(3, min(20, repeats // 3))  # twenty, at the default: a minute
    pictures = [s.title for s in list_samples()]
    with running_app() as address:
        truth = {p: _alone(p, address) for p in pictures}
    rows = [_measure(count, moves, pictures, truth) for count in _COUNTS]
    return [*rows, _measure(_COUNTS[-1], _LONGER * moves, pictures, truth)]


def _measure(count: int, moves: int, pictures: list[str], truth: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Let so many visitors loose on a fresh server, which has computed nothing yet."""
    with running_app() as address:
        people = [Visitor(pictures[i % len(pictures)], address) for i in range(count)]
        asyncio.run(Visitor(pictures[0], address).visit([]))  # imports
        before, started = memory_of(server_at(address)).resident, time.monotonic()
        halfway = asyncio.run(_together(people, moves, address))
        seconds, after = time.monotonic() - started, memory_of(server_at(address)).resident
    waits = sorted(w for person in people for w in person.waited[1:])
    return {
        "what": f"{count} visitor{'s' * (count > 1)}, each moving g every {_EVERY:g} s, {moves} times",
        "moves": len(waits),
        "median_s": statistics.median(waits),
        "p95_s": waits[int(0.95 * (len(waits) - 1))],
        "wrong_maps": sum(truth[person.picture][g] != maps for person in people for g, maps in person.seen),
        "answers_a_second": len(waits) / seconds,
        "kB_a_move": sum(p.received for p in people) / len(waits) / 1000,
        "memory_before_MB": before,
        "memory_halfway_MB": halfway,
        "memory_after_MB": after,
    }


def _alone(picture: str, address: str) -> dict[str, str]:
    """Return what a single visitor sees at each stop."""
    visitor = Visitor(picture, address)
    asyncio.run(visitor.visit([0, 1, 2, 3, 4], every=0))
    return dict(visitor.seen)


async def _together(people: list[Visitor], moves: int, address: str) -> float:
    """Let all move at random; return the server's memory in MB when half the time has passed."""
    rng = random.Random(0)
    stops = []
    for _ in people:
        path = [2]
        for _ in range(moves):
            path.append(rng.choice([s for s in range(5) if s != path[-1]]))
        stops.append(path[1:])

    async def halfway() -> float:
        await asyncio.sleep(moves * _EVERY / 2)
        return memory_of(server_at(address)).resident

    memory = asyncio.create_task(halfway())
    await asyncio.gather(*(person.visit(path) for person, path in zip(people, stops, strict=True)))
    return await memory
