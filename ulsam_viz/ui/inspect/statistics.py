"""How the maps of a layer relate to the attributions, and to each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from ...analysis import measures
from ...analysis.attribution import Attribution
from ...analysis.methods import METHODS
from ...figures import charts
from ...figures.tiles import block_means
from ..run.scene import Scene
from ..run.state import keep


@st.fragment
def show_statistics(scene: Scene, attributions: Mapping[str, Attribution]) -> None:
    """Show both in one section, for those who open it: the browser needs a second to load what draws charts."""
    if not scene.attention.maps:
        return
    section = st.expander("Statistics: agreement and redundancy", key=keep("statistics"), on_change="rerun")
    if section.open:
        with section:
            for number, maps in scene.attention.maps.items():
                _of_layer(scene, number, maps, attributions)


def _of_layer(scene: Scene, number: int, maps: np.ndarray, attributions: Mapping[str, Attribution]) -> None:
    left, right = st.columns(2, gap="large")
    names = [f"S{k + 1}" for k in range(len(maps))]
    title = f", layer {number}" if len(scene.attention.maps) > 1 else ""
    with left:
        st.markdown(
            f"**Agreement{title}**: do subspaces and attributions rank places alike?",
            help="Spearman's rank correlation on the map's grid. Chance: the 95th percentile of the magnitude when "
            "the map is shifted "
            "to every other place, which keeps its smoothness. Agreement does not mean that the attention caused the "
            "decision.",
        )
        if attributions:
            _agreement(number, maps, names, attributions)
        else:
            st.caption("Choose an attribution method to compare with.")
    with right:
        st.markdown(
            f"**Redundancy{title}**: do subspaces say the same?",
            help="Pearson correlation between maps: +1 the same places, 0 unrelated, −1 opposite places. Empty where "
            "a map is uniform.",
        )
        if len(maps) > 1:
            st.plotly_chart(
                charts.correlation_matrix(measures.redundancy(maps), names, names),
                key=f"redundancy-{number}",
                config={"displayModeBar": False},
                alt="correlations between the maps of the subspaces",
            )
        else:
            st.caption("With one subspace there is nothing to compare.")


def _agreement(number: int, maps: np.ndarray, names: list[str], attributions: Mapping[str, Attribution]) -> None:
    side = maps.shape[-1]
    values = np.full((len(maps), len(attributions)), np.nan)
    notes = [[""] * len(attributions) for _ in maps]
    above = np.zeros(values.shape, bool)
    for j, result in enumerate(attributions.values()):
        coarse = block_means(result.values, side)
        for k, attention_map in enumerate(maps):
            if measures.is_dead(attention_map):
                notes[k][j] = "the map is uniform: it ranks nothing"
                continue
            found = measures.agreement(attention_map, coarse)
            values[k, j] = found.correlation
            above[k, j] = found.above_chance
            notes[k][j] = f"chance reaches ±{found.chance:.2f}: " + (
                "above chance" if found.above_chance else "within chance"
            )
    st.plotly_chart(
        charts.correlation_matrix(values, names, [METHODS[n].label for n in attributions], notes=notes, starred=above),
        key=f"agreement-{number}",
        config={"displayModeBar": False},
        alt="rank correlations between subspaces and attributions",
    )
    count = int((~np.isnan(values)).sum())
    st.caption(
        f"\\* beyond chance, in either direction: {above.sum()} of {count} pairs; of maps that lie anywhere, about "
        f"{0.05 * count:.1f} would be. That both prefer the centre, or the border, whatever the picture, counts as "
        "agreement too. Hover to see the level."
    )
