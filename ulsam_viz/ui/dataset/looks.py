"""Pictures of a table on the page, small and read once as long as they are looked at.

Their maps in the colours that Inspect gives them.
"""

from __future__ import annotations

import hashlib

import numpy as np
import streamlit as st
from PIL import Image

from ...dataset.table import Table
from ...figures.colours import Scaled, all_scales
from ...images.preprocessing import Crop
from .source import Shown

_SIDE = 112  # pixels


def small_crop(table: Table, picture: int, *, side: int = _SIDE) -> Crop | None:
    """Return a picture of a table as the network saw it, drawn small; None if it is not there."""
    pixels = _pixels(table.key, picture, side, table) if table.looks and table.looks.are_here else None
    if pixels is None:
        return None
    return Crop(pixels, hashlib.sha256(f"{table.key} {picture} {side}".encode()).hexdigest())


@st.cache_data(max_entries=2000, ttl=600, show_spinner=False)  # seconds: no picture outlives its visitor by much
def _pixels(key: str, picture: int, side: int, _table: Table) -> np.ndarray | None:
    pixels = _table.looks.crop(picture) if _table.looks else None
    return None if pixels is None else np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX))


def scales_of(one: Shown, layer: int, maps: np.ndarray) -> dict[str, Scaled]:
    """Put maps of a layer (g, H, W) on every scale, whose ends the grids of all of the network's layers decide."""
    grids = _grids(one.table.key, one.table)
    flat = {other: np.full((1, *grid), 1 / (grid[0] * grid[1]), np.float32) for other, grid in grids.items()}
    attention = flat | {layer: maps}
    gain = one.variant.gain if one.variant else "published"
    return all_scales(attention, gains=dict.fromkeys(attention, gain))[layer]


@st.cache_data(max_entries=32, show_spinner=False)
def _grids(key: str, _table: Table) -> dict[int, tuple[int, int]]:
    """Return height and width of the maps of each layer, as far as there are any."""
    grids = {}
    for layer in _table.layers:
        maps = next((own for own in (_table.looks.all_maps(layer) if _table.looks else ()) if len(own)), None)
        if maps is not None:
            grids[layer] = (maps.shape[-2], maps.shape[-1])
    return grids
