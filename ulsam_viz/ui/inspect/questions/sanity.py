"""The question "Weights or groups shuffled": the maps without what was learned."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ....analysis import measures
from ....analysis.sanity import CHECKS
from ....analysis.verdicts import SMALLEST_CORRELATION
from ....figures.colours import Scaled, all_scales
from ....figures.words import map_note
from ....questions.describe import agreement_note
from ....questions.view import sanity
from ...run.requests import answer, asked_of
from ...run.scene import Scene
from ...widgets.tiles import map_tile, show_tiles


def show_sanity(scene: Scene, number: int) -> None:
    """Show a layer's maps as they are, and with weights or groups shuffled."""
    name, work = sanity(asked_of(scene), number)
    checks = answer(scene, name, "the maps with weights and groups shuffled, eight times each", work)
    if checks is None:
        return
    real = scene.attention.maps[number]
    every = dict(enumerate([real, *(c.maps for c in checks)]))
    scaled = all_scales(every, shared=True, gains=dict.fromkeys(every, scene.variant.gain))
    st.markdown("**As trained**")
    _sanity_row(scene, real, scaled[0], [map_note(m) for m in real], "trained")
    for i, check in enumerate(checks, start=1):
        alive = int((~np.isnan(check.correlations)).any(0).sum())
        st.markdown(
            f"**With {CHECKS[check.check]}**: {int(check.stays.sum())} of {alive} maps stay, that is, agree with the "
            f"real one beyond chance and by ρ ≥ {SMALLEST_CORRELATION} in most of {len(check.correlations)} shuffles. "
            "The first is shown."
        )
        _sanity_row(
            scene,
            check.maps,
            scaled[i],
            [
                agreement_note(column, bool(measures.is_dead(m)))
                for column, m in zip(check.correlations.T, real, strict=True)
            ],
            check.check,
        )
    st.caption(
        "A map that stays when the weights go shows the picture, not what was learnt (Adebayo et al. 2018). ρ: "
        "Spearman's rank correlation with the real map of that number, mean ± standard deviation over the shuffles; it "
        "compares the order of places, not how strong the preference is. Chance: what the real map reaches when it is "
        "shifted to every other place (the 95th percentile)."
        + (
            " Dealing channels to groups at random keeps every weight: what remains is what groups share."
            if len(real) > 1
            else ""
        )
    )


def _sanity_row(scene: Scene, maps: np.ndarray, scales: dict[str, Scaled], notes: list[str], key: str) -> None:
    show_tiles(
        [map_tile(scales, i, scene.crop, id=f"{key}-{i}", note=notes[i]) for i in range(len(maps))],
        width=124,
        key=f"sanity-{key}",
    )
