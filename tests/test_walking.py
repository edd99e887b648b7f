"""Back and Forward over the page's own protocol: what the address names is shown, or it is said that it is not here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.client import Client, Run
from benchmarks.soak_visitor import View, bring, file_of, name_in_address
from tests.browser import ROOT, running_app
from tests.patience import PATIENCE, until

VIEW = View("inspect", (("net", "V1-0.5"), ("picture", "Boats")))
GONE = "photo.jpg (own-0123456789abcdef)"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app() as address:
        yield address


async def _open(client: Client, picture: str, view: View = VIEW) -> Run:
    await client.ask(view.page, view.query("") | {"picture": picture})
    await client.until(lambda run: False, PATIENCE)
    return client.run


@pytest.mark.parametrize(
    "view", [VIEW, View("compare", (("net", "V1-0.5"), ("position", "after 13"), ("way", "groups")))]
)
def test_back_after_a_reload_leads_to_the_picture_that_was_brought(address: str, view: View) -> None:
    async def walk() -> tuple[Run, Run, Run]:
        file = file_of(0, f"a visitor of {view.page}")
        async with Client(address) as client:
            sample = await _open(client, "Boats", view)
            await _open(client, "Boats")
            await bring(client, VIEW, file)
            brought = await _open(client, name_in_address(*file), view)
        async with Client(address) as client:  # the reload: another session, which has not offered that picture
            await _open(client, "Boats")
            return brought, sample, await _open(client, name_in_address(*file), view)

    brought, sample, back = asyncio.run(walk())
    assert back.prints == brought.prints != sample.prints
    assert back.prints and not back.gone


def test_back_to_a_picture_that_is_not_kept_any_more_says_so(address: str) -> None:
    async def walk() -> Run:
        async with Client(address) as client:
            await _open(client, "Boats")
            return await _open(client, GONE)

    back = asyncio.run(walk())
    assert back.gone and back.prints


def test_who_opens_another_page_and_goes_back_to_inspect_sees_what_that_address_names(address: str) -> None:
    async def walk() -> Run:
        async with Client(address) as client:
            await client.ask("compare", {"net": "V1-0.5", "position": "after 11", "g": "4", "picture": "Boats"})
            await client.until(lambda run: False, PATIENCE)
            await client.ask("inspect", {"net": "V1-0.5", "position": "after 4", "g": "2", "picture": "Boats"})
            await client.until(lambda run: False, PATIENCE)
            return client.run

    assert sorted(asyncio.run(walk()).prints) == ["maps-4 4.0", "maps-4 4.1"]


def test_going_back_and_forth_shows_what_a_new_visitor_sees_at_each_address(address: str) -> None:
    """What an address leaves out is what a new visitor is shown, whatever was looked at before."""
    two: dict[str, str] = {"net": "V1-0.5", "position": "after 11", "g": "4", "picture": "Boats", "way": "two"}
    lesson: dict[str, str] = {"net": "V1-0.5", "position": "after 11", "g": "4", "step": "channels"}
    views: list[tuple[str, dict[str, str]]] = [
        ("compare", two),
        ("compare", two | {"gain": "normalised"}),
        ("learn", lesson | {"picture": "Cat"}),
        ("compare", two | {"g": "8"}),
        ("compare", two | {"second-gain": "normalised"}),
        ("learn", lesson | {"picture": "Cat", "channel": "0", "row": "0"}),
        ("learn", lesson | {"picture": "Boats"}),
        ("compare", two),
    ]

    def shown(run: Run) -> list[tuple[str, str, str]]:
        rows = [(c.id.split("-", 2)[-1], json.loads(c.json or "{}")) for c in run.of_kind("bidi_component")]
        return [(row, tile["id"], tile["name"]) for row, data in rows for tile in data.get("tiles", ())]

    async def see(client: Client, page: str, query: dict[str, str], *, walked: bool) -> tuple[object, object]:
        await client.ask(page, query, walked=walked)
        await client.until(lambda run: False, PATIENCE)
        return shown(client.run), client.run.prints

    async def walk() -> None:
        async with Client(address) as walking:
            for page, query in views:
                async with Client(address) as new:
                    expected = await see(new, page, query, walked=False)
                assert await see(walking, page, query, walked=True) == expected, (page, query)

    asyncio.run(walk())


def test_who_goes_back_twice_sees_the_second_view_however_late_the_first_one_is(tmp_path: Path) -> None:
    async def walk(address: str) -> Run:
        async with Client(address) as client:
            await _open(client, "Boats")
            await client.ask("inspect", {"net": "V2-0.5", "picture": "Boats"})
            await asyncio.to_thread(until, (tmp_path / "held").exists)
            await client.ask("inspect", {"net": "V1-0.5", "position": "after 4", "g": "2", "picture": "Boats"})
            await client.known(PATIENCE)
            (tmp_path / "go").touch()
            await client.until(lambda run: False, PATIENCE)
            return client.run

    with running_app(ROOT / "tests" / "held_run.py", HOLD="address", HELD=str(tmp_path)) as address:
        assert sorted(asyncio.run(walk(address)).prints) == ["maps-4 4.0", "maps-4 4.1"]


def test_who_waits_for_the_engine_can_go_elsewhere_at_once(tmp_path: Path) -> None:
    async def walk(address: str) -> Run:
        async with Client(address) as client:
            await client.ask("inspect", {"net": "V1-0.5", "picture": "Boats"})
            await asyncio.to_thread(until, (tmp_path / "held").exists)
            await client.ask("evidence", {"net": "V1-0.5"})
            await client.until(lambda run: False, PATIENCE)
            return client.run

    with running_app(ROOT / "tests" / "held_run.py", HOLD="pass", HELD=str(tmp_path)) as address:
        evidence = asyncio.run(walk(address))
        (tmp_path / "go").touch()
    assert evidence.of_kind("dataframe") and not evidence.prints and not evidence.exceptions
