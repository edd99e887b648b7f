"""How long a visitor waits, in a real browser: from the key or click to the new pictures on the screen."""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser import SMALL_NETWORK, move_slider, open_page, running_app, running_browser, settle, until
from ulsam_viz.lesson.steps import STEPS

_NETWORKS = {"EfficientNet-Lite0": "net=Lite0", "MobileNet-V1 0.5": SMALL_NETWORK}
_VISITS = 5
# What is drawn on the tiles of a kind, in order; "" before anything is.
_DRAWN = """(kind) => {
  const all = (node) => [...node.querySelectorAll('*')].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  const seen = all(document).filter((e) => e.matches(kind) && e.checkVisibility() && e.dataset.drawn);
  return seen.map((e) => e.dataset.drawn).join();
}"""
_MAP = "button.tile canvas[data-role=map]"
_ATTRIBUTION = "[data-id=integrated_gradients] canvas[data-role=attribution]"
# Notes when the first map was on the screen, in ms since the browser asked for the page.
_WATCH = f"""{{
  const drawn = {_DRAWN};
  const look = () => document.body && drawn('{_MAP}') ? (window.firstMaps = performance.now()) : setTimeout(look, 5);
  look();
}}"""
# Moves the opacity, and returns the ms until the frame in which it shows has been painted.
_SET_OPACITY = """async (control) => {
  control.value = control.value > 0.5 ? 0.3 : 0.7;
  const started = performance.now();
  control.dispatchEvent(new Event('input', { bubbles: true }));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - started;
}"""


def pages(repeats: int) -> list[dict[str, Any]]:
    """Time first visits, moves to networks not seen yet and seen, attributions, a display setting, and the lesson's
    steps.
    """
    rows = []
    with running_browser() as browser:
        fresh, warm = [], []
        for _ in range(_VISITS):
            with running_app() as address:
                fresh.append(_first_visit(browser, address))
                warm += [_first_visit(browser, address) for _ in range(_VISITS)]
        for server, visits in (("a fresh server", fresh), ("a warm server, a new visitor", warm)):
            for end, times in zip(("maps", "the whole page"), zip(*visits, strict=True), strict=True):
                rows.append(_row(f"{server}: from the page's load to {end}", list(times)))
        with running_app() as address:
            for name, network in _NETWORKS.items():
                page = open_page(browser)
                page.goto(f"{address}/?{network}")
                settle(page)
                rows.append(
                    _row(
                        f"{name}: g or position moved to a network not shown yet: new maps", _through_all_networks(page)
                    )
                )
                _move(page, "Subspaces g", "Home")
                seen = [_until(page, _MAP, _press, page, "Subspaces g", key) for key in ("ArrowRight", "ArrowLeft") * 3]
                rows.append(_row(f"{name}: g moved to a network shown before: new maps", seen))
                rows.append(
                    _row(f"{name}: a picture not shown yet: integrated gradients, 32 steps", _through_pictures(page))
                )
                rows.append(_row(f"{name}: a display setting: the frame is painted", _settings(page, max(12, repeats))))
                rows.append(
                    _row(f"{name}: the lesson's next step", _through_the_lesson(page, f"{address}/learn?{network}"))
                )
                page.context.close()
    return rows


def _first_visit(browser: Browser, address: str) -> tuple[float, float]:
    """Return the seconds from the page's load to the first maps, and to all that it has."""
    page = open_page(browser)
    page.add_init_script(_WATCH)
    page.goto(address)
    settle(page)
    maps, whole = (float(page.evaluate(now)) / 1000 for now in ("window.firstMaps", "performance.now()"))
    page.context.close()
    return maps, whole


def _through_all_networks(page: Page) -> list[float]:
    """Move to each network of the backbone that carries a module, never twice to the same."""
    _move(page, "Position", "Home")
    _move(page, "Position", "ArrowRight")
    _move(page, "Subspaces g", "Home")
    times, direction, position = [], "ArrowRight", ""
    while (now := _value(page, "Position")) != position:
        position, value = now, ""
        while (g := _value(page, "Subspaces g")) != value:
            value = g
            if not _is_last(page, "Subspaces g", direction):
                times.append(_until(page, _MAP, _press, page, "Subspaces g", direction))
        if not _is_last(page, "Position", "ArrowRight"):
            times.append(_until(page, _MAP, _press, page, "Position", "ArrowRight"))
        direction = "ArrowRight" if direction == "ArrowLeft" else "ArrowLeft"
    return times


def _through_pictures(page: Page) -> list[float]:
    """Choose photographs one after the other: from the click to the pixels of integrated gradients."""
    times = []
    for sample in ("chelsea", "camera", "rocket", "grace_hopper", "house"):
        times.append(_until(page, _ATTRIBUTION, page.locator(f'button.tile[data-id="{sample}"]').click))
    return times


def _settings(page: Page, repeats: int) -> list[float]:
    page.get_by_role("button", name="View").click()
    control = page.locator(".view input[type=range]")
    times = [control.evaluate(_SET_OPACITY) / 1000 for _ in range(repeats)]
    page.keyboard.press("Escape")
    return times


def _through_the_lesson(page: Page, address: str) -> list[float]:
    """Open the lesson, and press "Next" until its end: from the key to the step's words and pictures."""
    page.goto(address)
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


def _slider(page: Page, name: str) -> Any:
    return page.get_by_role("slider", name=re.compile(name)).first


def _value(page: Page, name: str) -> str:
    return str(_slider(page, name).get_attribute("aria-valuetext") or _slider(page, name).input_value())


def _is_last(page: Page, name: str, key: str) -> bool:
    slider = _slider(page, name)
    return bool(slider.input_value() == slider.get_attribute("max" if key == "ArrowRight" else "min"))


def _press(page: Page, name: str, key: str) -> None:
    _slider(page, name).press(key)


def _move(page: Page, name: str, key: str) -> None:
    """Press a key on a slider that may already be at its end."""
    if not (key == "Home" and _is_last(page, name, "ArrowLeft")):
        move_slider(page, name, key)


def _until(page: Page, kind: str, act: Callable[..., None], *arguments: Any) -> float:
    """Return the seconds from an action to another drawing on tiles of a kind."""
    before = page.evaluate(_DRAWN, kind)
    started = time.perf_counter()
    act(*arguments)
    until(page, lambda: page.evaluate(_DRAWN, kind) not in ("", before), "other maps were drawn")
    seconds = time.perf_counter() - started
    settle(page)
    return seconds


def _row(what: str, seconds: list[float]) -> dict[str, Any]:
    ordered = sorted(seconds)
    return {
        "what": what,
        "runs": len(seconds),
        "median_s": statistics.median(seconds),
        "p95_s": ordered[math.ceil(0.95 * len(ordered)) - 1],
        "worst_s": max(seconds),
    }
