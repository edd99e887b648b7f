"""Whole networks: as trained against optimised, and with attention against without."""

from __future__ import annotations

import statistics
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks.timing import interleaved
from ulsam_viz.models.mobilenet import MobileNetV1, MobileNetV2
from ulsam_viz.models.network import Placement
from ulsam_viz.models.optimize import optimize, relus_in_place
from ulsam_viz.models.others import OTHERS
from ulsam_viz.models.ulsam import GAINS

Row = dict[str, Any]
_PROCESSES = 5


def network(repeats: int) -> list[Row]:
    """Networks as trained against optimised, and with attention against the plain control.

    Times do not depend on weights.

    Five processes, one after the other, and the median of each figure: how fast plain PyTorch is depends on where a
    process happens to find its memory, by a factor of nearly two for V2.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        runs = list(processes.map(_network_once, [repeats] * _PROCESSES))
    return [
        {"what": rows[0]["what"]}
        | {key: statistics.median(row[key] for row in rows) for key in ("first_ms", "second_ms", "ratio")}
        | {"ratios": " to ".join(f"{pick(row['ratio'] for row in rows):.2f}" for pick in (min, max))}
        for rows in zip(*runs, strict=True)
    ]


def others(repeats: int) -> list[Row]:
    """Other papers' modules and ULSAM in one place: a pass of the whole network against the plain one's, by turns."""
    placements: dict[str, Placement | None] = {"plain control": None}
    placements |= {f"ULSAM, g = 4, {gain} gain": Placement((11,), 4, gain=gain) for gain in GAINS}
    placements |= {kind.title: Placement((11,), 1, module=name) for name, kind in OTHERS.items()}
    x = torch.randn(1, 3, 224, 224).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), ExitStack() as stack:
        models = {name: optimize(MobileNetV1(0.5, 101, placement).eval()) for name, placement in placements.items()}
        for model in models.values():
            stack.enter_context(relus_in_place(model))
        t = interleaved({name: partial(model, x) for name, model in models.items()}, repeats=repeats)
    plain = t["plain control"]
    return [
        {"what": f"V1 0.5 at 224 px, after 11: {name}", "ms": s * 1e3, "more_ms": (s - plain) * 1e3, "ratio": s / plain}
        for name, s in t.items()
    ]


def _network_once(repeats: int) -> list[Row]:
    torch.set_num_threads(1)
    rows = []
    x = torch.randn(1, 3, 224, 224)
    x_last = x.contiguous(memory_format=torch.channels_last)
    for name, build, layer in (("V1", MobileNetV1, 11), ("V2", MobileNetV2, 14)):
        plain, ulsam = (build(0.5, 101, placement).eval() for placement in (None, Placement((layer,), 4)))
        fast_plain, fast_ulsam = optimize(plain), optimize(ulsam)
        # As the program runs passes, with ReLUs that overwrite their input.
        with torch.inference_mode(), relus_in_place(fast_plain), relus_in_place(fast_ulsam):
            t = interleaved(
                {
                    "plain": partial(plain, x),
                    "ulsam": partial(ulsam, x),
                    "plain, optimised": partial(fast_plain, x_last),
                    "ulsam, optimised": partial(fast_ulsam, x_last),
                },
                repeats=repeats,
            )
        pairs = (
            ("plain control: plain PyTorch / optimised", "plain", "plain, optimised"),
            (f"g = 4 after {layer}: plain PyTorch / optimised", "ulsam", "ulsam, optimised"),
            (f"optimised: g = 4 after {layer} / plain control", "ulsam, optimised", "plain, optimised"),
        )
        rows += [
            {
                "what": f"{name} 0.5 at 224 px, {what}",
                "first_ms": t[a] * 1e3,
                "second_ms": t[b] * 1e3,
                "ratio": t[a] / t[b],
            }
            for what, a, b in pairs
        ]
    return rows
