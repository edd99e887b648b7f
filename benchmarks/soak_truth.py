"""What the soak's views show to a visitor who is alone."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from random import Random

from benchmarks.client import Client
from benchmarks.soak_visitor import Seen, View, bring, file_of, name_in_address

_LIMIT = 120.0  # seconds that an answer may take
_TOGETHER = 20  # views that one visitor opens: who goes on and on would still wait for all that the left ones ask


async def wrong_maps(seen: Seen, address: str, *, seconds: float) -> tuple[int, list[str]]:
    """Open the views that were seen, alone and in no order, until the maps are there that were seen.

    Returns:
        How many that were seen are compared within so many seconds, and those that were seen otherwise.
    """
    end, compared = time.monotonic() + seconds, 0
    by_view: dict[View, list[Mapping[str, str]]] = defaultdict(list)
    for view, maps in seen.maps:
        by_view[view] += [maps] if maps else []
    views = [view for view, found in by_view.items() if found]
    Random(0).shuffle(views)
    names = await _bring_all({view.own for view in views if view.own is not None}, address)
    wrong: list[str] = []
    for start in range(0, len(views), _TOGETHER):
        async with Client(address) as client:
            for view in views[start : start + _TOGETHER]:
                if time.monotonic() > end:
                    return compared, wrong
                found = by_view[view]
                compared += len(found)
                truth = await _open(client, view, names.get(view.own, ""), set().union(*found))
                for maps in found:
                    if not maps.items() <= truth.items():
                        other = sorted(row for row in maps if maps[row] != truth.get(row))
                        wrong.append(f"wrong maps: {view}: {other[:3]} of {sorted(maps)}, alone {sorted(truth)}")
    return compared, wrong


async def _bring_all(numbers: set[int], address: str) -> dict[int | None, str]:
    """Bring pictures, each in a session of its own.

    Return their names in the address, where they are found for ten minutes.
    """
    names: dict[int | None, str] = {}
    for number in numbers:
        async with Client(address) as client:
            view = View("inspect", (("net", "V1-0.5"),))  # the fastest
            await client.ask(view.page, view.query(""))
            await client.until(lambda run: False, _LIMIT)
            file = file_of(number, "alone")
            await bring(client, view, file)
            names[number] = name_in_address(*file)
    return names


async def _open(client: Client, view: View, own: str, rows: set[str]) -> Mapping[str, str]:
    """Open a view until these maps are there, or all that it has."""
    for _ in range(2):
        await client.ask(view.page, view.query(own))
        await client.until(lambda run: run.certain and rows <= run.prints.keys(), _LIMIT)
        if client.run.certain:  # else an earlier view's may have come: the page is idle now, so the next are this one's
            break
    return dict(client.run.prints)
