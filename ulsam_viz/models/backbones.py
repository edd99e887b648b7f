"""The table of networks: a new one is a file that builds its layers, and a line here."""

from __future__ import annotations

from .efficientnet import EfficientNetLite0
from .mobilenet import MobileNetV1, MobileNetV2
from .network import Network

BACKBONES: dict[str, type[Network]] = {
    network.backbone: network
    for network in (
        EfficientNetLite0,
        MobileNetV1,
        MobileNetV2,
    )
}
