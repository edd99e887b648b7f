"""The whole attention of a network changed at once, to see over many pictures what it does; :mod:`effects` asks about one."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from ..models.network import Changes, Network
from ..models.ulsam import Gain, excess_gain

Intervention = Literal["off", "uniform", "shuffled"]
INTERVENTIONS: dict[Intervention, str] = {
    "off": "no attention (gain 1)",
    "uniform": "attention uniform",
    "shuffled": "attention at shuffled places",
}


def intervene(model: Network, intervention: Intervention, *, seed: int = 0) -> Changes:
    """Return what changes every module's gain, for :meth:`~ulsam_viz.models.network.Network.from_attention`.

    Args:
        model: The network; it is read, never changed.
        intervention: ``"off"`` leaves features as they are, ``"uniform"`` gives each place 1/(H·W), ``"shuffled"`` gives
            each place the attention of another: one order for each subspace, the same for all pictures.
        seed: Of those orders.
    """
    if intervention == "off":
        return dict.fromkeys(map(int, model.attention), torch.zeros_like)
    if intervention == "uniform":
        return {layer: partial(_uniform, gain=model.attention_of(layer).gain) for layer in map(int, model.attention)}
    return {layer: partial(_shuffled, seed=seed * 1000 + layer) for layer in map(int, model.attention)}


def _uniform(excess: Tensor, *, gain: Gain) -> Tensor:
    return excess_gain(torch.full_like(excess, 1 / (excess.shape[2] * excess.shape[3])), gain)


def _shuffled(excess: Tensor, *, seed: int) -> Tensor:
    n, g, h, w = excess.shape
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(h * w, generator=generator) for _ in range(g)])
    return excess.flatten(2).gather(2, orders.to(excess.device).expand(n, -1, -1)).view(n, g, h, w)
