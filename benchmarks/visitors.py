"""Many visitors at once at the real server: what each waits, whether each sees the right maps, and what the server needs.

A visitor is a client of the page's own protocol (a websocket), without the cost of a browser: it opens the page with one
of the sample pictures, then moves the slider of g every three seconds and waits for the maps. There are twelve pictures
and five stops, so most of what a visitor asks for has been computed before.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from tests.browser import running_app
from ulsam_viz.samples import list_samples

_COUNTS = (1, 4, 8, 16)
_LONGER = 3  # times as long, once more for the most visitors: does memory stay?
_EVERY = 3.0


@dataclass
class Visitor:
    """One open page.

    Attributes:
        picture: Title of the sample it looks at.
        address: The server's.
        seen: (g, fingerprint of the maps as sent) for each answer.
        waited: Seconds from a move to its maps.
        received: Bytes.
    """

    picture: str
    address: str
    seen: list[tuple[str, str]] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    received: int = 0
    _kept: dict[str, ForwardMsg] = field(default_factory=dict)
    _slider: Any = None

    async def visit(self, moves: list[int], *, every: float = _EVERY) -> None:
        """Open the page, then make the moves (stops of the slider), so many seconds apart."""
        address = self.address.replace("http", "ws", 1) + "/_stcore/stream"
        async with websockets.connect(address, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[list-item]
            await self._rerun(socket, None)
            for stop in moves:
                started = time.monotonic()
                await self._rerun(socket, stop)
                rest = started + every - time.monotonic()
                if rest > 0:
                    await asyncio.sleep(rest)

    async def _rerun(self, socket: Any, stop: int | None) -> None:
        """Ask for a run of the page and return when its maps are there; what else comes is read with the next run."""
        message = BackMsg()
        message.rerun_script.query_string = f"picture={self.picture.replace(' ', '+')}"
        wanted = "4"
        if stop is not None:
            state = message.rerun_script.widget_states.widgets.add()
            state.id = self._slider.id
            state.string_array_value.data.append(self._slider.options[stop])
            wanted = self._slider.options[stop]
        started = time.monotonic()
        await socket.send(message.SerializeToString())
        begun = False
        while True:
            answer = await self._receive(socket)
            kind = answer.WhichOneof("type")
            begun = begun or kind == "new_session"  # before it: the rest of the last run
            if kind != "delta" or answer.delta.WhichOneof("type") != "new_element":
                continue
            element = answer.delta.new_element
            name = element.WhichOneof("type")
            assert name != "exception", element.exception.message
            if name == "slider" and element.slider.label == "Subspaces g":
                self._slider = element.slider
            if begun and name == "bidi_component" and element.bidi_component.id.endswith("-maps-11"):
                self.waited.append(time.monotonic() - started)
                self.seen.append((wanted, _fingerprint(element.bidi_component)))
                return

    async def _receive(self, socket: Any) -> ForwardMsg:
        data = await socket.recv()
        self.received += len(data)
        message = ForwardMsg()
        message.ParseFromString(data)
        if message.WhichOneof("type") == "ref_hash":  # sent before in this session
            return self._kept[message.ref_hash]
        if message.hash:
            self._kept[message.hash] = message
        return message


def _fingerprint(component: Any) -> str:
    """Return what tells one set of tiles, with all their pictures and values, from another."""
    return hashlib.sha256(component.SerializeToString().split(component.id.encode())[-1]).hexdigest()


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
        before, started = _resident_mb(address), time.monotonic()
        halfway = asyncio.run(_together(people, moves, address))
        seconds, after = time.monotonic() - started, _resident_mb(address)
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
        return _resident_mb(address)

    memory = asyncio.create_task(halfway())
    await asyncio.gather(*(person.visit(path) for person, path in zip(people, stops, strict=True)))
    return await memory


def _resident_mb(address: str) -> float:
    """Return the resident memory of the server at this address (Linux)."""
    port = address.rpartition(":")[2]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"--server.port={port}\0".encode() in (process / "cmdline").read_bytes():
                line = next(x for x in (process / "status").read_text().splitlines() if x.startswith("VmRSS"))
                return int(line.split()[1]) / 1024
        except OSError:
            continue
    return float("nan")
