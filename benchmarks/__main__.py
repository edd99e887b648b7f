"""Measure everything and print one table; write it to ``benchmarks/results.json`` and ``results.md``.

    python -m benchmarks [--only module network others growth attributions lattice batch dataset pages visitors soak]
    [--data FOLDER] [--table FOLDER] [--minutes 10]

Each comparison is a ratio of medians over interleaved runs in one process, so a machine whose speed drifts moves both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.attributions import attributions
from benchmarks.batch import batch
from benchmarks.dataset import dataset
from benchmarks.networks import network, others
from benchmarks.pages import pages
from benchmarks.soak import soak
from benchmarks.timing import interleaved
from benchmarks.visitors import visitors
from tests.browser import CHROMIUM
from tests.oracle import ReferenceLoop, trained_looking
from ulsam_viz.engine.caching import size_of
from ulsam_viz.engine.engine import Engine
from ulsam_viz.figures.colours import scale_maps
from ulsam_viz.figures.tiles import Display, attention_tile, data_uri
from ulsam_viz.images.preprocessing import decode_image, prepare
from ulsam_viz.images.samples import list_samples
from ulsam_viz.models.mobilenet import MobileNetV1
from ulsam_viz.models.network import Placement
from ulsam_viz.models.optimize import optimize, relus_in_place
from ulsam_viz.models.ulsam import ULSAM, FastULSAM
from ulsam_viz.zoo.variants import list_variants

HERE = Path(__file__).parent
Row = dict[str, Any]


def module(repeats: int) -> list[Row]:
    """The module as called, and its folded form, against the loop of small modules (the oracle written from the
    equations).
    """
    rows = []
    for channels, side in ((512, 14), (256, 28), (64, 56), (256, 14)):
        for groups in (1, 2, 4, 8, 16):
            loop = trained_looking(ReferenceLoop(channels, groups))
            called = ULSAM.from_reference(loop.state_dict())
            fast = FastULSAM(called)
            x = torch.randn(1, channels, side, side)
            x_last = x.contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                t = interleaved(
                    {
                        "loop": partial(loop, x),
                        "called": partial(called, x),
                        "fast": partial(fast, x),
                        "loop, channels_last": partial(loop, x_last),
                        "called, channels_last": partial(called, x_last),
                        "fast, channels_last": partial(fast, x_last),
                        "copy": x.clone,
                    },
                    repeats=repeats,
                )
            rows.append(
                {
                    "what": f"module, {channels} channels, {side}x{side}, g={groups}",
                    "loop_ms": t["loop"] * 1e3,
                    "as called_ms": t["called"] * 1e3,
                    "ratio": t["loop"] / t["called"],
                    "folded_ms": t["fast"] * 1e3,
                    "its ratio": t["loop"] / t["fast"],
                    "channels_last: loop_ms": t["loop, channels_last"] * 1e3,
                    "as called_ms ": t["called, channels_last"] * 1e3,
                    "ratio ": t["loop, channels_last"] / t["called, channels_last"],
                    "folded_ms ": t["fast, channels_last"] * 1e3,
                    "its ratio ": t["loop, channels_last"] / t["fast, channels_last"],
                    "copies": t["fast"] / t["copy"],
                }
            )
    return rows


def growth(repeats: int) -> list[Row]:
    """How cost grows: a pass with the side of the input and with g, an idle server's memory with the number of
    networks.
    """
    rows = []
    sides, groups = (128, 160, 192, 224, 256, 320), (1, 2, 4, 8, 16)
    fast = {g: optimize(MobileNetV1(0.5, 101, Placement((11,), g)).eval()) for g in groups}
    pictures = {s: torch.randn(1, 3, s, s).contiguous(memory_format=torch.channels_last) for s in sides}
    with torch.inference_mode(), ExitStack() as stack:
        for model in fast.values():
            stack.enter_context(relus_in_place(model))
        by_side = interleaved({str(s): partial(fast[4], pictures[s]) for s in sides}, repeats=repeats)
        by_groups = interleaved({str(g): partial(fast[g], pictures[224]) for g in groups}, repeats=repeats)
    rows += [
        {"what": f"V1 0.5, g = 4 after 11, a pass at {s} px", "value": by_side[str(s)] * 1e3, "unit": "ms"}
        for s in sides
    ]
    rows += [
        {"what": f"V1 0.5, a pass at 224 px with g = {g}", "value": by_groups[str(g)] * 1e3, "unit": "ms"}
        for g in groups
    ]
    engine = Engine(workers=1)
    for count, variant in enumerate(list_variants(), start=1):
        engine.warm(variant).result()
        if count in (1, 2, 4, 8, 16, 32, 64):
            size = sum(size_of(m) for stock in engine._idle.values() for m in stock) / 1e6
            rows.append({"what": f"{count} networks kept ready: their weights", "value": size, "unit": "MB"})
    return rows


def lattice(repeats: int) -> list[Row]:
    """What the server computes for the lattice over g: six networks, their maps, Grad-CAM, and 31 tiles."""
    variants = [
        v for v in list_variants() if v.backbone == "mobilenet_v1" and (not v.placement or v.placement.layers == (11,))
    ]
    engine, display = Engine(), Display("viridis", 0.65, False)
    times: dict[str, list[float]] = {"a new picture": [], "a picture seen before": []}
    for sample in list_samples():
        for kind in times:
            started = time.perf_counter()
            crop = prepare(decode_image(sample.path.read_bytes()), variants[0].preprocessing)
            seen = [future.result() for future in [engine.attend(crop, v) for v in variants]]
            target = seen[0].top(1)[0]
            cams = [engine.attribute(crop, v, method="grad_cam", target=target) for v in variants]
            scaled = scale_maps({i: s.maps[11] for i, s in enumerate(seen) if s.maps}, "uniform")
            for layer in scaled.values():
                for fractions in layer.fractions:
                    data_uri(attention_tile(crop.pixels, fractions, display))
            for cam in cams:
                cam.result()
            times[kind].append(time.perf_counter() - started)
    return [
        {"what": f"lattice of {len(variants)} networks, {k}", "median_s": statistics.median(t), "worst_s": max(t)}
        for k, t in times.items()
    ]


PARTS: dict[str, Callable[[int], list[Row]]] = {
    "module": module,
    "network": network,
    "others": others,
    "growth": growth,
    "attributions": attributions,
    "lattice": lattice,
    "batch": batch,
    "dataset": dataset,
    "pages": pages,
    "visitors": visitors,
    "soak": soak,
}


def main() -> None:
    """Run the chosen parts on one thread and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument(
        "--data",
        type=Path,
        help="photographs for the part `batch`, a thousand at most (default: the samples, again and again)",
    )
    parser.add_argument("--table", type=Path, help="folder that `batch` wrote, for the part `dataset`")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the part `soak` (default: 10)")
    options = parser.parse_args()
    parts = PARTS | {
        "batch": partial(batch, data=options.data),
        "soak": partial(soak, minutes=options.minutes),
        "dataset": partial(dataset, table=options.table),
    }
    torch.set_num_threads(1)
    torch.manual_seed(0)
    machine = {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }
    try:  # parts that are not measured now stay, if they are of this machine
        results: dict[str, Any] = json.loads((HERE / "results.json").read_text())
        assert results["machine"] == machine
    except (OSError, ValueError, KeyError, AssertionError):
        results = {"machine": machine}
    lines = [
        f"Measured by `python -m benchmarks` on {machine['processor']}, {machine['cores']} cores (one thread where "
        f"nothing else is said), torch {machine['torch']}.",
        "",
    ]
    for part in options.only:
        if part == "dataset" and not options.table:
            print("--table FOLDER is needed for the part `dataset`: it is not measured")
            continue
        if part == "pages" and not CHROMIUM:
            print("no chromium: the pages are not measured")
            continue
        results[part] = parts[part](options.repeats)
        (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")  # at once: a later part may fail
    for part in [part for part in PARTS if part in results]:
        rows = results[part]
        columns = list(rows[0])
        lines += [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines += [f"| {' | '.join(_cell(row[c]) for c in columns)} |" for row in rows]
        lines.append("")
    (HERE / "results.md").write_text("\n".join(lines))
    print("\n".join(lines))


def _cell(value: Any) -> str:
    """Write a number with two decimals, a small one with five; anything else as it is."""
    return f"{value:.{2 if abs(value) >= 0.01 else 5}f}" if isinstance(value, float) else str(value)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
