"""A network in which DeepLift's rules are exact.

DeepLift needs each non-linearity to be a one-dimensional module of a type that Captum knows, used once. Subspace
attention has three that are not: an overlapping max-pool, a softmax and a product; MobileNet-V2 has ReLU6. Here they
are written anew, with the same outputs:

- ReLU6 as ReLU(x) - ReLU(x - 6), and the max-pool by max(a, b) = b + ReLU(a - b): ReLUs that Captum's rule covers;
- softmax and product as functions whose backward pass gives the *average* gradient on the straight line from baseline
  to input. For a one-dimensional function that average is DeepLift's rescale rule, so this extends the same rule; it
  keeps the attributions summing to the difference of the outputs.

Other papers' modules are written in ordinary tensor operations. Each operation of such a module gets its rule while it
runs (:class:`_Rules`), so a new module needs no twin; where it has a step without a rule, DeepLift is refused.

Shrikumar et al., "DeepLIFT", ICML 2017 (rescale rule); Sundararajan and Najmi, ICML 2020 (Aumann-Shapley).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ..models.attention_network import AttentionNetwork
from ..models.blocks import ReLU6
from ..models.others.gate import Gate
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

    Raises:
        NoRuleError: From the copy's pass, if an attention module has a step that no rule covers.
    """
    twin = copy.deepcopy(model)
    for parent in list(twin.modules()):
        for name, child in parent.named_children():
            if isinstance(child, ReLU6):
                setattr(parent, name, _TwoReLUs())
            elif isinstance(child, FastULSAM | ULSAM):
                setattr(parent, name, _RescalableULSAM(child if isinstance(child, FastULSAM) else FastULSAM(child)))
            elif isinstance(child, Gate):
                setattr(parent, name, _RescalableGate(child))
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


class NoRuleError(Exception):
    """A step of a module has no rule whose attributions sum; the message names both."""


class _RescalableGate(nn.Module):
    """Another paper's module whose operations are given rules while it runs."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        # Hidden in a tuple from Captum, whose own rules are for modules, each of which may run only once in a pass.
        self.hidden = (gate.requires_grad_(False),)

    def forward_with_attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        (gate,) = self.hidden
        with _Rules(gate.title):
            return gate.forward_with_attention(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_attention(x)[0]


class _Rules(TorchFunctionMode):
    """Runs each operation on values that depend on the picture by its rule in :data:`_RULES`, or as it is if linear."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.__name__.strip("_"), kwargs or {}
        if name in _RULES and any(_varies(value) for value in args):
            return _RULES[name](*args, **kwargs)
        result = func(*args, **kwargs)
        if _varies(result) and name not in _LINEAR:
            raise NoRuleError(f"has no rule for '{name}', a step of {self.title}")
        return result


def _varies(value: Any) -> bool:
    """Return whether a value depends on the picture: nothing else in a network for DeepLift has a gradient."""
    return isinstance(value, Tensor) and value.requires_grad


def _product(a: Any, b: Any) -> Any:
    return _AverageProduct.apply(*torch.broadcast_tensors(a, b)) if _varies(a) and _varies(b) else a * b


def _quotient(a: Any, b: Any) -> Any:
    if not _varies(b):
        return a / b
    return _AverageQuotient.apply(*torch.broadcast_tensors(torch.as_tensor(a).to(b), b))


def _maximum(x: Tensor, dim: int | tuple[int, ...] = (), keepdim: bool = False) -> Tensor:
    """Return the maximum over dimensions, half against half until one is left, by max(a, b) = b + ReLU(a - b)."""
    for axis in sorted((dim,) if isinstance(dim, int) else dim):
        while (size := x.shape[axis]) > 1:
            a, b = x.narrow(axis, 0, size // 2), x.narrow(axis, size // 2, size // 2)
            x = torch.cat((b + _Rescaled.apply(a - b, torch.relu), x.narrow(axis, size // 2 * 2, size % 2)), axis)
    return x if keepdim else x.squeeze(dim)


def _one_dimensional(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda x, **_: _Rescaled.apply(x, function)


#: By an operation's name: what runs in its place. Captum's rescale rule for functions of one number; the others sum as
#: well.
_RULES: dict[str, Callable[..., Any]] = {
    "mul": _product,
    "rmul": _product,
    "div": _quotient,
    "truediv": _quotient,
    "addcmul": lambda total, a, b: total + _product(a, b),
    "amax": _maximum,
    "relu": _one_dimensional(torch.relu),
    "sigmoid": _one_dimensional(torch.sigmoid),
    "square": _one_dimensional(torch.square),
}
_LINEAR = (
    *("add", "radd", "sub", "rsub", "neg", "sum", "mean", "conv1d", "conv2d", "batch_norm", "linear", "matmul", "cat"),
    *(
        "contiguous",
        "expand",
        "expand_as",
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "unsqueeze",
        "squeeze",
    ),
)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    if len(x) % 2:
        raise ValueError("a rescalable network's gradients need a batch of inputs followed by as many baselines")
    inputs, baselines = x.chunk(2)
    return inputs, baselines


def _twice(x: Tensor) -> Tensor:
    """Return a tensor concatenated with itself: the batch holds the inputs, then as many baselines."""
    return torch.cat((x, x))


class _AverageProduct(torch.autograd.Function):
    """x * y; backward with each factor at the mean of input and baseline."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, y = (_twice(sum(_halves(factor)) / 2) for factor in ctx.saved_tensors)  # type: ignore[arg-type]
        return gradients[0] * y, gradients[0] * x


class _AverageQuotient(torch.autograd.Function):
    """x / y for positive y; backward with its gradients averaged from baseline to input, in closed form."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return x / y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (x, x0), (y, y0) = map(_halves, ctx.saved_tensors)
        step = (y - y0) / y0
        near = step.abs() < 1e-3  # where the differences below would be lost to rounding
        far = torch.where(near, 1.0, step)
        of_x = torch.where(near, 2 / (y + y0), torch.log1p(far) / (far * y0))  # the mean of 1 / y on the line
        of_y = torch.where(near, -(x + x0) / 2 / (y * y0), (x / y - x0 / y0 - of_x * (x - x0)) / (far * y0))
        return gradients[0] * _twice(of_x), gradients[0] * _twice(of_y)


class _Rescaled(torch.autograd.Function):
    """A function of one number; backward by the rescale rule: the change of the output over that of the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        y = function(x)
        ctx.save_for_backward(x, y)
        ctx.function = function
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x, x0), (y, y0) = map(_halves, ctx.saved_tensors)
        near = (x - x0).abs() < 1e-6  # as in Captum: there the slope is that of the function itself
        with torch.enable_grad():
            between = ((x + x0) / 2).detach().requires_grad_()
            (slope,) = torch.autograd.grad(ctx.function(between).sum(), between)
        multiplier = torch.where(near, slope, (y - y0) / torch.where(near, 1.0, x - x0))
        return gradients[0] * _twice(multiplier), None


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
