"""The app in a real browser: started as `make app` starts it, driven by Playwright. Used by tests and benchmarks."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserType, Page, expect, sync_playwright

from tests.patience import PATIENCE
from tests.patience import until as wait_for

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SMALL_NETWORK = "net=V1-0.5"
IDLE = '[data-testid="stApp"][data-test-connection-state="CONNECTED"][data-test-script-state="notRunning"]'
BROWSER_TEST = [
    pytest.mark.browser,
    # Under CI a missing browser is a failure, not a reason to skip.
    pytest.mark.skipif(
        not CHROMIUM and not os.environ.get("CI"), reason="no chromium: the browser journeys were not run"
    ),
]
BUSY = '[data-testid="stStatusWidget"],[data-testid="stSkeleton"],[data-stale="true"]'
# What `end_page` writes: nothing that a run of the page has drawn is missing when its number is there.
RUNS = "() => Number(document.querySelector('[data-run]')?.dataset.run ?? 0)"
_CALM = 4  # looks at the page in a row: a component that has just been mounted shows its skeleton a moment later

expect.set_options(timeout=PATIENCE * 1000)


@contextmanager
def running_app(script: Path = ROOT / "app.py", **environment: str) -> Iterator[str]:
    """Start the app, or a script that runs it, give its address, and stop it with all that it started."""
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    with running_server(
        command, port="--server.port", folder=ROOT, environment={"PYTHONPATH": str(ROOT)} | environment
    ) as address:
        yield address


@contextmanager
def running_server(
    command: list[str],
    *,
    port: str,
    folder: Path,
    environment: dict[str, str],
    number: int = 0,
    log: Path | None = None,
) -> Iterator[str]:
    """Start a command that serves the app, give its address, and stop it with all that it started.

    Args:
        command: What is called.
        port: Its option for the port.
        folder: Where it is called.
        environment: Variables beside the process's own; ``STREAMLIT_SERVER_BASE_URL_PATH`` is part of the address.
        number: The port; 0 for any that is free.
        log: File that what the server prints is added to.
    """
    number = number or free_port()
    base = environment.get("STREAMLIT_SERVER_BASE_URL_PATH", "")
    address = f"http://127.0.0.1:{number}" + (f"/{base}" if base else "")
    with (log or Path(os.devnull)).open("ab") as said:
        server = subprocess.Popen(
            [*command, f"{port}={number}", "--server.headless=true"],
            cwd=folder,
            env=os.environ | environment,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        wait_for(lambda: _is_healthy(server, address), "the app had started")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(PATIENCE)


def _is_healthy(server: subprocess.Popen[bytes], address: str) -> bool:
    assert server.poll() is None, "the app did not start"
    try:
        urllib.request.urlopen(f"{address}/_stcore/health", timeout=PATIENCE).read()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        number: int = s.getsockname()[1]
        return number


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start headless Chromium."""
    with sync_playwright() as playwright, browser_with(playwright.chromium) as instance:
        yield instance


@contextmanager
def browser_with(kind: BrowserType, *arguments: str) -> Iterator[Browser]:
    """Start another headless Chromium, with more arguments.

    ``browser_with(browser.browser_type, "--disable-3d-apis")``.
    """
    assert CHROMIUM, "chromium is needed: apt-get install chromium"
    quiet = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync", "--no-first-run", "--use-fake-device-for-media-stream"]
    instance = kind.launch(executable_path=CHROMIUM, args=[*quiet, *arguments])
    yield instance
    instance.close()


def open_page(browser: Browser, *, width: int = 1440, dark: bool = False) -> Page:
    """Return an empty page of a visitor of its own, whose every wait is patient."""
    context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme="dark" if dark else "light")
    context.set_default_timeout(PATIENCE * 1000)
    return context.new_page()


def visit(browser: Browser, address: str, *, width: int = 1440, dark: bool = False) -> Page:
    """Open an address as a new visitor, and wait until the page is complete.

    The network is a small one unless it names another.
    """
    page = open_page(browser, width=width, dark=dark)
    page.goto(with_small_network(address))
    settle(page)
    return page


