"""Attributions of attention: any attribution method, with a map's value at one position as the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..images.preprocessing import Preprocessing
from ..models.attention_network import AttentionNetwork, Layer
from .attribution import Attribution, attribute, refuse_where_wrong
from .methods import METHODS


class AttentionReadout(nn.Module):
    """A network whose output is one subspace's map: its "classes" are the positions, its "logits" multiples of uniform.

    It shares the given network's layers, and has what attribution methods ask a network for.

    Args:
        network: An optimised network that no other thread uses meanwhile.
        layer: A layer that carries a module.
        subspace: Number of the subspace, from 0.
        pause: Called at every pass.

    Raises:
        ValueError: If there is no such layer or subspace.
    """

    def __init__(self, network: AttentionNetwork, layer: Layer, subspace: int, pause: Callable[[], None]) -> None:
        super().__init__()
        groups: int = network.attention_of(layer).groups
        if not 0 <= subspace < groups:
            raise ValueError(f"layer {layer} has subspaces 0 to {groups - 1}, not {subspace}")
        self.network, self.layer, self.subspace, self.pause = network, layer, subspace, pause
        self.attended = (layer,)
        self.num_classes = 0  # places; known after the first pass

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.device

    def feeding(self, layer: Layer) -> nn.Module:
        """Return the network's layer whose output enters the attention."""
        return self.network.feeding(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map in multiples of uniform, (N, H * W), for pictures (N, 3, S, S)."""
        self.pause()
        features = self.network.restart_at(x, self.layer).features
        _, maps = self.network.attention_of(self.layer).forward_with_attention(features)
        relative = maps[:, self.subspace].flatten(1)
        return relative * relative.shape[1]


def attribute_attention(
    model: AttentionNetwork,
    x: Tensor,
    *,
    layer: Layer,
    subspace: int,
    method: str,
    preprocessing: Preprocessing,
    place: tuple[int, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    pause: Callable[[], None] = lambda: None,
) -> Attribution:
    """Attribute a subspace's attention at one position to the pixels of the picture.

    Args:
        model: An optimised network in eval mode that no other thread uses meanwhile.
        x: One normalised picture, shape (1, 3, S, S).
        layer: A layer that carries a module.
        subspace: Number of the subspace, from 0.
        method: A name from :data:`METHODS`.
        preprocessing: The variant's.
        place: (row, column) on the map's grid; by default the map's highest place.
        settings: Values other than the method's defaults; the layer of Grad-CAM is the one that feeds the attention.
        seed: Of methods that draw random numbers.
        pause: Called between passes.

    Returns:
        The attribution; ``target`` is row * W + column, and values are in multiples of uniform where they sum.

    Raises:
        ValueError: For a layer, subspace or place that is not there, an unknown method or setting, and a method whose
            rule does not hold on a foreign network.
    """
    refuse_where_wrong(model, x, method)
    readout = AttentionReadout(model, layer, subspace, pause)
    with torch.inference_mode():
        features = model.restart_at(x.to(model.device), layer).features
        own = model.attention_of(layer).attention(features)[0, subspace]
    height, width = own.shape
    if place is None:
        place = divmod(int(own.argmax()), width)
    row, column = place
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"the map has rows 0 to {height - 1} and columns 0 to {width - 1}; there is no place {place}")
    readout.num_classes = height * width
    chosen = METHODS.get(method)
    if chosen and any(s.name == "layer" for s in chosen.settings):
        settings = {**(settings or {}), "layer": "attention"}
    return attribute(
        cast(AttentionNetwork, readout),  # it has what methods ask a network for
        x,
        method=method,
        target=row * width + column,
        preprocessing=preprocessing,
        settings=settings,
        seed=seed,
    )
