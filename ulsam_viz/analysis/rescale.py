"""A network in which DeepLift's rules are exact.

DeepLift needs each non-linearity to be a one-dimensional module of a type that Captum knows, used once. Subspace
attention has three that are not: an overlapping max-pool, a softmax and a product; MobileNet-V2 has ReLU6. Here they
are written anew, with the same outputs:

- ReLU6 as ReLU(x) - ReLU(x - 6), and the max-pool by max(a, b) = b + ReLU(a - b): ReLUs that Captum's rule covers;
- softmax and product as functions whose backward pass gives the *average* gradient on the straight line from baseline
  to input. For a one-dimensional function that average is DeepLift's rescale rule, so this extends the same rule; it
  keeps the attributions summing to the difference of the outputs.

Shrikumar et al., "DeepLIFT", ICML 2017 (rescale rule); Sundararajan and Najmi, ICML 2020 (Aumann-Shapley).
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..models.attention_network import AttentionNetwork
from ..models.blocks import ReLU6
from ..models.ulsam import ULSAM, FastULSAM, excess_gain

N = TypeVar("N", bound=AttentionNetwork)

_NODES, _WEIGHTS = (torch.tensor(a / 2, dtype=torch.float32) for a in np.polynomial.legendre.leggauss(12))
_NODES = _NODES + 0.5  # Gauss-Legendre on [0, 1]: exact to float error for the smooth path through a softmax


def rescalable(model: N) -> N:
    """Return a copy with the same outputs in which Captum's DeepLift is exact.

    The copy only serves DeepLift: its backward pass expects a batch whose second half is the baselines, as Captum's
    DeepLift makes it.

    Args:
        model: In eval mode, optimised or not; it is not changed.
    """
    twin = copy.deepcopy(model)
    for parent in list(twin.modules()):
        for name, child in parent.named_children():
            if isinstance(child, ReLU6):
                setattr(parent, name, _TwoReLUs())
            elif isinstance(child, FastULSAM | ULSAM):
                setattr(parent, name, _RescalableULSAM(child if isinstance(child, FastULSAM) else FastULSAM(child)))
    return twin


class _TwoReLUs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        # The clone keeps Captum's hook on the first ReLU's input from seeing the second's gradient too.
        return self.lower(x.clone()) - self.upper(x - 6)


class _RescalableULSAM(nn.Module):
    """FastULSAM with every non-linearity in a form that has an exact rule."""

    def __init__(self, fast: FastULSAM) -> None:
        super().__init__()
        self.fast = fast
        self.maxima = nn.ModuleList(nn.ReLU() for _ in range(4))

    def forward_with_attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fast = self.fast
        n, _, h, w = x.shape
        z = fast.depthwise_relu(torch.addcmul(fast.shift, x, fast.scale))
        z = functional.pad(z, (1, 1, 1, 1))
        for relu, axis in zip(self.maxima, (2, 2, 3, 3), strict=True):
            a, b = z.narrow(axis, 0, z.shape[axis] - 1), z.narrow(axis, 1, z.shape[axis] - 1)
            z = b + relu(a - b)
        logits = fast.pointwise_relu(fast.weight @ z.reshape(n, fast.groups, -1, h * w) + fast.bias)  # (N, g, 1, H*W)
        maps = _AverageSoftmax.apply(logits).view(n, fast.groups, h, w)
        gain = 1 + excess_gain(maps, fast.gain).repeat_interleave(fast.channels // fast.groups, 1)
        return _AverageProduct.apply(x, gain), maps

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_attention(x)[0]


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    if len(x) % 2:
        raise ValueError("a rescalable network's gradients need a batch of inputs followed by as many baselines")
    inputs, baselines = x.chunk(2)
    return inputs, baselines


class _AverageProduct(torch.autograd.Function):
    """x * y; backward with each factor at the mean of input and baseline."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, y = (sum(_halves(factor)).div(2).repeat(2, 1, 1, 1) for factor in ctx.saved_tensors)  # type: ignore[union-attr]
        return gradients[0] * y, gradients[0] * x


class _AverageSoftmax(torch.autograd.Function):
    """Softmax over the last axis; backward with its Jacobian averaged from baseline to input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.softmax(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        inputs, baselines = _halves(x)
        result = torch.zeros_like(gradients[0])
        for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
            p = torch.lerp(baselines, inputs, node).softmax(-1).repeat(2, 1, 1, 1)
            result += weight * p * (gradients[0] - (gradients[0] * p).sum(-1, keepdim=True))
        return result
