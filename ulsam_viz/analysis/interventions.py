"""The whole attention of a network changed at once, to see over many pictures what it does; :mod:`effects` asks about one."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..models.network import Network
from ..models.ulsam import apply_gain

Intervention = Literal["off", "uniform", "shuffled"]
INTERVENTIONS: dict[Intervention, str] = {
    "off": "no attention (gain 1)",
    "uniform": "attention uniform",
    "shuffled": "attention at shuffled places",
}


def intervene(model: Network, intervention: Intervention, *, seed: int = 0) -> Network:
    """Return a copy of a network in which every module's maps are changed.

    Args:
        model: In eval mode; it is copied, never changed.
        intervention: ``"off"`` leaves features as they are, ``"uniform"`` gives each place 1/(H·W), ``"shuffled"`` gives
            each place the attention of another: one order for each subspace, the same for all pictures.
        seed: Of those orders.
    """
    changed = copy.deepcopy(model)
    for layer, module in changed.attention.items():
        changed.attention[layer] = _Changed(module, intervention, (seed, int(layer)))
    return changed


class _Changed(nn.Module):
    """A module whose maps are changed before they take effect."""

    def __init__(self, module: Any, intervention: Intervention, seed: tuple[int, int]) -> None:
        super().__init__()
        self.module, self.groups = module, module.groups
        self._intervention, self._seed = intervention, seed

    def attention(self, x: Tensor) -> Tensor:
        """Return the changed maps, shape (N, g, H, W)."""
        n, _, h, w = x.shape
        if self._intervention == "off":
            return x.new_zeros(n, self.groups, h, w)
        if self._intervention == "uniform":
            return x.new_full((n, self.groups, h, w), 1 / (h * w))
        maps = self.module.attention(x).flatten(2)
        generator = torch.Generator().manual_seed(self._seed[0] * 1000 + self._seed[1])
        orders = torch.stack([torch.randperm(h * w, generator=generator) for _ in range(self.groups)])
        return maps.gather(2, orders.to(x.device).expand(n, -1, -1)).view(n, self.groups, h, w)

    def forward_with_attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, m, H, W) under the changed maps, and those."""
        maps = self.attention(x)
        return apply_gain(x, maps), maps
