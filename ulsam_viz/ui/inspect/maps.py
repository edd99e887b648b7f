"""The maps of one layer in a row, side by side; it needs no torch, so that the first view is there before torch is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...analysis import measures
from ...figures.colours import Scaled, subspace_colour
from ...figures.drawing import Drawing
from ...figures.words import channel_words
from ...images.preprocessing import Crop
from ..choose.place import toggle
from ..widgets.legends import map_legend
from ..widgets.tiles import Tile, map_tile, show_tiles

COLUMNS = 4  # of the page


@dataclass(frozen=True)
class Layer:
    """A layer that carries a module: number, channels, maps (g, H, W), whether the module replaces it, and gain."""

    number: int
    channels: int
    maps: np.ndarray
    replaces: bool = False
    gain: str = "published"


def show_layer(
    layer: Layer, scales: Mapping[str, Scaled], crop: Crop, *, chosen: tuple[int, int] | None, alone: bool
) -> None:
    """Show a layer's maps; a click opens one.

    Args:
        layer: The layer.
        scales: Its maps on every scale, by :func:`~ulsam_viz.figures.colours.all_scales`.
        crop: The picture below them.
        chosen: Layer and index of the map that is looked at.
        alone: No other layer stands beside it.
    """
    g, height, width = layer.maps.shape
    tiles = [
        map_tile(
            scales,
            k,
            crop,
            id=f"{layer.number}.{k}",
            title=f"Subspace {k + 1}: {channel_words(layer.channels, g, k)}. Click to enlarge.",
            selectable=True,
            selected=chosen == (layer.number, k),
        )
        for k in range(g)
    ]
    key = f"maps-{layer.number}"
    formula = "1 + A" if layer.gain == "published" else "the normalised gain (1 + H·W·A) / 2, ours and not the paper's"
    show_tiles(
        [*tiles, _blend(layer, crop)],
        columns=_columns(g, alone=alone),
        heading=f"Attention {'instead of' if layer.replaces else 'after'} layer {layer.number}",
        help=f"{height} × {width} places; {layer.channels} channels in {g} subspace{'s' if g > 1 else ''} of "
        f"{layer.channels // g}. One softmax over "
        f"places for each subspace: a map A sums to 1, and features are multiplied by {formula}, here by "
        f"{measures.gain_of(layer.maps, layer.gain).max():.2f} at most. A map lies inside the "
        "network: it knows no class. Move the pointer over a tile (or focus it and use the arrow keys) "
        "to read every map at that place; click one to enlarge it.",
        legend=map_legend(scales),
        key=key,
        on_select=lambda: toggle(key),
    )


def _columns(groups: int, *, alone: bool) -> int:
    """Return how many maps stand in a row: 4 + 4 for 8, 8 + 8 for 16."""
    return 2 * COLUMNS if groups > 2 * COLUMNS else COLUMNS if alone and groups > 2 else min(groups, COLUMNS)


def _blend(layer: Layer, crop: Crop) -> Tile:
    relative = measures.relative_attention(layer.maps)
    hues = tuple(subspace_colour(k, len(relative)) for k in range(len(relative)))
    return Tile(
        f"{layer.number}.blend",
        "Blend",
        note="colour: strongest subspace",
        drawing=Drawing("blend", relative, crop, hues=hues, unit="×"),
        role="map",
        alt="Each place in the colour of the subspace that attends to it most",
        title="Each place in the colour of the subspace that attends to it most, stronger from 1 to 4 times uniform",
    )
