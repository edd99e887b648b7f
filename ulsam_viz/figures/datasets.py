"""Plotly figures of many pictures: how a measure is spread, picture by picture, and class by class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .charts import NEUTRAL, colour_scale, figure, labelled
from .colours import DIVERGING, subspace_colour

_NUMBERED = 8  # subspaces of a layer that are all numbered; of more, the first, the middle and the last
MANY = 4000  # points that a browser draws one by one; more are drawn by its graphics card, where it has one


def spread_boxes(
    spreads: Mapping[int, np.ndarray], *, title: str, span: tuple[float, float] | None = None
) -> go.Figure:
    """Draw a box for each subspace, layers side by side.

    Args:
        spreads: By layer the 5th, 25th, 50th, 75th and 95th percentile, shape (5, g).
        title: Of the values.
        span: What their axis shows, where several figures compare; None: what is there.
    """
    boxes = [
        {
            "type": "box",
            "x": [place],
            **{
                name: [float(v)]
                for name, v in zip(("lowerfence", "q1", "median", "q3", "upperfence"), values, strict=True)
            },
            "name": f"Layer {layer}, subspace {k + 1}",
            "marker": {"color": subspace_colour(k, quantiles.shape[1])},
            "line": {"width": 1.5},
            "width": 0.7,
            "showlegend": False,
        }
        for layer, first, quantiles in _places(spreads)
        for k, (place, values) in enumerate(zip(range(first, first + quantiles.shape[1]), quantiles.T, strict=True))
        if np.isfinite(values).all()
    ]
    return _of_layers(boxes, spreads, title, span)


def share_bars(shares: Mapping[int, np.ndarray], *, title: str, span: tuple[float, float] | None = None) -> go.Figure:
    """Draw a bar for each subspace, layers side by side.

    Arguments as for :func:`spread_boxes`, but values have shape (g,).
    """
    bars = [
        {
            "type": "bar",
            "x": list(range(first, first + len(values))),
            "y": [None if np.isnan(v) else float(v) for v in values],
            "marker": {"color": [subspace_colour(k, len(values)) for k in range(len(values))]},
            "customdata": [f"Layer {layer}, subspace {k + 1}" for k in range(len(values))],
            "hovertemplate": "%{customdata}: %{y:.2f}<extra></extra>",
            "showlegend": False,
        }
        for layer, first, values in _places(shares)
    ]
    return _of_layers(bars, shares, title, span)


def _places(values: Mapping[int, np.ndarray]) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield each layer with the place of its first subspace, and its values (..., g).

    Between layers one place is free.
    """
    first = 0
    for layer, own in values.items():
        yield layer, first, own
        first += own.shape[-1] + 1


def _of_layers(
    data: list[dict[str, Any]], values: Mapping[int, np.ndarray], title: str, span: tuple[float, float] | None
) -> go.Figure:
    """Lay out boxes or bars.

    Below each the number of its subspace, as far as there is room, and below those their layer.
    """
    names = {
        first + k: f"{k + 1}\nlayer {layer}" if k == (own.shape[-1] - 1) // 2 else str(k + 1)
        for layer, first, own in _places(values)
        for k in range(own.shape[-1])
        if own.shape[-1] <= _NUMBERED or k in (0, own.shape[-1] - 1, (own.shape[-1] - 1) // 2)
    }
    return figure(
        data,
        height=340,
        bargap=0.3,
        xaxis={
            "tickvals": list(names),
            "ticktext": list(names.values()),
            "tickangle": 0,
            "fixedrange": True,
            "showgrid": False,
        },
        yaxis={"title": {"text": title}, "fixedrange": True, "zeroline": False, "automargin": True}
        | ({"range": [*span]} if span else {}),
    )


def picture_scatter(
    x: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    *,
    shown: np.ndarray,
    titles: tuple[str, str],
    colour: str,
    marked: int | None = None,
) -> go.Figure:
    """Draw a point for each picture that is shown; a point's ``customdata`` is its picture's number.

    Args:
        x, y: Shape (N,).
        names: Of the pictures, for the hover text.
        shown: Numbers of the pictures that have a point, shape (M,); more than ``MANY`` are drawn by WebGL.
        titles: Of both axes.
        colour: Of the points.
        marked: The picture that is framed.
    """
    kind = "scatter" if len(shown) <= MANY else "scattergl"
    points = {
        "type": kind,
        "mode": "markers",
        "x": x[shown],
        "y": y[shown],
        "customdata": shown,
        "text": [names[i] for i in shown.tolist()],
        "marker": {"size": 6 if len(shown) <= MANY else 4, "color": colour, "opacity": 0.6},
        "hovertemplate": "%{text}<br>%{x:.3g}, %{y:.3g}<extra></extra>",
        "showlegend": False,
    }
    data: list[dict[str, Any]] = [points]
    if marked is not None and not np.isnan([x[marked], y[marked]]).any():
        ring = {"size": 13, "color": "rgba(0,0,0,0)", "line": {"width": 2, "color": NEUTRAL}}
        data.append(
            {
                "type": kind,
                "mode": "markers",
                "x": [float(x[marked])],
                "y": [float(y[marked])],
                "marker": ring,
                "hoverinfo": "skip",
            }
        )
    axis = {"zeroline": False, "automargin": True}
    return figure(
        data,
        height=460,
        dragmode="zoom",
        hovermode="closest",
        showlegend=False,
        xaxis=axis | {"title": {"text": titles[0]}},
        yaxis=axis | {"title": {"text": titles[1]}},
    )


def class_means(means: np.ndarray, classes: Sequence[str], columns: Sequence[str], *, unit: str) -> go.Figure:
    """Draw class means (C, g) as differences from each column's mean, in its standard deviations over the classes."""
    centre, spread = np.nanmean(means, 0), np.nanstd(means, 0)
    scores = (means - centre) / np.where(spread > 0, spread, np.nan)
    heat = {
        "type": "heatmap",
        "z": [[None if np.isnan(v) else float(v) for v in line] for line in scores],
        "x": list(range(len(columns))),
        "y": list(range(len(classes))),
        "zmin": -3,
        "zmax": 3,
        "colorscale": colour_scale(DIVERGING),
        "customdata": [
            [[name, column, f"{value:.3g} {unit}"] for column, value in zip(columns, line, strict=True)]
            for name, line in zip(classes, means.tolist(), strict=True)
        ],
        "hovertemplate": "%{customdata[0]}, %{customdata[1]}: mean %{customdata[2]}<br>%{z:+.1f} SD<extra></extra>",
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {
            "thickness": 8,
            "len": 1,
            "outlinewidth": 0,
            "title": {"text": "SD over classes", "side": "right"},
        },
    }
    return figure(
        [heat],
        height=90 + 17 * len(classes),
        xaxis=labelled(columns) | {"side": "top"},
        yaxis=labelled(classes) | {"autorange": "reversed"},
    )
