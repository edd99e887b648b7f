"""The package as pip installs it: sdist -> wheel -> an environment that does not see the repository."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import websockets
from packaging.requirements import Requirement
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

import ulsam_viz
from tests.browser import ROOT, SMALL_NETWORK, running_server
from tests.patience import PATIENCE
from ulsam_viz import paths as places
from ulsam_viz.cli.program import main
from ulsam_viz.zoo.variants import list_variants

NAME = "mobilenet_v1-0.5-after11-g4"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What a shell may have set would lead to the repository, or to other networks.
BARE = {"PYTHONPATH": "", "ULSAM_VIZ_CHECKPOINTS": "", "OMP_NUM_THREADS": "1"}
CONFIG = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())


@dataclass(frozen=True)
class Installed:
    """The package in an environment of its own.

    Attributes:
        bin: The environment's programs.
        folder: An empty folder, to call them from.
        wheel: What was installed.
        sdist: What the wheel was built from, unpacked.
    """

    bin: Path
    folder: Path
    wheel: Path
    sdist: Path

    def run(self, program: str, *arguments: str) -> str:
        """Return what a program of the environment prints."""
        command, env = [str(self.bin / program), *arguments], os.environ | BARE
        return subprocess.run(
            command, cwd=self.folder, env=env, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE
        ).stdout


def _build(folder: Path, target: str, out: Path) -> Path:
    """Build an sdist or a wheel without a network; return its path."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Build once, install once: half a minute for all tests of this file."""
    root = tmp_path_factory.mktemp("package")
    shutil.unpack_archive(_build(ROOT, "sdist", root / "sdist"), root / "unpacked")
    (sources,) = (root / "unpacked").iterdir()
    wheel = _build(sources, "wheel", root / "wheel")
    environment = root / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=PATIENCE)
    (packages,) = environment.glob("lib/python*/site-packages")
    # Dependencies are those of the tests' environment: its packages come after our own, and the repository not at all.
    theirs = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "dependencies.pth").write_text("\n".join(theirs) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "--disable-pip-version-check"]
    install = ["install", "--quiet", "--no-index", "--no-deps", "--no-compile", str(wheel)]
    subprocess.run([*pip, *install], check=True, timeout=PATIENCE)
    (root / "empty").mkdir()
    yield Installed(environment / "bin", root / "empty", wheel, sources)
    shutil.rmtree(root)  # pytest would keep half a gigabyte of each of the last three sessions


