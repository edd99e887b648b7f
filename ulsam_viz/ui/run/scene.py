"""The visitor's choices, resolved: picture, network, device and their facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st
from PIL import Image

from ...analysis.attention import Attention
from ...engine.engine import DeviceChoice
from ...figures.colours import Scale
from ...figures.tiles import Display
from ...figures.words import channel_words
from ...images.preprocessing import ModelInput, Square
from ...images.samples import Sample
from ...models.cost import Cost, count_cost
from ...zoo.variants import Variant, build_network, position_name


@dataclass(frozen=True)
class Picture:
    """What was chosen.

    Attributes:
        image: What is looked at: the square that the visitor chose of it, else what the network takes the centre of.
        name: For people.
        key: Identifies the picture, of whatever square.
        sample: The sample's record where it is one.
        square: The chosen one; None for the centre.
    """

    image: Image.Image
    name: str
    key: str
    sample: Sample | None
    square: Square | None = None


@dataclass(frozen=True)
class View:
    """How results are shown; changing it recomputes nothing."""

    scale: Scale
    blend: bool
    display: Display


@dataclass(frozen=True)
class Scene:
    """What the page is about to show: the visitor's choices, resolved."""

    picture: Picture
    crop: ModelInput
    variant: Variant
    device: DeviceChoice
    methods: Mapping[str, Mapping[str, Any]]
    view: View
    attention: Attention
    target: int

    def class_name(self, number: int) -> str:
        """Return a class's name for people."""
        return pretty(self.variant.classes[number])


def network_name(variant: Variant) -> str:
    """Write a variant's name for people."""
    if variant.placement is None:
        return f"{variant.label} (plain control)"
    g = variant.groups
    return f"{variant.label} with {g} subspace{'s' if g > 1 else ''} {position_name(variant, noun=True)}"


@st.cache_data(max_entries=256)
def facts(key: str, _variant: Variant) -> tuple[Cost, dict[int, int]]:
    """Return the variant's cost, and the channels of each layer that carries a module."""
    network = build_network(_variant)
    return count_cost(network, _variant.input_size), {int(n): m.channels for n, m in network.attention.items()}  # type: ignore[misc]


def channels_of(variant: Variant, number: int) -> int:
    """Return the channels of a layer that carries a module."""
    return facts(variant.key, variant)[1][number]


def channel_range(variant: Variant, number: int, k: int) -> str:
    """Name the channels of subspace k of a layer."""
    return channel_words(channels_of(variant, number), variant.groups, k)


def pretty(class_name: str) -> str:
    """Write a class name for people: ``"stop_sign"`` -> ``"stop sign"``."""
    return class_name.replace("_", " ")
