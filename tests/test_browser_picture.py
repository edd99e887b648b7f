"""The crop, a paste and the camera in a real browser."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import BROWSER_TEST, rerun, until, visit
from tests.conftest import encode
from ulsam_viz.images.samples import ASSETS

pytestmark = BROWSER_TEST

QUICK = "/?question=Nothing&methods=Saliency"
PASTE = """([data, type, selector]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([bytes], "image.png", { type }));
  const event = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true, composed: true });
  (selector ? document.querySelector(selector) : document.body).dispatchEvent(event);
}"""


def paste(page: Page, data: bytes, *, kind: str = "image/png", into: str = "") -> None:
    """Paste a file."""
    page.evaluate(PASTE, [base64.b64encode(data).decode(), kind, into])


def maps(page: Page) -> list[str]:
    """Return the pictures of layer 11's map tiles, "" where none is drawn yet."""
    tiles = page.locator('button.tile[data-id^="11."] canvas')
    found: list[str] = tiles.evaluate_all("all => all.map(e => (e.dataset.drawn ? e.toDataURL() : ''))")
    return found


def until_maps(page: Page, count: int, *, other_than: Collection[str] = ()) -> list[str]:
    """Wait for so many maps, none of them among others; return their pictures."""
    until(
        page,
        lambda: len(m := maps(page)) == count and all(m) and not {*m} & {*other_than},
        f"{count} new maps were there",
    )
    return maps(page)


def own(page: Page) -> Locator:
    """Return the tile of the own picture that is looked at."""
    return page.locator('button.tile[data-id^="own-"][aria-pressed="true"]')


def seen(page: Page) -> str:
    """Return where the crop is said to be."""
    return page.get_by_role("application").get_attribute("aria-label") or ""


def drag(page: Page, element: str, by: tuple[int, int]) -> None:
    """Drag the middle of an element by pixels to the right and down, and wait until the page has run again."""
    box = page.locator(element).bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    with rerun(page):
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + by[0], y + by[1], steps=5)
        page.mouse.up()


def test_the_square_is_dragged_resized_and_reset_and_the_maps_follow(browser: Browser, address: str) -> None:
    page = visit(browser, address + QUICK)
    centre = until_maps(page, 4)
    with rerun(page):
        page.get_by_role("button", name="Crop").click()
    assert "0 % from the top, 17 % from the left, side 100 %" in seen(page)
    drag(page, ".square", (-300, 0))  # no further than the border
    left = until_maps(page, 4, other_than=centre)
    expect(page).to_have_url(re.compile(r"crop=0\.00%2C0\.00%2C1\.00"))
    drag(page, '[data-corner="se"]', (-93, -93))  # half of its 187 px
    small = until_maps(page, 4, other_than=[*centre, *left])
    assert re.search(r"0 % from the top, 0 % from the left, side (49|50|51) %", seen(page))
    square = page.get_by_role("application")
    for key in ("ArrowDown", "ArrowDown", "+"):
        with rerun(page):
            square.press(key)
    assert re.search(r"[34] % from the top, 0 % from the left, side (51|52|53) %", seen(page))
    assert square.evaluate("e => e.getRootNode().activeElement === e")  # the keys go on
    keyed = until_maps(page, 4, other_than=small)
    again = visit(browser, page.url)
    until(again, lambda: maps(again) == keyed, "the address had brought the crop")
    again.context.close()
    with rerun(page):
        page.evaluate("history.back()")
    until(page, lambda: maps(page) != keyed and len(maps(page)) == 4, "Back had led to the crop before it")
    with rerun(page):
        page.get_by_role("button", name="Back to the centre").click()
    until(page, lambda: maps(page) == centre, "the centre was shown again")
    assert "crop=" not in page.url
    page.context.close()


