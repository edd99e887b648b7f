"""Checks of which attribution rules are valid on a user's network.

Guided backpropagation and DeepLift replace what happens at a non-linearity, which they find by its type among the
modules. What a foreign network computes otherwise (another activation, a function instead of a module, a product of
features) they would pass by without a word, and give a map that is not what its name says. So it is measured first:
with every ``nn.ReLU`` taken out, a network whose other steps are linear must be an affine function of the picture.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules import activation

from ..models.adapter import AttendedModel
from ..models.blocks import ReLU6

_TOLERANCE = 1e-6  # of how far outputs differ, in float64: an affine function keeps to 1e-12
_POINTS = 3  # pictures that are run, one a pass
_RELUS = (nn.ReLU, ReLU6)  # ours is known to both rules
_ACTIVATIONS = tuple(kind for name in activation.__all__ if (kind := getattr(activation, name)) is not nn.ReLU)
_POOLS = (nn.MaxPool2d, nn.AdaptiveMaxPool2d)


def why_not_guided(model: AttendedModel, x: Tensor) -> str | None:
    """Return why guided backpropagation is not defined on a network.

    None if every non-linearity is an ``nn.ReLU`` or a max-pool.

    Args:
        model: It is read, never changed; its own attention modules are known, and not looked at.
        x: One normalised picture, shape (1, 3, S, S).
    """
    host, _ = _without_relus(model)
    for parent in list(host.modules()):
        for name, child in parent._modules.items():
            if type(child) is nn.MaxPool2d:  # its gradient goes to the largest, which the rule leaves as it is
                parent._modules[name] = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
    if _is_affine(host, x):
        return None
    return (
        "its rule is for networks whose only non-linear steps are nn.ReLU modules, and "
        f"{_what_else(host, activations_only=True)}"
    )


def why_not_rescaled(model: AttendedModel, x: Tensor) -> str | None:
    """Return why DeepLift's rescale rule is not exact on a network.

    None if every non-linearity is an ``nn.ReLU``, used once.

    Args:
        model: It is read, never changed; its own attention modules are known, and not looked at.
        x: One normalised picture, shape (1, 3, S, S).
    """
    host, relus = _without_relus(model)
    if not _is_affine(host, x):
        return f"its rule is exact where every non-linear step is an nn.ReLU module, and {_what_else(host)}"
    if again := [relu.name for relu in relus if relu.calls > _POINTS]:
        return (
            f"its rule needs each ReLU to be a module of its own, and this network calls '{again[0]}' several times in "
            "a pass"
        )
    return None


class _NoReLU(nn.Module):
    """Stands for a ReLU, and counts its calls."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.calls = name, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x


def _without_relus(model: AttendedModel) -> tuple[nn.Module, list[_NoReLU]]:
    """Return a copy of the host in float64 with its ReLUs replaced, and their replacements."""
    host = model.without_attention().double().eval()
    stands: dict[nn.Module, _NoReLU] = {}
    for path, parent in list(host.named_modules()):
        for name, child in parent._modules.items():  # under each of its names, if it has several
            if type(child) in _RELUS:
                parent._modules[name] = stands.setdefault(child, _NoReLU(f"{path}.{name}".lstrip(".")))
    return host, list(stands.values())


@torch.no_grad()
def _is_affine(host: nn.Module, x: Tensor) -> bool:
    """Return whether f((a + b) / 2) = (f(a) + f(b)) / 2, for the picture and a far one."""
    a = x.detach().double().clone()  # a host may overwrite it
    b = 3 * torch.randn(a.shape, generator=torch.Generator().manual_seed(0), dtype=a.dtype).to(a)
    at_a, at_b, between = (host(point) for point in (a, b, (a + b) / 2))
    error = (between - (at_a + at_b) / 2).abs().max()
    return bool(error <= _TOLERANCE * (at_a - at_b).abs().max())


def _what_else(host: nn.Module, *, activations_only: bool = False) -> str:
    """Return the names of a host's modules that are neither linear nor a ReLU."""
    kinds = _ACTIVATIONS if activations_only else (*_ACTIVATIONS, *_POOLS)
    found = _names(type(m) for m in host.modules() if isinstance(m, (*kinds, nn.ReLU)))
    return f"this one has {found}" if found else "this one has others: functions, or products of features"


def _names(kinds: Iterable[type]) -> str:
    return ", ".join(sorted({kind.__name__ for kind in kinds}))
