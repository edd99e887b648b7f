"""The main journeys in a real browser: first visit, upload, g, position, method, pointer, dark theme, phone."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import (
    BROWSER_TEST,
    maps,
    move_slider,
    open_page,
    rerun,
    settle,
    until,
    until_maps,
    visit,
    with_small_network,
)
from ulsam_viz.images.samples import ASSETS
from ulsam_viz.lesson.steps import STEPS

pytestmark = BROWSER_TEST


def notes(page: Page, kind: str = "button.tile") -> list[str]:
    """Return the notes of the map tiles, or of others; thumbnails have none."""
    return [note for note in page.locator(f"{kind} .note").all_inner_texts() if note]


def heading(page: Page, part: str) -> Locator:
    """Return the heading that holds some words."""
    return page.get_by_role("heading", name=re.compile(re.escape(part)))


def test_the_first_visit(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    shown = until_maps(page, 4)
    assert len(set(shown)) == 4
    assert len(notes(page)) == 4
    assert all(re.fullmatch(r"area \d+%, peak \d+\.\d×|uniform for this picture", n) for n in notes(page))
    expect(page.locator('figure.tile[data-id="grad_cam"] canvas[data-drawn]')).to_have_count(1)
    assert page.locator('[data-testid="stAlert"]').count() == 0
    page.context.close()


def test_the_pointer_reads_every_map_at_its_place_and_so_do_the_arrow_keys(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    expect(page.locator('figure.tile canvas[data-role="attribution"][data-drawn]')).to_have_count(2)
    frame = page.locator('button.tile[data-id="11.1"] .frame')
    box = frame.bounding_box()
    assert box
    frame.hover(position={"x": box["width"] * 7.5 / 14, "y": box["height"] * 7.5 / 14})
    until(page, lambda: any(n.startswith("row") for n in notes(page, ".tile")), "the pointer was read")
    read = notes(page, ".tile")
    assert sum(n.startswith("row 7, col 7: ") and n.endswith("×") for n in notes(page)) == 4
    assert sum(bool(re.match(r"row \d+, col \d+: [+-]", n)) for n in read) == 2  # the attributions, on their own grid
    page.mouse.move(5, 5)
    until(page, lambda: not any(n.startswith("row") for n in notes(page, ".tile")), "the pointer had left")
    page.locator('button.tile[data-id="11.0"]').focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    until(page, lambda: any(n.startswith("row 6, col 8: ") for n in notes(page)), "the arrow keys were read")
    page.context.close()


def test_moving_g_and_the_position_shows_other_networks(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    four = until_maps(page, 4)
    move_slider(page, "Subspaces g", "ArrowRight")
    until_maps(page, 8, other_than=four)
    expect(page).to_have_url(re.compile("g=8"))
    move_slider(page, "Position", "Home")
    until_maps(page, 0)
    assert page.get_by_text("carries no attention module").count() == 1
    page.reload()
    settle(page)
    assert page.get_by_text("carries no attention module").count() == 1  # the address restores the view
    page.context.close()


def test_choices_travel_between_the_pages(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?picture=Cat&g=8&methods=Saliency&scale=raw+A")
    until_maps(page, 8)
    with rerun(page):
        page.get_by_role("link", name="Evidence").click()
    expect(heading(page, "What can be concluded")).to_have_count(1)
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    move_slider(page, "Subspaces g", "ArrowRight")
    with rerun(page):
        page.get_by_role("link", name="Inspect").click()
    until_maps(page, 16)
    expect(heading(page, "Cat")).to_have_count(1)
    expect(page.locator('figure.tile[data-id="saliency"]')).to_have_count(1)
    expect(page.locator('figure.tile[data-id="grad_cam"]')).to_have_count(0)
    assert all(part in page.url for part in ("g=16", "picture=Cat", "methods=Saliency"))
    page.context.close()


def test_the_lattice_nests_child_groups_under_their_parents(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/compare?picture=Coffee+cup")
    frames = page.locator(".lattice .tile .frame")
    expect(frames).to_have_count(1 + 2 + 4 + 8 + 16)
    boxes = frames.evaluate_all("all => all.map(e => e.getBoundingClientRect().toJSON())")
    centres = [box["x"] + box["width"] / 2 for box in boxes]
    rows = {g: centres[g - 1 : 2 * g - 1] for g in (1, 2, 4, 8, 16)}
    for g in (1, 2, 4, 8):
        for k, centre in enumerate(rows[g]):
            children = rows[2 * g][2 * k : 2 * k + 2]
            assert abs(centre - sum(children) / 2) < 8
    with rerun(page):
        page.get_by_text("Two side by side", exact=True).click()
    expect(page).to_have_url(re.compile("way=two"))
    expect(page.locator('figure.tile[data-id^="difference-"] canvas').first).to_be_attached()
    page.context.close()


def test_a_click_on_a_map_selects_it_and_the_address_keeps_it(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    with rerun(page):
        page.locator('button.tile[data-id="11.2"]').click()
    assert page.get_by_text("channels 128 to 191").count() == 1
    expect(page).to_have_url(re.compile("subspace="))
    again = visit(browser, page.url)
    expect(again.locator('button.tile[data-id="11.2"]')).to_have_attribute("aria-pressed", "true")
    page.context.close()
    again.context.close()


def test_an_upload_a_bad_one_and_back_to_a_sample(browser: Browser, address: str, tmp_path: Path) -> None:
    page = visit(browser, address)
    before = until_maps(page, 4)
    with rerun(page):
        page.locator("input[type=file]").set_input_files(str(ASSETS / "grace_hopper.jpg"))
    uploaded = until_maps(page, 4, other_than=before)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture at all")
    with rerun(page):
        page.locator("input[type=file]").set_input_files(str(bad))
    assert "not a picture" in page.locator('[data-testid="stAlert"]').first.inner_text()
    assert maps(page) == uploaded  # the good one stays
    for tile, expected in (("coffee", before), ("own-", uploaded), ("coffee", before)):
        with rerun(page):
            page.locator(f'button.tile[data-id^="{tile}"]').click()
        until(page, lambda wanted=expected: maps(page) == wanted, f"the maps of {tile} were there")  # type: ignore[misc]
    page.locator("input[type=file]").set_input_files(str(ASSETS / "chelsea.jpg"))
    until_maps(page, 4, other_than=before + uploaded)
    page.context.close()


def test_a_slider_moves_on_while_slow_methods_compute(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    for name in ("occlusion", "smooth_grad", "gradient_shap"):
        page.get_by_label("Add a method").filter(visible=True).select_option(name)
        expect(page.locator(f'figure.tile[data-id="{name}"]')).to_have_count(1)
    for g in (8, 16):  # as soon as the maps are there, whatever else is computed
        page.get_by_role("slider", name=re.compile("Subspaces g")).first.press("ArrowRight")
        until_maps(page, g)
    expect(page.locator('figure.tile canvas[data-role="attribution"][data-drawn]')).to_have_count(5)
    settle(page)
    page.context.close()


def test_a_method_is_added_and_removed_and_a_class_becomes_the_target(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    with rerun(page):
        page.get_by_label("Add a method").filter(visible=True).select_option("saliency")
    expect(page.locator('figure.tile[data-id="saliency"] canvas[data-drawn]')).to_have_count(1)
    with rerun(page):
        page.get_by_role("button", name="Remove Grad-CAM").click()
    expect(page.locator('figure.tile[data-id="grad_cam"]')).to_have_count(0)
    second = page.get_by_role("group", name="Most probable classes").get_by_role("button").nth(1)
    name = second.locator(".label span").inner_text()
    with rerun(page):
        second.click()
    expect(page).to_have_url(re.compile("target="))
    expect(heading(page, f"Why “{name}”?")).to_have_count(1)
    page.context.close()


def test_the_statistics_are_drawn_when_they_are_opened_and_stay_open(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    charts = page.locator(".js-plotly-plot .heatmaplayer").filter(visible=True)
    expect(page.locator(".js-plotly-plot")).to_have_count(0)
    page.get_by_text(re.compile("^Statistics: ")).click()
    expect(charts).to_have_count(2)
    move_slider(page, "Subspaces g", "ArrowRight")
    expect(charts).to_have_count(2)
    page.context.close()


def test_downloads_hold_what_is_shown(browser: Browser, address: str, tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    page = visit(browser, f"{address}/?picture=Coffee+cup&subspace=layer+11,+subspace+1")
    page.locator('[data-testid="stPopover"]').last.get_by_role("button").click()
    for name, suffix in (("Picture", "png"), ("Numbers", "npz")):
        with page.expect_download() as download:
            page.get_by_role("button", name=re.compile(name)).last.click()
        download.value.save_as(tmp_path / f"file.{suffix}")
    assert Image.open(tmp_path / "file.png").width > 800
    archive = np.load(tmp_path / "file.npz")
    settings = json.loads(str(archive["settings"]))
    (asked,) = (name for name in settings if name.startswith("examined_ablate"))  # what was asked below the maps
    assert re.fullmatch(r"examined_ablate_layer_11_class_[a-z_]+", asked, re.IGNORECASE)
    assert {effect["subspace"] for effect in settings[asked]} == {1, 2, 3, 4, None}  # as on the page; None: all at once
    assert (
        page.url.replace("/?", "?").rstrip("/")
        == settings["address"]
        == Image.open(tmp_path / "file.png").info["Source"]
    )
    assert archive["attention_11"].shape == (4, 14, 14)
    assert archive["attribution_grad_cam"].shape == (224, 224)
    page.context.close()


def test_the_dark_theme_is_dark(browser: Browser, address: str) -> None:
    for dark in (False, True):
        page = visit(browser, address, dark=dark)
        colour = page.locator(".stApp").evaluate("e => getComputedStyle(e).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 200) == dark
        page.context.close()


def test_a_phone_shows_two_columns_and_never_scrolls_sideways(browser: Browser, address: str) -> None:
    page = visit(browser, address + "/?g=16", width=420)
    until_maps(page, 16)
    boxes = [tile.bounding_box() for tile in page.locator('button.tile[data-id^="11."]').all()]
    lefts = {round(box["x"]) for box in boxes if box}
    assert 2 <= len(lefts) <= 3
    assert all(box and box["x"] + box["width"] <= 420 for box in boxes)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 420
    page.context.close()


def test_several_visitors_at_once_see_their_own(browser: Browser, address: str) -> None:
    """Three visitors open different views at the same moment; each sees what a lone visitor sees."""
    views = ["/?picture=Coffee+cup&g=2", "/?picture=Astronaut&g=8", "/?picture=Stop+sign&g=4"]
    pages = [open_page(browser) for _ in views]
    for page, view in zip(pages, views, strict=True):  # before anyone has seen them: nothing is in a cache
        page.goto(with_small_network(address + view), wait_until="commit")
    for page in pages:
        settle(page)
    together = [until_maps(page, g) for page, g in zip(pages, (2, 8, 4), strict=True)]
    for page in pages:
        page.context.close()
    assert len({tuple(shown) for shown in together}) == 3
    for view, shown in zip(views, together, strict=True):
        page = visit(browser, address + view)
        assert until_maps(page, len(shown)) == shown
        page.context.close()


def test_an_upload_stays_on_every_page(browser: Browser, address: str) -> None:
    page = visit(browser, address)
    with rerun(page):
        page.locator('input[type="file"]').first.set_input_files(str(ASSETS / "chelsea.jpg"))
    for link in ("Compare", "Learn", "Inspect"):
        with rerun(page):
            page.get_by_role("link", name=link, exact=True).first.click()
        expect(page.locator('button.tile[data-id^="own-"][aria-pressed="true"]')).to_have_count(1)
    page.context.close()


def test_the_lesson_is_walked_from_end_to_end_and_its_numbers_follow_a_click(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/learn?picture=Coffee+cup")
    for i, step in enumerate(STEPS):
        page.get_by_role("heading", name=step.title, exact=True).wait_for()
        expect(page.locator(".katex-display")).to_have_count(2 if step.stage == "output" else int(bool(step.stage)))
        if i + 1 < len(STEPS):
            with rerun(page):
                page.keyboard.press("n") if i % 2 else page.get_by_role("button", name="Next").click()
    assert page.get_by_role("button", name="Next").is_disabled()
    expect(page).to_have_url(re.compile("step=reading"))

    page.goto(with_small_network(f"{address}/learn?step=Softmax&picture=Coffee+cup"))
    settle(page)
    tile = page.locator('figure.tile[data-id="attention"]')

    def marked(row: int, column: int) -> None:
        """Wait for the tile to be drawn anew, where the keys go on from."""
        page.get_by_text(f"At row {row}, column {column} of subspace 1").wait_for()
        place = "m => [m.style.top, m.style.left].map(side => Math.round(parseFloat(side) * 14 / 100))"
        until(page, lambda: tile.locator(".mark").evaluate(place) == [row, column], "the place was marked")

    with rerun(page):
        box = tile.locator(".frame").bounding_box()
        assert box
        tile.locator(".frame").click(position={"x": box["width"] * 8.5 / 14, "y": box["height"] * 8.5 / 14})
    marked(8, 8)
    expect(page).to_have_url(re.compile("(?=.*row=8)(?=.*column=8)"))
    tile.focus()
    with rerun(page):
        for key in ("ArrowDown", "ArrowRight", "Enter"):
            tile.press(key)
    marked(9, 9)
    with rerun(page):
        for key in ("ArrowUp", "ArrowUp", "Enter"):  # from there, not from the middle
            tile.press(key)
    marked(7, 9)
    with rerun(page):
        page.locator('button.tile[data-id="pooled"]').click()
    page.get_by_role("heading", name="Max-pool", exact=True).wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name=re.compile("Hand-out")).click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert all(f". {step.title.replace('&', '&amp;')}</h3>" in text for step in STEPS)
    assert text.count("<math") == 2 * sum(step.stage is not None for step in STEPS)
    assert "Picture: Coffee cup" in text
    page.context.close()


def test_a_number_of_the_sandbox_is_edited_on_a_phone(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/learn?part=Sandbox", width=420)
    before = page.locator(".ulsam-grid").first.inner_text()
    table, editor = (
        page.locator('[data-testid="stDataFrame"] canvas').first,
        page.locator("#portal input, #portal textarea").first,
    )

    def opened() -> bool:  # a click that comes before the table listens is lost
        if not editor.is_visible():
            table.dblclick(position={"x": 30, "y": 50}, force=True)
        return editor.is_visible()

    until(page, opened, "the cell's editor was open")
    editor.fill("9")
    with rerun(page):
        editor.press("Enter")
    after = page.locator(".ulsam-grid").first.inner_text()
    assert "9" in after and after != before
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    page.context.close()
