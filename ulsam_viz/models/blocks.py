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


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: ceil(side / stride) outputs, an odd pixel padded at the end.

    PyTorch pads both sides alike, so where the stride is 2 and the side even its windows lie one pixel earlier.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pad and filter, (N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        pads: list[int] = []
        for side, kernel, stride in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(functional.pad(input, pads))


class ConvNorm(nn.Sequential):
    """Convolution without bias, BatchNorm and an optional activation.

    Args:
        inputs, outputs: Channels.
        kernel: Side of the filter; odd.
        stride: Of its places.
        groups: As in :class:`torch.nn.Conv2d`.
        activation: What makes the non-linearity, or None.
        eps: Of the norm.
        same: Pad as TensorFlow does; it differs from PyTorch where the stride is not 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[[], nn.Module] | None,
        eps: float = 1e-5,
        same: bool = False,
    ) -> None:
        uneven = same and stride > 1
        kind, padding = (SameConv2d, 0) if uneven else (nn.Conv2d, kernel // 2)
        conv = kind(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs, eps), *([activation()] if activation else []))


class InvertedResidual(nn.Module):
    """MobileNet-V2's block: expand, filter depthwise, project; with a skip where the shapes agree.

    Args:
        inputs, outputs: Channels.
        stride: Of the depthwise filter.
        expansion: Channels in between, as a multiple of the inputs; 1 leaves the expansion out.
        kernel: Side of the depthwise filter.
        eps, same: Of the convolutions and norms, see :class:`ConvNorm`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        expansion: int,
        kernel: int = 3,
        eps: float = 1e-5,
        same: bool = False,
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.skip = stride == 1 and inputs == outputs
        self.expand = ConvNorm(inputs, hidden, activation=ReLU6, eps=eps) if expansion > 1 else nn.Identity()
        self.filter = ConvNorm(
            hidden, hidden, kernel, stride=stride, groups=hidden, activation=ReLU6, eps=eps, same=same
        )
        self.project = ConvNorm(hidden, outputs, activation=None, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, shape (N, outputs, H', W')."""
        y = self.project(self.filter(self.expand(x)))
        return x + y if self.skip else y
