"""What layers are made of: convolutions with their norms, and the inverted residual block."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional


class ReLU6(nn.ReLU):
    """min(max(x, 0), 6), as a kind of ``nn.ReLU``.

    ``torch.nn.ReLU6`` is no ``nn.ReLU``: guided backpropagation, which looks for that type, would silently return the
    plain gradient. Through this class its rule (clip the gradient that leaves the module) applies unchanged.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Clip to [0, 6]; any shape."""
        return functional.relu6(input, inplace=self.inplace)


class ConvNorm(nn.Sequential):
    """Convolution without bias, BatchNorm and an optional activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[[], nn.Module] | None,
    ) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), *([activation()] if activation else []))


class InvertedResidual(nn.Module):
    """MobileNet-V2's block: expand, filter depthwise, project; with a skip where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.skip = stride == 1 and inputs == outputs
        self.expand = ConvNorm(inputs, hidden, activation=ReLU6) if expansion > 1 else nn.Identity()
        self.filter = ConvNorm(hidden, hidden, 3, stride=stride, groups=hidden, activation=ReLU6)
        self.project = ConvNorm(hidden, outputs, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, shape (N, outputs, H', W')."""
        y = self.project(self.filter(self.expand(x)))
        return x + y if self.skip else y
