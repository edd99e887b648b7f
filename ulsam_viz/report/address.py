"""The address of a view in the app, as its pages write and read it; no page is needed to write one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from ..analysis.methods import METHODS
from ..images.samples import Sample
from ..models.backbones import BACKBONES
from ..zoo.variants import Variant

PLAIN = "plain"


def backbone_label(variant: Variant) -> str:
    """Return e.g. ``"V1-0.5"`` for MobileNet-V1 of width 0.5.

    The user's own networks stand beside those, each by its name.
    """
    return variant.name if variant.own else BACKBONES[variant.backbone].short_of(variant.width)


def position_label(variant: Variant) -> str:
    """Return e.g. ``"after-11"`` or ``"after-6-8-11-13"``; ``"plain"`` for the control."""
    p = variant.placement
    return PLAIN if p is None else f"{p.mode}-{'-'.join(map(str, p.layers))}"


def position_words(name: str) -> str:
    """Write a :func:`position_label` for people, and for the address: ``"after 6, 8, 11, 13"``."""
    return "none (plain)" if name == PLAIN else name.replace("-", " ", 1).replace("-", ", ")


def network_query(variant: Variant) -> dict[str, str]:
    """Return what an address says of its network."""
    query = {"net": backbone_label(variant), "position": position_words(position_label(variant))}
    if variant.placement:
        query |= {"g": str(variant.groups)}
    return query if variant.gain == "published" else query | {"gain": variant.gain}


def address_of(
    variant: Variant, methods: Mapping[str, Mapping[str, Any]], *, target: str = "", sample: Sample | None = None
) -> str:
    """Write the address of a view on the page Inspect, below that of the app.

    Args:
        variant: One that the page offers.
        methods: With those settings that differ from the defaults, or all.
        target: Name of the class that they are for; "" for the network's own answer.
        sample: The picture, where it is one; any other is no part of an address.
    """
    query: dict[str, Any] = dict(network_query(variant))
    if sample:
        query |= {"picture": sample.title}
    query |= {"methods": [METHODS[name].label for name in methods]}
    for name, values in methods.items():
        query |= {f"{name}.{setting}": value for setting, value in METHODS[name].changed(values).items()}
    if target:
        query |= {"target": target.replace("_", " ")}
    return f"/?{urlencode(query, doseq=True)}"
