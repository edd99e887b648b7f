"""What a network costs: parameters, multiply-accumulates, bytes that element-wise steps move, and measured time."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .models.mobilenet import BACKBONES, InvertedResidual, MobileNet
from .models.ulsam import ULSAM


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


def count_cost(model: MobileNet, input_size: int = 224) -> Cost:
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
    _, maps = twin.forward_with_attention(x)
    for number, layer_maps in maps.items():
        module = twin.attention[str(number)]
        assert isinstance(module, ULSAM)
        positions = layer_maps.shape[-1] * layer_maps.shape[-2]
        moved += (2 * module.channels + module.groups) * positions  # the gain reads x and A, writes the output
    params = sum(p.numel() for p in twin.parameters())
    return Cost(params, macs, moved * 4)


@torch.inference_mode()
def measure_latency(model: MobileNet, input_size: int = 224, *, repeats: int = 15) -> float:
    """Return the median time of one picture in milliseconds, with the calling thread's settings, after two warm-up passes."""
    device = model.classifier.weight.device
    x = torch.zeros(1, 3, input_size, input_size, device=device).contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        model(x)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[2:]) * 1000
