"""Changes of all attention in a network at once, for statistics over many pictures.

For one picture see :mod:`effects`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ..models.attention_network import AttentionNetwork, Changes
from ..models.others.gate import Gate
from ..models.ulsam import Gain, excess_gain

Intervention = Literal["off", "uniform", "shuffled"]
INTERVENTIONS: dict[Intervention, str] = {
    "off": "no attention (gain 1)",
    "uniform": "attention uniform",
    "shuffled": "attention at shuffled places",
}
#: For other papers' modules, whose gain differs by channel too: each channel's gain held at its mean over pictures and
#: places.
CONSTANT = "constant"


def intervene(model: AttentionNetwork, intervention: Intervention, *, seed: int = 0) -> Changes:
    """Return the changes of every module's gain, for :attr:`.Restart.run` of the first module.

    Args:
        model: The network; it is read, never changed.
        intervention: ``"off"`` leaves features as they are, ``"uniform"`` gives each place 1/(H·W), ``"shuffled"``
            gives each place the attention of another: one order for each subspace, the same for all pictures.
        seed: Of those orders.
    """
    if intervention == "off":
        return dict.fromkeys(model.attended, torch.zeros_like)
    if intervention == "uniform":
        modules = {layer: model.attention_of(layer) for layer in model.attended}
        return {layer: _held if isinstance(m, Gate) else partial(_uniform, gain=m.gain) for layer, m in modules.items()}
    # A layer's own number, where it has one, so that its orders do not depend on which others carry modules.
    numbers = {layer: layer if isinstance(layer, int) else i for i, layer in enumerate(model.attended)}
    return {layer: partial(_shuffled, seed=seed * 1000 + number) for layer, number in numbers.items()}


def _uniform(excess: Tensor, *, gain: Gain) -> Tensor:
    return excess_gain(torch.full_like(excess, 1 / (excess.shape[2] * excess.shape[3])), gain)


def _held(excess: Tensor) -> Tensor:
    """Return each channel's mean at every position: uniform attention where the gain differs by channel, too."""
    return excess.mean((2, 3), keepdim=True).expand_as(excess)


def hold(means: Mapping[Any, Tensor]) -> Changes:
    """Return changes that hold every module's gain minus 1 at given means, shape (m, 1, 1) by layer."""
    return {layer: mean.expand_as for layer, mean in means.items()}


def _shuffled(excess: Tensor, *, seed: int) -> Tensor:
    n, g, h, w = excess.shape
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(h * w, generator=generator) for _ in range(g)])
    return excess.flatten(2).gather(2, orders.to(excess.device).expand(n, -1, -1)).view(n, g, h, w)
