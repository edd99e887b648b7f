"""The page "Dataset": statistics and extremes of many pictures through one network or two."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import streamlit as st

from ...dataset.made import as_parquet
from ...dataset.measures import Measure
from ...figures.charts import figure
from ...paths import program
from ...text.escaping import escape_markdown
from ..choose.display import current_view, show_view
from ..choose.ids import choose_by_id
from ..run.address import saying_missing
from ..run.page import open_page
from ..run.state import keep
from . import classes, distributions, means, pictures, scatter
from .opened import go_where_asked
from .source import Shown, choose_shown

_VIEWS = {
    "pictures": "Pictures",
    "distributions": "Distributions",
    "scatter": "Scatter",
    "classes": "Classes",
    "means": "Mean maps",
}


def show() -> None:
    """Draw the page."""
    variants = open_page("dataset")
    go_where_asked()
    head = st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="dataset-head")
    with head:
        view = choose_by_id(st.segmented_control, "View", _VIEWS, key="look", required=True)
        controls = st.container(horizontal=True, vertical_alignment="bottom", gap="small", width="stretch")
        current_view()
        with st.container(width=76):
            show_view(blend=False)
    shown = choose_shown(variants)
    if not shown:
        _show_nothing()
        return
    with controls:
        layer = _choose_layer(shown) if view != "distributions" else 0  # which shows all
    room = st.columns(len(shown), gap="medium") if len(shown) > 1 else [st.container()]
    for one, place in zip(shown, room, strict=True):
        with place:
            _show_head(one)
    if view == "distributions":
        measure = _choose_measure(shown, controls, "Measure")
        distributions.show(shown, room, measure)
    elif view == "scatter":
        with controls:
            k = _choose_subspace(shown, layer)
        x, y = (_choose_measure(shown, controls, axis, nth=i) for i, axis in enumerate(("Across", "Up")))
        scatter.show(shown, room, layer, k, (x, y))
    elif view == "classes":
        measure = _choose_measure(shown, controls, "Measure")
        classes.show(shown, room, layer, measure)
    elif view == "means":
        means.show(shown, room, layer)
    else:
        with controls:
            subspace = _choose_subspace(shown, layer, all_of_them=True)
        measure = _choose_measure(shown, controls, "Ranked by")
        pictures.show(shown, room, layer, subspace, measure)
    _show_downloads(shown)
    if view in ("pictures", "means"):
        _fetch_charts()


def _fetch_charts() -> None:
    """Load the chart library in the browser early: the first view with a chart would wait for it a second or more."""
    with st.container(key="dataset-charts"):
        st.html("<style>.st-key-dataset-charts { display: none; }</style>")
        st.plotly_chart(figure([]), key="dataset-chart")


def _show_nothing() -> None:
    st.info(
        f"Bring photographs in the sidebar, or open a table that `{program()} batch FOLDER --variant NAME --out DIR` "
        "made of any number of them."
    )


def _show_head(one: Shown) -> None:
    table = one.table
    known = [
        (answer, folder)
        for answer, folder in zip(table.answers, table.folders, strict=True)
        if folder in _classes_of(one)
    ]
    right = (
        f" · top-1 {np.mean([a == f for a, f in known]):.1%} of {len(known):,} whose folder is a class" if known else ""
    )
    st.markdown(
        f"**{escape_markdown(table.title)}** · {len(table.pictures):,} pictures · {escape_markdown(one.network)}{right}"
    )
    if table.variant and not one.variant:
        st.caption(":material/info: This network is not here: its pictures cannot be inspected with it.")


def _classes_of(one: Shown) -> frozenset[str]:
    return frozenset(one.variant.classes) if one.variant else frozenset()


def _choose_layer(shown: Sequence[Shown]) -> int:
    layers = list(dict.fromkeys(layer for one in shown for layer in one.table.layers))
    if len(layers) == 1:
        return layers[0]
    with saying_missing("dataset-layer", layers, "layer", layers[-1]):
        return int(
            st.selectbox(
                "Layer", layers, index=len(layers) - 1, key=keep("dataset-layer"), bind="query-params", width=90
            )
        )


def _choose_subspace(shown: Sequence[Shown], layer: int, *, all_of_them: bool = False) -> int:
    """Return the subspace from 0; -1 for all of them."""
    most = max((one.table.groups(layer) for one in shown if layer in one.table.layers), default=1)
    options = [*(["all"] if all_of_them else []), *map(str, range(1, most + 1))]
    key = "dataset-subspace" if not all_of_them else "dataset-subspaces"
    with saying_missing(key, options, "subspace", options[0]):
        chosen = st.selectbox("Subspace", options, key=keep(key), bind="query-params", width=95)
    return -1 if chosen == "all" else int(chosen) - 1


def _choose_measure(
    shown: Sequence[Shown], place: st.delta_generator.DeltaGenerator, label: str, *, nth: int = 0
) -> Measure:
    offered = {m.name: m for one in shown for m in one.table.measures}
    key = f"measure{nth or ''}"
    names, usual = list(offered), min(nth, len(offered) - 1)

    def words(name: str) -> str:
        return offered[name].label if name in offered else name

    with place, saying_missing(key, names, "measure", names[usual], words=words):
        name = st.selectbox(
            label,
            names,
            index=usual,
            key=keep(key),
            bind="query-params",
            format_func=words,
            width=170,
            help="\n".join(f"- **{escape_markdown(m.title)}**: {m.help}" for m in offered.values())
            if not nth
            else None,
        )
    return offered[name]


def _show_downloads(shown: Sequence[Shown]) -> None:
    made = [one for one in shown if one.rows is not None]
    if not made:
        return
    with st.container(horizontal=True):
        for one in made:
            st.download_button(
                "Table (Parquet)",
                partial(as_parquet, one.rows),
                f"{one.table.variant}-attention.parquet",
                "application/vnd.apache.parquet",
                on_click="ignore",
                icon=":material/download:",
                key=f"table-{one.table.variant}",
            )
