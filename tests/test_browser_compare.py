"""The page Compare in a real browser: maps first, few words, a child under its parent, a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import BROWSER_TEST, rerun, share, visit, words_above_the_fold

pytestmark = BROWSER_TEST


def boxes(page: Page, selector: str) -> list[dict[str, float]]:
    found: list[dict[str, float]] = page.locator(selector).evaluate_all(
        "all => all.map(e => e.getBoundingClientRect().toJSON())"
    )
    return found


@pytest.mark.parametrize("net", ["Lite0", "V1-0.5"])
def test_a_fifth_of_the_window_is_maps_with_sixty_words_at_most(browser: Browser, address: str, net: str) -> None:
    page = visit(browser, f"{address}/compare?net={net}")
    page.set_viewport_size({"width": 1440, "height": 900})
    assert share(page, "map") >= 0.2
    assert len(words_above_the_fold(page)) <= 60
    page.context.close()


def test_a_click_opens_a_map_in_place_and_the_picture_stays_in_sight(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/compare")
    with rerun(page):
        page.locator(".lattice .tile").nth(4).click()
    large = page.locator(".st-key-large .tile").first
    expect(large).to_be_visible()
    assert "large=" in page.url
    (frame, *_) = boxes(page, ".st-key-large .frame")
    assert frame["width"] >= 300
    page.locator('[data-testid="stMain"]').evaluate("e => e.scrollTo(0, e.scrollHeight)")
    expect(page.locator('img[data-role="thumbnail"]')).to_be_in_viewport()
    with rerun(page):
        page.keyboard.press("Escape")
    expect(page.locator(".st-key-large")).to_have_count(0)
    assert "large=" not in page.url
    page.context.close()


def test_two_stand_aligned_and_turn_over_without_a_run(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/compare?way=two&second-g=8")
    left, right = (boxes(page, f".st-key-side-{i} .frame")[:4] for i in (0, 1))
    assert min(box["width"] for box in left + right) >= 200
    assert [box["y"] for box in left] == pytest.approx([box["y"] for box in right], abs=1)
    runs = page.locator("[data-run]").first.get_attribute("data-run")
    over = page.locator(".st-key-over .over").first
    divided = "e => getComputedStyle(e).clipPath"
    assert "50%" in over.evaluate(divided)
    blink = page.get_by_role("button", name="Blink")
    blink.click()
    assert "100%" in over.evaluate(divided)
    blink.click()
    assert "100%" not in over.evaluate(divided)
    assert page.locator("[data-run]").first.get_attribute("data-run") == runs
    page.context.close()


@pytest.mark.parametrize("way", ["groups", "positions", "two"])
def test_a_phone_scrolls_down_only(browser: Browser, address: str, way: str) -> None:
    page = visit(browser, f"{address}/compare?way={way}", width=420)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 420
    assert page.locator('[data-testid="stMain"]').evaluate("e => e.scrollWidth") <= 420
    if way == "groups":
        last = boxes(page, ".st-key-lattice .frame")[-16:]
        assert len({round(box["x"]) for box in last}) == 4
    page.context.close()
