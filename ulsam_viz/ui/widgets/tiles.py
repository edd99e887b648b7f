"""A row of linked tiles on the page: the place under the pointer is marked, and its value written, on every tile.

The browser colours the numbers itself (`paint.js`), so how maps are drawn changes without a run of the page.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import streamlit as st

from ...figures.colours import Scaled, rgb, subspace_colour
from ...figures.drawing import Drawing, draw_map
from ...figures.tiles import value_range
from ...figures.words import map_note, where_it_peaks
from ...images.preprocessing import Crop
from ..run.pictures import picture_key, pictures_to_send
from .legends import Legend
from .script import script

_HERE = Path(__file__).parent
_MANY = 4096  # numbers; more are sent in two bytes each

Role = Literal["map", "attribution", "picture", "other"]


@dataclass(frozen=True)
class Tile:
    """One tile.

    Attributes:
        id: What a selection reports.
        name: Heading.
        note: Line below, replaced by the value while the pointer is on a place.
        drawing: What is drawn; None for a plain picture, or while it is computed.
        over: Drawn over it, on the right of where the row is divided; see ``swipe`` of :func:`show_tiles`.
        source: Data URI of a plain picture.
        role: What it shows, for who measures the page.
        alt: What is seen, for who does not see it; the note where there is none.
        colour: The subspace's own, or "".
        title: Help text of the heading.
        selectable: Clicking it selects it.
        selected: It is selected.
        drops: It has a button that reports it as dropped.
        wait: Shown while there is no picture.
        ask: ``"place"``: a click (or Enter at the place of the arrow keys) reports a place of the values; ``"box"``: a
            rectangle drawn with the pointer is reported.
        mark: A rectangle that stays marked: top, left, height, width, in fractions of the picture; or None.
        boxes: More rectangles, each with the name that is written in it, or "".
        grid: Rows and columns of a picture that has no values of its own: it takes part in what is marked and asked.
        reach: So many cells around the one under the pointer are framed as well: what an operator looks at.
        card: Markup in place of a picture, from the package alone: it is not escaped.
    """

    id: str
    name: str
    note: str = ""
    drawing: Drawing | None = None
    over: Drawing | None = None
    source: str = ""
    role: Role = "other"
    alt: str = ""
    colour: str = ""
    title: str = ""
    selectable: bool = False
    selected: bool = False
    drops: bool = False
    wait: str = ""
    ask: Literal["", "place", "box"] = ""
    mark: tuple[float, float, float, float] | None = None
    boxes: Sequence[tuple[str, tuple[float, float, float, float]]] = ()
    grid: tuple[int, int] | None = None
    reach: int = 0
    card: str = ""

    def as_data(self) -> dict[str, Any]:
        """Return what the browser's half of the component reads."""
        return {
            "id": self.id,
            "name": self.name,
            "note": self.note,
            "drawing": as_data(self.drawing) if self.drawing else None,
            "over": as_data(self.over) if self.over else None,
            "src": self.source,
            "role": self.role,
            "alt": self.alt,
            "hue": self.colour,
            "title": self.title,
            "selectable": self.selectable,
            "selected": self.selected,
            "drops": self.drops,
            "wait": self.wait,
            "ask": self.ask,
            "mark": self.mark,
            "boxes": list(self.boxes),
            "grid": self.grid,
            "reach": self.reach,
            "card": self.card,
        }


def map_tile(scales: Mapping[str, Scaled], k: int, picture: Crop, *, id: str, **more: Any) -> Tile:
    """Return the tile of map k of a layer; ``scales`` as from :func:`~ulsam_viz.figures.colours.all_scales`."""
    maps = next(iter(scales.values())).maps
    about: dict[str, Any] = {
        "name": f"Subspace {k + 1}",
        "note": map_note(maps[k]),
        "alt": f"Attention map of subspace {k + 1}: {where_it_peaks(maps[k])}",
        "colour": subspace_colour(k, len(maps)),
    }
    return Tile(id, drawing=draw_map(scales, k, picture), role="map", **(about | more))


