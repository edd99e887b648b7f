"""The maps of many networks on one scale.

Rows of group counts, children under their parents, or positions side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from ...analysis import measures
from ...analysis.attention import Attention
from ...figures.colours import Scaled, all_scales
from ...figures.drawing import draw_picture
from ...figures.words import map_note
from ...images.preprocessing import ModelInput
from ...zoo.variants import Variant
from ..run.scene import channel_range, pretty
from ..widgets.legends import map_legend
from ..widgets.tables import table
from ..widgets.tiles import Tile, map_tile, show_tiles

_TILE = 160  # px, the most: five rows then fit a window
_BESIDE = {1: 6, 2: 4, 4: 2}  # positions in one row, by g; wherever it is larger, one
_ADDRESS = "large"
_HELP = (
    "All maps are on one colour scale. Point at a place, or focus a tile and use the arrow keys, to read every map "
    "there; click one to enlarge it. The networks were trained separately, so maps need not agree. "
)
_NESTED = (
    "A map stands under the one whose channels it splits: subspace 1 of g = 2 holds the channels of subspaces 1 and 2 "
    "of g = 4."
)


@dataclass(frozen=True)
class Row:
    """One layer of one network of the comparison; ``layer`` is None for the plain control.

    Attributes:
        network: What tells the network from the others: its g, or its position.
        variant: The network.
        layer: Number of the layer.
        seen: Its pass.
    """

    network: str
    variant: Variant
    layer: int | None
    seen: Attention

    @property
    def several(self) -> bool:
        """Whether its network has maps of several layers."""
        return self.variant.placement is not None and len(self.variant.placement.layers) > 1

    @property
    def label(self) -> str:
        """What tells the row from the others."""
        return f"{self.network} (layer {self.layer})" if self.several else self.network

    @property
    def maps(self) -> np.ndarray:
        """The layer's maps, (g, H, W); none for the plain control."""
        return self.seen.maps[self.layer] if self.layer is not None else np.empty((0, 1, 1))

    @property
    def heading(self) -> str:
        """The label with the network's answer."""
        top = self.seen.top(1)[0]
        return f"{self.label} · {pretty(self.variant.classes[top])} {self.seen.probabilities[top]:.1%}"


def show_lattice(rows: Sequence[Row], crop: ModelInput, *, by_groups: bool) -> None:
    """Draw the rows that have maps; the one that is looked at opens below its row."""
    placed = [row for row in rows if row.layer is not None]
    # One scale for all: every map of the comparison goes through it together.
    gains = {i: row.variant.gain for i, row in enumerate(placed)}
    scales = all_scales({i: row.maps for i, row in enumerate(placed)}, shared=True, gains=gains)
    columns = max(len(row.maps) for row in placed)
    beside = 1 if by_groups else _BESIDE.get(columns, 1)
    for start in range(0, len(placed), beside):
        line = range(start, min(start + beside, len(placed)))
        for i, place in zip(line, st.columns(beside) if beside > 1 else [st.container()], strict=False):
            with place:
                _row(placed[i], scales[i], crop, columns, first=i == 0, by_groups=by_groups)
        for i in line:
            for k in range(len(placed[i].maps)):
                if st.query_params.get(_ADDRESS) == _id(placed[i], k):
                    _large(placed[i], scales[i], k, crop)


def _row(
    row: Row, scales: Mapping[str, Scaled], crop: ModelInput, columns: int, *, first: bool, by_groups: bool
) -> None:
    key = f"row-{row.variant.name}-{row.layer}"
    tiles = [
        map_tile(
            scales,
            k,
            crop,
            id=_id(row, k),
            name=f"{row.label}, subspace {k + 1}",
            note="",
            title=f"{row.label}, subspace {k + 1}: {map_note(row.maps[k])}. Click to enlarge.",
            selectable=True,
            selected=st.query_params.get(_ADDRESS) == _id(row, k),
        )
        for k in range(len(row.maps))
    ]
    show_tiles(
        tiles,
        width=_TILE,
        lattice=columns,
        heading=row.heading,
        help=_HELP + (_NESTED if by_groups else "") if first else "",
        legend=map_legend(scales) if first else None,
        key=key,
        on_select=lambda: _toggle(getattr(st.session_state.get(key), "selected", None)),
    )


def _large(row: Row, scales: Mapping[str, Scaled], k: int, crop: ModelInput) -> None:
    """Show one map and the picture as large as the page allows, with the map's numbers."""
    assert row.layer is not None
    this = row.maps[k]
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{row.label}, subspace {k + 1}**")
            st.button("Close", icon=":material/close:", on_click=_toggle, args=(None,), key="close-large", help="Esc")
        left, right = st.columns([2, 1], gap="medium")
        with left:
            picture = Tile(
                "picture",
                "The picture",
                drawing=draw_picture(crop),
                role="picture",
                alt="The picture as the networks see it",
            )
            show_tiles([map_tile(scales, k, crop, id="large"), picture], columns=2, key="large", arrive=_id(row, k))
        row_number, column = np.unravel_index(int(this.argmax()), this.shape)
        right.html(
            table(
                {
                    "Channels": channel_range(row.variant, row.layer, k),
                    "Effective area": f"{measures.effective_area(this):.1%} of {this.size} places",
                    "Peak": f"{measures.peak(this):.2f} × uniform at row {row_number}, column {column}",
                    "Entropy": f"{measures.entropy(this):.2f} of {np.log2(this.size):.2f} bits",
                }
            )
        )


def _id(row: Row, k: int) -> str:
    return f"{row.variant.name}.{row.layer}.{k + 1}"


def _toggle(selected: str | None) -> None:
    """Open the map whose tile was clicked, or close it."""
    if selected and st.query_params.get(_ADDRESS) != selected:
        st.query_params[_ADDRESS] = selected
    else:
        st.query_params.pop(_ADDRESS, None)
