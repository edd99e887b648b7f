"""Questions about a subspace in a real browser: asked, drawn, stopped, and kept by the address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser import (
    BROWSER_TEST,
    ROOT,
    SMALL_NETWORK,
    maps,
    move_slider,
    open_page,
    rerun,
    running_app,
    settle,
    until,
    visit,
)

pytestmark = BROWSER_TEST


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that says how far a long computation may go."""
    return tmp_path_factory.mktemp("held")


def let_go(held: Path, calls: int) -> None:
    """Let the computation that is held up go on, as far as to so many calls of the method in all."""
    for call in range(1, calls + 1):
        (held / str(call)).touch()


OPEN = "subspace=layer+11,+subspace+1"


@pytest.fixture(scope="module")
def address(held: Path) -> Iterator[str]:
    with running_app(ROOT / "tests" / "held_app.py", HELD=str(held)) as app:
        yield app
        let_go(held, 100)  # a thread that waits would keep the server from stopping


def test_a_question_about_a_subspace_is_asked_and_shared_by_its_address(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?{OPEN}")
    with rerun(page):
        page.get_by_text("Shapley share", exact=True).click()
    assert page.get_by_text("All 16 coalitions were evaluated").count() == 1
    with rerun(page):
        page.get_by_text("Random-weight check", exact=True).click()
    expect(page.locator('figure.tile[data-id^="groups-"] canvas[data-drawn]')).to_have_count(4)
    page.reload()
    settle(page)
    expect(page.locator('figure.tile[data-id^="groups-"] canvas[data-drawn]')).to_have_count(4)
    page.context.close()


def test_a_box_is_drawn_on_the_picture_and_moved_by_the_sliders(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?picture=Grace+Hopper&{OPEN}&question=places&methods=Grad-CAM")
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

    def marked(*where: float, within: float) -> None:
        """Wait until the mark is drawn there: top, left, height, width, in percent of the picture."""
        sides = "m => ['top', 'left', 'height', 'width'].map(side => parseFloat(m.style[side]))"
        until(page, lambda: mark.evaluate(sides) == pytest.approx(where, abs=within), f"{where} was marked")

    def ends(name: str) -> list[int]:
        handles = page.get_by_role("slider", name=re.compile(name))
        return [int(handles.nth(i).input_value()) for i in range(2)]

    assert "holds 28% of the picture" in page.get_by_text("By area the box").inner_text()
    with rerun(page):
        drag((0.75, 0.5), (0.5, 0.4), (0.25, 0.25))  # from the lower right: any corner may come first
    assert ends("Rows") == pytest.approx([56, 112], abs=1)
    assert ends("Columns") == pytest.approx([56, 168], abs=1)
    marked(25, 25, 25, 50, within=0.6)
    expect(page).to_have_url(re.compile("(?=.*box-rows=)(?=.*box-columns=)"))
    assert re.search(r"holds 1[23]% of the picture", page.get_by_text("By area the box").inner_text())
    drag((0.1, 0.1), (0.105, 0.1))  # hardly a box: a click that slipped
    marked(25, 25, 25, 50, within=0.6)
    (top, bottom), (left, right) = ends("Rows"), ends("Columns")
    move_slider(page, "Rows", "ArrowLeft")
    assert ends("Rows") == [top - 1, bottom]
    marked(*(100 * v / 224 for v in (top - 1, left, bottom - top + 1, right - left)), within=0.01)
    page.reload()
    settle(page)
    assert ends("Rows") == [top - 1, bottom]
    with rerun(page):
        page.get_by_text("Cover a part", exact=True).click()
    note = page.locator('figure.tile[data-id="covered-0"] .note')
    expect(note).to_have_text(re.compile(r"^area \d+% \(was \d+%\), peak [\d.]+× \(was [\d.]+×\)$"))
    before = note.inner_text()
    frame, mark = (page.locator(f'figure.tile[data-id="cover"] {part}') for part in (".frame", ".mark"))
    with rerun(page):
        drag((0, 0), (0.2, 0.2), (0.9, 0.9))
    marked(0, 0, 90, 90, within=0.6)
    expect(note).not_to_have_text(before)
    page.context.close()


def test_a_long_question_shows_how_far_it_is_outlives_a_display_setting_and_stops(
    browser: Browser, address: str, held: Path
) -> None:
    """Nine calls of 170 passes, each released by the test, so that the computation is at a known point."""
    page = open_page(browser)
    page.goto(
        f"{address}/?{SMALL_NETWORK}&{OPEN}&question=places&methods=Occlusion&robust=true&robust-limit=any+number"
    )

    def far(calls: int) -> Locator:
        return page.get_by_text(f"Occlusion for noisy pictures: {170 * calls} of 1530 passes")

    let_go(held, 2)
    far(2).wait_for()
    page.get_by_role("button", name="View").click()
    page.get_by_label("Smooth").check()
    until(page, lambda: all('"smooth":true' in drawn for drawn in maps(page)), "the maps were smooth")
    page.keyboard.press("Escape")
    let_go(held, 3)
    far(3).wait_for()  # it goes on: begun anew, the third call would be its first
    # There is a sample "Stop sign", too
    stop = page.locator('[data-testid="stButton"] button', has_text=re.compile("Stop$"))
    with rerun(page):
        stop.click()
    assert page.get_by_text("Stopped: Occlusion for noisy pictures.").count() == 1
    expect(page).to_have_url(re.compile("smooth=true"))  # a fragment runs when the page's run has ended
    assert stop.count() == 0
    assert page.get_by_text(re.compile("^Statistics: ")).count() == 1  # the rest of the page is there
    page.get_by_role("button", name="Ask again").click()
    # The fourth call was that of the computation that has been stopped, which notices it at its next pass
    let_go(held, 5)
    far(1).wait_for()  # from its beginning
    with rerun(page):
        page.get_by_text("Effect if removed", exact=True).click()
    page.context.close()
