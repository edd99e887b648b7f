"""For each subspace the pictures that excite it most and least."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...dataset.measures import Measure
from ...dataset.views import extremes
from ...figures.colours import Scaled, subspace_colour
from ...figures.drawing import draw_map, draw_picture
from ...text.escaping import escape_markdown
from ..run.scene import pretty
from ..widgets.legends import map_legend
from ..widgets.tiles import Tile, show_tiles
from .looks import scales_of, small_crop
from .opened import ask_for, can_inspect
from .source import Shown

_SMALL, _LARGE = 84, 172  # px
_FEW = 4  # subspaces that have a row each, over the whole width
# Pictures of each end: of many subspaces, of few, of one, of one in two tables
_OF_MANY, _OF_ALL, _OF_ONE, _BESIDE = (2, 3, 12, 10)


def show(shown: Sequence[Shown], room: Sequence[DeltaGenerator], layer: int, subspace: int, measure: Measure) -> None:
    """Show the pictures of one subspace, or of all where it is -1."""
    for i, (one, place) in enumerate(zip(shown, room, strict=True)):
        with place:
            if layer not in one.table.layers or measure.name not in one.table.values[layer]:
                st.info(f"{escape_markdown(one.network)}: there is no such layer or measure in its table.")
                continue
            groups = one.table.groups(layer)
            chosen = [subspace] if 0 <= subspace < groups else list(range(groups))
            many = len(chosen) > _FEW
            few = many or (len(shown) > 1 and len(chosen) > 1)  # two tables' rows are as high as each other
            places = st.columns(2, gap="medium") if many and len(shown) == 1 else [st.container()]
            for turn, k in enumerate(chosen):
                # Down the first column, then the second: on a phone they are in order.
                with places[turn * len(places) // len(chosen)]:
                    _show_subspace(
                        one,
                        layer,
                        k,
                        measure,
                        count=_OF_MANY
                        if few
                        else _OF_ALL
                        if len(chosen) > 1
                        else _OF_ONE
                        if len(shown) == 1
                        else _BESIDE,
                        width=_SMALL if many or len(shown) > 1 else _LARGE,
                        legend=turn % -(-len(chosen) // len(places)) == 0,
                        key=f"extremes-{i}-{k}",
                    )


def _show_subspace(
    one: Shown, layer: int, k: int, measure: Measure, *, count: int, width: int, legend: bool, key: str
) -> None:
    values = one.table.of(measure, layer)[:, k]
    most, least = extremes(values, count)
    if not most:
        st.caption(f"Subspace {k + 1}: this measure means nothing for any picture.")
        return
    least.reverse()
    tiles, scales = [], None
    for picture in [*most, *least]:
        tile, scaled = _tile(one, picture, layer, k, f"{values[picture]:.3g} {measure.unit}".strip())
        tiles.append(tile)
        scales = scales or scaled
    show_tiles(
        tiles,
        width=width,
        heading=f"Subspace {k + 1}: most to least",
        help=f"By {measure.title.lower()}: the {len(most)} pictures with the most, then the {len(least)} with the "
        "least. Click one to inspect it.",
        legend=map_legend(scales) if legend and scales else None,
        key=key,
        on_select=partial(_inspect, one, layer, k, key),
    )


def _tile(one: Shown, picture: int, layer: int, k: int, note: str) -> tuple[Tile, dict[str, Scaled] | None]:
    """Return a picture with its map over it; without maps the picture alone, without a picture its name."""
    table = one.table
    crop, maps = small_crop(table, picture), table.looks.maps(picture, layer) if table.looks else None
    name = table.pictures[picture]
    about: dict[str, Any] = {
        "title": f"{name}: {pretty(table.answers[picture])} {table.probability[picture]:.0%}",
        "selectable": crop is not None and can_inspect(one),
    }
    short = name.rpartition("/")[2]
    if crop is None:
        return Tile(str(picture), short, note=note, wait="no picture here", title=name), None
    if maps is None or k >= len(maps):
        return Tile(
            str(picture),
            pretty(table.answers[picture]),
            note=note,
            drawing=draw_picture(crop),
            role="picture",
            alt=name,
            **about,
        ), None
    scales = scales_of(one, layer, maps[k : k + 1])
    return (
        Tile(
            str(picture),
            pretty(table.answers[picture]),
            note=note,
            drawing=draw_map(scales, 0, crop),
            role="map",
            alt=f"{name}, map of subspace {k + 1}",
            colour=subspace_colour(k, len(maps)),
            **about,
        ),
        scales,
    )


def _inspect(one: Shown, layer: int, k: int, key: str) -> None:
    selected = getattr(st.session_state.get(key), "selected", None)
    if isinstance(selected, str) and selected.isdecimal() and int(selected) < len(one.table.pictures):
        ask_for(one, int(selected), layer, k)
