"""What happens if something is changed: a part of the picture covered, or one map turned up or down."""

from __future__ import annotations

import numpy as np
import streamlit as st
from torch import Tensor

from ....analysis import effects
from ....analysis.attention import Attention, attend
from ....analysis.faithfulness import Box
from ....engine.engine import Pause
from ....figures.colours import all_scales
from ....figures.words import change_note
from ....models.network import Network
from ....questions.describe import compared_rows
from ....text.escaping import escape_markdown
from ....text.spreadsheets import escaped
from ...choose.box import choose_box, cover
from ...run.requests import answer
from ...run.scene import Scene, pretty
from ...run.state import keep
from ...widgets.tiles import map_tile, show_tiles

_OTHERS = 8


def show_what_if(scene: Scene, number: int, k: int) -> None:
    """Let the visitor cover a part of the picture, and turn one map up or down."""
    side = scene.variant.input_size
    left, right = st.columns([1, 1.4], gap="medium")
    with left:
        third = Box(side // 3, side // 3, 2 * side // 3, 2 * side // 3)
        box = choose_box(scene, "cover", "Cover a part of the picture", third, covered=True)
        st.caption("Covered with the mean colour that inputs are normalised by.")
    with right:
        _covered(scene, number, box)
    left, right = st.columns([1, 1.4], gap="medium")
    with left:
        st.markdown(f"Turn subspace {k + 1}'s attention up or down")
        strength = st.slider(
            "Strength s of the gain 1 + s · A",
            0.0,
            40.0,
            10.0,
            0.5,
            key=keep("strength"),
            bind="query-params",
            help="1 is the network as trained.",
        )
    with right:
        logits = answer(
            scene,
            ("strength", number, k, strength),
            "the rest of the network",
            lambda model, _: effects.with_strength(
                model, scene.crop.tensor, layer=number, subspace=k, strengths=[1.0, strength]
            ),
        )
        if logits is not None:
            answers_compared(scene, logits[0], logits[1], f"s = {strength:g}")


def _covered(scene: Scene, number: int, box: Box) -> None:
    places = [box, *_other_places(box, scene.variant.input_size)]

    def work(model: Network, pause: Pause) -> list[Attention]:
        seen = []
        for place in places:
            pause(1)
            seen.append(attend(model, _without(scene.crop.tensor, place)))
        return seen

    seen = answer(
        scene,
        ("covered", (box.top, box.bottom), (box.left, box.right)),
        "passes of the covered picture",
        work,
        passes=len(places),
    )
    if seen is None:
        return
    _covered_maps(scene, number, box, seen[0])
    answers_compared(scene, scene.attention.logits, seen[0].logits, "covered")
    moved = [float(one.logits[scene.target] - scene.attention.logits[scene.target]) for one in seen]
    if len(moved) > 2:
        st.caption(
            f"A box of this size at {len(moved) - 1} other places of the picture moves the logit of "
            f"“{escape_markdown(scene.class_name(scene.target))}” by {np.mean(moved[1:]):+.3f} ± "
            f"{np.std(moved[1:], ddof=1):.3f} (standard deviation); this one by {moved[0]:+.3f}."
        )


def _without(tensor: Tensor, box: Box) -> Tensor:
    covered = tensor.clone()
    covered[:, :, box.top : box.bottom, box.left : box.right] = 0
    return covered


def _other_places(box: Box, side: int) -> list[Box]:
    """Return boxes of the same size at fixed random positions, less than half of each inside the box itself.

    Fewer, or none, where the box leaves too little of the picture for that.
    """
    height, width = box.bottom - box.top, box.right - box.left
    rng = np.random.default_rng(0)
    corners = rng.integers(0, (side - height + 1, side - width + 1), (40 * _OTHERS, 2))
    common = np.clip(height - abs(corners[:, 0] - box.top), 0, None) * np.clip(
        width - abs(corners[:, 1] - box.left), 0, None
    )
    elsewhere = corners[common < 0.5 * height * width][:_OTHERS].tolist()
    return [Box(top, left, top + height, left + width) for top, left in elsewhere]


def _covered_maps(scene: Scene, number: int, box: Box, seen: Attention) -> None:
    """Show the maps of the covered picture, and how they differ from those before, all on one scale."""
    before, after = scene.attention.maps[number], seen.maps[number]
    covered = cover(scene.crop, box, scene.variant.preprocessing)
    # Their ends follow from the grid: those of the maps before
    scales = all_scales({number: after}, gains={number: scene.variant.gain})[number]
    g = len(after)
    show_tiles(
        [map_tile(scales, i, covered, id=f"covered-{i}", note=change_note(after[i], before[i])) for i in range(g)],
        width=124,
        key="covered",
    )


def answers_compared(scene: Scene, before: np.ndarray, after: np.ndarray, name: str) -> None:
    """Set two answers (logits) beside each other, for the target and the most probable classes."""
    classes = [escaped(pretty(name)) for name in scene.variant.classes]
    st.dataframe(
        compared_rows(
            classes, scene.target, before, after, temperature=scene.variant.calibration.temperature, name=name
        ),
        hide_index=True,
        column_config={
            "as trained": st.column_config.NumberColumn(format="%.1f %%"),
            name: st.column_config.NumberColumn(format="%.1f %%"),
            "Δ logit": st.column_config.NumberColumn(format="%+.3f"),
        },
    )
