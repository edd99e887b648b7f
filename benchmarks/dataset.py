"""How long the page Dataset takes, in a real browser.

From a click to the view on the screen, over a table that `batch` wrote.
"""

from __future__ import annotations

import math
import statistics
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser import RUNS, open_page, running_app, running_browser, settle
from ulsam_viz.dataset.opened import open_folder

# What must be on the screen for a view to be there.
_SHOWN = {
    "Distributions": ".js-plotly-plot .boxlayer .box",
    "Scatter": ".js-plotly-plot .points path",
    "Classes": ".js-plotly-plot .heatmaplayer .hm",
    "Mean maps": ".tile canvas[data-drawn]",
    "Pictures": "button.tile canvas[data-drawn]",
}
_THERE = """([shown, run]) => {
  const all = (node) => [...node.querySelectorAll('*')].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  return Number(document.querySelector('[data-run]')?.dataset.run ?? 0) > run && all(document).some((e) => e.matches(shown) && e.checkVisibility());
}"""
_HOVERS = 20


def dataset(repeats: int, *, table: Path | None = None) -> list[dict[str, Any]]:
    """Time each view of a table, a layer not shown yet, and the picture under the pointer.

    Args:
        repeats: Half as many rounds through all views are made, at most six.
        table: Folder that ``batch`` wrote.
    """
    assert table
    opened = open_folder(table)
    rows = len(opened.pictures) * sum(opened.groups(layer) for layer in opened.layers)
    times: dict[str, list[float]] = {}
    with running_app() as address, running_browser() as browser:
        page = open_page(browser)
        page.goto(f"{address}/dataset?source=table&folder={table.resolve()}&look=means")
        settle(page)
        for _ in range(max(1, min(6, repeats // 2))):
            for view, shown in _SHOWN.items():
                times.setdefault(view, []).append(_to_view(page, view, shown))
        for layer in map(str, opened.layers):
            seconds = _choose(page, "Layer", layer)
            if seconds:
                times.setdefault("another layer: its pictures", []).append(seconds)
        _to_view(page, "Scatter", _SHOWN["Scatter"])
        times["a point under the pointer: its picture and map"] = _hovers(page)
    about = f"{len(opened.pictures):,} pictures, {rows:,} rows"
    return [
        {
            "what": f"{about}: {what}",
            "runs": len(seconds),
            "median_s": statistics.median(seconds),
            "p95_s": sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1],
            "worst_s": max(seconds),
        }
        for what, seconds in times.items()
    ]


def _to_view(page: Page, view: str, shown: str) -> float:
    run = page.evaluate(RUNS)
    button = page.locator(".st-key-look-shown").get_by_text(view, exact=True)
    started = time.perf_counter()
    button.click()
    page.wait_for_function(_THERE, arg=[shown, run], polling=10)
    seconds = time.perf_counter() - started
    settle(page)
    return seconds


def _choose(page: Page, label: str, option: str) -> float:
    """Choose in a list; 0 where that is chosen already."""
    box = page.get_by_role("combobox", name=label).first
    if option in (box.get_attribute("value") or box.get_attribute("aria-label") or ""):
        return 0.0
    box.click()
    run = page.evaluate(RUNS)
    started = time.perf_counter()
    page.get_by_role("option", name=option, exact=True).click()
    page.wait_for_function(_THERE, arg=[_SHOWN["Pictures"], run], polling=10)
    seconds = time.perf_counter() - started
    settle(page)
    return seconds


def _hovers(page: Page) -> list[float]:
    """Move the pointer to points, and wait for each one's name below its picture."""
    points = page.locator(".st-key-scatter-0 .js-plotly-plot .points path")
    name = page.locator(".st-key-scatter-0-name")
    times = []
    step = max(1, points.count() // _HOVERS)
    for n in range(0, points.count(), step):
        before, box = name.inner_text(), points.nth(n).bounding_box()
        if not box:
            continue
        started = time.perf_counter()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        try:
            expect(name).not_to_have_text(before, timeout=3000)
        except AssertionError:  # the same picture: another point lies over it
            continue
        times.append(time.perf_counter() - started)
    return times
