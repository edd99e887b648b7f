"""EfficientNet-Lite0: MobileNet-V2's blocks, without squeeze-and-excitation, trained by its authors on ImageNet.

It is EfficientNet-B0 made for edge devices: ReLU6 throughout, stem and head of fixed size. Its padding and norms are
TensorFlow's, where it was trained.

Tan and Le, "EfficientNet", ICML 2019, arXiv:1905.11946; Liu, "Higher accuracy on vision models with EfficientNet-Lite",
TensorFlow blog, 2020.
"""

from __future__ import annotations

from torch import nn

from .blocks import ConvNorm, InvertedResidual, ReLU6
from .network import Network, Parts

_EPS = 1e-3


class EfficientNetLite0(Network):
    """EfficientNet-Lite0: a stem and 16 inverted residual blocks (layers 1 to 17), and a 1x1 convolution."""

    backbone = "efficientnet_lite0"
    title = "EfficientNet-Lite0"
    short = "Lite0"
    usual_layer = 12
    has_widths = False
    # expansion, kernel, channels, repeats, stride of the first
    STAGES = (
        (1, 3, 16, 1, 1),
        (6, 3, 24, 2, 2),
        (6, 5, 40, 2, 2),
        (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1),
        (6, 5, 192, 4, 2),
        (6, 3, 320, 1, 1),
    )

    @classmethod
    def build(cls, width: float) -> Parts:
        """Build stem, blocks and the last convolution.

        Raises:
            ValueError: For a width other than 1: other widths have other names (Lite1 to Lite4) and depths.
        """
        if width != 1:
            raise ValueError(f"{cls.title} has width 1 only, not {width:g}")
        inputs = 32
        layers: dict[int, nn.Module] = {1: ConvNorm(3, inputs, 3, stride=2, activation=ReLU6, eps=_EPS, same=True)}
        shapes = {1: (inputs, False)}
        for expansion, kernel, outputs, repeats, first_stride in cls.STAGES:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                block = InvertedResidual(
                    inputs, outputs, stride=stride, expansion=expansion, kernel=kernel, eps=_EPS, same=True
                )
                number = len(layers) + 1
                layers[number] = block
                shapes[number] = (outputs, block.skip)
                inputs = outputs
        return Parts(layers, shapes, ConvNorm(inputs, 1280, activation=ReLU6, eps=_EPS), 1280)
