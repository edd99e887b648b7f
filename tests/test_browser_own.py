"""A network of the visitor's own, given to the page in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, expect

from tests.browser import BROWSER_TEST, rerun, visit
from tests.test_own_upload import a_file

pytestmark = BROWSER_TEST


def test_a_network_is_given_to_the_page_and_shown(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/?net=V1-0.5&methods=Saliency")
    page.get_by_text("Own network").click()
    chooser = page.locator(".st-key-own-file input[type=file]")
    page.set_viewport_size({"width": 1280, "height": 720})
    chooser.set_input_files({"name": "mine.pth", "mimeType": "application/octet-stream", "buffer": b"not a network"})
    expect(page.get_by_text("'mine.pth'")).to_have_count(1)  # its one sentence
    expect(page.get_by_text("'mine.pth'")).to_be_in_viewport(ratio=1)
    chooser.set_input_files({"name": "mine.pth", "mimeType": "application/octet-stream", "buffer": a_file()})
    expect(page).to_have_url(re.compile("net=mine"))
    expect(page.get_by_text(re.compile("^Read as"))).to_be_visible()
    expect(page.locator('button.tile[data-id^="11."]')).to_have_count(4)
    with rerun(page):
        page.locator(".st-key-own-file").get_by_role("button", name=re.compile("Remove|Delete")).click()
    expect(page.get_by_role("radio", name="V1-0.5")).to_be_checked()
    page.context.close()
