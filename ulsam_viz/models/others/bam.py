"""BAM: Park, Woo, Lee, Kweon, "BAM: Bottleneck Attention Module", BMVC 2018, arXiv:1807.06514, equations 1 to 5.

    Mc(x) = BN(MLP(mean over places))                                MLP: m -> m / 16 -> m
    Ms(x) = BN(conv1x1(conv3x3(conv3x3(conv1x1(x)))))                m -> m / 16 ... -> 1; the 3x3 ones with dilation 4
    out   = x + sigmoid(Mc + Ms) * x

Between the layers of both branches stand BatchNorm and ReLU, as in the authors' code, of which the equations say
nothing. (That code multiplies Mc and Ms; the paper adds them, and so does this.)
"""

from __future__ import annotations

from torch import Tensor, nn

from .gate import Gate


class BAM(Gate):
    """Adds a weight by channel and a weight by place.

    Args:
        channels: Channels m of the input.
        reduction: The paper's r.
        dilation: The paper's d.
    """

    title = "BAM (BMVC 2018)"

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__(channels)
        hidden = channels // reduction
        self.channel = nn.Sequential(*_unit(channels, hidden), nn.Conv2d(hidden, channels, 1), nn.BatchNorm2d(channels))
        self.spatial = nn.Sequential(
            *_unit(channels, hidden),
            *_unit(hidden, hidden, dilation),
            *_unit(hidden, hidden, dilation),
            nn.Conv2d(hidden, 1, 1),
            nn.BatchNorm2d(1),
        )
        self.sigmoid = nn.Sigmoid()

    def gate(self, x: Tensor) -> Tensor:
        """Return the gain, shape (N, m, H, W), between 1 and 2."""
        return 1 + self.sigmoid(self.channel(x.mean((2, 3), keepdim=True)) + self.spatial(x))


def _unit(inputs: int, outputs: int, dilation: int = 0) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return a 1x1 convolution, or a dilated 3x3 one, with norm and ReLU."""
    kernel = 3 if dilation else 1
    conv = nn.Conv2d(inputs, outputs, kernel, padding=dilation, dilation=dilation or 1)
    return conv, nn.BatchNorm2d(outputs), nn.ReLU()
