"""One subspace, large, in its place below the row: its map, its numbers, and room for its questions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...analysis import measures
from ...figures.colours import Scaled
from ...zoo.variants import UNKNOWN
from ..choose.place import choose_subspace, close, subspace_name
from ..run.scene import Scene, channel_range
from ..widgets.tables import table
from ..widgets.tiles import map_tile, show_tiles

_CONTROL = 260  # px


def show_large(scene: Scene, scales: Mapping[str, Scaled], number: int, k: int) -> DeltaGenerator:
    """Draw subspace k (from 0) of a layer large, with its numbers; return the room beside it."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            with st.container(width=_CONTROL):
                choose_subspace(scene, label_visibility="collapsed")
            st.button("Close", icon=":material/close:", on_click=close, key="close-large", help="Esc")
        left, right = st.columns([1, 1.2], gap="medium")
        with left:
            name = subspace_name(number, k)
            show_tiles([map_tile(scales, k, scene.crop, id="large")], columns=1, key="large", arrive=name)
            st.html(table(_rows(scene, number, k)))
            if measures.is_dead(scene.attention.maps[number][k]):
                st.caption("Uniform: a ReLU clipped every logit of this map to 0, so all its places get the same gain.")
        return right.container()


def _rows(scene: Scene, number: int, k: int) -> dict[str, str]:
    maps = scene.attention.maps[number]
    positions, gain = maps[k].size, measures.gain_of(maps[k], scene.variant.gain)
    row, column = np.unravel_index(int(maps[k].argmax()), maps[k].shape)
    usual = scene.variant.metrics.get("attention", {}).get(str(number))

    def over_test_set(key: str, form: str) -> str:
        return format(usual[key][k], form) if usual else UNKNOWN

    return {
        "Channels": channel_range(scene.variant, number, k),
        "Effective area": f"{measures.effective_area(maps[k]):.1%} of {positions} places (over the test set "
        f"{over_test_set('effective_area', '.0%')})",
        "Peak": f"{measures.peak(maps[k]):.2f} × uniform at row {row}, column {column} (test set "
        f"{over_test_set('peak', '.1f')})",
        "Gain": f"{gain.min():.4f} to {gain.max():.4f}, mean {gain.mean():.4f}",
        "Uniform (dead)": f"for {over_test_set('dead_share', '.1%')} of the test set" if usual else UNKNOWN,
    }
