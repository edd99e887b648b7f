"""The scatter: a point for each picture; the one pointed at is shown with its map, a click inspects it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...dataset.measures import Measure
from ...dataset.views import apart
from ...figures.colours import subspace_colour
from ...figures.datasets import MANY, picture_scatter
from ...figures.drawing import draw_map, draw_picture
from ...figures.words import map_note
from ...text.escaping import escape_markdown
from ..run.scene import pretty
from ..run.state import keep
from ..widgets.tiles import Tile, show_tiles
from .looks import scales_of, small_crop
from .opened import ask_for, can_inspect
from .source import Shown

_SIDE = 224
_NUMBERS = ("point", "beside-point")  # of the pictures that are shown, in the address
_WEBGL = "webgl"  # whether this visitor's browser has it, once it has said so
_PLOT = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "toImage"]}


def show(
    shown: Sequence[Shown], room: Sequence[DeltaGenerator], layer: int, k: int, measures: tuple[Measure, Measure]
) -> None:
    """Show one subspace of a layer, a scatter for each table."""
    for i, (one, place) in enumerate(zip(shown, room, strict=True)):
        with place:
            if layer not in one.table.layers or k >= one.table.groups(layer):
                st.info(f"{escape_markdown(one.network)} has no subspace {k + 1} after layer {layer}.")
            elif any(m.name not in one.table.values[layer] for m in measures):
                st.info(f"{escape_markdown(one.network)}: its table lacks one of these measures.")
            else:
                _show(one, layer, k, measures, i)


@st.fragment
def _show(one: Shown, layer: int, k: int, measures: tuple[Measure, Measure], i: int) -> None:
    """Show the scatter and the picture under the pointer.

    Only this part of the page runs again as the pointer moves.
    """
    table, key = one.table, f"scatter-{i}"
    if st.session_state.pop(f"{key}-clicked", False):
        st.rerun(scope="app")  # which goes to Inspect
    number, most = keep(_NUMBERS[i]), len(table.pictures)
    if not 1 <= st.session_state.get(number, 1) <= most:  # of a table that had more
        st.session_state[number] = 1
    chart, beside = st.columns([3, 1])
    with beside:
        looked_at = st.number_input(
            "Picture",
            1,
            most,
            key=number,
            bind="query-params",
            on_change=_typed,
            args=(key,),
            help="Its number in the table; the arrow keys walk. The pointer on the chart chooses one too.",
        )
    looked_at -= 1
    # A pointer marks its point itself
    marked = None if st.session_state.get(f"{key}-by-pointer", not looked_at) else looked_at
    x, y = (table.of(m, layer)[:, k] for m in measures)
    with chart, st.container(key=key):
        titles, colour = (measures[0].title, measures[1].title), subspace_colour(k, table.groups(layer))
        known = apart(x, y, most)  # all that have both values
        few = len(known) > MANY and not st.session_state.get(_WEBGL)
        shown = apart(x, y, MANY) if few else known
        figure = picture_scatter(x, y, table.pictures, shown=shown, titles=titles, colour=colour, marked=marked)
        st.plotly_chart(figure, config=_PLOT, key=f"{key}-chart")
        if few:
            st.caption(
                f"{len(shown):,} points for {len(known):,} pictures: of those that lie together, one. A browser with "
                "WebGL shows all; every picture has its number."
            )
        _component()(
            data={"chart": key, "marked": marked, "wantsWebgl": few},
            key=f"{key}-hover",
            on_webgl_change=_said_webgl,
            on_hovered_change=partial(_hovered, key, number),
            on_clicked_change=partial(_clicked, one, layer, k, key),
        )
    with beside:
        _show_picture(one, looked_at, layer, k, key)
        for measure, values in zip(measures, (x, y), strict=True):
            st.caption(f"{escape_markdown(measure.label)}: {values[looked_at]:.4g} {measure.unit}")


def _show_picture(one: Shown, picture: int, layer: int, k: int, key: str) -> None:
    table = one.table
    crop, maps = small_crop(table, picture, side=_SIDE), table.looks.maps(picture, layer) if table.looks else None
    name = table.pictures[picture]
    answer = f"{pretty(table.answers[picture])} {table.probability[picture]:.1%}"
    if crop is None:
        st.markdown(f"**{escape_markdown(name)}**  \n{escape_markdown(answer)}")
        st.caption("Its picture is not here.")
        return
    if maps is None or k >= len(maps):
        tile = Tile(str(picture), answer, note=name, drawing=draw_picture(crop), role="picture", alt=name)
    else:
        scales = scales_of(one, layer, maps)
        colour = subspace_colour(k, len(maps))
        tile = Tile(
            str(picture),
            answer,
            note=map_note(maps[k]),
            drawing=draw_map(scales, k, crop),
            role="map",
            alt=name,
            colour=colour,
        )
    show_tiles([tile], columns=1, key=f"{key}-tile")
    with st.container(key=f"{key}-name"):
        st.caption(escape_markdown(name))
    st.button(
        "Inspect it",
        key=f"{key}-inspect",
        on_click=_ask,
        args=(one, picture, layer, k, key),
        disabled=not can_inspect(one),
    )


@st.cache_resource
def _component() -> Any:
    script = (Path(__file__).parent / "hover.js").read_text(encoding="utf-8")
    return st.components.v2.component("ulsam_viz_hover", html='<div class="hover"></div>', js=script)


def _said_webgl() -> None:
    st.session_state[_WEBGL] = True


def _typed(key: str) -> None:
    st.session_state[f"{key}-by-pointer"] = False


def _hovered(key: str, number: str) -> None:
    picture = getattr(st.session_state.get(f"{key}-hover"), "hovered", None)
    if isinstance(picture, int):
        st.session_state[number], st.session_state[f"{key}-by-pointer"] = picture + 1, True


def _clicked(one: Shown, layer: int, k: int, key: str) -> None:
    picture = getattr(st.session_state.get(f"{key}-hover"), "clicked", None)
    if isinstance(picture, int) and 0 <= picture < len(one.table.pictures) and can_inspect(one):
        _ask(one, picture, layer, k, key)


def _ask(one: Shown, picture: int, layer: int, k: int, key: str) -> None:
    ask_for(one, picture, layer, k)
    st.session_state[f"{key}-clicked"] = True
