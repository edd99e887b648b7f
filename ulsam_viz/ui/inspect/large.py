"""One subspace, large: its map and its numbers."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ...analysis import measures
from ...figures import charts
from ...figures.colours import scale_maps
from ..choose.place import choose_subspace
from ..run.scene import Scene, channel_range
from ..widgets.tables import table


def show_subspace(scene: Scene) -> tuple[int, int] | None:
    """Draw the chosen subspace large, with its numbers; return (layer, index), or None for the plain control."""
    if not scene.attention.maps:
        return None
    st.markdown("**One subspace, large**")
    number, k = choose_subspace(scene, label_visibility="collapsed")
    maps = scene.attention.maps[number]
    scaled = scale_maps(scene.attention.maps, scene.view.scale)[number]
    left, right = st.columns([1.4, 1], gap="large")
    with left:
        st.plotly_chart(
            charts.large_map(
                scene.crop.pixels,
                scaled,
                k,
                names=[f"Subspace {i + 1}" for i in range(len(maps))],
                colours=scene.view.display.colours,
                opacity=scene.view.display.opacity,
                smooth=scene.view.display.smooth,
            ),
            key="large",
            config={"displayModeBar": False},
            alt=f"attention map of subspace {k + 1} of layer {number}",
        )
    with right:
        st.html(table(_subspace_rows(scene, number, k)))
        if measures.is_dead(maps[k]):
            st.caption(
                "This map is uniform for this picture: the softmax follows a ReLU, and here the ReLU clipped every logit to 0. "
                "The subspace expresses no preference; all its places get the same gain."
            )
    return number, k


def _subspace_rows(scene: Scene, number: int, k: int) -> dict[str, str]:
    maps = scene.attention.maps[number]
    positions = maps.shape[-1] * maps.shape[-2]
    row, column = np.unravel_index(int(maps[k].argmax()), maps[k].shape)
    over_test_set = scene.variant.metrics["attention"][str(number)]
    return {
        "Channels": channel_range(scene.variant, number, k),
        "Effective area": f"{measures.effective_area(maps[k]):.1%} of {positions} places (over the test set {over_test_set['effective_area'][k]:.0%})",
        "Peak": f"{measures.peak(maps[k]):.2f} × uniform at row {row}, column {column} (test set {over_test_set['peak'][k]:.1f})",
        "Gain": f"{1 + maps[k].min():.4f} to {1 + maps[k].max():.4f}, mean {1 + 1 / positions:.4f}",
        "Uniform (dead)": f"for {over_test_set['dead_share'][k]:.1%} of the test set",
    }
