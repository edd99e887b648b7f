"""SimAM: Yang, Zhang, Li, Xie, "SimAM: A Simple, Parameter-Free Attention Module", ICML 2021, equations 5 and 6.

1 / e = (x - mean)^2 / (4 (variance + lambda)) + 1 / 2          mean and variance of each channel over its places
out   = sigmoid(1 / e) * x
"""

from __future__ import annotations

from torch import Tensor, nn

from .gate import Gate


class SimAM(Gate):
    """Weighs each value by its distance from its channel's mean; it has no parameters.

    Args:
        channels: Channels m of the input.
        energy: The paper's lambda.
    """

    title = "SimAM (ICML 2021)"

    def __init__(self, channels: int, energy: float = 1e-4) -> None:
        super().__init__(channels)
        self.energy = energy
        self.sigmoid = nn.Sigmoid()

    def gate(self, x: Tensor) -> Tensor:
        """Return the gain, shape (N, m, H, W), between sigmoid(1/2) and 1."""
        squares = (x - x.mean((2, 3), keepdim=True)).square()
        variance = squares.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3] - 1)
        return self.sigmoid(squares / (4 * (variance + self.energy)) + 0.5)
