"""The address in a real browser: Back and Forward walk through the views, and a reload keeps what was uploaded."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from tests.browser import BROWSER_TEST, maps, move_slider, rerun, settle, until, until_maps, visit
from ulsam_viz.samples import ASSETS

pytestmark = BROWSER_TEST


def walk(page: Page, direction: str) -> None:
    """Go back or forward, and wait until the page has settled."""
    with rerun(page):
        page.evaluate(f"history.{direction}()")


def until_these(page: Page, wanted: list[str]) -> None:
    """Wait until exactly these maps are drawn: tiles draw a moment after the run."""
    until(page, lambda: maps(page) == wanted, "the maps of that view were there again")


def test_back_and_forward_walk_through_g_position_network_and_picture(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?methods=Saliency")
    first = until_maps(page, 4)
    move_slider(page, "Subspaces g", "ArrowRight")
    eight = until_maps(page, 8)
    move_slider(page, "Position", "Home")
    until_these(page, [])
    walk(page, "back")
    until_these(page, eight)
    assert "g=8" in page.url and "position" not in page.url
    with rerun(page):
        page.locator('button.tile[data-id="chelsea"]').click()
    expect(page.get_by_role("heading", name=re.compile("Cat"))).to_be_visible()
    with rerun(page):
        page.get_by_role("radio", name="V2-0.5").click()
    until_maps(page, 8)
    walk(page, "back")
    expect(page.get_by_role("radio", name="V1-0.5")).to_be_checked()
    walk(page, "back")
    until_these(page, eight)
    expect(page.get_by_role("heading", name=re.compile("Coffee cup"))).to_be_visible()
    walk(page, "back")
    until_these(page, first)
    assert page.get_by_role("slider", name=re.compile("Subspaces g")).get_attribute("aria-valuetext") == "4"
    walk(page, "forward")
    until_these(page, eight)
    assert page.evaluate("history.length") <= 6
    page.context.close()


def test_back_from_another_page_shows_the_view_that_was_left(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?methods=Saliency&g=8")
    left = until_maps(page, 8)
    with rerun(page):
        page.get_by_role("link", name="Learn", exact=True).first.click()
    assert "g=8" in page.url  # the address says what is shown on every page
    with rerun(page):
        page.get_by_role("button", name="Next").click()
    walk(page, "back")
    assert "/learn" in page.url and "step" not in page.url
    walk(page, "back")
    until_these(page, left)
    page.context.close()


def test_a_reload_keeps_an_upload_and_back_leads_to_the_sample_before_it(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?methods=Saliency&picture=Coffee+cup")
    coffee = until_maps(page, 4)
    with rerun(page):
        page.locator("input[type=file]").set_input_files(str(ASSETS / "chelsea.jpg"))
    title = page.locator('button.tile[data-id^="own-"][aria-pressed="true"]')
    expect(title).to_be_visible()
    uploaded = until_maps(page, 4, other_than=coffee)
    page.reload()
    settle(page)
    expect(title).to_be_visible()
    until_these(page, uploaded)
    assert page.get_by_text("no longer here").count() == 0
    walk(page, "back")
    until_these(page, coffee)
    walk(page, "forward")
    until_these(page, uploaded)
    chooser = page.locator("input[type=file]")
    for name in ("coffee.jpg", "sunflower.png"):  # the second takes the first one's place
        with rerun(page):
            chooser.set_input_files(str(ASSETS / name))
        expect(title).to_have_attribute("aria-label", name)
    settle(page)
    walk(page, "back")
    assert page.get_by_text("The uploaded picture is no longer here: upload it again; ").count() == 1
    page.context.close()


def test_what_the_address_asks_for_in_vain_is_said_when_the_page_has_settled(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?picture=Dog&g=7&methods=Saliency")
    assert page.get_by_text("There is no picture “Dog”; Coffee cup is shown.").count() == 1
    assert page.get_by_text("Nothing was trained here with g = 7; g = 4 is shown.").count() == 1
    assert "Dog" not in page.url and "g=7" not in page.url
    page.context.close()
