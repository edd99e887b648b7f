"""How a measure is spread over the pictures, for every layer and subspace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...dataset.measures import Measure
from ...dataset.views import spread_of
from ...figures.datasets import share_bars, spread_boxes
from .source import Shown

_PLOT = {"displayModeBar": False}


def show(shown: Sequence[Shown], room: Sequence[DeltaGenerator], measure: Measure) -> None:
    """Show a box for each subspace, and the same in numbers; both tables on one axis."""
    found = [
        {
            layer: spread_of(one.table.of(measure, layer))
            for layer in one.table.layers
            if measure.name in one.table.values[layer]
        }
        for one in shown
    ]
    shares = measure.is_share
    ends = [
        v
        for spreads in found
        for s in spreads.values()
        for v in (s.mean if shares else s.quantiles).ravel()
        if np.isfinite(v)
    ]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = 0.05 * ((high - low) or 1)
    span = (min(0.0, low) if shares else low - margin, high + margin)
    for i, (spreads, place) in enumerate(zip(found, room, strict=True)):
        with place:
            if shares:
                figure = share_bars({layer: s.mean for layer, s in spreads.items()}, title=measure.title, span=span)
            else:
                figure = spread_boxes(
                    {layer: s.quantiles for layer, s in spreads.items()}, title=measure.title, span=span
                )
            st.plotly_chart(figure, config=_PLOT, key=f"distribution-{i}")
            st.caption(
                measure.help
                if shares
                else f"{measure.help} Boxes: quartiles; lines: 5th to 95th percentile of the pictures."
            )
            with st.expander("In numbers"):
                st.dataframe(
                    [
                        {"layer": layer, "subspace": k + 1, "mean": s.mean[k]}
                        | dict(zip(("5 %", "25 %", "50 %", "75 %", "95 %"), s.quantiles[:, k].tolist(), strict=True))
                        | {"pictures": int(s.known[k])}
                        for layer, s in spreads.items()
                        for k in range(len(s.mean))
                    ],
                    hide_index=True,
                )
