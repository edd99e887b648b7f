"""Questions about a subspace in a real browser: asked, drawn, stopped, and kept by the address."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser

from tests.browser import BROWSER_TEST, move_slider, settle, visit

pytestmark = BROWSER_TEST


def test_a_question_about_a_subspace_is_asked_and_shared_by_its_address(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    page.get_by_text("Share of the effect", exact=True).click()
    page.wait_for_timeout(300)
    settle(page)
    assert page.get_by_text("All 16 coalitions were evaluated").count() == 1
    page.get_by_text("Without what was learnt", exact=True).click()
    page.wait_for_timeout(300)
    settle(page)
    assert page.locator('figure.tile[data-id^="groups-"] img').count() == 4
    page.reload()
    settle(page)
    assert page.locator('figure.tile[data-id^="groups-"] img').count() == 4
    page.context.close()


def test_a_box_is_drawn_on_the_picture_and_moved_by_the_sliders(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?question=Do+marked+places+matter&methods=Grad-CAM")
    frame, mark = (page.locator(f'figure.tile[data-id="box"] {part}') for part in (".frame", ".mark"))

    def drag(*corners: tuple[float, float]) -> None:
        frame.scroll_into_view_if_needed()
        whole = frame.bounding_box()
        assert whole
        (x, y), *others = [(whole["x"] + u * whole["width"], whole["y"] + v * whole["height"]) for u, v in corners]
        page.mouse.move(x, y)
        page.mouse.down()
        for x, y in others:
            page.mouse.move(x, y)
        page.mouse.up()
        page.wait_for_timeout(300)
        settle(page)

    def marked() -> list[float]:
        return [float(v) for v in mark.evaluate("m => ['top', 'left', 'height', 'width'].map(side => parseFloat(m.style[side]))")]

    def ends(name: str) -> list[int]:
        handles = page.get_by_role("slider", name=re.compile(name))
        return [int(handles.nth(i).input_value()) for i in range(2)]

    assert "holds 28% of the picture" in page.get_by_text("By area the box").inner_text()
    drag((0.75, 0.5), (0.5, 0.4), (0.25, 0.25))  # from the lower right: any corner may come first
    assert ends("Rows") == pytest.approx([56, 112], abs=1)
    assert ends("Columns") == pytest.approx([56, 168], abs=1)
    assert marked() == pytest.approx([25, 25, 25, 50], abs=0.6)
    assert "box-rows=" in page.url and "box-columns=" in page.url
    assert re.search(r"holds 1[23]% of the picture", page.get_by_text("By area the box").inner_text())
    drag((0.1, 0.1), (0.105, 0.1))  # hardly a box: a click that slipped
    assert marked() == pytest.approx([25, 25, 25, 50], abs=0.6)
    before = ends("Rows")
    move_slider(page, "Rows", "ArrowLeft")
    assert ends("Rows") == [before[0] - 1, before[1]]
    assert marked()[0] == pytest.approx(100 * (before[0] - 1) / 224, abs=0.01)
    page.reload()
    settle(page)
    assert ends("Rows") == [before[0] - 1, before[1]]
    page.get_by_text("What if", exact=True).click()
    settle(page)
    covered = page.locator('figure.tile[data-id="covered-0"]')
    note = covered.locator(".note").inner_text()
    assert re.fullmatch(r"area \d+% \(was \d+%\), peak [\d.]+× \(was [\d.]+×\)", note)
    frame, mark = (page.locator(f'figure.tile[data-id="cover"] {part}') for part in (".frame", ".mark"))
    drag((0, 0), (0.2, 0.2), (0.9, 0.9))
    assert marked() == pytest.approx([0, 0, 90, 90], abs=0.6)
    assert covered.locator(".note").inner_text() != note
    page.context.close()


def test_a_long_question_shows_how_far_it_is_outlives_a_display_setting_and_stops(browser: Browser, address: str) -> None:
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    page.goto(f"{address}/?question=Do+marked+places+matter&methods=Occlusion&robust=true&robust-limit=any+number")
    line = page.get_by_text(re.compile(r"Occlusion for noisy pictures: \d+ of 1530 passes"))

    def far() -> int:
        return int(line.inner_text().split(":")[-1].split()[0])

    line.wait_for(timeout=90_000)
    while (before := far()) < 100:
        page.wait_for_timeout(100)
    page.get_by_text("Smooth", exact=True).click()
    while (now := far()) < before + 100:
        assert now >= before  # it goes on, it does not begin anew
        page.wait_for_timeout(100)
    assert "smooth=true" in page.url
    stop = page.locator('[data-testid="stButton"] button', has_text=re.compile("Stop$"))  # there is a sample "Stop sign", too
    stop.click()
    again = page.get_by_role("button", name="Ask again")
    again.wait_for(timeout=10_000)
    settle(page)
    assert page.get_by_text("Stopped: Occlusion for noisy pictures.").count() == 1
    assert stop.count() == 0
    assert page.get_by_role("button", name=re.compile("Numbers")).count() == 1  # the rest of the page is there
    again.click()
    line.wait_for(timeout=20_000)
    assert far() < now  # from its beginning
    page.get_by_text("Nothing", exact=True).click()
    settle(page)
    page.context.close()
