"""What a network costs: parameters, multiply-accumulates, bytes that element-wise steps move, and measured time."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..zoo.variants import Variant
from .backbones import BACKBONES
from .blocks import InvertedResidual
from .network import Network
from .optimize import relus_in_place, undo_folding
from .ulsam import ULSAM, FastULSAM, Gain, transparent_module

LATENCY_REPEATS = 11  # of each network: 0.3 s for one of 12 ms


@dataclass(frozen=True)
class Cost:
    """Cost of one picture.

    Attributes:
        params: Trainable parameters; BatchNorm and biases included, as in the paper's figures.
        macs: Multiply-accumulates of convolutions and the classifier ("FLOPs" in the paper's tables).
        elementwise_bytes: Bytes that all other steps (norms, ReLUs, pooling, softmax, gains, skips) read and write in
            float32 when each runs by itself: the part of the time that neither figure above shows. Of attention
                modules, ULSAM
            and others alike, every operator's tensors are counted as it runs.
    """

    params: int
    macs: int
    elementwise_bytes: int


def count_cost(model: nn.Module, input_size: int = 224, *, example: Tensor | None = None) -> Cost:
    """Count the cost of a network as trained (an optimised network counts the same: it is the same function).

    Of this package's own networks, every step is a module, and counts as one. Of any other, such as
    :func:`~ulsam_viz.models.adapter.insert_ulsam` returns, PyTorch's operators are counted, those inside its functions
    too: their bytes come out a little otherwise (a norm also reads its statistics), parameters and multiply-accumulates
    the same.

    Args:
        model: Any network; it is not changed, and if it is one of this package's own not run either.
        input_size: Side of the square input in pixels.
        example: One picture that another network takes, shape (1, C, H, W), if not (1, 3, ``input_size``,
            ``input_size``).
    """
    if not isinstance(model, Network):
        return _count_operators(model, torch.zeros(1, 3, input_size, input_size) if example is None else example)
    with torch.device("meta"):
        twin = BACKBONES[model.backbone](model.width, model.num_classes, model.placement).eval()
    _fill_with_zeros(twin.float())  # a program may have set another default
    x = torch.zeros(1, 3, input_size, input_size, dtype=torch.float32)
    macs = moved = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs, moved
        if isinstance(module, nn.Conv2d | nn.Conv1d | nn.Linear):
            macs += output.numel() * module.weight[0].numel()
        elif isinstance(module, InvertedResidual):
            moved += 3 * output.numel() if module.skip else 0
        elif (
            module not in attending
            and not any(True for _ in module.children())
            and not isinstance(module, nn.Identity | nn.Dropout)
        ):
            moved += inputs[0].numel() + output.numel()

    attending = set(twin.attention.modules())
    hooks = [module.register_forward_hook(count) for module in twin.modules()]
    with torch.inference_mode():
        features, maps = twin.features_with_attention(x)
        logits = twin.classify(features)
    for hook in hooks:
        hook.remove()
    # The mean over all places, which is no module
    moved += features.numel() + twin.classifier.in_features * len(logits)
    moved += sum(_elements_moved(twin.attention[str(number)], *maps_of.shape[-2:]) for number, maps_of in maps.items())
    params = sum(p.numel() for p in twin.parameters())
    return Cost(params, macs, moved * 4)


def _count_operators(model: nn.Module, x: Tensor) -> Cost:
    """Count what a pass of a copy of any network computes."""
    from torch.utils.flop_counter import flop_registry  # imports a compiler, which starting the app waits for otherwise

    class Counter(_Traffic):
        flops = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            formula = flop_registry.get(func.overloadpacket)
            if formula is None:
                return super().__torch_dispatch__(func, types, args, kwargs)
            result = func(*args, **(kwargs or {}))
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
            return result

    twin = copy.deepcopy(model).eval()
    undo_folding(twin)
    params = list(twin.parameters())
    # With gradients ULSAM runs step by step; without them it takes a shorter way.
    twin.requires_grad_(True)
    with torch.enable_grad(), Counter() as counted:
        twin(x.to(params[0]) if params else x)
    return Cost(sum(p.numel() for p in params), counted.flops // 2, counted.elements * 4)


def untrained(variant: Variant) -> Network:
    """Build a variant's network with fresh weights, in eval mode: neither cost nor time depends on them."""
    return BACKBONES[variant.backbone](variant.width, len(variant.classes), variant.placement).float().eval()


class _Traffic(TorchDispatchMode):
    """Counts the elements that operators read and write.

    Convolutions are counted by their MACs, and views move nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or PyTorch would import its compiler, which takes seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func is not torch.ops.aten.convolution.default:
            self.elements += sum(
                value.numel() for value in tree_leaves((args, kwargs, result)) if isinstance(value, Tensor)
            )
        return result


def _elements_moved(module: nn.Module, height: int, width: int) -> int:
    """Count the elements that an attention module's operators read and write for one picture, convolutions apart."""
    channels: Any = module.channels
    x = torch.zeros(1, channels, height, width, dtype=torch.float32)
    # With gradients ULSAM runs step by step, as it is trained, and as all other modules always do.
    with torch.inference_mode(False), torch.enable_grad(), _Traffic() as traffic:
        module(x)
    return traffic.elements


def _fill_with_zeros(module: nn.Module) -> None:
    """Give a module that was built on the meta device zeros on the CPU.

    Fresh weights would draw random numbers, and a pass on the meta device would import PyTorch's compiler, which takes
    seconds.
    """
    for value in module.to_empty(device="cpu").state_dict().values():
        value.zero_()


@lru_cache(maxsize=64)
def module_elementwise_bytes(channels: int, groups: int, height: int, width: int, gain: Gain = "published") -> int:
    """Return the bytes that one ULSAM module's element-wise steps move, counted as by :func:`count_cost`."""
    with torch.device("meta"):
        module = ULSAM(channels, groups, gain).eval()
    _fill_with_zeros(module)
    return 4 * _elements_moved(module, height, width)


@dataclass(frozen=True)
class Latency:
    """Time of one picture in milliseconds, over several passes.

    Attributes:
        median: The middle one.
        low, high: The quartiles: half of the passes took between these.
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.1f} ms ({self.low:.1f} to {self.high:.1f})"


@torch.inference_mode()
def measure_latencies(
    models: Mapping[str, tuple[Network, int]],
    *,
    repeats: int = LATENCY_REPEATS,
    pause: Callable[[], None] = lambda: None,
) -> dict[str, Latency]:
    """Time one picture through each of several networks by turns, with the calling thread's settings.

    What else the machine does meets all of them, so the figures of one call compare with each other, and with those of
    no other call. Each turn is a pass that brings the network back into the caches, and one that is timed.

    Args:
        models: Networks in eval mode, with the side of their square input in pixels; ReLUs may overwrite their input.
        repeats: Timed passes of each, after one turn to warm up.
        pause: Called before each turn, for other work.
    """
    times: dict[str, list[float]] = {name: [] for name in models}
    inputs = {
        name: torch.zeros(1, 3, size, size, dtype=torch.float32, device=model.device).contiguous(
            memory_format=torch.channels_last
        )
        for name, (model, size) in models.items()
    }
    with ExitStack() as stack:
        for model, _ in models.values():
            stack.enter_context(relus_in_place(model))
        for _ in range(repeats + 1):
            for name, (model, _) in models.items():
                pause()
                _milliseconds(model, inputs[name])
                times[name].append(_milliseconds(model, inputs[name]))
    return {name: _spread(own[1:]) for name, own in times.items()}


def _milliseconds(form: Callable[[Tensor], object], x: Tensor) -> float:
    """Time one call, to its end on a GPU."""
    started = time.perf_counter()
    form(x)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return 1000 * (time.perf_counter() - started)


def _spread(times: Sequence[float]) -> Latency:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Latency(median, low, high)


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
    """Medians for one picture, in milliseconds, with the calling thread's settings; the module on the CPU.

    Attributes:
        loop: The module as the paper's code computes it: g small networks, one after the other, in eager PyTorch.
        rewritten: The inference form of this package; same outputs.
        copy: One copy of the input, for comparison.
        network: The whole network, where it is.
        steps: Where the loop's time goes.
    """

    loop: float
    rewritten: float
    copy: float
    network: float
    steps: tuple[StepTime, ...]


@torch.inference_mode()
def measure_module(
    channels: int, groups: int, height: int, width: int, *, network: Network, input_size: int, repeats: int = 15
) -> ModuleTimes:
    """Time a module's two forms and a whole network by turns, so that what else the machine does meets all.

    Args:
        channels, groups: Of the module; the groups must divide the channels.
        height, width: Of the grid.
        network: In eval mode; not called but passed through, since a hook on its call may let other work go first.
        input_size: Side of its square input in pixels.
        repeats: Of each form, after two to warm up.
    """
    module = transparent_module(channels, groups)
    x = torch.linspace(-1, 1, channels * height * width, dtype=torch.float32).view(1, channels, height, width)
    loop = _Loop(module)
    picture = torch.zeros(1, 3, input_size, input_size, dtype=torch.float32, device=network.device)
    forms: list[tuple[Callable[[Tensor], object], Tensor]] = [
        (loop, x),
        (FastULSAM(module).eval(), x),
        (torch.clone, x),
        (network.forward, picture.contiguous(memory_format=torch.channels_last)),
    ]
    times: list[list[float]] = [[] for _ in forms]
    by_step: list[dict[str, float]] = []
    for _ in range(repeats + 2):
        for (form, given), own in zip(forms, times, strict=True):
            own.append(_milliseconds(form, given))
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
    loop_ms, rewritten_ms, copy_ms, network_ms = (statistics.median(own[2:]) for own in times)
    return ModuleTimes(loop_ms, rewritten_ms, copy_ms, network_ms, steps)


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
            self._parts.append({name: step.float().eval() for name, step in part.items()})

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
