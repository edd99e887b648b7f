"""A soak: sixteen visitors who look around, bring pictures and what is none, ask for much and leave in the middle.

Each does the next thing two seconds after the last; what every one sees is compared with what one alone sees on a
server of its own, for as long again. In the end the server is killed among them, and started again as a supervisor
would.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.client import Client
from benchmarks.held import Held, read_account
from benchmarks.process import Memory, memory_of, server_at
from benchmarks.soak_truth import wrong_maps
from benchmarks.soak_visitor import Seen, SoakVisitor
from tests.browser import ROOT, free_port, running_server

T = TypeVar("T")
Value = tuple[str, float, str]
_VISITORS = 16
_WARM_UP = 0.3  # of the time: every network has been asked for, and every cache is as full as it will be
_LOOK_EVERY = 2.0  # seconds, at the memory
_KILLED_AFTER = 20.0  # seconds of a new server, among all its visitors
_LEAVING = 20.0  # seconds that visitors have to see the end of what they last asked
_COMPARING_AGAIN = 20.0  # seconds, for what they see of the server that was started again
_BRINGING = 2  # of them look at a picture of their own when it is killed


def soak(repeats: int, *, minutes: float = 10.0) -> list[dict[str, Any]]:
    """Let sixteen visitors at the server for so many minutes, and then kill it among them.

    Args:
        repeats: Without a meaning here.
        minutes: How long.
    """
    with tempfile.TemporaryDirectory() as folder:
        log, account = Path(folder) / "log", Path(folder) / "account"
        seen, memory = _stay(log, account, 60 * minutes)
        killed = _kill(log)
        with _server(free_port()) as address:
            compared, wrong = asyncio.run(wrong_maps(seen, address, seconds=60 * minutes))
        said, held = log.read_text(errors="replace"), read_account(account)
    for trouble in {*seen.failed, *wrong}:
        print(trouble, file=sys.stderr)
    print("\n".join(line for line in said.splitlines() if "INFO" not in line)[-5000:], file=sys.stderr)
    return [
        {"what": what, "value": float(value), "unit": unit}
        for what, value, unit in _rows(minutes, seen, [*_rows_of_memory(memory, held)], killed, (compared, wrong), said)
    ]


def _rows(
    minutes: float, seen: Seen, memory: list[Value], killed: dict[str, float], truth: tuple[int, list[str]], said: str
) -> list[Value]:
    waits = sorted(seen.waits)
    done = ", ".join(f"{name} {count}" for name, count in sorted(seen.done.items()))
    return [
        (f"{_VISITORS} visitors, {minutes:g} minutes: {done}", sum(seen.done.values()), "actions"),
        ("views with maps", sum(bool(maps) for _, maps in seen.maps), "views"),
        ("of them compared with what one alone sees", truth[0], "views"),
        ("of those wrong", len(truth[1]), "views"),
        ("left before it was clear what was asked last", seen.uncertain, "views"),
        ("a picture of one's own was said to be kept no more", seen.gone, "views"),
        ("actions that failed or were not answered within two minutes", len(seen.failed), "actions"),
        ("tracebacks in the server's log", said.count("Traceback (most recent call last)"), "tracebacks"),
        ("a view's maps: median", statistics.median(waits), "s"),
        ("a view's maps: 95 %", waits[int(0.95 * (len(waits) - 1))], "s"),
        *memory,
        *((what, value, "s" if what.startswith("killed") else "visitors") for what, value in killed.items()),
    ]


def _rows_of_memory(memory: list[Memory], account: list[Held]) -> Iterator[Value]:
    warm = memory[int(_WARM_UP * len(memory)) :]
    yield "resident memory at first", memory[0].resident, "MB"
    for when, there, held in (
        (f"after warm-up ({_WARM_UP:.0%} of the time)", _tenth(memory, _WARM_UP), _tenth(account, _WARM_UP)),
        ("at half time", _tenth(memory, 0.5), _tenth(account, 0.5)),
        ("at the end", _tenth(memory, 0.9), _tenth(account, 0.9)),
    ):
        yield f"{when}, median of a tenth of the time", statistics.median(m.resident for m in there), "MB"
        least = min(held, key=lambda h: h.alive)  # when nothing is computed
        yield f"{when}, what lives between two computations", least.alive, "MB"
        for name in ("networks", "results", "pictures", "sent"):
            yield f"{when}, of that: {name}", getattr(least, name), "MB"
    yield "the largest after warm-up", max(m.resident for m in warm), "MB"
    yield "the largest of all", max(m.resident for m in memory), "MB"
    yield "at the end, without what it shares with other processes", memory[-1].own, "MB"


def _tenth(values: Sequence[T], begin: float) -> Sequence[T]:
    """Return a tenth of all values, from a share of them on."""
    first = int(begin * len(values))
    return values[first : first + max(1, len(values) // 10)]


def _server(number: int, log: Path | None = None, account: Path | None = None) -> AbstractContextManager[str]:
    """Start what `make app` starts, with an account of its memory if that is wanted."""
    module = ["benchmarks.held", str(account)] if account else ["ulsam_viz"]
    command = [sys.executable, "-m", *module, "app"]
    return running_server(
        command, port="--port", folder=ROOT, environment={"PYTHONPATH": str(ROOT)}, number=number, log=log
    )


def _stay(log: Path, account: Path, seconds: float) -> tuple[Seen, list[Memory]]:
    """Let all visitors at a fresh server; return what they saw, and its memory by time."""
    with _server(free_port(), log, account) as address:
        return asyncio.run(_together(address, seconds))


async def _together(address: str, seconds: float) -> tuple[Seen, list[Memory]]:
    async with Client(address) as first:  # imports
        await first.ask("inspect", {})
        await first.until(lambda run: False, 120)
    seen, end, pid, memory = Seen(), time.monotonic() + seconds, server_at(address), []
    people = [asyncio.create_task(SoakVisitor(number, address, seen).stay(end)) for number in range(_VISITORS)]
    while time.monotonic() < end:
        memory.append(memory_of(pid))
        await asyncio.sleep(_LOOK_EVERY)
    _, late = await asyncio.wait(people, timeout=_LEAVING)
    for task in late:
        task.cancel()
    await asyncio.gather(*people, return_exceptions=True)
    return seen, memory


def _kill(log: Path) -> dict[str, float]:
    """Kill a server among its visitors and start it again; return what that took, and how each visitor found it."""
    number, seen = free_port(), Seen()
    with _server(number, log) as address:
        people = [SoakVisitor(i, address, seen) for i in range(_VISITORS)]
        killed = asyncio.run(_kill_among(people, address))
    bringing = [person for person in people if person.view.own is not None]
    print(seen.failed, file=sys.stderr)
    seen = Seen()
    with _server(number, log) as address:
        healthy = time.monotonic() - killed
        back = asyncio.run(_come_back(people, seen))
        _, wrong = asyncio.run(wrong_maps(seen, address, seconds=_COMPARING_AGAIN))
    for trouble in (*seen.failed, *wrong):
        print(trouble, file=sys.stderr)
    told = sum(was_told for person, (_, was_told) in zip(people, back, strict=True) if person in bringing)
    return {
        "killed, and healthy again after": healthy,
        "killed, and the first visitor's maps after": min(at for at, _ in back) - killed,
        "killed, and the last visitor's maps after": max(at for at, _ in back) - killed,
        "who came back and saw wrong maps or errors": len(wrong) + len(seen.failed),
        "who looked at a picture of their own": len(bringing),
        "of them, were told that it is gone": told,
    }


async def _kill_among(people: list[SoakVisitor], address: str) -> float:
    staying = [asyncio.create_task(person.keep_looking_at_own()) for person in people[:_BRINGING]]
    begun = time.monotonic()
    while any(person.own is None for person in people[:_BRINGING]) and time.monotonic() - begun < 2 * _KILLED_AFTER:
        await asyncio.sleep(0.2)
    staying += [asyncio.create_task(person.stay(math.inf)) for person in people[_BRINGING:]]
    await asyncio.sleep(_KILLED_AFTER)
    os.kill(server_at(address), signal.SIGKILL)
    killed = time.monotonic()
    for task in staying:
        task.cancel()
    for ended in await asyncio.gather(*staying, return_exceptions=True):
        if isinstance(ended, Exception):
            print(f"before the server was killed: {ended!r}", file=sys.stderr)
    return killed


async def _come_back(people: list[SoakVisitor], seen: Seen) -> list[tuple[float, bool]]:
    for person in people:
        person.seen = seen
    return list(await asyncio.gather(*(person.come_back() for person in people)))
