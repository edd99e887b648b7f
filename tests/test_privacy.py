"""Nothing of what a visitor brings reaches the disk or the server's log.

Both are read, while the server runs and afterwards.
"""

from __future__ import annotations

import asyncio
import io
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from streamlit.proto.WidgetStates_pb2 import WidgetState

from benchmarks.client import Client
from tests.browser import ROOT, running_server
from tests.conftest import encode, noise
from tests.patience import PATIENCE, until
from tests.tables import table_of_samples
from tests.test_own import StandAlone, lively, mobilenet_v1, pt, with_modules
from tests.traces import files_below, find, open_files, traces
from ulsam_viz.cli.program import _served_at
from ulsam_viz.images.preprocessing import crop_centre, decode_image
from ulsam_viz.zoo.variants import get_variant

VIEW = {"net": "V1-0.5"}
VARIANT = get_variant("mobilenet_v1-0.5-after11-g4")
# No file of half a megabyte can be written, however short it would live and however well it is hidden: the pictures are
# larger. The shell becomes the server, so that its pid is the server's.
NO_LARGE_FILES = ["sh", "-c", 'ulimit -f 1024; echo $$ > "$0"; exec "$@"']
_LARGE = 2**21  # bytes: more than servers usually take into memory before they go on in a file


@dataclass(frozen=True)
class Brought:
    """A file that is nowhere else, marked by a word that is nowhere else either.

    Attributes:
        mark: In its name.
        data: What is in it.
        ending: Of its name.
    """

    mark: str
    data: bytes
    ending: str = "jpg"

    @property
    def name(self) -> str:
        """As a visitor's disk calls it."""
        return f"holiday {self.mark}.{self.ending}"

    def traces(self) -> dict[str, bytes]:
        """What may be nowhere."""
        return traces(self.mark, self.data, {})


class Photograph(Brought):
    """A JPEG, whose mark is in its EXIF comment too."""

    def traces(self) -> dict[str, bytes]:
        """What may be nowhere."""
        image = decode_image(self.data)
        return traces(self.mark, self.data, {"the picture": np.asarray(image), "the crop": self.crop()})

    def crop(self) -> np.ndarray:
        """What the networks see."""
        return crop_centre(decode_image(self.data), VARIANT.preprocessing).pixels


def photograph() -> Photograph:
    """Make one by lot: no cache of the tests can hold anything of it."""
    mark = secrets.token_hex(12)
    exif = Image.Exif()
    exif[0x010E] = f"a comment {mark}"  # ImageDescription
    image = Image.fromarray(noise((1000, 1500, 3), seed=secrets.randbits(32)))
    data = encode(image, "JPEG", quality=98, exif=exif.tobytes())
    assert len(data) > _LARGE
    return Photograph(mark, data)


def network() -> Brought:
    """Make a network with weights by lot."""
    torch.manual_seed(secrets.randbits(32))
    model = lively(StandAlone(with_modules(mobilenet_v1(), (11,)), "model", "fc"))
    return Brought(secrets.token_hex(12), pt(model.state_dict()), "pth")


def table(folder: Path) -> Brought:
    """Make a table, as `batch` writes it in a folder, of pictures whose names hold the mark."""
    mark, rows = (
        secrets.token_hex(12),
        pq.read_table(table_of_samples(folder, "out", 3, VARIANT.name) / "attention.parquet"),
    )
    names = pa.array([f"{mark}/{name}" for name in rows["picture"].to_pylist()])
    buffer = io.BytesIO()
    pq.write_table(rows.set_column(rows.schema.get_field_index("picture"), "picture", names), buffer)
    return Brought(mark, buffer.getvalue(), "parquet")


