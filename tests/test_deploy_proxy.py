"""The proxy's own configuration, run: behind it two stand-ins for replicas, which say their names, or the app.

Needs Caddy.
"""

from __future__ import annotations

import asyncio
import http.server
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.client import Client
from tests.browser import ROOT, free_port, running_app
from tests.patience import PATIENCE, until

CADDY = shutil.which("caddy")
pytestmark = pytest.mark.skipif(not CADDY, reason="no caddy: the proxy was not run")
NAMES = ("app-1", "app-2")
_COOKIE = "ulsam_viz_replica"


@contextmanager
def replica(name: str) -> Iterator[int]:
    """Answer everything with a name; give the port."""

    class Says(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        def do_PUT(self) -> None:
            left = int(self.headers["Content-Length"])
            while left and (data := self.rfile.read(min(left, 2**20))):
                left -= len(data)
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Says) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(PATIENCE)


@contextmanager
def proxy(folder: Path, ports: list[int]) -> Iterator[str]:
    """Run the Caddyfile over these ports in place of the replicas, and give its address.

    What it prints is in ``log``.
    """
    text, own, health = (ROOT / "deploy" / "Caddyfile").read_text(), free_port(), free_port()
    for name, port in zip(NAMES, ports, strict=True):
        text = text.replace(f"{name}:8501", f"127.0.0.1:{port}")
    (folder / "Caddyfile").write_text(text.replace("http://:2080", f"http://127.0.0.1:{health}"))
    assert CADDY
    command = [CADDY, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    environment = os.environ | {
        "HOME": str(folder),
        "XDG_DATA_HOME": "",
        "XDG_CONFIG_HOME": "",
        "COOKIE_SECRET": "a test's",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment | {"SITE": f":{own}"}, stdout=log, stderr=log)
    try:
        until(lambda: process.poll() is not None or ask(f"http://127.0.0.1:{health}") == "ok")
        assert process.poll() is None, (folder / "log").read_text()
        yield f"http://127.0.0.1:{own}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def ask(address: str, cookie: str = "", data: bytes | None = None) -> str | int:
    """Return what an address answers, or the number of its error; 0 where nobody listens."""
    request = urllib.request.Request(
        address, data, {"Cookie": cookie} if cookie else {}, method="PUT" if data else "GET"
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            said: str = answer.read().decode()
            return said
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def cookies(address: str) -> dict[str, str]:
    """Come as new visitors until each replica has had one; return their cookies by its name."""
    found: dict[str, str] = {}
    deadline = time.monotonic() + PATIENCE
    while len(found) < len(NAMES):
        assert time.monotonic() < deadline
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            (cookie,) = re.findall(rf"{_COOKIE}=\w+", answer.headers["Set-Cookie"])
            found[answer.read().decode()] = cookie
    return found


def test_visitors_stay_with_their_replica_and_are_spread(tmp_path: Path) -> None:
    with replica("app-1") as one, replica("app-2") as two, proxy(tmp_path, [one, two]) as address:
        for name, cookie in cookies(address).items():
            assert {ask(f"{address}/inspect?g={n}", cookie) for n in range(20)} == {name}


def test_uploads_pass_up_to_the_apps_limit(tmp_path: Path) -> None:
    with replica("app-1") as one, replica("app-2") as two, proxy(tmp_path, [one, two]) as address:
        assert ask(address, data=bytes(20 * 2**20)) in NAMES
        assert ask(address, data=bytes(22 * 2**20)) not in NAMES


def test_who_loses_a_replica_comes_to_the_other_and_nothing_is_written_of_it(tmp_path: Path) -> None:
    with replica("app-2") as two:
        with replica("app-1") as one, proxy(tmp_path, [one, two]) as address:
            pass
        with proxy(tmp_path, [one, two]) as address:
            until(lambda: {ask(f"{address}/?picture=marked-holiday") for _ in range(10)} == {"app-2"})
        with proxy(tmp_path, [one, free_port()]) as address:
            until(lambda: ask(f"{address}/?picture=marked-holiday") in (502, 503))
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"marked-holiday" not in path.read_bytes(), path


def test_the_app_itself_works_behind_it_websockets_and_all(tmp_path: Path) -> None:
    async def looks_at_a_picture(address: str) -> dict[str, str]:
        async with Client(address) as client:
            await client.ask("inspect", {"net": "V1-0.5", "position": "after 11", "g": "2"})
            await client.until(lambda run: run.prints, PATIENCE)
            return client.run.prints

    with running_app(ROOT / "app.py") as app:
        port = int(app.rpartition(":")[2])
        with proxy(tmp_path, [port, port]) as address:
            assert len(asyncio.run(looks_at_a_picture(address))) == 2  # a map of each subspace
