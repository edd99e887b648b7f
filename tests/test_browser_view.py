"""What a visitor sees first, in a real browser.

How much of the window maps cover, in which colours, and who can use it.
"""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser import (
    BROWSER_TEST,
    RUNS,
    maps,
    open_page,
    rerun,
    settle,
    share,
    until,
    until_maps,
    visit,
    with_small_network,
    words_above_the_fold,
)
from ulsam_viz import explain
from ulsam_viz.figures.colours import SCALES, Scale, colour_table, scale_maps
from ulsam_viz.figures.tiles import resize_map
from ulsam_viz.images.samples import ASSETS

pytestmark = BROWSER_TEST


def first_visit(browser: Browser, address: str, width: int, height: int, *, dark: bool = False) -> Page:
    """Open the first page in a window of this size; wait for four maps and two attributions."""
    page = open_page(browser, width=width, dark=dark)
    page.set_viewport_size({"width": width, "height": height})
    page.goto(with_small_network(address))
    until_maps(page, 4)
    expect(page.locator('canvas[data-role="attribution"][data-drawn]')).to_have_count(2)
    settle(page)
    return page


@pytest.mark.parametrize(("width", "height", "least"), [(1440, 900, 0.20), (1920, 1080, 0.25)])
def test_maps_fill_the_window(browser: Browser, address: str, width: int, height: int, least: float) -> None:
    page = first_visit(browser, address, width, height)
    assert share(page, "map") >= least
    assert share(page, "map", "attribution") >= 0.30
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.context.close()


def seen(page: Page, selector: str, margin: int = 0) -> np.ndarray:
    """Return the pixels of the first element of a kind that is in sight, and of so many around it."""
    element = page.locator(selector).locator("visible=true").first
    # Not below the navigation, which stays on top
    element.evaluate("element => element.scrollIntoView({block: 'center'})")
    box = element.bounding_box()
    assert box
    clip = {
        "x": box["x"] - margin,
        "y": box["y"] - margin,
        "width": box["width"] + 2 * margin,
        "height": box["height"] + 2 * margin,
    }
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB"))  # type: ignore[arg-type]


