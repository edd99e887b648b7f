"""ULSAM once more, one small network for each subspace, written from the paper's equations: the tests' oracle.

Its attribute names are those of the paper's own code, so its state dict is what ``ULSAM.from_reference`` reads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SubspaceLoop(nn.Module):
    """One subspace of G channels: out = F + softmax(ReLU(BN(PW(MaxPool(ReLU(BN(DW(F)))))))) * F."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_dws = nn.Conv2d(channels, channels, kernel_size=1, groups=channels)
        self.bn_dws = nn.BatchNorm2d(channels)
        self.conv_point = nn.Conv2d(channels, 1, kernel_size=1)
        self.bn_point = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.relu(self.bn_dws(self.conv_dws(x)))
        z = nn.functional.max_pool2d(z, 3, stride=1, padding=1)
        z = torch.relu(self.bn_point(self.conv_point(z)))
        exponentials = torch.exp(z - z.amax((2, 3), keepdim=True))
        a = exponentials / exponentials.sum((2, 3), keepdim=True)
        return x + a * x, a


class ReferenceLoop(nn.Module):
    """The whole module as a loop over subspaces: returns features (N, m, H, W) and maps (N, g, H, W)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.subspaces = nn.ModuleList(SubspaceLoop(channels // groups) for _ in range(groups))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        parts = [subspace(part) for subspace, part in zip(self.subspaces, x.chunk(len(self.subspaces), 1), strict=True)]
        return torch.cat([out for out, _ in parts], 1), torch.cat([a for _, a in parts], 1)


def trained_looking(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give a module the statistics of a trained one: spread weights, means away from 0, variances away from 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            positive = name.endswith("running_var") or ((".bn" in name or "norm" in name) and name.endswith("weight"))
            value.copy_(0.5 + noise.abs() if positive else noise * 0.7)
    return module.eval()
