"""The address in a real browser: Back and Forward walk through the views, and a reload keeps what was uploaded."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser import BROWSER_TEST, maps, move_slider, rerun, running_app, settle, until, until_maps, visit
from ulsam_viz import explain
from ulsam_viz.cli.program import main
from ulsam_viz.images.preprocessing import decode_image
from ulsam_viz.images.samples import ASSETS
from ulsam_viz.ui.navigation import PATHS

pytestmark = BROWSER_TEST


@pytest.fixture(scope="module")
def below() -> Iterator[str]:
    """The app below a path of its host, as behind a proxy."""
    with running_app(STREAMLIT_SERVER_BASE_URL_PATH="lab/maps") as address:
        yield address


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


CHELSEA = ASSETS / "chelsea.jpg"
NAME = "mobilenet_v1-0.5-after11-g8"


def address_in(report: Path) -> str:
    """Return the address that an HTML report shows."""
    (found,) = re.findall(r"The view on the page</h3><p>(?:<a[^>]*>)?(.+?)<", report.read_text(encoding="utf-8"))
    return html.unescape(found)


def printed_addresses(tmp_path: Path) -> dict[str, str]:
    """Return the addresses of one view that the library and the command line write."""
    seen = explain(decode_image(CHELSEA.read_bytes()), NAME, ("saliency",))
    file = tmp_path / "command.html"
    assert main(["inspect", str(CHELSEA), "--variant", NAME, "--methods", "saliency", "--report", str(file)]) == 0
    seen.report(tmp_path / "python.html", file=str(CHELSEA))
    return {
        "Python": seen.reported(file=str(CHELSEA)).address,
        "a report from Python": address_in(tmp_path / "python.html"),
        "a report from the command line": address_in(file),
    }


def shared_addresses(page: Page, tmp_path: Path) -> dict[str, str]:
    """Return the addresses in the files that the page gives."""
    page.locator(".st-key-share").get_by_role("button").first.click()
    for name, suffix in (("Report", "html"), ("Picture", "png"), ("Numbers", "npz")):
        with page.expect_download() as download:
            page.get_by_role("button", name=re.compile(name)).last.click()
        download.value.save_as(tmp_path / f"shared.{suffix}")
    settings = json.loads(str(np.load(tmp_path / "shared.npz")["settings"]))
    with Image.open(tmp_path / "shared.png") as picture:
        return {"HTML": address_in(tmp_path / "shared.html"), "PNG": picture.info["Source"], "NPZ": settings["address"]}


def opens(browser: Browser, address: str, count: int) -> Page:
    """Open an address as somebody else, and see that it shows the cat and so many maps, and no word of a missing
    page.
    """
    page = visit(browser, address)
    assert page.get_by_text("Page not found").count() == 0, address
    expect(page.get_by_role("heading", name=re.compile("Cat"))).to_be_visible()
    until_maps(page, count)
    return page


def test_every_address_that_is_printed_opens_what_it_says(browser: Browser, below: str, tmp_path: Path) -> None:
    printed = printed_addresses(tmp_path)
    (written,) = set(printed.values())
    page = opens(browser, below + written, 8)
    shared = shared_addresses(page, tmp_path)
    page.context.close()
    (whole,) = set(shared.values())
    assert whole.startswith(below)  # here the program knows its host
    opens(browser, whole, 8).context.close()


def test_addresses_of_older_versions_open_the_same_page(browser: Browser, below: str) -> None:
    """They call Inspect by its name.

    Its controls, Back, and the way to other pages work there as at the app's own address.
    """
    page = opens(browser, f"{below}/inspect?net=V1-0.5&picture=Cat&g=8&methods=Saliency", 8)
    move_slider(page, "Subspaces g", "ArrowRight")
    until_maps(page, 16)
    expect(page).to_have_url(re.compile("/inspect.*g=16"))
    walk(page, "back")
    until_maps(page, 8)
    with rerun(page):
        page.get_by_role("link", name="Learn", exact=True).first.click()
    assert "/learn" in page.url and "g=8" in page.url
    with rerun(page):
        page.get_by_role("link", name="Inspect", exact=True).first.click()
    until_maps(page, 8)
    assert page.url.startswith(f"{below}/?")
    page.context.close()


def test_a_theme_that_is_chosen_anywhere_is_kept_on_every_page(browser: Browser, below: str) -> None:
    page = visit(browser, f"{below}/dataset")
    for theme, scheme in (("Dark", "dark"), ("System", "light")):
        with page.expect_navigation():
            page.get_by_label("Theme").select_option(theme)
        for path in PATHS:
            page.goto(f"{below}/{path}?net=V1-0.5&methods=")
            settle(page)
            expect(page.locator('[data-testid="stApp"]')).to_have_css("color-scheme", scheme)
            expect(page.get_by_label("Theme")).to_have_value(theme)
    page.goto(f"{below}?net=V1-0.5&methods=")  # without its last slash
    settle(page)
    expect(page.get_by_label("Theme")).to_have_value("System")
    page.context.close()
