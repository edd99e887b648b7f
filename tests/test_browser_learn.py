"""The page Learn in a real browser: the blocks, the row of a step, present mode."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import BROWSER_TEST, rerun, settle, visit
from ulsam_viz.lesson.steps import STEPS

pytestmark = BROWSER_TEST

FOLD = 900  # px
#: Words that can be seen above the fold, in shadow trees, too; without navigation, controls of the sidebar, and what is
#: off screen.
_WORDS = """fold => {
  const words = [];
  const walk = node => {
    if (node.nodeType === Node.TEXT_NODE) {
      const range = document.createRange();
      range.selectNodeContents(node);
      const box = range.getBoundingClientRect();
      if (box.width && box.height && box.top < fold && box.bottom > 0) words.push(...node.data.split(/\\s+/).filter(w => /\\p{L}/u.test(w)));
      return;
    }
    if (node.nodeType === Node.ELEMENT_NODE) {
      if (node.matches('nav, style, script, [data-testid=stIconMaterial], [data-testid=stButtonGroup], .said')) return;
      if (!node.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return;
      if (node.shadowRoot) walk(node.shadowRoot);
    }
    node.childNodes.forEach(walk);
  };
  walk(document.querySelector('[data-testid=stMainBlockContainer]'));
  return words;
}"""


def step_title(page: Page, id: str) -> None:
    title = next(step.title for step in STEPS if step.id == id)
    page.get_by_role("heading", name=title, exact=True).wait_for()


@pytest.mark.parametrize("step", ["why", "channels", "max-pool", "output", "groups", "positions", "cost", "reading"])
def test_the_photograph_is_in_the_first_screen_of_a_step_with_its_place_marked(
    browser: Browser, address: str, step: str
) -> None:
    page = visit(browser, f"{address}/learn?step={step}")
    picture = page.locator('figure.tile[data-id="picture"]')
    expect(picture.locator("canvas[data-drawn]")).to_have_count(1)
    box = picture.locator(".frame").bounding_box()
    assert box and box["width"] > 150 and box["y"] + box["height"] <= FOLD
    expect(picture.locator(".mark")).to_be_visible()
    if step == "why":
        words = page.evaluate(_WORDS, FOLD)
        assert len(words) <= 60, words
    page.context.close()


def test_before_operator_and_after_share_a_row_and_a_pointer_and_the_pools_window_is_framed(
    browser: Browser, address: str
) -> None:
    page = visit(browser, f"{address}/learn?step=max-pool")
    tiles = page.locator(
        '.tile:has-text("Picture"), .tile:has-text("Before"), .tile[data-id="operator"], .tile:has-text("After")'
    )
    expect(tiles).to_have_count(4)
    boxes = [tiles.nth(i).bounding_box() for i in range(4)]
    assert len({round(box["y"]) for box in boxes if box}) == 1
    before, after = (page.locator(f'figure.tile[data-id="{id}"]') for id in ("rectified", "pooled"))
    after.locator(".frame").hover()
    expect(before.locator(".cell")).to_be_visible()
    widths = [tile.locator(".cell").evaluate("cell => parseFloat(cell.style.width)") for tile in (before, after)]
    assert widths[0] == pytest.approx(3 * widths[1], abs=0.01)
    expect(page.locator('figure.tile[data-id="picture"] .note')).to_have_text(re.compile(r"row \d+, col \d+"))
    with rerun(page):
        page.locator('figure.tile[data-id="picture"] .frame').click(position={"x": 3, "y": 3})
    page.get_by_text("At row 0, column 0 of channel").wait_for()
    page.context.close()


def test_a_block_leads_to_its_step_by_click_and_by_key(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/learn")
    block = page.get_by_role("navigation", name="Steps of the lesson").get_by_role("button", name="Softmax")
    with rerun(page):
        block.click()
    step_title(page, "softmax")
    expect(block).to_have_attribute("aria-current", "step")
    expect(page).to_have_url(re.compile("step=softmax"))
    with rerun(page):
        page.get_by_role("button", name="Max-pool", exact=True).first.press("Enter")
    step_title(page, "max-pool")
    page.context.close()


def test_present_mode_begins_and_ends_by_key_and_the_arrow_keys_walk(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/learn?step=relu", width=1920)
    sidebar = page.get_by_test_id("stSidebar")
    expect(sidebar).to_be_visible()
    with rerun(page):
        page.keyboard.press("p")
    expect(page).to_have_url(re.compile("present=1"))
    expect(sidebar).to_be_hidden()
    text = page.get_by_text("sets what is negative to 0")
    assert text.evaluate("e => getComputedStyle(e).fontSize") == "20px"
    expect(page.locator(".katex-display")).to_be_hidden()  # until it is asked for
    page.get_by_text("Show the numbers").click()
    expect(page.locator(".katex-display")).to_be_visible()
    with rerun(page):
        page.keyboard.press("ArrowRight")
    step_title(page, "max-pool")
    for expected in ("relu", "batchnorm"):
        with rerun(page):
            page.keyboard.press("ArrowLeft")
        step_title(page, expected)
    page.reload()
    settle(page)
    expect(sidebar).to_be_hidden()  # the address keeps it
    with rerun(page):
        page.keyboard.press("Escape")
    expect(sidebar).to_be_visible()
    assert "present" not in page.url
    for hidden in (True, False):
        with rerun(page):
            page.keyboard.press("p")
        expect(sidebar).to_be_hidden() if hidden else expect(sidebar).to_be_visible()
    page.context.close()


def test_esc_leaves_from_a_table_and_closes_a_list_alone(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/learn?part=sandbox&present=1", width=1920)
    sidebar = page.get_by_test_id("stSidebar")
    chooser = page.get_by_role("combobox", name=re.compile("Start from"))
    chooser.click()
    page.get_by_role("listbox").wait_for()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_have_count(0)
    page.get_by_role("button", name="View").click()
    page.get_by_label("Opacity").wait_for()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Opacity")).to_be_hidden()
    cells = page.get_by_test_id("stDataFrame").first
    cells.click(position={"x": 60, "y": 60})
    expect(cells.locator(":focus")).to_have_count(1)
    assert "present=1" in page.url
    expect(sidebar).to_be_hidden()
    with rerun(page):
        page.keyboard.press("Escape")
    expect(sidebar).to_be_visible()
    assert "present" not in page.url
    page.context.close()


def test_the_arrow_keys_of_a_question_do_not_turn_the_page(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/learn?step=groups&present=1", width=1920)
    choice = page.get_by_role("radio", name=re.compile("I do not know"))
    with rerun(page):
        choice.press("ArrowRight")
    step_title(page, "groups")
    expect(choice).not_to_be_checked()
    page.context.close()


@pytest.mark.parametrize(
    "query", ["step=why", "step=pointwise", "step=groups", "part=probes", "part=quiz", "part=sandbox"]
)
def test_nothing_is_wider_than_a_phone(browser: Browser, address: str, query: str) -> None:
    page = visit(browser, f"{address}/learn?{query}", width=420)
    wide = "[document.documentElement, document.querySelector('[data-testid=stMain]')].map(e => e.scrollWidth)"
    assert max(page.evaluate(wide)) <= 420
    page.context.close()


def test_a_probes_boxes_are_drawn_and_named(browser: Browser, address: str) -> None:
    page = visit(browser, f"{address}/learn?part=probes")
    expect(page.locator('.tile[data-id="picture"] .named')).to_have_text(["large disc", "small disc", "top right"])
    expect(page.locator('.tile[data-id="map-0"] .named')).to_have_count(3)
    page.context.close()
