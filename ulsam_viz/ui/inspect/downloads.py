"""The results of a view as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from ...analysis.attribution import Attribution
from ...analysis.effects import Effect
from ...analysis.methods import METHODS
from ...export import flatten
from ...sheet import Sheet
from ..run.address import this_view
from ..run.asking import examined
from ..run.scene import Scene, network_name, pretty


def show_downloads(scene: Scene, attributions: Mapping[str, Attribution]) -> None:
    """Offer the view as a picture and as numbers; a file is made only when it is asked for."""
    st.markdown("**Take it with you**")
    found, address = examined(scene), this_view()  # taken here: a file is made in a thread that belongs to no session
    stem = f"{scene.variant.name}-{''.join(c if c.isalnum() else '_' for c in scene.picture.name)[:40]}"
    files: list[tuple[str, str, str, Callable[[], bytes]]] = [
        ("Picture (PNG)", f"{stem}.png", "image/png", lambda: _png(scene, attributions, address)),
        ("Numbers (NPZ)", f"{stem}.npz", "application/octet-stream", lambda: _npz(scene, attributions, found, address)),
    ]
    with st.container(horizontal=True):
        for label, name, mime, make in files:
            st.download_button(label, make, name, mime, on_click="ignore", icon=":material/download:")
    note = "This address restores the view, "
    note += (
        "your own picture only while you are here and ten minutes more, for whoever has the address."
        if scene.picture.sample is None
        else "picture included."
    )
    st.caption(
        f"The archive holds maps, attributions, logits, what was asked about them, and the settings that made them (numpy.load). {note}"
    )


def sheet_of(scene: Scene, attributions: Mapping[str, Attribution]) -> Sheet:
    """Return what a view shows."""
    return Sheet(
        network_name(scene.variant),
        scene.variant.name,
        scene.picture.name,
        scene.crop.pixels,
        [pretty(name) for name in scene.variant.classes],
        scene.attention.logits,
        scene.attention.probabilities,
        scene.target,
        scene.attention.maps,
        dict.fromkeys(scene.attention.maps, scene.variant.gain),
        attributions,
    )


def _png(scene: Scene, attributions: Mapping[str, Attribution], address: str) -> bytes:
    return sheet_of(scene, attributions).png(display=scene.view.display, scale=scene.view.scale, address=address)


def _npz(scene: Scene, attributions: Mapping[str, Attribution], examined: Mapping[str, Any], address: str) -> bytes:
    arrays: dict[str, np.ndarray] = {"classes": np.array(scene.variant.classes)}
    found = {
        f"examined_{name}": flatten(_counted_from_1(result), f"examined_{name}", arrays) for name, result in dict(examined).items()
    }
    settings = {
        "address": address,
        "variant": scene.variant.name,
        "sha256": scene.variant.sha256,
        "target": scene.variant.classes[scene.target],
        "device": scene.device.device,
        "methods": {name: METHODS[name].complete(values) for name, values in scene.methods.items()},
        **found,
    }
    return sheet_of(scene, attributions).npz(settings, arrays)


def _counted_from_1(result: Any) -> Any:
    """Give effects their subspaces' names on the page; anything else names none by a number."""
    if isinstance(result, list | tuple):
        return [_counted_from_1(item) for item in result]
    if isinstance(result, Effect) and result.subspace is not None:
        return replace(result, subspace=result.subspace + 1)
    return result