def as_data(drawing: Drawing) -> dict[str, Any]:
    """Return a drawing for the browser; many numbers take two bytes each, in steps of a 32,767th of the largest."""
    values, step = drawing.values, None
    if values.size > _MANY:
        step = max(float(np.abs(values).max()), 1e-30) / 32767
        encoded = np.round(values / step).astype("<i2").tobytes()
    else:
        encoded = values.astype("<f4").tobytes()
    return {
        "kind": drawing.kind,
        "values": base64.b64encode(encoded).decode(),
        "step": step,
        "rows": values.shape[-2],
        "columns": values.shape[-1],
        "picture": picture_key(drawing.picture) if drawing.picture else "",
        "readings": {name: vars(reading) for name, reading in drawing.readings.items()} if drawing.readings else None,
        "limit": drawing.limit,
        "range": (drawing.ends or value_range(values)) if drawing.kind == "values" else None,
        "hues": [rgb(hue) for hue in drawing.hues],
        "unit": drawing.unit,
        "block": drawing.block,
    }


@st.cache_resource
def _component() -> Any:
    return st.components.v2.component(
        "ulsam_viz_tiles",
        html='<div class="room"><div class="head"><div class="legend"></div></div><div class="tiles"></div></div>',
        css=(_HERE / "tiles.css").read_text(encoding="utf-8"),
        js=script("paint.js", "tiles.js"),
    )


def show_tiles(
    tiles: Sequence[Tile],
    *,
    width: int = 0,
    columns: int = 0,
    lattice: int = 0,
    key: str | None = None,
    small: bool = False,
    heading: str = "",
    help: str = "",
    legend: Legend | None = None,
    swipe: tuple[str, str] | None = None,
    offers: Mapping[str, str] | None = None,
    offer: str = "",
    arrive: str = "",
    on_select: Callable[[], None] | None = None,
    on_place: Callable[[], None] | None = None,
    on_box: Callable[[], None] | None = None,
    on_drop: Callable[[], None] | None = None,
    on_offer: Callable[[], None] | None = None,
) -> None:
    """Mount the tiles.

    Args:
        tiles: In order.
        width: Of each tile, in CSS pixels; they wrap. With ``lattice`` the most they take.
        columns: Instead: so many tiles a row, sharing its whole width; two a row on a phone.
        lattice: Instead: one row of so many columns, shared evenly by the tiles, of which none is wider than two; a
            multiple of their number. Its label is small, and a tile shows only its map and its hue: its title is on
            hover.
        key: Identity of the row; needed to read what it reports.
        small: Thumbnails: no notes, the name below.
        heading: Above the row.
        help: Of the heading, where the pointer or the focus is on its question mark.
        legend: The row's scale, beside the heading.
        swipe: What is drawn, and what is drawn over it: a slider divides all tiles between both, and a button turns
            them over.
        offers: Ids and names that a last, dashed tile offers to add.
        offer: What that tile says.
        arrive: When it changes to something, the page scrolls here.
        on_select: Called after a click, before the page runs again; ``st.session_state[key].selected`` is the tile's
            id.
        on_place: Called after a place was chosen; ``st.session_state[key].picked`` holds ``id``, ``row``, ``column``.
        on_box: Called after a box was drawn; ``st.session_state[key].boxed`` holds ``id`` and ``box``: top, left,
            bottom, right, in fractions of the picture.
        on_drop: Called after a tile was dropped; ``st.session_state[key].dropped`` is its id.
        on_offer: Called after one of the offers was taken; ``st.session_state[key].offered`` is its id.
    """
    data = {
        "tiles": [t.as_data() for t in tiles],
        "pictures": pictures_to_send([d.picture for t in tiles for d in (t.drawing, t.over) if d and d.picture]),
        "width": width,
        "columns": lattice or columns,
        "span": lattice // max(1, len(tiles)),
        "small": small,
        "heading": heading,
        "help": help,
        "legend": {
            "signed": legend.signed,
            "scales": {n: {"ticks": t, "unit": u} for n, (t, u) in legend.scales.items()},
        }
        if legend
        else None,
        "swipe": swipe,
        "offers": list((offers or {}).items()),
        "offer": offer,
        "arrive": arrive,
    }
    nothing: Callable[[], None] = lambda: None  # noqa: E731
    _component()(
        data=data,
        key=key,
        on_selected_change=on_select or nothing,
        on_picked_change=on_place or nothing,
        on_boxed_change=on_box or nothing,
        on_dropped_change=on_drop or nothing,
        on_offered_change=on_offer or nothing,
    )
