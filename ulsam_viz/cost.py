"""What a network costs: parameters, multiply-accumulates, bytes that element-wise steps move, and measured time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .models.backbones import BACKBONES
from .models.blocks import InvertedResidual
from .models.network import Network
from .models.ulsam import ULSAM, FastULSAM, transparent_module


@dataclass(frozen=True)
class Cost:
    """Cost of one picture.

    Attributes:
        params: Trainable parameters; BatchNorm and biases included, as in the paper's figures.
        macs: Multiply-accumulates of convolutions and the classifier ("FLOPs" in the paper's tables).
        elementwise_bytes: Bytes that all other steps (norms, ReLUs, pooling, softmax, gains, skips) read and write in
            float32 when each runs by itself: the part of the time that neither figure above shows.
    """

    params: int
    macs: int
    elementwise_bytes: int


def count_cost(model: Network, input_size: int = 224) -> Cost:
    """Count the cost of a network as trained (an optimised network counts the same: it is the same function).

    Args:
        model: Any network of this package; it is neither run nor changed.
        input_size: Side of the square input in pixels.
    """
    with torch.device("meta"):
        twin = BACKBONES[model.backbone](model.width, model.num_classes, model.placement).eval()
        x = torch.empty(1, 3, input_size, input_size)
    macs = moved = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs, moved
        if isinstance(module, nn.Conv2d | nn.Linear):
            macs += output.numel() * module.weight[0].numel()
        elif isinstance(module, InvertedResidual):
            moved += 3 * output.numel() if module.skip else 0
        elif not any(True for _ in module.children()) and not isinstance(module, nn.Identity | nn.Dropout):
            moved += inputs[0].numel() + output.numel()

    for module in twin.modules():
        module.register_forward_hook(count)  # on the twin, which is thrown away
    features, maps = twin.features_with_attention(x)
    logits = twin.classify(features)
    moved += features.numel() + twin.classifier.in_features * len(logits)  # the mean over all places, which is no module
    for number, layer_maps in maps.items():
        module = twin.attention[str(number)]
        assert isinstance(module, ULSAM)
        positions = layer_maps.shape[-1] * layer_maps.shape[-2]
        moved += (2 * module.channels + module.groups) * positions  # the gain reads x and A, writes the output
    params = sum(p.numel() for p in twin.parameters())
    return Cost(params, macs, moved * 4)


def module_elementwise_bytes(channels: int, groups: int, height: int, width: int) -> int:
    """Return the bytes that one module's element-wise steps move, as :func:`count_cost` counts them.

    Norm, ReLU and pool read and write each of the m channels, norm, ReLU and softmax each of the g maps; the gain reads
    both and writes the channels.
    """
    return 4 * height * width * (8 * channels + 7 * groups)


@torch.inference_mode()
def measure_latency(model: Network, input_size: int = 224, *, repeats: int = 15) -> float:
    """Return the time of one picture in milliseconds, with the calling thread's settings: the fastest of several passes.

    Anything else that the machine does makes a pass longer, never shorter; so the fastest compares networks best.
    """
    device = model.classifier.weight.device
    x = torch.zeros(1, 3, input_size, input_size, device=device).contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        model(x)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times[2:]) * 1000


@dataclass(frozen=True)
class StepTime:
    """One step of the module as the paper's code computes it, all groups together.

    Attributes:
        name: Of the step.
        milliseconds: Median for one picture.
        macs: Multiply-accumulates that it counts.
        bytes: What it reads and writes, in float32.
    """

    name: str
    milliseconds: float
    macs: int
    bytes: int


@dataclass(frozen=True)
class ModuleTimes:
    """Medians for one picture, in milliseconds, on the CPU with the calling thread's settings.

    Attributes:
        loop: The module as the paper's code computes it: g small networks, one after the other, in eager PyTorch.
        rewritten: The inference form of this package; same outputs.
        copy: One copy of the input, for comparison.
        steps: Where the loop's time goes.
    """

    loop: float
    rewritten: float
    copy: float
    steps: tuple[StepTime, ...]


@torch.inference_mode()
def measure_module(channels: int, groups: int, height: int, width: int, *, repeats: int = 15) -> ModuleTimes:
    """Time a module's two forms by turns, so that what else the machine does meets both.

    Args:
        channels, groups: Of the module; the groups must divide the channels.
        height, width: Of the grid.
        repeats: Of each form, after two to warm up.
    """
    module = transparent_module(channels, groups)
    x = torch.linspace(-1, 1, channels * height * width).view(1, channels, height, width)
    loop = _Loop(module)
    forms: list[Callable[[Tensor], Tensor]] = [loop, FastULSAM(module).eval(), torch.clone]
    times: list[list[float]] = [[] for _ in forms]
    by_step: list[dict[str, float]] = []
    for _ in range(repeats + 2):
        for form, own in zip(forms, times, strict=True):
            started = time.perf_counter()
            form(x)
            own.append(1000 * (time.perf_counter() - started))
        by_step.append(loop.seconds)
    m, g, places = channels, groups, height * width
    moved = {"PW": m + g, "gain": 2 * m + g} | dict.fromkeys(("BN of the map", "ReLU of the map", "softmax"), 2 * g)
    steps = tuple(
        StepTime(
            name,
            1000 * statistics.median(run[name] for run in by_step[2:]),
            m * places if name in ("DW", "PW") else 0,
            4 * places * moved.get(name, 2 * m),
        )
        for name in by_step[0]
    )
    loop_ms, rewritten_ms, copy_ms = (statistics.median(own[2:]) for own in times)
    return ModuleTimes(loop_ms, rewritten_ms, copy_ms, steps)


class _Loop:
    """The module as g small networks with its weights, one after the other; it notes the seconds of each kind of step.

    Attributes:
        seconds: By step, over all groups, of the last call.
    """

    def __init__(self, module: ULSAM) -> None:
        self.seconds: dict[str, float] = {}
        size = module.channels // module.groups
        self._parts: list[dict[str, nn.Module]] = []
        for k in range(module.groups):
            part = {
                "DW": nn.Conv2d(size, size, 1, groups=size),
                "BN": nn.BatchNorm2d(size, eps=module.depthwise_norm.eps),
                "ReLU": nn.ReLU(),
                "max-pool": nn.MaxPool2d(3, 1, 1),
                "PW": nn.Conv2d(size, 1, 1),
                "BN of the map": nn.BatchNorm2d(1, eps=module.pointwise_norm.eps),
                "ReLU of the map": nn.ReLU(),
            }
            own, single = slice(k * size, (k + 1) * size), slice(k, k + 1)
            for name, whole, chosen in (
                ("DW", module.depthwise, own),
                ("BN", module.depthwise_norm, own),
                ("PW", module.pointwise, single),
                ("BN of the map", module.pointwise_norm, single),
            ):
                part[name].load_state_dict({n: v[chosen] if v.ndim else v for n, v in whole.state_dict().items()})
            self._parts.append({name: step.eval() for name, step in part.items()})

    def __call__(self, x: Tensor) -> Tensor:
        self.seconds, outputs, started = {}, [], time.perf_counter()

        def note(name: str) -> None:
            nonlocal started
            now = time.perf_counter()
            self.seconds[name] = self.seconds.get(name, 0.0) + now - started
            started = now

        for part, features in zip(self._parts, x.chunk(len(self._parts), 1), strict=True):
            maps = features
            for name, step in part.items():
                maps = step(maps)
                note(name)
            maps = maps.flatten(2).softmax(-1).view_as(maps)
            note("softmax")
            outputs.append(features + maps * features)
            note("gain")
        joined = torch.cat(outputs, 1)
        note("joining")
        return joined