def with_small_network(address: str) -> str:
    """Let an address that names no network open a fast one."""
    return address if "net=" in address else f"{address}{'&' if '?' in address else '?'}{SMALL_NETWORK}"


def until(page: Page, holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds, however long a busy machine takes to come to it."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        page.wait_for_timeout(50)


def settle(page: Page, *, after: int = 0) -> None:
    """Wait until a later run of the page than a given one is complete and no other goes on.

    See that nothing went wrong.

    Args:
        page: The page.
        after: The number of a run. A page that was opened or loaded anew begins to count.
    """
    calm = 0

    def settled() -> bool:
        nonlocal calm
        quiet = page.evaluate(RUNS) > after and page.locator(IDLE).count() == 1 and page.locator(BUSY).count() == 0
        calm = calm + 1 if quiet else 0
        return calm == _CALM

    until(page, settled, "the page had settled")
    assert page.locator('[data-testid="stException"]').count() == 0


@contextmanager
def rerun(page: Page) -> Iterator[None]:
    """Wait until the page has run again, to its end, because of what is done inside."""
    before = page.evaluate(RUNS)
    yield
    settle(page, after=before)


def move_slider(page: Page, name: str, key: str) -> None:
    """Press a key on a slider, and wait until the page has run again."""
    with rerun(page):
        page.get_by_role("slider", name=re.compile(name)).first.press(key)


def maps(page: Page) -> list[str]:
    """Return what is drawn on layer 11's map tiles: the picture's name, the numbers' print, and how they are drawn."""
    return page.locator('button.tile[data-id^="11."] canvas').evaluate_all("all => all.map(e => e.dataset.drawn ?? '')")


_SHARE = """(root, [role, width, height]) => {
  const all = (node) => [...node.querySelectorAll('*')].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  const shown = all(document).filter((e) => e.dataset.role === role).map((e) => e.getBoundingClientRect());
  const side = (low, high, end) => Math.max(0, Math.min(high, end) - Math.max(low, 0));
  return shown.reduce((sum, b) => sum + side(b.left, b.right, width) * side(b.top, b.bottom, height), 0) / width / height;
}"""


def share(page: Page, *roles: str) -> float:
    """Return the share of the window that tiles of these roles cover: "map", "attribution", "picture"."""
    size = page.viewport_size
    assert size
    return sum(page.locator("body").evaluate(_SHARE, [role, size["width"], size["height"]]) for role in roles)


def until_maps(page: Page, count: int, *, other_than: Collection[str] = ()) -> list[str]:
    """Wait for layer 11 to show so many maps, none of them among others; return their pictures."""

    def there() -> bool:
        shown = maps(page)
        return len(shown) == count and all(shown) and not set(shown) & set(other_than)

    until(page, there, f"{count} new maps were there")
    return maps(page)


def words_above_the_fold(page: Page, *, fold: int = 900) -> list[str]:
    """Return the words to read in sight before a visitor scrolls.

    What holds a letter, charts' and components' labels too.

    Not the sidebar and the navigation, what is written on controls, formulas and icons.
    """
    texts = page.evaluate(
        """fold => {
          const aside = 'header, [data-testid="stSidebar"], [data-testid="stIconMaterial"], style, script, nav, button:not(.tile), label, select, .katex, .card';
          const texts = [];
          const read = (root) => {
            const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
            while (walker.nextNode()) {
              const node = walker.currentNode, range = document.createRange();
              if (node.shadowRoot) read(node.shadowRoot);
              if (node.nodeType !== Node.TEXT_NODE || node.parentElement?.closest(aside) !== null) continue;
              if (!node.parentElement.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
              range.selectNodeContents(node);
              const box = range.getBoundingClientRect();
              if (box.width * box.height > 0 && box.top < fold) texts.push(node.data);
            }
          };
          read(document.querySelector('[data-testid="stMain"]'));
          return texts;
        }""",
        fold,
    )
    return [word for text in texts for word in text.split() if any(map(str.isalpha, word))]
