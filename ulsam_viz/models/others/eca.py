"""ECA: Wang, Wu, Zhu, Li, Zuo, Hu, "ECA-Net", CVPR 2020, arXiv:1910.03151, equations 8 and 12.

s = sigmoid(conv1d over channels(mean of x over places));  out = s * x       its kernel: the odd number next to (log2(m)
+ 1) / 2
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from .gate import Gate


class ECA(Gate):
    """Weighs channels by their neighbours in number; the same at every place.

    Args:
        channels: Channels m of the input.
    """

    title = "ECA (CVPR 2020)"

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        width = int((math.log2(channels) + 1) / 2)
        width += 1 - width % 2
        self.conv = nn.Conv1d(1, 1, width, padding=width // 2, bias=False)
        self.sigmoid = nn.Sigmoid()

    def gate(self, x: Tensor) -> Tensor:
        """Return the gain, shape (N, m, 1, 1), between 0 and 1."""
        return self.sigmoid(self.conv(x.mean((2, 3)).unsqueeze(1))).transpose(1, 2).unsqueeze(-1)
