"""The page Dataset in a real browser: from a point or a picture to Inspect and back, uploads, Stop, and a phone."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.browser import BROWSER_TEST, ROOT, browser_with, rerun, running_app, settle, until, visit
from tests.tables import grown, table_of_samples
from ulsam_viz.ui.dataset.opening import OFFERED

pytestmark = BROWSER_TEST


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table_of_samples(tmp_path_factory.mktemp("table"), "eight", 8, "mobilenet_v1-0.5-after11-g4")


@pytest.fixture(scope="module")
def offering(out: Path) -> Iterator[str]:
    """The app, with that table for everyone, and one of many pictures."""
    many = grown(out, out.with_name("many"), 5000)
    with running_app(ROOT / "app.py", **{OFFERED: os.pathsep.join(map(str, (out, many)))}) as address:
        yield address


def a_photograph(number: int) -> dict[str, object]:
    pixels = np.random.default_rng(number).integers(0, 255, (64, 80, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"name": f"photo {number}.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def test_a_picture_leads_to_inspect_with_its_map_open_and_back(browser: Browser, offering: str) -> None:
    page = visit(browser, f"{offering}/dataset?source=table&table=eight")
    expect(page.get_by_text("8 pictures")).to_be_visible()
    # What draws charts is there before the first one is asked for
    ahead = page.locator(".st-key-dataset-charts .js-plotly-plot")
    expect(ahead).to_be_attached()
    expect(ahead).to_be_hidden()
    tile = page.locator("button.tile").first
    said = tile.inner_text().split("\n")[0]
    tile.click()
    until(
        page, lambda: "table-" in page.url and "subspace=" in page.url, "the address names the picture and the subspace"
    )
    settle(page)
    expect(page.locator(".strip").get_by_text(said).first).to_be_visible()
    assert "net=V1-0.5" in page.url and "layer+11%2C+subspace" in page.url
    page.go_back()
    expect(page.get_by_text("8 pictures")).to_be_visible()
    page.context.close()


def test_every_picture_that_was_inspected_can_be_gone_back_to_with_its_map_in_view(
    browser: Browser, offering: str
) -> None:
    page = visit(browser, f"{offering}/dataset?source=table&table=eight")
    page.set_viewport_size({"width": 1440, "height": 700})
    addresses = []
    for n in range(5):
        page.locator("button.tile").nth(n).click()
        until(page, lambda: "table-" in page.url and "subspace=" in page.url, "the click leads to Inspect")
        settle(page)
        addresses.append(page.url)
        page.go_back()
        expect(page.get_by_text("8 pictures")).to_be_visible()
        settle(page)
    # More than a visitor's own pictures that are kept
    assert len({address.partition("&")[0] for address in addresses}) > 3
    page.goto(addresses[0])  # another session, as after a reload
    settle(page)
    expect(page.get_by_text("no longer here")).to_have_count(0)
    large = page.locator(".st-key-large")
    expect(large).to_be_in_viewport()
    page.context.close()


def test_the_picture_under_the_pointer_is_shown_with_its_map_and_a_click_inspects_it(
    browser: Browser, offering: str
) -> None:
    page = visit(browser, f"{offering}/dataset?source=table&table=eight&look=scatter")
    points = page.locator(".st-key-scatter-0 .js-plotly-plot .points path")
    expect(points).to_have_count(8)
    shown = page.locator(".st-key-scatter-0-tile button.tile, .st-key-scatter-0-tile .tile").first
    expect(shown).to_be_visible()
    seen, with_name = set(), page.locator(".st-key-scatter-0-name")
    for n in range(8):
        before = with_name.inner_text()
        box = points.nth(n).bounding_box()
        assert box
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
        if n:
            expect(with_name).not_to_have_text(before)
        seen.add(with_name.inner_text())
    assert len(seen) >= 7  # the first point may be the picture that was shown before
    settle(page)
    until(page, lambda: "point=" in page.url, "the address names the picture")
    number = page.get_by_label("Picture", exact=True)
    last = number.input_value()
    page.reload()
    settle(page)
    expect(number).to_have_value(last)
    expect(points).to_have_count(9)  # the chosen one has a ring
    box = points.nth(7).bounding_box()
    assert box
    page.mouse.move(0, 0)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    expect(page.locator(".hoverlayer .hovertext").first).to_be_visible()  # the chart knows of it
    page.mouse.down()
    page.mouse.up()
    until(page, lambda: "table-" in page.url and "subspace=" in page.url, "the click leads to Inspect")
    settle(page)
    page.context.close()


_MANY = "dataset?source=table&table=many&look=scatter&measure1=entropy"
# Where a point of a chart is in the window.
_PLACE = """(chart, i) => {
  const { _fullData: [{ x, y }], _fullLayout: { xaxis, yaxis } } = chart, { left, top } = chart.getBoundingClientRect();
  return [left + xaxis._offset + xaxis.l2p(x[i]), top + yaxis._offset + yaxis.l2p(y[i])];
}"""


def test_of_many_pictures_a_browser_without_webgl_draws_those_that_lie_apart(browser: Browser, offering: str) -> None:
    with browser_with(browser.browser_type, "--disable-3d-apis") as without:
        page = visit(without, f"{offering}/{_MANY}")
        expect(page.get_by_text("points for 5,000 pictures")).to_be_visible()
        assert 1000 < page.locator(".st-key-scatter-0 .points path").count() <= 4000


def test_of_many_pictures_a_browser_with_webgl_draws_all(browser: Browser, offering: str) -> None:
    with browser_with(browser.browser_type, "--use-angle=swiftshader", "--enable-unsafe-swiftshader") as drawing:
        page = visit(drawing, f"{offering}/{_MANY}")
        chart = page.locator(".st-key-scatter-0 .js-plotly-plot")
        expect(page.get_by_text("points for 5,000 pictures")).to_have_count(0)
        expect(chart.locator("canvas.gl-canvas")).not_to_have_count(0)
        settle(page)
        assert chart.evaluate("chart => chart._fullData[0].x.length") == 5000
        page.mouse.move(*chart.evaluate(_PLACE, 4990), steps=3)
        expect(page.get_by_label("Picture", exact=True)).to_have_value("4991")


def test_photographs_are_brought_and_one_is_inspected(browser: Browser, offering: str) -> None:
    page = visit(browser, f"{offering}/dataset?source=photographs&net=V1-0.5&position=after+11&g=2")
    expect(page.get_by_text("Bring photographs in the sidebar")).to_be_visible()
    page.locator(".st-key-photographs-0 input[type=file]").set_input_files([a_photograph(i) for i in range(5)])  # type: ignore[arg-type]
    expect(page.get_by_text("5 photographs are here.")).to_be_visible()
    expect(page.get_by_text("5 pictures")).to_be_visible()
    settle(page)
    page.reload()  # they are in the server's memory, and the address names them
    settle(page)
    expect(page.get_by_text("5 photographs are here.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_text("Table (Parquet)").click()
    assert download.value.suggested_filename == "mobilenet_v1-0.5-after11-g2-attention.parquet"
    page.locator("button.tile").first.click()
    until(page, lambda: "table-" in page.url, "the picture is on Inspect")
    settle(page)
    page.context.close()


def test_on_a_phone_nothing_leaves_the_screen(browser: Browser, offering: str) -> None:
    for view in ("pictures", "distributions", "scatter", "classes", "means"):
        page = visit(browser, f"{offering}/dataset?source=table&table=eight&look={view}", width=420)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 420, view
        page.context.close()


def test_a_choice_of_the_view_stays_through_a_reload(browser: Browser, offering: str) -> None:
    page = visit(browser, f"{offering}/dataset?source=table&table=eight")
    with rerun(page):
        page.get_by_text("Mean maps").first.click()
    assert "look=means" in page.url and "table=eight" in page.url
    page.reload()
    settle(page)
    expect(page.get_by_text("Mean maps of layer 11 over 8 pictures")).to_be_visible()
    page.context.close()
