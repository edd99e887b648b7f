"""The interface between the program and a network that carries attention modules.

Our own :class:`~ulsam_viz.models.network.Network` meets it fast, by restarts at a layer;
:class:`~ulsam_viz.models.adapter.AttendedModel` meets it for any module, by whole passes. What is computed from either
is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .ulsam import apply_gain

#: What a network calls a layer that carries a module: ours by its number, a foreign one by its submodule's name.
Layer = int | str
#: By layer: a function of the module's gain minus 1, (N, g, H, W), that returns what replaces it. With the published
#: gain that is a function of the maps themselves. It may return several pictures for one.
Changes = Mapping[Any, Callable[[Tensor], Tensor]]
AS_TRAINED: Changes = {}


@dataclass(frozen=True)
class Restart:
    """A pass up to a layer's module, from which the rest can be run any number of times.

    Attributes:
        features: What enters the module, shape (N, m, H, W).
        run: Changes, here and in later layers -> logits (N, classes), and by layer, from this one on, the maps, or what
            replaced the gain minus 1. Of one picture, a change of this layer may make several.
        run_on: Features (N, m, H, W) in the place of what leaves the module -> logits (N, classes).
    """

    features: Tensor
    run: Callable[[Changes], tuple[Tensor, dict[Any, Tensor]]]
    run_on: Callable[[Tensor], Tensor]


@runtime_checkable
class AttentionNetwork(Protocol):
    """A network that returns its attention maps, and can be run with changed attention.

    Whatever implements it is an ``nn.Module`` from pictures (N, 3, H, W) to logits (N, classes).

    Attributes:
        num_classes: Number of its logits.
    """

    num_classes: int

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        ...

    @property
    def attended(self) -> tuple[Any, ...]:
        """The layers that carry a module, in the order of a pass."""
        ...

    @property
    def last_grid(self) -> nn.Module:
        """The module behind whose output (N, C, H, W) no other has places: what Grad-CAM weighs."""
        ...

    def feeding(self, layer: Any, /) -> nn.Module:
        """Return the module whose output enters the attention of a layer."""
        ...

    def attention_of(self, layer: Any, /) -> Any:
        """Return the module of a layer, in whichever of its forms; ValueError if there is none."""
        ...

    def forward_with_attention(self, x: Tensor, /) -> tuple[Tensor, dict[Any, Tensor]]:
        """Run one pass: pictures (N, 3, H, W) -> logits (N, classes) and the maps (N, g, H_l, W_l) by layer."""
        ...

    def look(self, x: Tensor, /) -> tuple[Tensor, dict[Any, Tensor], Tensor | None]:
        """Run one pass: logits, maps, and the features (N, C, H', W') that the classifier averages, if it does."""
        ...

    def restart_at(self, x: Tensor, layer: Any, /) -> Restart:
        """Run pictures (N, 3, H, W) up to a layer's module; ValueError if that layer carries none."""
        ...

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return logits (N, classes) for pictures (N, 3, H, W)."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """Yield the network and every module in it."""
        ...


def attend_to(module: Any, x: Tensor, change: Callable[[Tensor], Tensor] | None) -> tuple[Tensor, Tensor]:
    """Run a module on features (N, m, H, W); return its output, and its maps or what replaced them."""
    if change is None:
        return module.forward_with_attention(x)
    excess = change(module.excess(x))
    return apply_gain(x, excess), excess
