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
from ...export import ColourBar, Panel, Row, as_npz, as_png, flatten
from ...figures.colours import DIVERGING, colour_table, scale_maps, subspace_colour
from ...figures.tiles import attention_tile, attribution_limit, attribution_tile
from ...figures.words import map_note
from ..run.address import this_view
from ..run.asking import examined
from ..run.scene import Scene, network_name


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


#: What an archive says about itself, under ``settings``.
_READING = (
    "Layers have the paper's numbers. Where an array has one entry for each subspace, the first entry is subspace 1; in names and settings, "
    "subspaces and the items of lists count from 1, rows and columns from 0, as on the page. attention_N: maps of layer N, (subspaces, rows, columns), "
    "each summing to 1. attribution_M: of method M, (rows, columns) of the picture. examined_Q: answers to question Q about the view."
)


def _png(scene: Scene, attributions: Mapping[str, Attribution], address: str) -> bytes:
    display = scene.view.display
    magnitudes = colour_table(display.colours)
    rows = [Row("Input", [Panel(scene.picture.name[:30], "as the network sees it", scene.crop.pixels)])]
    for number, layer in scale_maps(
        scene.attention.maps, scene.view.scale, gains=dict.fromkeys(scene.attention.maps, scene.variant.gain)
    ).items():
        maps = scene.attention.maps[number]
        panels = [
            Panel(
                f"Subspace {k + 1}",
                map_note(maps[k]),
                attention_tile(scene.crop.pixels, fractions, display),
                subspace_colour(k, len(maps)),
            )
            for k, fractions in enumerate(layer.fractions)
        ]
        rows.append(Row(f"Attention, layer {number}", panels, [ColourBar(magnitudes, layer.ticks, layer.unit)]))
    if attributions:
        panels = [
            Panel(
                METHODS[name].label,
                ("±" if a.signed else "0 to ") + f"{attribution_limit(a.values):.3g}",
                attribution_tile(scene.crop.pixels, a.values, attribution_limit(a.values), display, signed=a.signed),
            )
            for name, a in attributions.items()
        ]
        bars = {
            True: ColourBar(colour_table(DIVERGING), [(0, "−"), (0.5, "0"), (1, "+")], "against / for"),
            False: ColourBar(magnitudes, [(0, "0"), (1, "+")], "magnitude"),
        }
        used = [bars[signed] for signed in sorted({a.signed for a in attributions.values()}, reverse=True)]
        rows.append(Row(f"Attributions for “{scene.class_name(scene.target)}”, each on its own scale", panels, used))
    top = ", ".join(f"{scene.class_name(n)} {scene.attention.probabilities[n]:.1%}" for n in scene.attention.top(5))
    return as_png(network_name(scene.variant), [f"variant {scene.variant.name}", top], rows, address=address)


def _npz(scene: Scene, attributions: Mapping[str, Attribution], examined: Mapping[str, Any], address: str) -> bytes:
    arrays: dict[str, np.ndarray] = {
        "pixels": scene.crop.pixels,
        "logits": scene.attention.logits,
        "probabilities": scene.attention.probabilities,
        "classes": np.array(scene.variant.classes),
        **{f"attention_{number}": maps for number, maps in scene.attention.maps.items()},
        **{f"attribution_{name}": a.values for name, a in attributions.items()},
    }
    found = {
        f"examined_{name}": flatten(_counted_from_1(result), f"examined_{name}", arrays) for name, result in dict(examined).items()
    }
    settings = {
        "reading": _READING,
        "address": address,
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


def _counted_from_1(result: Any) -> Any:
    """Give effects their subspaces' names on the page; anything else names none by a number."""
    if isinstance(result, list | tuple):
        return [_counted_from_1(item) for item in result]
    if isinstance(result, Effect) and result.subspace is not None:
        return replace(result, subspace=result.subspace + 1)
    return result