def test_a_crop_is_its_pictures_and_goes_to_every_page(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}{QUICK}&crop=0.10,0.25,0.80")
    cropped = until_maps(page, 4)
    with rerun(page):
        page.locator('button.tile[data-id="chelsea"]').click()
    other = until_maps(page, 4, other_than=cropped)
    assert "crop=" not in page.url
    with rerun(page):
        page.evaluate("history.back()")
    until(page, lambda: maps(page) == cropped, "Back had brought picture and crop")
    with rerun(page):
        page.get_by_role("link", name="Learn", exact=True).first.click()
    expect(page).to_have_url(re.compile(r"learn.*crop=0\.10%2C0\.25%2C0\.80"))
    with rerun(page):
        page.get_by_role("link", name="Inspect", exact=True).first.click()
    until(page, lambda: maps(page) == cropped, "the crop had stayed")
    assert other != cropped
    page.context.close()


def test_a_picture_is_pasted_and_a_bad_one_changes_nothing(browser: Browser, address: str) -> None:
    page = visit(browser, address + QUICK)
    before = until_maps(page, 4)
    expect(page.get_by_text("or paste (Ctrl+V)")).to_be_visible()
    with rerun(page):
        paste(page, (ASSETS / "chelsea.jpg").read_bytes(), kind="image/jpeg")
    expect(own(page)).to_have_attribute("aria-label", "pasted 1")
    pasted = until_maps(page, 4, other_than=before)
    with rerun(page):
        paste(page, b"no picture at all")
    expect(page.locator('[data-testid="stAlert"]').first).to_contain_text("not a picture")
    assert maps(page) == pasted
    with rerun(page):  # a large one arrives smaller: the whole of it fits what is kept
        paste(page, encode(Image.open(ASSETS / "coffee.jpg").resize((3600, 2400))))
    expect(own(page)).to_have_attribute("aria-label", "pasted 2")
    page.context.close()


def test_a_file_of_any_ending_is_read_and_what_is_no_picture_is_refused_in_our_words(
    browser: Browser, address: str
) -> None:
    """Streamlit's own check, of endings, runs in the browser."""
    page = visit(browser, address + QUICK)
    before = until_maps(page, 4)
    uploader = page.locator('.st-key-upload input[type="file"]')
    with rerun(page):
        uploader.set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    expect(page.locator('[data-testid="stAlert"]').first).to_contain_text("This is not a picture")
    expect(page.get_by_text("files are not allowed")).to_have_count(0)
    with rerun(page):
        uploader.set_input_files({"name": "photo", "mimeType": "", "buffer": (ASSETS / "chelsea.jpg").read_bytes()})
    until(page, lambda: own(page).count() == 1, "the picture was taken")
    expect(own(page)).to_have_attribute("aria-label", "photo")
    until_maps(page, 4, other_than=before)
    page.context.close()


def test_what_is_pasted_into_a_text_field_stays_there(browser: Browser, address: str) -> None:
    page = visit(browser, address + QUICK)
    field = page.get_by_role("combobox").first
    field.evaluate("e => (e.id = 'field')")
    paste(page, (ASSETS / "chelsea.jpg").read_bytes(), kind="image/jpeg", into="#field")
    with rerun(page):  # had the first been taken, this were the second
        paste(page, (ASSETS / "coffee.jpg").read_bytes(), kind="image/jpeg")
    expect(own(page)).to_have_attribute("aria-label", "pasted 1")
    page.context.close()


def test_the_camera_is_asked_for_only_when_it_is_opened_and_its_shot_is_looked_at(
    browser: Browser, address: str
) -> None:
    page = visit(browser, address + QUICK)
    page.context.grant_permissions(["camera"])
    before = until_maps(page, 4)
    assert page.locator('[data-testid="stCameraInput"]').count() == 0
    with rerun(page):
        page.get_by_role("button", name="Camera").click()
    with rerun(page):
        page.get_by_role("button", name="Take Photo").click()
    expect(own(page)).to_have_attribute("aria-label", "camera 1")
    until_maps(page, 4, other_than=before)
    page.context.close()
