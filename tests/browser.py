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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SETTLED = '[data-testid="stApp"][data-test-connection-state="CONNECTED"][data-test-script-state="notRunning"]'
BROWSER_TEST = [
    pytest.mark.browser,
    # Under CI a missing browser is a failure, not a reason to skip.
    pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="no chromium: the browser journeys were not run"),
]
BUSY = '[data-testid="stStatusWidget"],[data-testid="stSkeleton"],[data-stale="true"]'


@contextmanager
def running_app() -> Iterator[str]:
    """Start the app, give its address, and stop it with all that it started."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}", "--server.headless=true"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).read()
                break
            except OSError:
                assert time.monotonic() < deadline, "the app did not start"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start headless Chromium."""
    assert CHROMIUM, "chromium is needed: apt-get install chromium"
    quiet = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync", "--no-first-run"]
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield instance
        instance.close()


def visit(browser: Browser, address: str, *, width: int = 1440, dark: bool = False) -> Page:
    page = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme="dark" if dark else "light").new_page()
    page.goto(address)
    settle(page)
    return page


def settle(page: Page, seconds: float = 90) -> None:
    """Wait until the script has stopped and stays stopped, and see that nothing went wrong."""
    deadline, calm = time.monotonic() + seconds, 0
    while calm < 4:
        assert time.monotonic() < deadline, "the page did not settle"
        quiet = page.locator(SETTLED).count() == 1 and page.locator(BUSY).count() == 0
        calm = calm + 1 if quiet else 0
        page.wait_for_timeout(100)
    assert page.locator('[data-testid="stException"]').count() == 0


def move_slider(page: Page, name: str, key: str) -> None:
    """Press a key on a slider, and wait until the page has settled."""
    page.get_by_role("slider", name=re.compile(name)).first.press(key)
    page.wait_for_timeout(200)
    settle(page)


def maps(page: Page) -> list[str]:
    """Return the pictures of layer 11's map tiles."""
    return [src or "" for src in page.locator('button.tile[data-id^="11."] img').evaluate_all("all => all.map(e => e.src)")]