@dataclass(frozen=True)
class Places:
    """Where a server may write.

    Attributes:
        folder: Holds its home, its temporary files and its log, and what tells its pid.
        since: Nothing older is of this server (ns).
    """

    folder: Path
    since: int

    @classmethod
    def fresh(cls, folder: Path) -> Places:
        """Make empty ones."""
        for name in ("home", "temporary"):
            (folder / name).mkdir()
        stamp = folder / "stamp"
        stamp.touch()
        return cls(folder, stamp.stat().st_mtime_ns)

    @property
    def log(self) -> Path:
        """What the server prints."""
        return self.folder / "log"

    @property
    def process(self) -> int:
        """The server's pid."""
        return int((self.folder / "pid").read_text())

    def environment(self) -> dict[str, str]:
        """What lets a server write there."""
        home, temporary = str(self.folder / "home"), str(self.folder / "temporary")
        return {"HOME": home, "TMPDIR": temporary, "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "PYTHONPATH": str(ROOT)}

    def files(self) -> Iterator[Path]:
        """All that may have been written: below its own folders, its log among them, and in the repository."""
        yield from files_below(self.folder)
        yield from files_below(ROOT, since=self.since)


async def shown(client: Client) -> None:
    """Wait for the page's end, and see that nothing went wrong."""
    await client.until(lambda run: False, PATIENCE)
    assert client.run.finished and not client.run.exceptions


async def look_at(client: Client, brought: Photograph) -> None:
    """Upload a photograph on Inspect, see that it is what is looked at, and take every file along."""
    await client.ask("inspect", VIEW)
    await shown(client)
    state = await client.upload(client.run.labelled("file_uploader", "Upload a photograph"), brought.name, brought.data)
    await client.ask("inspect", VIEW, state, walked=False)
    await shown(client)
    assert client.run.prints and not client.run.alerts
    files = {button.label: await client.download(button, PATIENCE) for button in client.run.of_kind("download_button")}
    assert brought.mark.encode() in files["Report (HTML)"]
    with np.load(io.BytesIO(files["Numbers (NPZ)"])) as numbers:  # so it is these pixels that are looked for
        assert any(np.array_equal(numbers[name], brought.crop()) for name in numbers.files)


async def try_a_bad_one(client: Client, brought: Photograph) -> None:
    """Upload what only begins as a photograph, which is refused."""
    uploader = client.run.labelled("file_uploader", "Upload a photograph")
    state = await client.upload(uploader, brought.name, brought.data[: len(brought.data) * 19 // 20])
    await client.ask("inspect", VIEW, state, walked=False)
    await shown(client)
    assert client.run.alerts


async def make_a_table(client: Client, brought: list[Photograph]) -> None:
    """Upload several photographs on Dataset, and wait for their table."""
    view = VIEW | {"source": "photographs"}
    await client.ask("dataset", view)
    await shown(client)
    uploader = next(e for e in client.run.of_kind("file_uploader") if e.id.endswith("photographs-0"))
    states = [await client.upload(uploader, photo.name, photo.data) for photo in brought]
    for state in states[1:]:
        states[0].file_uploader_state_value.MergeFrom(state.file_uploader_state_value)
    await client.ask("dataset", view, states[0], walked=False)
    await shown(client)
    assert not client.run.alerts
    said = [text.body for text in client.run.of_kind("markdown")]
    assert f"{len(brought)} photographs are here." in said


async def use_a_network(client: Client, brought: Brought) -> None:
    """Upload a network, and see that its maps are shown; one that is cut short is refused."""
    await client.ask("inspect", VIEW)
    await shown(client)
    popover = next(box for box in client.run.popovers if box.label == "Own network")
    opened = WidgetState(id=popover.id, bool_value=True)
    await client.ask("inspect", VIEW, opened, walked=False)
    await shown(client)
    uploader = client.run.labelled("file_uploader", "Checkpoint")
    for data in (brought.data, brought.data[: len(brought.data) * 19 // 20]):
        state = await client.upload(uploader, brought.name, data)
        await client.ask("inspect", VIEW, opened, state, walked=False)
        await shown(client)
        assert client.run.prints
        assert bool(client.run.alerts) == (data != brought.data)
        assert any(f"<td>holiday-{brought.mark}</td>" in card.body for card in client.run.of_kind("html"))


async def open_a_table(client: Client, brought: Brought) -> None:
    """Upload a table, and see that its pictures are spoken of; one that is cut short is refused."""
    view = {"source": "table"}
    await client.ask("dataset", view)
    await shown(client)
    uploader = client.run.labelled("file_uploader", "or a table (Parquet)")
    for data in (brought.data[: len(brought.data) // 2], brought.data):
        state = await client.upload(uploader, brought.name, data)
        await client.ask("dataset", view, state, walked=False)
        await shown(client)
        assert bool(client.run.alerts) == (data != brought.data)
    assert any(brought.mark in str(element) for element in client.run.elements)


async def a_visit(address: str, photographs: list[Photograph], network: Brought, table: Brought) -> None:
    good, bad, *several = photographs
    async with Client(address) as client:
        await look_at(client, good)
        await try_a_bad_one(client, bad)
        await make_a_table(client, several)
    async with Client(address) as client:
        await use_a_network(client, network)
        await open_a_table(client, table)


def test_nothing_of_an_upload_reaches_disk_or_log(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    photographs, others = [photograph() for _ in range(4)], (network(), table(tmp_path_factory.mktemp("table")))
    places = Places.fresh(tmp_path)
    looked_for = {
        f"{what} of {file.name}": run for file in (*photographs, *others) for what, run in file.traces().items()
    }
    command = [*NO_LARGE_FILES, str(tmp_path / "pid"), sys.executable, "-m", "ulsam_viz", "app"]
    with running_server(
        command, port="--port", folder=ROOT, environment=places.environment(), log=places.log
    ) as address:
        asyncio.run(a_visit(address, photographs, *others))
        assert open_files(places.process) or not Path("/proc/self/fd").is_dir()
        assert not find(looked_for, [*places.files(), *open_files(places.process)])
    assert places.log.stat().st_size  # it does print
    assert not find(looked_for, places.files())


def test_a_headless_server_asks_no_other_host_for_its_address(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running_server(
        [sys.executable, "-m", "ulsam_viz", "app"], port="--port", folder=ROOT, environment={}, log=log
    ) as address:
        until(
            lambda: f"URL: http://localhost:{address.rpartition(':')[2]}" in log.read_text(), "the address was printed"
        )
    said = log.read_text()
    assert "External URL" not in said and "external IP" not in said  # it had the answer, or had asked in vain
    assert (
        _served_at(["--server.address", "192.0.2.7"])
        == _served_at(["--x=1", "--server.address=192.0.2.7"])
        == "192.0.2.7"
    )


def test_what_is_left_is_found(tmp_path: Path) -> None:
    places, photo = Places.fresh(tmp_path), photograph()
    looked_for = photo.traces()
    places.log.touch()
    assert not find(looked_for, places.files())
    for what, run in looked_for.items():
        for path in (places.log, tmp_path / "home" / ".cache" / "x", tmp_path / "temporary" / "y"):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"before" + run + b"behind")
            assert f"{what} in {path}" in find(looked_for, places.files())
            path.write_bytes(b"")
    left = tmp_path / "temporary" / photo.name
    left.touch()
    assert find(looked_for, places.files()) == [f"its name or its comment in {left}"]


def test_what_is_left_in_the_repository_is_found(tmp_path: Path) -> None:
    places, photo = Places.fresh(tmp_path), photograph()
    planted = ROOT / "test-artifacts" / f"{photo.mark[:6]}.bin"
    planted.parent.mkdir(exist_ok=True)
    try:
        planted.write_bytes(photo.data)
        assert set(find(photo.traces(), places.files())) >= {
            f"its name or its comment in {planted}",
            f"its bytes at 60% in {planted}",
        }
    finally:
        planted.unlink()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not tell what a process has open")
def test_what_is_left_in_a_file_that_was_removed_is_found(tmp_path: Path) -> None:
    photo, path = photograph(), tmp_path / "removed"
    path.write_bytes(photo.data)
    holder = "import sys; f = open(sys.argv[1], 'rb'); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holder, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"open\n"
        path.unlink()
        assert any("its name or its comment" in found for found in find(photo.traces(), open_files(process.pid)))
        assert process.stdin
        process.stdin.close()
