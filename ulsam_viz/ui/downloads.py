"""The results of a view as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import streamlit as st

from ..analysis.attribution import Attribution
from ..analysis.methods import METHODS
from ..export import Panel, as_npz, as_png, flatten
from ..figures.colours import scale_maps
from ..figures.tiles import attention_tile, attribution_limit, attribution_tile
from .asking import examined
from .scene import Scene, map_note, network_name


def show_downloads(scene: Scene, attributions: Mapping[str, Attribution]) -> None:
    """Offer the view as a picture and as numbers; a file is made only when it is asked for."""
    st.markdown("**Take it with you**")
    found = examined(scene)  # taken here: a file is made in a thread that belongs to no session
    stem = f"{scene.variant.name}-{''.join(c if c.isalnum() else '_' for c in scene.picture.name)[:40]}"
    files: list[tuple[str, str, str, Callable[[], bytes]]] = [
        ("Picture (PNG)", f"{stem}.png", "image/png", lambda: _png(scene, attributions)),
        ("Numbers (NPZ)", f"{stem}.npz", "application/octet-stream", lambda: _npz(scene, attributions, found)),
    ]
    with st.container(horizontal=True):
        for label, name, mime, make in files:
            st.download_button(label, make, name, mime, on_click="ignore", icon=":material/download:")
    note = "This address restores the view, "
    note += (
        "with a sample in place of your own picture, which never leaves this session."
        if scene.picture.sample is None
        else "picture included."
    )
    st.caption(
        f"The archive holds maps, attributions, logits, what was asked about them, and the settings that made them (numpy.load). {note}"
    )


def _png(scene: Scene, attributions: Mapping[str, Attribution]) -> bytes:
    display = scene.view.display
    rows = [("Input", [Panel(scene.picture.name[:30], "as the network sees it", scene.crop.pixels)])]
    for number, layer in scale_maps(scene.attention.maps, scene.view.scale).items():
        panels = [
            Panel(f"subspace {k + 1}", map_note(scene.attention.maps[number][k]), attention_tile(scene.crop.pixels, f, display))
            for k, f in enumerate(layer.fractions)
        ]
        rows.append((f"Attention, layer {number}: colours from {layer.low:.4g} to {layer.high:.4g} {layer.unit}", panels))
    if attributions:
        panels = [
            Panel(
                METHODS[name].label,
                f"+/-{attribution_limit(a.values):.3g}" if a.signed else f"0 to {attribution_limit(a.values):.3g}",
                attribution_tile(scene.crop.pixels, a.values, attribution_limit(a.values), display, signed=a.signed),
            )
            for name, a in attributions.items()
        ]
        rows.append((f"Attributions for {scene.class_name(scene.target)}", panels))
    top = ", ".join(f"{scene.class_name(n)} {scene.attention.probabilities[n]:.1%}" for n in scene.attention.top(5))
    return as_png(network_name(scene.variant), [f"variant {scene.variant.name}", top], rows)


def _npz(scene: Scene, attributions: Mapping[str, Attribution], examined: Mapping[str, Any]) -> bytes:
    arrays: dict[str, np.ndarray] = {
        "pixels": scene.crop.pixels,
        "logits": scene.attention.logits,
        "probabilities": scene.attention.probabilities,
        "classes": np.array(scene.variant.classes),
        **{f"attention_{number}": maps for number, maps in scene.attention.maps.items()},
        **{f"attribution_{name}": a.values for name, a in attributions.items()},
    }
    found = {f"examined_{name}": flatten(result, f"examined_{name}", arrays) for name, result in dict(examined).items()}
    settings = {
        "variant": scene.variant.name,
        "sha256": scene.variant.sha256,
        "picture": scene.picture.name,
        "target": scene.variant.classes[scene.target],
        "device": scene.device.device,
        "methods": {name: METHODS[name].complete(values) for name, values in scene.methods.items()},
        **found,
        "convergence_delta": {name: a.delta for name, a in attributions.items()},
    }
    return as_npz(arrays, settings)
