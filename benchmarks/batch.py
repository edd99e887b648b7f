"""``batch`` against loops that ask the same of one picture after the other, and whether its memory stays flat.

Every measurement is a process of its own, with PyTorch's own number of threads; importing and loading are not timed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from ulsam_viz.analysis.attribution import attribute
from ulsam_viz.analysis.effects import ablate
from ulsam_viz.analysis.removal import remove_each, run_pass
from ulsam_viz.batch import local
from ulsam_viz.batch.pictures import Crops, Folder
from ulsam_viz.batch.rows import Look, PictureRows, Rows
from ulsam_viz.cli.looks import PictureError, run_inspect
from ulsam_viz.engine.memory import keep_freed
from ulsam_viz.explanation import explain
from ulsam_viz.images.preprocessing import ImageError, decode_image, prepare
from ulsam_viz.images.samples import list_samples
from ulsam_viz.zoo.variants import get_variant, load_variant

VARIANT = "mobilenet_v1-0.5-after11-g4"
_METHODS = ("grad_cam",)
_ROUNDS = 3  # turns, each over its own share of the pictures
_MOST, _TRY = 1_000, 300  # pictures


def batch(repeats: int, *, data: Path | None = None) -> list[dict[str, Any]]:
    """Pictures a second of `batch` and of loops, by turns; resident memory after a hundred pictures and at the end.

    Args:
        repeats: Without a meaning here; fewer than ten are a try: one turn, of few pictures.
        data: Folder of photographs, of which the first thousand are taken; by default the samples, again and again.
    """
    rounds, most = (_ROUNDS, _MOST) if repeats >= 10 else (1, _TRY)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "pictures"
        if data:
            _link(folder, data, Folder.at(str(data)).names[:most])
        else:
            _repeat_samples(folder, most)
        names = Folder.at(str(folder)).names
        rates: dict[str, list[float]] = {name: [] for name in (*_RUNS, *_LOOPS)}
        for turn in range(rounds):
            share = Path(temporary) / f"share{turn}"
            _link(share, folder, names[turn::_ROUNDS])  # of every class
            for number, name in enumerate(rates):
                rates[name].append(_measured(name, share, Path(temporary) / f"table{turn}-{number}")["rate"])
        whole = _measured("batch", folder, Path(temporary) / "whole")
    rows = [
        {
            "what": f"{run} / {loop}",
            "first": f"{statistics.median(rates[run]):.1f} pictures/s",
            "second": f"{statistics.median(rates[loop]):.1f} pictures/s",
            "ratio": statistics.median(a / b for a, b in zip(rates[run], rates[loop], strict=True)),
        }
        for loop, (run, _) in _LOOPS.items()
    ]
    memory = {
        "what": f"batch, {len(names):,} pictures: resident memory at the end / after the first hundred",
        "first": f"{whole['end']:.0f} MB",
        "second": f"{whole['hundred']:.0f} MB",
        "ratio": whole["end"] / whole["hundred"],
    }
    return [*rows, memory]


def _link(folder: Path, data: Path, names: Sequence[str]) -> None:
    """Fill a folder with links to pictures of another."""
    folder.mkdir()
    for number, name in enumerate(names):
        (folder / f"{number:07d}{Path(name).suffix}").symlink_to(data.resolve() / name)


def _repeat_samples(folder: Path, count: int) -> None:
    """Fill a folder with the samples, again and again, each time a column narrower.

    What is the same is computed once.
    """
    folder.mkdir()
    samples = [decode_image(sample.path.read_bytes()) for sample in list_samples()]
    for number in range(count):
        image = samples[number % len(samples)]
        image.crop((0, 0, image.width - number // len(samples), image.height)).save(
            folder / f"{number:07d}.jpg", quality=92
        )


def _measured(what: str, folder: Path, out: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.batch", what, str(folder), str(out)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


class _Watched(PictureRows):
    """Looks at the memory as well."""

    seen = 0
    hundred = end = 0.0

    def __call__(self, crops: Crops) -> Rows:
        rows = super().__call__(crops)
        _Watched.seen += len(crops.names)
        if _Watched.seen >= 100 and not _Watched.hundred:
            _Watched.hundred = _memory()
        _Watched.end = _memory()
        return rows


def _memory() -> float:
    """Return the resident memory of this process and of those that load for it, in MB.

    Pages that they share count twice.
    """
    page = os.sysconf("SC_PAGE_SIZE") / 1e6
    processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in processes) * page


def _batch(folder: Path, out: Path, *, effects: bool) -> dict[str, float]:
    look = Look(get_variant(VARIANT), _METHODS, effects=effects)
    vars(local)["PictureRows"] = _Watched  # to see it from within
    # As its command does: a core loads pictures, and what is freed is kept.
    torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    keep_freed()
    count = len(Folder.at(str(folder)).names)
    _Watched(look)  # reads the checkpoint into the system's cache
    started = time.perf_counter()
    local.run(str(folder), out, look, quiet=True)
    return {
        "rate": count / (time.perf_counter() - started),
        "hundred": _Watched.hundred or _Watched.end,
        "end": _Watched.end,
    }


def _loop(folder: Path, look_at: Callable[[Path], None]) -> dict[str, float]:
    paths = sorted(folder.iterdir())
    look_at(paths[0])  # loads what is loaded once
    started = time.perf_counter()
    for path in paths[1:]:  # whose results are not kept from before
        look_at(path)
    return {"rate": (len(paths) - 1) / (time.perf_counter() - started)}


def _inspected(path: Path) -> None:
    """Do what ``inspect PICTURE --json`` does.

    Answers, maps, Grad-CAM, measures and rank correlations, but no effects.
    """
    with redirect_stdout(StringIO()), suppress(PictureError):
        run_inspect([path], VARIANT, methods=_METHODS, device="cpu", as_json=True)


def _explained(path: Path) -> None:
    """Ask as the page does.

    Everything about a picture, then what each change of attention does, more than ``batch`` asks.
    """
    variant = get_variant(VARIANT)
    try:
        image = decode_image(path.read_bytes())
    except ImageError:
        return
    seen = explain(image, variant, _METHODS, device="cpu")
    x = prepare(image, variant.preprocessing).tensor
    for layer in seen.attention:
        ablate(_network(), x, layer=layer, target=seen.target, temperature=variant.calibration.temperature)


def _alone(path: Path) -> None:
    """Ask only what ``batch`` asks, by its own functions, of one picture."""
    variant = get_variant(VARIANT)
    try:
        x = prepare(decode_image(path.read_bytes()), variant.preprocessing).tensor
    except ImageError:
        return
    temperature = variant.calibration.temperature
    done = run_pass(_network(), x, temperature=temperature)
    target = done.seen[0].top(1)[0]
    for method in _METHODS:
        attribute(_network(), x, method=method, target=target, preprocessing=variant.preprocessing, seen=done.seen[0])
    for layer in done.entering:
        remove_each(_network(), done, layer=layer, targets=[target], temperature=temperature)


_kept: list[Any] = []


def _network() -> Any:
    if not _kept:
        _kept.append(load_variant(VARIANT))
    return _kept[0]


_RUNS = {"batch": True, "batch --no-effects": False}
#: What each loop is compared with, which writes the same numbers, and how it looks at a picture.
_LOOPS = {
    "a loop over inspect": ("batch --no-effects", _inspected),
    "a loop over explain and ablate": ("batch", _explained),
    "its own functions, a picture a pass": ("batch", _alone),
}


if __name__ == "__main__":
    name, pictures, out = sys.argv[1:]
    effects = _RUNS.get(name)
    result = (
        _loop(Path(pictures), _LOOPS[name][1])
        if effects is None
        else _batch(Path(pictures), Path(out), effects=effects)
    )
    print(json.dumps(result))
