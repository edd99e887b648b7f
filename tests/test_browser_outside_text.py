"""Text from outside in a real browser: it is shown letter by letter, it is no link, and nothing is fetched for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import BROWSER_TEST, ROOT, open_page, rerun, running_app, settle, until
from tests.outside import HOSTILE, OWN, hostile_table, hostile_zoo
from ulsam_viz.images.samples import ASSETS
from ulsam_viz.ui.dataset.opening import OFFERED
from ulsam_viz.ui.run.uploaded_networks import SWITCH

pytestmark = BROWSER_TEST
_LINKS = 'a[href*="evil"], img[src*="evil"], image[href*="evil"], [style*="evil"], .katex, [data-testid="stIconEmoji"]'
CLASS = " ".join(HOSTILE.replace("_", " ").split())  # as class names are shown


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_table(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Iterator[str]:
    """The app with a zoo and a table in which every name is hostile."""
    zoo = hostile_zoo(tmp_path_factory.mktemp("zoo"))
    environment = {"ULSAM_VIZ_CHECKPOINTS": str(zoo), OFFERED: str(table), SWITCH: "1"}
    with running_app(ROOT / "app.py", **environment) as app:
        yield app


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page that asks no host but the app's, and on which nothing of what is hostile became more than text."""
    page, asked = open_page(browser), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    yield page
    ours = urlsplit(address).netloc
    assert not [url for url in asked if urlsplit(url).scheme in ("http", "https") and urlsplit(url).netloc != ours]
    assert page.locator(_LINKS).count() == 0
    page.context.close()


def look(page: Page, address: str, path: str = "", **query: str) -> None:
    page.goto(f"{address}/{path}?{urlencode({'net': 'V1-0.5', 'methods': 'Saliency'} | query)}")
    settle(page)


def letters(place: Locator) -> str:
    """Return what is to be read at a place, without the characters that have no width."""
    return place.first.inner_text().replace("\u2060", "")


def test_what_an_address_asks_for_in_vain_is_shown_letter_by_letter(page: Page, address: str) -> None:
    look(page, address, picture=HOSTILE, target=HOSTILE, position=HOSTILE, g=HOSTILE)
    missing = page.locator('[data-testid="stCaptionContainer"]', has_text="There is no picture")
    assert f"There is no picture “{HOSTILE}”; " in letters(missing)
    page.locator(".st-key-explain").get_by_role("button").first.click()
    expect(page.get_by_text("The network knows no class")).to_be_visible()


def test_names_of_networks_and_classes_are_shown_letter_by_letter(page: Page, address: str) -> None:
    look(page, address, net=OWN, subspace="layer 11, subspace 1")
    expect(page.get_by_role("radio", name=re.compile("^own"))).to_be_checked()
    assert OWN in letters(page.get_by_role("radio", name=re.compile("^own")).locator("xpath=.."))
    assert CLASS in letters(page.locator('[data-testid="stMarkdownContainer"]', has_text="the logit of “"))
    expect(page.locator(".js-plotly-plot")).to_have_count(1)  # its axis names the class


@pytest.mark.parametrize(
    ("path", "query"), [("compare", {}), ("compare", {"way": "two"}), ("learn", {}), ("evidence", {})]
)
def test_other_pages_show_such_names_too(page: Page, address: str, path: str, query: dict[str, str]) -> None:
    look(page, address, path, **query)
    assert "evil" in page.locator("body").inner_text().replace("\u2060", "")


def test_a_tables_texts_are_text_in_charts_too(page: Page, address: str, table: Path) -> None:
    measure = f"agreement_{HOSTILE}"
    look(page, address, "dataset", source="table", table=table.name, look="classes", measure=measure)
    labels = page.locator(".js-plotly-plot .ytick text")
    until(
        page,
        lambda: any(CLASS in " ".join(label.split()) for label in labels.all_text_contents()),
        "classes were drawn",
    )
    assert table.name in letters(page.get_by_text("6 pictures"))
    look(page, address, "dataset", source="table", table=table.name, look="scatter", measure=measure)
    points = page.locator(".js-plotly-plot .point")
    expect(points.first).to_be_attached()
    points.first.hover(force=True)
    until(
        page, lambda: HOSTILE[:20] in (page.locator(".hoverlayer").text_content() or ""), "the picture's name was shown"
    )


def test_files_names_are_text(page: Page, address: str) -> None:
    look(page, address)
    name = f"{HOSTILE.replace('/', '|')}.jpg"
    with rerun(page):
        page.locator("input[type=file]").first.set_input_files(
            {"name": name, "mimeType": "image/jpeg", "buffer": (ASSETS / "chelsea.jpg").read_bytes()}
        )
    with rerun(page):
        page.locator("input[type=file]").first.set_input_files(
            {"name": name, "mimeType": "image/jpeg", "buffer": b"none"}
        )
    expect(page.locator('[data-testid="stAlert"]')).to_be_visible()
    page.get_by_text("Own network").click()
    page.locator(".st-key-own-file input[type=file]").set_input_files(
        {"name": name.replace(".jpg", ".pth"), "mimeType": "application/octet-stream", "buffer": b"no network"}
    )
    expect(page.locator('[data-testid="stAlert"]')).to_have_count(2)  # both are refused
