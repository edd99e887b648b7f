"""The mean map of each subspace: is it the same place in every picture, and is that just the centre?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...dataset.table import Table
from ...dataset.views import MeanMaps, mean_maps
from ...dataset.words import said_of_mean_maps
from ...figures.colours import Scaled
from ...images import Crop
from ..widgets.legends import map_legend
from ..widgets.tiles import map_tile, show_tiles
from .source import Shown

_GREY = Crop(np.full((112, 112, 3), 128, np.uint8), "grey")  # below a map that belongs to no one picture
_ENDS = (0.5, 2.0)  # of the scale: means of many maps are never as far from uniform as single ones
_BESIDE = 116  # px, of a map where two tables share the page
_HELP = (
    "The mean over all pictures, in multiples of uniform. **same**: share of what single maps prefer (squared difference from "
    "uniform) that their mean explains: 100 % where every picture has the same map. **centre**: correlation of the mean map "
    "with nearness to the centre."
)


def show(shown: Sequence[Shown], room: Sequence[DeltaGenerator], layer: int) -> None:
    """Show the mean maps of a layer, and say what they are."""
    for i, (one, place) in enumerate(zip(shown, room, strict=True)):
        with place:
            found = _means(one.table.key, layer, one.table) if layer in one.table.layers else None
            if layer not in one.table.layers:
                st.info(f"{one.network} has no module after layer {layer}.")
            elif found is None:
                st.info(
                    "There are no maps beside this table's numbers: open the folder that `batch` wrote, made without --no-maps."
                )
            else:
                st.markdown(said_of_mean_maps(found))
                _show(found, layer, beside=len(shown) > 1, key=f"means-{i}")


@st.cache_data(max_entries=32, show_spinner="Maps are being averaged")
def _means(key: str, layer: int, _table: Table) -> MeanMaps | None:
    return mean_maps(_table, layer)


def _show(found: MeanMaps, layer: int, *, beside: bool, key: str) -> None:
    low, high = _ENDS
    scales = {"": Scaled(found.maps, low, high, "× uniform", found.maps[0].size, logarithmic=True, open_end=True)}
    tiles = [
        map_tile(
            scales,
            k,
            _GREY,
            id=f"{layer}.{k}",
            note="always uniform" if np.isnan(found.same[k]) else f"same {found.same[k]:.0%}, centre {found.centre[k]:+.2f}",
        )
        for k in range(len(found.maps))
    ]
    show_tiles(
        tiles,
        width=_BESIDE if beside else 0,
        columns=0 if beside else 8 if len(tiles) > 4 else 4,
        heading=f"Mean maps of layer {layer} over {found.pictures:,} pictures",
        help=_HELP,
        legend=map_legend(scales),
        key=key,
    )