def test_the_wheel_holds_what_the_checkout_holds(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    folders = [*(ROOT / "ulsam_viz").rglob("*"), *(ROOT / "assets").iterdir(), *(ROOT / "checkpoints").iterdir()]
    files = {path.relative_to(ROOT) for path in folders if path.is_file() and path.suffix not in (".pyc", ".partial")}
    left_out = {path for path in files if path.parts[0] == "assets" and path.suffix == ".py"}  # they made the others
    left_out |= {Path("assets/screenshot.jpg"), Path("checkpoints/lock")}
    beside = files - left_out | {Path("app.py"), Path(".streamlit/config.toml")}
    assert inside == {str(path if path.parts[0] == "ulsam_viz" else "ulsam_viz/shipped" / path) for path in beside}


def test_the_sdist_holds_what_a_developer_needs(installed: Installed) -> None:
    for name in (
        "Makefile",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CITATION.cff",
        "requirements-dev.txt",
        "tests",
        "benchmarks",
        "deploy",
        "docs",
        "Dockerfile",
        ".dockerignore",
    ):
        assert (installed.sdist / name).exists(), name
    assert not (installed.sdist / ".venv").exists()


def test_installed_it_lists_loads_and_explains_as_the_checkout_does(installed: Installed) -> None:
    program = f"""
import json, sys, ulsam_viz
from ulsam_viz.images.samples import list_samples
image = ulsam_viz.decode_image(list_samples()[0].path.read_bytes())
result = ulsam_viz.explain(image, {NAME!r}, methods=("grad_cam",))
lite = ulsam_viz.load_variant("efficientnet_lite0-after12-g4")
print(json.dumps({{
    "file": ulsam_viz.__file__, "version": ulsam_viz.__version__,
    "variants": [v.name for v in ulsam_viz.list_variants()],
    "maps": result.attention[11].shape, "target": result.target, "path": sys.path, "layers": len(lite.layers),
}}))
"""
    told = json.loads(installed.run("python", "-c", program))
    assert Path(told["file"]).is_relative_to(installed.bin.parent)
    assert not {str(ROOT), str(installed.sdist)} & set(told["path"])
    assert told["version"] == ulsam_viz.__version__
    assert told["variants"] == [v.name for v in list_variants()]
    image = ulsam_viz.decode_image((places.ASSETS / "coffee.jpg").read_bytes())
    assert told["maps"] == [4, 14, 14] and told["layers"] > 12
    assert told["target"] == ulsam_viz.explain(image, NAME, methods=()).target


def test_installed_it_needs_no_torch_for_the_first_view_and_knows_its_version(installed: Installed) -> None:
    look = "import sys, ulsam_viz.ui.first_view as f; f.read_first_view().crop(); sys.exit('torch' in sys.modules)"
    installed.run("python", "-c", look)
    code = (
        "from importlib.metadata import version; from ulsam_viz.training.folder import code_version as c; "
        "print(version('ulsam-viz'), c())"
    )
    assert installed.run("python", "-c", code).split() == [ulsam_viz.__version__, ulsam_viz.__version__]


def test_the_command_installed(installed: Installed) -> None:
    assert installed.run("ulsam-viz", "--help").startswith("usage: ulsam-viz ")
    assert installed.run("ulsam-viz", "--version") == f"ulsam_viz {ulsam_viz.__version__}\n"
    assert "streamlit run" in installed.run("ulsam-viz", "app", "--help")
    listed = installed.run("ulsam-viz", "variants").splitlines()
    assert [line.split()[0] for line in listed[1:]] == [v.name for v in list_variants()]


def test_the_app_installed_shows_the_page_with_the_projects_settings(installed: Installed) -> None:
    command = [str(installed.bin / "ulsam-viz"), "app"]
    with running_server(command, port="--port", folder=installed.folder, environment=BARE) as address:
        session, elements = asyncio.run(_visit(address))
    for name, theme in (("light", session.custom_theme.light), ("dark", session.custom_theme.dark)):
        assert theme.primary_color == CONFIG["theme"][name]["primaryColor"]
    assert not session.config.gather_usage_stats
    assert not [e.exception.message for e in elements if e.WhichOneof("type") == "exception"]
    limits = {e.file_uploader.max_upload_size_mb for e in elements if e.WhichOneof("type") == "file_uploader"}
    assert CONFIG["server"]["maxUploadSize"] in limits
    texts = "".join(e.html.body for e in elements if e.WhichOneof("type") == "html")
    assert NAME in texts and "data-run" in texts  # the page's last element


async def _visit(address: str) -> tuple[Any, list[Any]]:
    """Open the page as a browser does; return what it is told of settings, and the elements of one whole run."""
    message, session, elements = BackMsg(), None, []
    message.rerun_script.query_string = SMALL_NETWORK
    stream = address.replace("http", "ws", 1) + "/_stcore/stream"
    async with (
        asyncio.timeout(PATIENCE),
        websockets.connect(stream, subprotocols=["streamlit"], max_size=None) as socket,  # type: ignore[list-item]
    ):
        await socket.send(message.SerializeToString())
        while True:
            answer = ForwardMsg.FromString(await socket.recv())  # type: ignore[arg-type]
            kind = answer.WhichOneof("type")
            if kind == "new_session":
                session = answer.new_session
            elif kind == "delta" and answer.delta.WhichOneof("type") == "new_element":
                elements.append(answer.delta.new_element)
            elif kind == "script_finished" and elements:
                return session, elements


def test_the_command_hands_streamlits_options_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[list[str]] = []
    large = "--server.maxUploadSize=200"  # a network of the visitor's own may be larger than any picture
    monkeypatch.setattr("streamlit.web.cli.main", lambda arguments, prog_name: calls.append(arguments))
    assert main(["app", "--port", "8600", "--server.headless=true", "--theme.base", "dark"]) == 0
    assert main(["app"]) == 0
    assert calls == [
        ["run", str(ROOT / "app.py"), "--server.port=8600", large, "--server.headless=true", "--theme.base", "dark"],
        ["run", str(ROOT / "app.py"), large],
    ]
    with pytest.raises(SystemExit):
        main(["variants", "--server.headless=true"])
    assert "unrecognized arguments: --server.headless=true" in capsys.readouterr().err


def test_a_checkout_comes_before_what_is_shipped(tmp_path: Path) -> None:
    assert places.HOME == ROOT
    package = tmp_path / "ulsam_viz"
    (tmp_path / "assets").mkdir()  # another package's
    assert places.find_home(package) == package / "shipped"
    (tmp_path / "assets" / "samples.json").touch()
    assert places.find_home(package) == tmp_path


def test_the_pins_lie_in_the_packages_ranges() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    ranges = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    assert ranges.keys() == pins.keys()
    assert not {name: pin for name, pin in pins.items() if pin not in ranges[name]}
    assert not {name for name in ranges if version(name) not in ranges[name]}
    # A pair of another minor release is none that was matched.
    for name in ("torch", "torchvision"):
        major, minor, _ = pins[name].split(".")
        assert f"{major}.{int(minor) + 1}.0" not in ranges[name]


def test_the_version_is_the_same_wherever_it_stands() -> None:
    citation, changes = (ROOT / "CITATION.cff").read_text(), (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^version: (.+)$", citation, re.M) == [ulsam_viz.__version__]
    number, day = re.findall(r"^## ([\d.]+), ([\d-]+)$", changes, re.M)[0]
    assert number == ulsam_viz.__version__
    assert re.findall(r"^date-released: (.+)$", citation, re.M) == [day]
    assert PROJECT["license"] in (ROOT / "CITATION.cff").read_text()
