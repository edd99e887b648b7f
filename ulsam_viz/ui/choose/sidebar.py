"""The sidebar of Compare and of Learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from ...engine.engine import DeviceChoice
from ...zoo.variants import Variant
from ..run.scene import Picture, View
from .display import current_view
from .methods import choose_target
from .network import choose_device, choose_variant
from .own import show_own_network
from .picture import choose_picture


@dataclass(frozen=True)
class Choices:
    """What the sidebar of Compare and of Learn offers; ``target`` is None for the predicted class."""

    picture: Picture
    variant: Variant
    device: DeviceChoice
    target: int | None
    view: View


def choose(variants: Sequence[Variant]) -> Choices:
    """Show the sidebar and return what is chosen."""
    with st.sidebar:
        picture = choose_picture()
        variant = choose_variant(variants)
        show_own_network()
        return Choices(picture, variant, choose_device(), choose_target(variant), current_view())
