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
from ...images.preprocessing import Crop
from ...text.escaping import escape_markdown
from ..widgets.legends import map_legend
from ..widgets.tiles import map_tile, show_tiles
from .source import Shown

_GREY = Crop(np.full((112, 112, 3), 128, np.uint8), "grey")  # below a map that belongs to no one picture
_BESIDE = 116  # px, of a map where two tables share the page
_HELP = (
    "The mean over all pictures, in multiples of uniform. **same**: share of what single maps prefer (squared "
    "difference from uniform) that their mean explains: 100 % where every picture has the same map. **centre**: "
    "correlation of the mean map with nearness to the centre."
)


def show(shown: Sequence[Shown], room: Sequence[DeltaGenerator], layer: int) -> None:
    """Show the mean maps of a layer, all tables' on one scale, and say what they are."""
    found = [_means(one.table.key, layer, one.table) if layer in one.table.layers else None for one in shown]
    high = _scale_end([means for means in found if means])
    for i, (one, means, place) in enumerate(zip(shown, found, room, strict=True)):
        with place:
            if layer not in one.table.layers:
                st.info(f"{escape_markdown(one.network)} has no module after layer {layer}.")
            elif missing := _missing(one.table, means):
                st.info(missing)
            if means:
                st.markdown(said_of_mean_maps(means))
                _show(means, layer, high, beside=len(shown) > 1, key=f"means-{i}")


def _missing(table: Table, means: MeanMaps | None) -> str:
    """Say which maps there are not, and why; "" where all are here."""
    kept, read = table.looks.with_maps if table.looks else 0, means.pictures if means else 0
    if not kept:
        return (
            "There are no maps beside this table's numbers: open the folder that `batch` wrote, made without --no-maps."
        )
    if read < kept:
        return (
            f"The maps of {kept - read:,} of {kept:,} pictures cannot be read: files in the table's folder `maps` are "
            "damaged or gone."
        )
    return ""


def _scale_end(found: Sequence[MeanMaps]) -> float:
    """Return the end of the colours, a power of two from 2: over many pictures the mean nears uniform."""
    largest = max((float(np.percentile(means.maps, 99)) * means.maps[0].size for means in found), default=2.0)
    return 2.0 ** max(1, round(np.ceil(np.log2(largest))))


@st.cache_data(max_entries=32, show_spinner="Maps are being averaged")
def _means(key: str, layer: int, _table: Table) -> MeanMaps | None:
    return mean_maps(_table, layer)


def _show(found: MeanMaps, layer: int, high: float, *, beside: bool, key: str) -> None:
    scales = {"": Scaled(found.maps, 1 / high, high, "× uniform", found.maps[0].size, logarithmic=True, open_end=True)}
    tiles = [
        map_tile(
            scales,
            k,
            _GREY,
            id=f"{layer}.{k}",
            note="always uniform"
            if np.isnan(found.same[k])
            else f"same {found.same[k]:.0%}, centre {found.centre[k]:+.2f}",
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
