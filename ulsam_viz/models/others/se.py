"""SE: Hu, Shen, Sun, "Squeeze-and-Excitation Networks", CVPR 2018, arXiv:1709.01507, equations 2 to 4.

z = mean of x over places;  s = sigmoid(W2 ReLU(W1 z));  out = s * x        W1: m -> m / 16, W2: back; no biases
"""

from __future__ import annotations

from torch import Tensor, nn

from .gate import Gate


class SE(Gate):
    """Weighs channels by their mean; the same at every position.

    Args:
        channels: Channels m of the input.
        reduction: The paper's r.
    """

    title = "SE (CVPR 2018)"

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__(channels)
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.relu = nn.ReLU()
        self.excite = nn.Conv2d(channels // reduction, channels, 1, bias=False)
        self.sigmoid = nn.Sigmoid()

    def gate(self, x: Tensor) -> Tensor:
        """Return the gain, shape (N, m, 1, 1), between 0 and 1."""
        return self.sigmoid(self.excite(self.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
