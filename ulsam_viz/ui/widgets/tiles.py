"""A row of linked tiles on the page: the place under the pointer is marked, and its value written, on every tile."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import streamlit as st

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Tile:
    """One tile.

    Attributes:
        id: What a selection reports.
        name: Heading.
        note: Line below, replaced by the value while the pointer is on a place.
        source: Data URI of the picture, or "" while it is computed.
        values: What the pointer reads, shape (rows, columns); None for a picture without values.
        unit: Written behind a value; ``"signed"`` writes the sign instead.
        colour: The subspace's own, or "".
        title: Help text of the heading.
        selectable: Clicking it selects it.
        selected: It is selected.
        wait: Shown while there is no picture.
        ask: ``"place"``: a click (or Enter at the place of the arrow keys) reports a place of ``values``; ``"box"``: a
            rectangle drawn with the pointer is reported.
        mark: A rectangle that stays marked: top, left, height, width, in fractions of the picture; or None.
    """

    id: str
    name: str
    note: str = ""
    source: str = ""
    values: np.ndarray | None = None
    unit: str = ""
    colour: str = ""
    title: str = ""
    selectable: bool = False
    selected: bool = False
    wait: str = ""
    ask: Literal["", "place", "box"] = ""
    mark: tuple[float, float, float, float] | None = None

    def as_data(self) -> dict[str, Any]:
        """Return what the browser's half of the component reads."""
        encoded = base64.b64encode(self.values.astype("<f4").tobytes()).decode() if self.values is not None else ""
        rows, columns = self.values.shape if self.values is not None else (0, 0)
        return {
            "id": self.id,
            "name": self.name,
            "note": self.note,
            "src": self.source,
            "values": encoded,
            "rows": rows,
            "columns": columns,
            "unit": self.unit,
            "hue": self.colour,
            "title": self.title,
            "selectable": self.selectable,
            "selected": self.selected,
            "wait": self.wait,
            "ask": self.ask,
            "mark": self.mark,
        }


@st.cache_resource
def _component() -> Any:
    return st.components.v2.component(
        "ulsam_viz_tiles",
        html='<div class="tiles"></div>',
        css=(_HERE / "tiles.css").read_text(),
        js=(_HERE / "tiles.js").read_text(),
    )


def show_tiles(
    tiles: Sequence[Tile],
    *,
    width: int,
    key: str | None = None,
    small: bool = False,
    columns: int = 0,
    on_select: Callable[[], None] | None = None,
    on_place: Callable[[], None] | None = None,
    on_box: Callable[[], None] | None = None,
) -> None:
    """Mount the tiles; they wrap to as many columns as fit.

    Args:
        tiles: In order.
        width: Of each tile, in CSS pixels.
        key: Identity of the row; needed to read a selection.
        small: Thumbnails: no notes, the name below.
        columns: One row of so many columns, shared evenly by the tiles, instead of wrapping; a multiple of their number.
        on_select: Called after a click, before the page runs again; ``st.session_state[key].selected`` is the tile's id.
        on_place: Called after a place was chosen; ``st.session_state[key].picked`` holds ``id``, ``row``, ``column``.
        on_box: Called after a box was drawn; ``st.session_state[key].boxed`` holds ``id`` and ``box``: top, left, bottom,
            right, in fractions of the picture.
    """
    data = {"tiles": [t.as_data() for t in tiles], "width": width, "small": small, "columns": columns}
    nothing: Callable[[], None] = lambda: None  # noqa: E731
    _component()(
        data=data,
        key=key,
        on_selected_change=on_select or nothing,
        on_picked_change=on_place or nothing,
        on_boxed_change=on_box or nothing,
    )