def test_where_the_system_sets_its_own_colours_those_that_mean_something_stay(browser: Browser, address: str) -> None:
    page = open_page(browser, dark=True)
    page.emulate_media(forced_colors="active")
    page.goto(with_small_network(f"{address}/?methods=Saliency&subspace=layer+11%2C+subspace+2"))
    until_maps(page, 4)
    settle(page)
    scale = seen(page, ".legend .bar")
    assert len(np.unique(scale.reshape(-1, 3), axis=0)) > 30
    swatch = seen(page, '.tile[data-id="11.1"] .swatch')
    assert np.ptp(swatch[len(swatch) // 2, len(swatch[0]) // 2]) > 30  # a hue, no grey
    bar = seen(page, ".answers .track")
    assert np.abs(np.diff(bar[len(bar) // 2].astype(int), axis=0)).max() > 100  # where it ends
    for id, ring in (("11.1", True), ("11.0", False)):
        frame = seen(page, f'button.tile[data-id="{id}"] .frame', margin=3)
        assert bool(np.abs(frame[len(frame) // 2, 0].astype(int)).max() > 60) == ring, id  # beside it, on black
    page.goto(f"{address}/learn?step=softmax&net=V1-0.5")
    settle(page)
    blocks = [seen(page, f"nav button{kind}")[3, 12] for kind in ("[aria-current]", ":not([aria-current])")]
    assert np.abs(blocks[0].astype(int) - blocks[1]).max() > 60
    page.goto(f"{address}/learn?part=sandbox")
    settle(page)
    assert len(np.unique(seen(page, ".ulsam-grids").reshape(-1, 3), axis=0)) > 30
    parts = [seen(page, f'[role="radio"][aria-checked="{checked}"]')[4, 12] for checked in ("true", "false")]
    assert np.abs(parts[0].astype(int) - parts[1]).max() > 60
    slider = seen(page, '[data-testid="stSlider"] div:has(> div > input[type="range"])', margin=2)
    assert np.ptp(slider.reshape(-1, 3), axis=0).max() > 60
    page.context.close()


def test_on_a_phone_the_first_map_begins_in_the_first_screen(browser: Browser, address: str) -> None:
    page = first_visit(browser, address, 420, 900)
    box = page.locator('button.tile[data-id="11.0"] canvas').bounding_box()
    assert box and box["y"] < 450
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    page.context.close()


def centres(page: Page, k: int) -> np.ndarray:
    """Return the colours at the middle of each cell of a map of layer 11, shape (14, 14, 3)."""
    read = """(canvas, n) => {
      const pixels = canvas.getContext('2d');
      const at = (i) => Math.floor(((i + 0.5) * canvas.width) / n);
      return Array.from({length: n * n}, (_, i) => [...pixels.getImageData(at(i % n), at(Math.floor(i / n)), 1, 1).data.slice(0, 3)]);
    }"""
    found: Any = page.locator(f'button.tile[data-id="11.{k}"] canvas').evaluate(read, 14)
    return np.array(found, int).reshape(14, 14, 3)


@pytest.mark.parametrize("scale", SCALES)
def test_the_browser_colours_maps_as_python_does(browser: Browser, address: str, scale: Scale) -> None:
    page = visit(browser, f"{address}/?picture=Coffee+cup&opacity=1.0&colours=magma&scale={scale}&methods=Saliency")
    until_maps(page, 4)
    maps_here = explain(Image.open(ASSETS / "coffee.jpg"), "mobilenet_v1-0.5-after11-g4").attention[11]
    fractions = scale_maps({11: maps_here}, scale)[11].fractions
    for k in range(4):
        expected = colour_table("magma")[np.round(255 * fractions[k]).astype(int)].astype(int)
        assert abs(centres(page, k) - expected).max() <= 8  # a step of the table, where rounding differs
    page.context.close()


@pytest.mark.parametrize("width", [420, 1440])
def test_the_browser_smooths_maps_as_python_does(browser: Browser, address: str, width: int) -> None:
    """On a phone a tile has fewer pixels than a smooth map is computed on, on a large screen more."""
    page = visit(
        browser, f"{address}/?picture=Coffee+cup&opacity=1.0&colours=magma&smooth=true&methods=Saliency", width=width
    )
    until_maps(page, 4)
    maps_here = explain(Image.open(ASSETS / "coffee.jpg"), "mobilenet_v1-0.5-after11-g4").attention[11]
    fractions = scale_maps({11: maps_here}, "uniform")[11].fractions
    read = "canvas => [canvas.width, ...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    for k in range(4):
        side, *pixels = page.locator(f'button.tile[data-id="11.{k}"] canvas').evaluate(read)
        assert (side < 224) == (width == 420)
        seen = np.array(pixels, int).reshape(side, side, 4)[..., :3]
        index = np.clip(255 * resize_map(fractions[k], side, smooth=True), 0, 255).round().astype(int)
        assert abs(seen - colour_table("magma")[index]).max() <= 12  # steps of the table, where rounding differs
    page.context.close()


def test_a_tile_follows_the_view_when_its_picture_was_shown_many_pictures_ago(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?picture=Coffee+cup&methods=Saliency")
    until_maps(page, 4)
    page.evaluate("window.ulsamViz.pictures.clear()")  # as many others displace it
    page.get_by_role("button", name="View").click()
    page.locator('.view select[name="colours"]').select_option("inferno")
    assert all("inferno" in drawn for drawn in maps(page))
    page.context.close()


def test_the_view_changes_without_a_run_and_the_address_follows(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?picture=Coffee+cup&methods=Saliency")
    before = until_maps(page, 4)
    runs = page.evaluate(RUNS)
    page.get_by_role("button", name="View").click()
    page.locator('.view select[name="colours"]').select_option("inferno")
    assert all("inferno" in drawn for drawn in maps(page))  # at once: nothing was waited for
    page.locator('.view input[name="smooth"]').check()
    page.locator('.view input[name="blend"]').check()
    expect(page.locator('figure.tile[data-id="11.blend"] canvas[data-drawn]')).to_be_visible()
    expect(page).to_have_url(re.compile("(?=.*colours=inferno)(?=.*smooth=true)(?=.*blend=true)"))
    assert page.evaluate(RUNS) == runs
    again = visit(browser, page.url)
    until(again, lambda: all("inferno" in drawn for drawn in maps(again)), "the address was followed")
    assert not set(maps(again)) & set(before)
    page.context.close()
    again.context.close()


def test_a_map_opens_in_its_place_and_closes(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?picture=Coffee+cup&methods=Saliency")
    tile = page.locator('button.tile[data-id="11.2"]')
    with rerun(page):
        tile.click()
    large = page.locator('figure.tile[data-id="large"] canvas[data-drawn]')
    expect(large).to_be_in_viewport()
    box, row = large.bounding_box(), tile.bounding_box()
    assert box and row and box["width"] >= 400 and box["y"] > row["y"]
    with rerun(page):
        tile.click()
    expect(large).to_have_count(0)
    assert "subspace" not in page.url
    page.context.close()


def test_the_upload_and_g_are_within_the_first_stops_of_the_keyboard(browser: Browser, address: str) -> None:
    page = first_visit(browser, address, 1440, 900)
    stops = []
    for _ in range(60):
        page.keyboard.press("Tab")
        stops.append(
            page.evaluate("""() => { let e = document.activeElement; while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
              return [e?.getAttribute('aria-label') ?? '', e?.innerText ?? '', e?.closest('[data-testid]')?.dataset.testid ?? ''].join(' ').slice(0, 80); }""")
        )
    for wanted in ("Upload", "Subspaces g"):
        assert any(wanted in stop for stop in stops[:10]), stops[:10]
    page.context.close()


@pytest.mark.parametrize("path", ["/", "/dataset", "/learn", "/learn?step=softmax", "/learn?step=gain"])
def test_sixty_words_at_most_stand_above_the_fold(browser: Browser, address: str, path: str) -> None:
    page = visit(browser, address + path)
    assert 10 < len(words_above_the_fold(page)) <= 60, words_above_the_fold(page)
    page.context.close()


def test_the_samples_are_one_stop_of_the_keyboard_and_the_arrows_walk_in_it(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    samples = page.locator(".st-key-strip button.tile")
    assert samples.evaluate_all("all => all.filter(e => e.tabIndex === 0).map(e => e.dataset.id)") == ["coffee"]
    samples.first.focus()
    page.keyboard.press("ArrowRight")
    with rerun(page):
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("Cat"))).to_be_visible()
    assert "picture=Cat" in page.url
    page.context.close()


def test_a_theme_is_chosen_in_sight_and_kept_on_every_page(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?g=8")

    def chosen(scheme: str, theme: str) -> None:
        settle(page)
        expect(page.locator('[data-testid="stApp"]')).to_have_css("color-scheme", scheme)
        expect(page.get_by_label("Theme")).to_have_value(theme)

    chosen("light", "System")
    with page.expect_navigation():
        page.get_by_label("Theme").select_option("Dark")
    chosen("dark", "Dark")
    assert len(maps(page)) == 8 and "g=8" in page.url  # the view is the same
    page.goto(with_small_network(f"{address}/compare"))
    chosen("dark", "Dark")
    with page.expect_navigation():
        page.get_by_label("Theme").select_option("System")
    chosen("light", "System")
    page.context.close()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    "path",
    ["/", "/?subspace=layer+11,+subspace+2", "/compare", "/learn", "/evidence", "/dataset", "/dataset?look=scatter"],
)
def test_nothing_serious_stands_in_anyones_way(browser: Browser, address: str, path: str, dark: bool) -> None:
    page = visit(browser, address + path, dark=dark)
    found = Axe().run(
        page, options={"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    )
    serious = [v for v in found.response["violations"] if v["impact"] in ("serious", "critical")]
    assert not [(v["id"], [node["html"][:200] for node in v["nodes"]][:3]) for v in serious]
    page.context.close()
