"""Attributions as this program computes them against plain Captum and torch-cam on the network as it was trained."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from benchmarks.timing import interleaved
from ulsam_viz.analysis.attention import attend
from ulsam_viz.analysis.attribution import attribute
from ulsam_viz.images.preprocessing import decode_image, prepare
from ulsam_viz.images.samples import list_samples
from ulsam_viz.models.network import Network
from ulsam_viz.models.optimize import optimize
from ulsam_viz.zoo.variants import Variant, get_variant, load_network

VARIANT = "mobilenet_v1-0.5-after11-g4"


def attributions(repeats: int) -> list[dict[str, Any]]:
    """Integrated gradients against plain Captum; maps, Grad-CAM and top-5 against torch-cam's Grad-CAM alone."""
    variant, trained, fast, x, target = _setting()
    plain_ig, our_ig = _forms(variant, trained, fast, x, target)
    t = interleaved({"plain": plain_ig, "ours": our_ig}, repeats=max(3, repeats // 10))
    a, b = plain_ig()[0].sum(0).numpy(), our_ig()
    rows = [
        {
            "what": "integrated gradients, 32 steps: plain Captum, its defaults, as trained / this program",
            "first": f"{t['plain'] * 1e3:.0f} ms",
            "second": f"{t['ours'] * 1e3:.0f} ms",
            "ratio": t["plain"] / t["ours"],
        },
        {
            "what": "the same: largest difference, relative to the largest value",
            "first": "",
            "second": "",
            "ratio": float(np.abs(a - b).max() / np.abs(a).max()),
        },
    ]
    first, second = (_extra_memory(form) for form in ("plain", "ours"))
    rows.append(
        {
            "what": "the same: extra memory at its peak",
            "first": f"{first:.0f} MB",
            "second": f"{second:.0f} MB",
            "ratio": first / second,
        }
    )
    theirs = _torch_cam(trained, x)
    if theirs:

        def ours() -> None:
            seen = attend(fast, x)
            attribute(fast, x, method="grad_cam", target=seen.top(5)[0], preprocessing=variant.preprocessing, seen=seen)

        t = interleaved({"theirs": theirs, "ours": ours}, repeats=repeats)
        rows.append(
            {
                "what": "torch-cam's Grad-CAM, as trained / maps, Grad-CAM and top-5 of this program",
                "first": f"{t['theirs'] * 1e3:.1f} ms",
                "second": f"{t['ours'] * 1e3:.1f} ms",
                "ratio": t["theirs"] / t["ours"],
            }
        )
    return rows


def _setting() -> tuple[Variant, Network, Network, Tensor, int]:
    variant = get_variant(VARIANT)
    trained = load_network(variant)
    fast = optimize(trained)
    picture = next(s for s in list_samples() if s.path.stem == "astronaut")
    x = prepare(decode_image(picture.path.read_bytes()), variant.preprocessing).tensor
    return variant, trained, fast, x, attend(fast, x).top(1)[0]


def _forms(
    variant: Variant, trained: Network, fast: Network, x: Tensor, target: int
) -> tuple[Callable[[], Tensor], Callable[[], np.ndarray]]:
    def plain() -> Tensor:
        return IntegratedGradients(trained).attribute(x, target=target, n_steps=32)

    def ours() -> np.ndarray:
        return attribute(
            fast,
            x,
            method="integrated_gradients",
            target=target,
            preprocessing=variant.preprocessing,
            settings={"steps": 32},
        ).values

    return plain, ours


def _torch_cam(trained: Network, x: Tensor) -> Callable[[], object] | None:
    try:
        from torchcam.methods import GradCAM
    except ImportError:
        print("torch-cam is not installed (pip install torchcam): it is left out", file=sys.stderr)
        return None

    def run() -> object:
        with GradCAM(trained, trained.layers["14"]) as cam:
            logits = trained(x)
            return cam(int(logits[0].argmax()), logits)

    return run


def _extra_memory(form: str) -> float:
    """Return the MB by which a fresh process grows at its peak while it computes integrated gradients once (Linux)."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.attributions", form], check=True, stdout=subprocess.PIPE)
    grown: float = json.loads(done.stdout)
    return grown


def _grow(form: str) -> float:
    torch.set_num_threads(1)
    variant, trained, fast, x, target = _setting()
    plain, ours = _forms(variant, trained, fast, x, target)
    trained(x), fast(x.requires_grad_()).sum().backward()  # what the libraries allocate once
    x.requires_grad_(False)
    if not Path("/proc/self/clear_refs").exists():
        return math.nan  # only Linux tells
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    plain() if form == "plain" else ours()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    print(json.dumps(_grow(sys.argv[1])))
