"""MobileNet-V1 and MobileNet-V2.

V1 has layers 2..14 (depthwise-separable blocks), V2 has layers 2..18 (inverted residual blocks); the stem is layer 1.

Howard et al., "MobileNets", 2017, arXiv:1704.04861; Sandler et al., "MobileNetV2", CVPR 2018, arXiv:1801.04381.
"""

from __future__ import annotations

from torch import nn

from .blocks import ConvNorm, InvertedResidual, ReLU6
from .network import Network, Parts


class MobileNetV1(Network):
    """MobileNet-V1: a stem and 13 depthwise-separable blocks, layers 1 to 14."""

    backbone = "mobilenet_v1"
    title = "MobileNet-V1"
    short = "V1"
    usual_layer = 11
    BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))

    @classmethod
    def build(cls, width: float) -> Parts:
        """Build stem and blocks."""
        inputs = _scaled(32, width)
        layers: dict[int, nn.Module] = {1: ConvNorm(3, inputs, 3, stride=2, activation=nn.ReLU)}
        shapes = {1: (inputs, False)}
        for number, (channels, stride) in enumerate(cls.BLOCKS, start=2):
            outputs = _scaled(channels, width)
            layers[number] = nn.Sequential(
                ConvNorm(inputs, inputs, 3, stride=stride, groups=inputs, activation=nn.ReLU),
                ConvNorm(inputs, outputs, activation=nn.ReLU),
            )
            shapes[number] = (outputs, stride == 1 and inputs == outputs)
            inputs = outputs
        return Parts(layers, shapes, nn.Identity(), inputs)


class MobileNetV2(Network):
    """MobileNet-V2: a stem and 17 inverted residual blocks, layers 1 to 18, and a 1x1 convolution before the pool."""

    backbone = "mobilenet_v2"
    title = "MobileNet-V2"
    short = "V2"
    usual_layer = 11
    # expansion, channels, repeats, stride of the first
    STAGES = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    @classmethod
    def build(cls, width: float) -> Parts:
        """Build stem, blocks and the last convolution."""
        inputs = _scaled(32, width)
        layers: dict[int, nn.Module] = {1: ConvNorm(3, inputs, 3, stride=2, activation=ReLU6)}
        shapes = {1: (inputs, False)}
        for expansion, channels, repeats, first_stride in cls.STAGES:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                outputs = _scaled(channels, width)
                block = InvertedResidual(inputs, outputs, stride=stride, expansion=expansion)
                number = len(layers) + 1
                layers[number] = block
                shapes[number] = (outputs, block.skip)
                inputs = outputs
        features = _scaled(1280, max(1.0, width))
        return Parts(layers, shapes, ConvNorm(inputs, features, activation=ReLU6), features)


def _scaled(channels: int, width: float) -> int:
    """Channels times width, as a multiple of 8 that loses at most a tenth (the MobileNet-V2 paper's rule).

    At the widths of both papers (0.25, 0.5, 0.75, 1.0) V1's channels come out exactly proportional.
    """
    if width <= 0:
        raise ValueError(f"width must be positive, not {width}")
    exact = channels * width
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded
