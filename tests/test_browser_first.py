"""The first visit in a real browser: maps are there before torch and the network, and a click on them is not lost."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser import BROWSER_TEST, ROOT, RUNS, open_page, running_app, settle

pytestmark = BROWSER_TEST


def test_maps_are_on_the_screen_before_torch_is_there(browser: Browser, tmp_path: Path) -> None:
    late = tmp_path / "late"
    with running_app(ROOT / "tests" / "late_app.py", LATE=str(late)) as address:
        page = open_page(browser)
        page.goto(address)
        strip = page.locator('img[data-role="thumbnail"]')

        def place() -> tuple[float, float, float]:
            """Return where the first map lies, as seen from the head: the page scrolls to a map that opens."""
            head, first = strip.bounding_box(), drawn.first.bounding_box()
            assert head and first
            return first["x"] - head["x"], first["y"] - head["y"], first["width"]

        try:
            drawn = page.locator('button.tile canvas[data-role="map"][data-drawn]')
            expect(drawn).to_have_count(4)
            expect(page.get_by_role("heading", name="Coffee cup")).to_be_visible()
            before = place()
            assert page.evaluate(RUNS) == 0
            page.locator('button.tile[data-id="12.2"]').click()
        finally:
            late.touch()
        settle(page)
        assert place() == before  # nothing moved
        expect(page.locator('button.tile[data-id="12.2"]')).to_have_attribute("aria-pressed", "true")
        assert page.get_by_text("channels 56 to 83").count() == 1
        assert "subspace=" in page.url
        page.context.close()
