"""How long a visitor waits, in a real browser: from the key or click to the new pictures on the screen."""

from __future__ import annotations

import statistics
import time
from typing import Any

from playwright.sync_api import Page

from tests.browser import maps, running_app, running_browser, settle

_CHANGED = """before => {
  const now = [...document.querySelectorAll('*')].flatMap(e => e.shadowRoot ? [...e.shadowRoot.querySelectorAll('button.tile[data-id^="11."] img')] : []);
  return now.length > 0 && now[0].complete && now[0].src !== before;
}"""


def pages(repeats: int) -> list[dict[str, Any]]:
    """Time the start, a fresh visit, moves of g to networks not seen yet and seen, and a display setting."""
    rows = []
    with running_browser() as browser:
        started = time.perf_counter()
        with running_app() as address:
            page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
            page.goto(address)
            page.wait_for_function(_CHANGED, arg="", polling=20)
            rows.append(_row("start of the server to maps on the screen", [time.perf_counter() - started]))
            settle(page)
            moves = []
            for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
                moves.append(_until_maps(page, "Subspaces g", key))
            rows.append(_row("g moved to a network not shown yet: new maps", [moves[i] for i in (0, 1, 4, 5)]))
            rows.append(_row("g moved to a network shown before: new maps", moves[2:4]))
            display = [_until_maps(page, "Opacity of the map", key) for key in ["ArrowLeft", "ArrowRight"] * max(2, repeats // 12)]
            rows.append(_row("a display setting: new pictures", display))
            visits = []
            for _ in range(3):
                fresh = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
                before = time.perf_counter()
                fresh.goto(address)
                fresh.wait_for_function(_CHANGED, arg="", polling=20)
                visits.append(time.perf_counter() - before)
                fresh.context.close()
            rows.append(_row("a fresh visit to a warm server: maps", visits))
            page.context.close()
    return rows


def _until_maps(page: Page, slider: str, key: str) -> float:
    before = maps(page)[0]
    control = page.get_by_role("slider", name=slider).first
    started = time.perf_counter()
    control.press(key)
    page.wait_for_function(_CHANGED, arg=before, polling=20)
    seconds = time.perf_counter() - started
    settle(page)
    return seconds


def _row(what: str, seconds: list[float]) -> dict[str, Any]:
    return {"what": what, "runs": len(seconds), "median_s": statistics.median(seconds), "worst_s": max(seconds)}
