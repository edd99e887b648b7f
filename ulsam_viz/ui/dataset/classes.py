"""How far a measure depends on the class of the picture, where folders are classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...dataset.measures import Measure
from ...dataset.views import Selectivity, selectivity
from ...dataset.words import said_of_classes
from ...figures.datasets import class_means
from ...text.escaping import escape_markdown
from ...text.spreadsheets import escaped
from ..run.scene import pretty
from .source import Shown

_DRAWN = 40  # classes, those whose means differ most
_PLOT = {"displayModeBar": False}


def show(shown: Sequence[Shown], room: Sequence[DeltaGenerator], layer: int, measure: Measure) -> None:
    """Show for each subspace how much of the measure is explained by the class, and the means of the classes."""
    for i, (one, place) in enumerate(zip(shown, room, strict=True)):
        with place:
            if layer not in one.table.layers:
                st.info(f"{escape_markdown(one.network)} has no module after layer {layer}.")
                continue
            found = selectivity(one.table.of(measure, layer), one.table.folders)
            if found is None:
                st.info("Folders are taken for classes: at least two folders with two pictures each are needed.")
                continue
            st.markdown(said_of_classes(found))
            _show_table(found, measure)
            kept = _most_different(found.means)
            figure = class_means(
                found.means[kept],
                [pretty(found.classes[c]) for c in kept],
                [str(k + 1) for k in range(found.means.shape[1])],
                unit=measure.unit,
            )
            if len(kept) < len(found.classes):
                st.caption(f"The {len(kept)} of {len(found.classes)} classes whose means differ most.")
            st.plotly_chart(figure, config=_PLOT, key=f"classes-{i}")


def _show_table(found: Selectivity, measure: Measure) -> None:
    rows = []
    for k in range(found.means.shape[1]):
        order = [
            c
            for c in np.argsort(-np.nan_to_num(found.means[:, k], nan=-np.inf)).tolist()
            if not np.isnan(found.means[c, k])
        ]
        rows.append(
            {
                "subspace": k + 1,
                "explained": 100 * float(found.explained[k]),
                "most": escaped(", ".join(pretty(found.classes[c]) for c in order[:3])),
                "least": escaped(", ".join(pretty(found.classes[c]) for c in order[-3:][::-1])),
            }
        )
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            "explained": st.column_config.NumberColumn(
                "explained by the class",
                format="%.1f %%",
                help=f"Share of the variance of “{escape_markdown(measure.label)}” that lies between classes (eta "
                "squared). Where classes are shuffled, the "
                f"largest of all subspaces stays below {100 * found.chance:.1f} % in 95 of 100 shuffles.",
            ),
            "most": st.column_config.TextColumn("largest for"),
            "least": st.column_config.TextColumn("smallest for"),
        },
    )


def _most_different(means: np.ndarray) -> list[int]:
    """Return the classes that differ most from the others in any subspace, in their own order."""
    spread = np.nanstd(means, 0)
    scores = np.abs(means - np.nanmean(means, 0)) / np.where(spread > 0, spread, np.inf)
    largest = np.nan_to_num(scores).max(1)
    return sorted(np.argsort(-largest, kind="stable")[:_DRAWN].tolist())
