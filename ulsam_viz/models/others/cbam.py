"""CBAM: Woo et al., "Convolutional Block Attention Module", ECCV 2018, arXiv:1807.06521, equations 1 to 3.

    Mc(x) = sigmoid(MLP(mean over places) + MLP(maximum over places))           MLP: m -> m / 16 -> m, ReLU between, no
    biases Ms(y) = sigmoid(conv7x7([mean over channels; maximum over channels]))       of y = Mc(x) * x out   = Ms(y) *
    y

The authors' code has a BatchNorm after the 7x7 convolution, and so has this.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .gate import Gate


class CBAM(Gate):
    """Weighs channels, then places.

    Args:
        channels: Channels m of the input.
        reduction: The paper's r.
    """

    title = "CBAM (ECCV 2018)"

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__(channels)
        hidden = channels // reduction
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )
        self.channel_sigmoid = nn.Sigmoid()
        self.spatial = nn.Sequential(nn.Conv2d(2, 1, 7, padding=3, bias=False), nn.BatchNorm2d(1))
        self.spatial_sigmoid = nn.Sigmoid()

    def gate(self, x: Tensor) -> Tensor:
        """Return the gain, shape (N, m, H, W): that of the channel times that of the place, between 0 and 1."""
        of_channel = self.channel_sigmoid(
            self.mlp(x.mean((2, 3), keepdim=True)) + self.mlp(x.amax((2, 3), keepdim=True))
        )
        y = x * of_channel
        of_place = self.spatial_sigmoid(self.spatial(torch.cat([y.mean(1, keepdim=True), y.amax(1, keepdim=True)], 1)))
        return of_channel * of_place
