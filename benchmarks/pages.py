"""How long a visitor waits, in a real browser: from the key or click to the new pictures on the screen."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser import running_app, running_browser, settle
from ulsam_viz.lesson.steps import STEPS

# The first map's picture; map tiles are named by layer and subspace, as in "11.0".
_MAP = """[...document.querySelectorAll('*')]
  .flatMap(e => e.shadowRoot ? [...e.shadowRoot.querySelectorAll('button.tile[data-id*="."] img')] : [])[0]"""
_CHANGED = f"before => {{ const map = {_MAP}; return !!map && map.complete && map.src !== before; }}"


def pages(repeats: int) -> list[dict[str, Any]]:
    """Time the start, fresh visits, moves to networks not seen yet and seen, a display setting, and the lesson's steps."""
    with running_browser() as browser:
        started = time.perf_counter()
        with running_app() as address:
            page = _open(browser, address)
            rows = [_row("start of the server to maps on the screen", [time.perf_counter() - started])]
            settle(page)
            rows.append(_row("g or position moved to a network not shown yet: new maps", _through_all_networks(page)))
            _press(page, "Subspaces g", "Home")
            seen = [_until_maps(page, "Subspaces g", key) for key in ("ArrowRight", "ArrowLeft") * 3]
            rows.append(_row("g moved to a network shown before: new maps", seen))
            display = [_until_maps(page, "Opacity of the map", key) for key in ["ArrowLeft", "ArrowRight"] * max(2, repeats // 12)]
            rows.append(_row("a display setting: new pictures", display))
            visits = []
            for _ in range(5):
                before = time.perf_counter()
                fresh = _open(browser, address)
                visits.append(time.perf_counter() - before)
                settle(fresh)
                fresh.context.close()
            rows.append(_row("a fresh visit to a warm server: maps", visits))
            rows.append(_row("the lesson's next step", _through_the_lesson(page, address)))
            page.context.close()
    return rows


def _open(browser: Browser, address: str) -> Page:
    """Visit for the first time, until there are maps."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    page.goto(address)
    page.wait_for_function(_CHANGED, arg="", polling=20)
    return page


def _through_all_networks(page: Page) -> list[float]:
    """Move to each network of the backbone that carries a module, never twice to the same."""
    _press(page, "Position", "Home")
    _press(page, "Position", "ArrowRight")
    _press(page, "Subspaces g", "Home")
    times = []
    direction = "ArrowRight"
    while True:
        times += [_until_maps(page, "Subspaces g", direction) for _ in range(4)]
        before = page.evaluate("location.search")
        here = page.evaluate(f"{_MAP}.src")
        started = time.perf_counter()
        page.get_by_role("slider", name="Position").first.press("ArrowRight")
        try:
            page.wait_for_function(_CHANGED, arg=here, polling=20, timeout=5000)
        except Exception:
            if page.evaluate("location.search") == before:  # the last position
                return times
            raise
        times.append(time.perf_counter() - started)
        settle(page)
        direction = "ArrowLeft" if direction == "ArrowRight" else "ArrowRight"


def _press(page: Page, slider: str, key: str) -> None:
    page.get_by_role("slider", name=slider).first.press(key)
    page.wait_for_timeout(300)
    settle(page)


def _until_maps(page: Page, slider: str, key: str) -> float:
    before = page.evaluate(f"{_MAP}.src")
    control = page.get_by_role("slider", name=slider).first
    started = time.perf_counter()
    control.press(key)
    page.wait_for_function(_CHANGED, arg=before, polling=20)
    seconds = time.perf_counter() - started
    settle(page)
    return seconds


def _through_the_lesson(page: Page, address: str) -> list[float]:
    """Open the lesson, and press "Next" until its end: from the key to the step's words and pictures."""
    page.goto(f"{address}/learn")
    settle(page)
    times = []
    for step in STEPS[1:]:
        started = time.perf_counter()
        page.keyboard.press("n")
        page.get_by_role("heading", name=step.title, exact=True).wait_for()
        page.wait_for_function("!document.querySelector('[data-stale=true]')", polling=20)
        times.append(time.perf_counter() - started)
        settle(page)
    return times


def _row(what: str, seconds: list[float]) -> dict[str, Any]:
    ordered = sorted(seconds)
    return {
        "what": what,
        "runs": len(seconds),
        "median_s": statistics.median(seconds),
        "p95_s": ordered[math.ceil(0.95 * len(ordered)) - 1],
        "worst_s": max(seconds),
    }
