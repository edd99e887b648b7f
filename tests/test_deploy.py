"""What runs the app for others, as far as it can be checked without Docker.

The image's files and command, the proxy, what is told.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.client import Client
from tests.browser import ROOT, running_server
from tests.patience import PATIENCE
from ulsam_viz.ui.run.limits import UPLOADS, VISITORS
from ulsam_viz.ui.run.uploaded_networks import SWITCH

DEPLOY = ROOT / "deploy"
CONFIG = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
VIEW = {"net": "V1-0.5"}


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with what they say."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    return [
        (name, rest.strip()) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())
    ]


def all_of(name: str) -> list[str]:
    return [said for instruction, said in instructions() if instruction == name]


def only(name: str) -> str:
    (said,) = all_of(name)
    return said


def copied() -> list[str]:
    """Return what the image copies."""
    return [source for said in all_of("COPY") for source in said.split()[:-1]]


def command() -> list[str]:
    words: list[str] = json.loads(only("CMD"))
    return words


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(only("ENV")))


def health_check() -> list[str]:
    words: list[str] = json.loads(only("HEALTHCHECK").partition("CMD ")[2])
    return words


def tracked() -> list[str]:
    """Return the files that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE
    )
    return listed.stdout.rstrip("\0").split("\0")


def test_what_the_image_copies_is_there_and_nothing_else_is_sent() -> None:
    files = tracked()
    for source in copied():
        assert any(Path(file).is_relative_to(source) for file in files), source
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(sent) == sorted(copied())


def test_it_is_pinned_and_runs_as_nobody_of_importance() -> None:
    assert re.fullmatch(r"python:3\.12\.\d+-slim-\w+", only("FROM"))
    user = only("USER")
    assert user == "1000" and f"useradd --uid {user}" in " ".join(all_of("RUN"))
    names = [name for name, _ in instructions()]
    # All files are root's
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in ("COPY", "RUN"))


def test_its_port_is_one() -> None:
    port = only("EXPOSE")
    assert f"--port={port}" in command()
    assert f"127.0.0.1:{port}/_stcore/health" in health_check()[-1]
    assert CONFIG["server"].get("port", 8501) == int(port)


