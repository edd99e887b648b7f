"""The table of networks: a new one is a file that builds its layers, and a line here."""

from __future__ import annotations

from collections.abc import Callable

from .mobilenet import MobileNetV1, MobileNetV2
from .network import Network

BACKBONES: dict[str, Callable[..., Network]] = {"mobilenet_v1": MobileNetV1, "mobilenet_v2": MobileNetV2}
