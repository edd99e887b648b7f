"""What happens if something is changed: a part of the picture covered, or one map turned up or down."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ..analysis import effects
from ..analysis.attention import Attention, attend
from ..analysis.faithfulness import Box
from ..figures.colours import scale_maps, subspace_colour
from ..figures.tiles import attention_tile, data_uri
from .asking import answer
from .boxes import choose_box
from .scene import Scene, change_note
from .tiles import Tile, show_tiles


def show_what_if(scene: Scene, number: int, k: int) -> None:
    """Let the visitor cover a part of the picture, and turn one map up or down."""
    side = scene.variant.input_size
    left, right = st.columns([1, 2.6], gap="large")
    with left:
        box = choose_box(scene, "cover", "Cover a part of the picture", (side // 3, 2 * side // 3))
    with right:
        _covered(scene, number, box)
    left, right = st.columns([1, 2.6], gap="large")
    with left:
        st.markdown(f"Turn subspace {k + 1}'s attention up or down")
        strength = st.slider(
            "Strength s of the gain 1 + s · A",
            0.0,
            40.0,
            10.0,
            0.5,
            key="strength",
            bind="query-params",
            help="1 is the network as trained.",
        )
    with right:
        logits = answer(
            scene,
            ("strength", number, k, strength),
            "the rest of the network",
            lambda model, _: effects.with_strength(model, scene.crop.tensor, layer=number, subspace=k, strengths=[1.0, strength]),
        )
        if logits is not None:
            answers_compared(scene, logits[0], logits[1], f"s = {strength:g}")


def _covered(scene: Scene, number: int, box: Box) -> None:
    tensor = scene.crop.tensor.clone()
    tensor[:, :, box.top : box.bottom, box.left : box.right] = 0
    seen = answer(
        scene,
        ("covered", (box.top, box.bottom), (box.left, box.right)),
        "a pass of the covered picture",
        lambda model, _: attend(model, tensor),
    )
    if seen is None:
        return
    _covered_maps(scene, number, box, seen)
    answers_compared(scene, scene.attention.logits, seen.logits, "covered")


def _covered_maps(scene: Scene, number: int, box: Box, seen: Attention) -> None:
    """Show the maps of the covered picture, and how they differ from those before, all on one scale."""
    before, after = scene.attention.maps[number], seen.maps[number]
    pixels = scene.crop.pixels.copy()
    pixels[box.top : box.bottom, box.left : box.right] = 118
    both = scale_maps({number: np.concatenate([before, after])}, scene.view.scale)[number]
    g = len(after)
    show_tiles(
        [
            Tile(
                f"covered-{i}",
                f"Subspace {i + 1}",
                note=change_note(after[i], before[i]),
                source=data_uri(attention_tile(pixels, both.fractions[g + i], scene.view.display)),
                values=both.values[g + i],
                colour=subspace_colour(i, g),
            )
            for i in range(g)
        ],
        width=124,
        key="covered",
    )


def answers_compared(scene: Scene, before: np.ndarray, after: np.ndarray, name: str) -> None:
    """Set two answers (logits) beside each other, for the target and the most probable classes."""
    probabilities = [np.exp(v - v.max()) / np.exp(v - v.max()).sum() for v in (before.astype(np.float64), after.astype(np.float64))]
    numbers = list(dict.fromkeys([scene.target, *np.argsort(-probabilities[0])[:3], *np.argsort(-probabilities[1])[:3]]))
    st.dataframe(
        [
            {
                "class": scene.class_name(int(n)) + (" (target)" if n == scene.target else ""),
                "as trained": 100 * probabilities[0][n],
                name: 100 * probabilities[1][n],
                "Δ logit": round(float(after[n] - before[n]), 4) + 0.0,  # never "-0.000"
            }
            for n in numbers
        ],
        hide_index=True,
        column_config={
            "as trained": st.column_config.NumberColumn(format="%.1f %%"),
            name: st.column_config.NumberColumn(format="%.1f %%"),
            "Δ logit": st.column_config.NumberColumn(format="%+.3f"),
        },
    )