@contextmanager
def as_in_the_image(folder: Path) -> Iterator[tuple[Path, str]]:
    """Run the image's command on the files that it copies, and give their folder and the address."""
    app, home = folder / "app", folder / "home"
    home.mkdir()
    for file in tracked():
        if any(Path(file).is_relative_to(source) for source in copied()):
            (app / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, app / file)
    python, *rest = command()
    assert python == "python"
    variables = environment() | {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": ""}
    try:
        with running_server([sys.executable, *rest], port="--port", folder=app, environment=variables) as address:
            yield app, address
    finally:
        shutil.rmtree(app)  # pytest would keep those of the last three sessions


def test_the_images_command_serves_the_page_from_the_images_files_and_writes_none(tmp_path: Path) -> None:
    async def visit(address: str) -> None:
        async with Client(address) as client:
            await client.ask("inspect", VIEW)
            await client.until(lambda run: False, PATIENCE)
            assert client.run.finished and client.run.prints and not client.run.exceptions
            buttons = client.run.of_kind("download_button")
            assert all([await client.download(button, PATIENCE) for button in buttons])  # matplotlib's files among them
            await client.ask("dataset", VIEW | {"source": "table"})
            await client.until(lambda run: False, PATIENCE)
            assert client.run.finished and not client.run.exceptions
            assert client.run.labelled("file_uploader", "or a table (Parquet)")
            assert not client.run.of_kind("text_input")  # nobody opens folders of the server

    with as_in_the_image(tmp_path) as (app, address):
        before = set(app.rglob("*"))  # so early that the page has not run
        asyncio.run(visit(address))
        assert set(app.rglob("*")) == before
        port = address.rpartition(":")[2]
        python, *rest = [word.replace(only("EXPOSE"), port) for word in health_check()]
        assert python == "python"
        assert subprocess.run([sys.executable, *rest], timeout=PATIENCE, check=False).returncode == 0
    assert (
        subprocess.run([sys.executable, *rest], timeout=PATIENCE, check=False, stderr=subprocess.DEVNULL).returncode
        != 0
    )


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return found


def replicas() -> dict[str, Any]:
    return {name: service for name, service in services().items() if "build" in service}


@pytest.mark.parametrize("name", services())
def test_each_service_is_watched_guarded_and_bounded(name: str) -> None:
    service = services()[name]
    assert service["restart"] == "unless-stopped" and service["read_only"] is True
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["security_opt"] == ["no-new-privileges:true"] and service["cap_drop"] == ["ALL"]
    # Nothing in swap, no core dumps
    assert service["mem_limit"] == service["memswap_limit"] and service["ulimits"]["core"] == 0
    assert "privileged" not in service and not str(service["image"]).endswith(":latest")
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        tables = volume == "${TABLES:-./tables}:/tables:ro"  # which nobody may write
        assert tables or source == "certificates" or (DEPLOY / source).is_file(), source


def test_the_replicas_are_the_image_and_the_proxys() -> None:
    assert len(replicas()) > 1
    for service in replicas().values():
        assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
        assert set(service["build"]["args"]) == {said.partition("=")[0] for said in all_of("ARG")}
        assert service["healthcheck"]["test"][1:] == health_check()
        # All else is read-only
        assert any(path.partition(":")[0] == environment()["HOME"] for path in service["tmpfs"])
        assert "ports" not in service  # nobody passes the proxy by
    assert set(services()["proxy"]["depends_on"]) == set(replicas())
    (upstreams,) = re.findall(r"reverse_proxy (.+) \{", (DEPLOY / "Caddyfile").read_text())
    assert upstreams.split() == [f"{name}:{only('EXPOSE')}" for name in replicas()]


def test_gpus_are_for_the_replicas_alone() -> None:
    found = yaml.safe_load((DEPLOY / "compose.gpu.yaml").read_text())["services"]
    assert set(found) == set(replicas())
    for service in found.values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_the_proxy_takes_what_the_app_takes_and_logs_no_request() -> None:
    text = (DEPLOY / "Caddyfile").read_text()
    (size,) = re.findall(r"max_size (\d+)MiB", text)
    assert int(size) == CONFIG["server"]["maxUploadSize"] + 1
    assert "health_uri /_stcore/health" in text and "lb_policy cookie" in text
    assert re.findall(r"^\s*log\b.*", text, re.M) == ["\tlog default {"]  # a site's own would be one of requests
    assert set(re.findall(r"\{\$(\w+)\}", text)) == set(services()["proxy"]["environment"])


def test_every_limit_is_in_the_table_and_every_name_is_one_of_the_code() -> None:
    code = "".join(path.read_text() for path in [ROOT / "app.py", *(ROOT / "ulsam_viz").rglob("*.py")])
    known = set(re.findall(r"ULSAM_VIZ_[A-Z_]+", code))
    assert known > {SWITCH, UPLOADS, VISITORS}
    told = (DEPLOY / "README.md").read_text()
    assert set(re.findall(r"^\| `(ULSAM_VIZ_\w+)` \|", told, re.M)) == known
    used = "".join([told, *((ROOT / file).read_text() for file in ("Dockerfile", "deploy/compose.yaml"))])
    assert set(re.findall(r"ULSAM_VIZ_[A-Z_]+", used)) == known
    for name in (UPLOADS, VISITORS):
        (usual,) = re.findall(rf'"\$\{{{name}:-(\d+)\}}"', (DEPLOY / "compose.yaml").read_text())
        assert f"{usual} in `compose.yaml`" in next(
            line for line in told.splitlines() if line.startswith(f"| `{name}`")
        )


def test_the_sample_of_a_space_is_the_images() -> None:
    (head,) = re.findall(r"```yaml\n---\n(.+?)---\n", (DEPLOY / "README.md").read_text(), re.S)
    space = yaml.safe_load(head)
    assert space["sdk"] == "docker" and str(space["app_port"]) == only("EXPOSE")


def test_what_is_linked_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (DEPLOY / "README.md").read_text()):
        assert target.startswith("https://") or (DEPLOY / target).exists(), target
