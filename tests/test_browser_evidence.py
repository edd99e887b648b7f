"""The page Evidence in a real browser: few words above the fold, nothing to scroll sideways, tables that open whole."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import BROWSER_TEST, rerun, visit, words_above_the_fold

pytestmark = BROWSER_TEST
VIEWS = (
    "?net=Lite0",
    "?net=V1-0.5",
    "?net=V1-0.5&position=none+(plain)",
    "?net=V1-0.5&position=instead+10",
    "?net=V2-0.5",
)


@pytest.mark.parametrize("view", VIEWS)
def test_sixty_words_above_the_fold_tell_what_can_be_concluded(browser: Browser, address: str, view: str) -> None:
    page = visit(browser, f"{address}/evidence{view}")
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    words = words_above_the_fold(page)
    assert words[:3] == ["What", "can", "be"]
    # The charts and the closed tables are in sight too
    assert {"stays", "open", "Accuracy", "Paper", "Runs"} <= set(words)
    assert len(words) <= 60, words
    page.context.close()


def test_a_phone_never_scrolls_sideways_with_all_tables_open(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/evidence", width=420)
    for name in ("Accuracy", "Effects", "Maps", "Paper"):
        page.locator("summary", has_text=name).click()
    with rerun(page):
        page.locator("summary", has_text="Cost").click()
    tables = page.locator('[data-testid="stDataFrame"]')
    expect(tables).to_have_count(5)
    for table in tables.all():
        box = table.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 420
        assert box["height"] > 20 * 30  # whole: no rows to scroll for
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 420
    for chart in page.locator(".js-plotly-plot").all():
        box = chart.bounding_box()
        assert box and box["x"] + box["width"] <= 420
    page.context.close()


def test_the_times_are_measured_where_the_cost_is_open(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/evidence?net=V2-0.5")
    measure = page.get_by_role("button", name=re.compile("^Measure all"))
    expect(measure).to_have_count(0)  # nor is anything counted for those who do not look
    with rerun(page):
        page.locator("summary", has_text="Cost").click()
    with rerun(page):
        measure.click()
    expect(measure).to_have_count(0)
    expect(page.get_by_text("all networks by turns; half of the runs")).to_be_visible()
    page.context.close()
