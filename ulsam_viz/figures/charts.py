"""Plotly figures. They are built as plain dictionaries without validation: that is what makes them fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .colours import DIVERGING, Scaled, colour_stops
from .tiles import data_uri, grey

#: For lines that must be seen on both themes' backgrounds: at least 3:1 against white and against the dark one.
NEUTRAL = "#66727a"


def figure(data: list[dict[str, Any]], **layout: Any) -> go.Figure:
    """Make a figure with the margins and manners that all share."""
    base = {"margin": {"l": 4, "r": 4, "t": 4, "b": 4}, "dragmode": False, "hoverlabel": {"align": "left"}}
    return go.Figure({"data": data, "layout": base | layout}, _validate=False)


def colour_scale(name: str) -> list[list[Any]]:
    """Spell a colour scale out: the browser's Plotly knows fewer names than Python's."""
    stops = colour_stops(name)
    return [[i / (len(stops) - 1), colour] for i, colour in enumerate(stops)]


def top_classes(names: Sequence[str], probabilities: Sequence[float], *, marked: int | None) -> go.Figure:
    """Draw probabilities as bars, the most probable on top, the target's bar filled.

    Args:
        names: Class names.
        probabilities: In [0, 1].
        marked: Index of the target in ``names``, or None.
    """
    colours = ["#2f6f8f" if i == marked else "rgba(110,130,145,0.45)" for i in range(len(names))]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(names))),
        "x": [float(p) for p in probabilities],
        "text": [f"{name}  {p:.1%}" for name, p in zip(names, probabilities, strict=True)],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": colours},
        "hovertemplate": "%{text}<br>click: attribute this class<extra></extra>",
        "selected": {"marker": {"opacity": 1}},
        "unselected": {"marker": {"opacity": 1}},
    }
    return figure(
        [bars],
        height=26 * len(names) + 12,
        bargap=0.3,
        xaxis={"range": [0, 1.75], "visible": False, "fixedrange": True},
        yaxis={"autorange": "reversed", "visible": False, "fixedrange": True},
    )


def labelled(labels: Sequence[str]) -> dict[str, Any]:
    """Return an axis with one label a cell."""
    bare = {"fixedrange": True, "automargin": True, "showgrid": False, "zeroline": False}
    return bare | {"tickvals": list(range(len(labels))), "ticktext": list(labels)}


def correlation_matrix(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    notes: Sequence[Sequence[str]] | None = None,
    starred: np.ndarray | None = None,
) -> go.Figure:
    """Draw correlations in [-1, 1] with their numbers; NaN stays empty.

    Args:
        values: Shape (rows, columns).
        rows, columns: Labels.
        notes: A line more for each cell's hover text.
        starred: Which cells get a star behind their number, shape (rows, columns).
    """
    stars = np.zeros(values.shape, bool) if starred is None else starred
    known = ~np.isnan(values)
    written = len(columns) <= 10
    heat = {
        "type": "heatmap",
        "z": [[float(v) if ok else None for v, ok in zip(line, oks, strict=True)] for line, oks in zip(values, known, strict=True)],
        "x": list(range(len(columns))),
        "y": list(range(len(rows))),
        "customdata": [
            [[rows[i], columns[j], notes[i][j] if notes else ""] for j in range(len(columns))] for i in range(len(rows))
        ],
        "zmin": -1,
        "zmax": 1,
        "colorscale": colour_scale(DIVERGING),
        "xgap": 2,
        "ygap": 2,
        "text": [
            [f"{v:+.2f}{'*' * bool(star)}" if ok and written else "" for v, ok, star in zip(line, oks, marks, strict=True)]
            for line, oks, marks in zip(values, known, stars, strict=True)
        ],
        "texttemplate": "%{text}",
        "hovertemplate": "%{customdata[0]} and %{customdata[1]}: %{z:+.3f}<br>%{customdata[2]}<extra></extra>",
        "hoverongaps": False,
        "colorbar": {"thickness": 8, "len": 1, "tickvals": [-1, 0, 1], "outlinewidth": 0},
    }
    return figure(
        [heat],
        height=64 + 30 * len(rows),
        xaxis=labelled(columns) | {"side": "bottom"},
        yaxis=labelled(rows) | {"autorange": "reversed"},
    )


def large_map(
    pixels: np.ndarray, scaled: Scaled, index: int, *, names: Sequence[str], colours: str, opacity: float, smooth: bool
) -> go.Figure:
    """Draw one map large over the picture, which is grey as on the tiles; the pointer shows every subspace's value at a place.

    Args:
        pixels: The crop, shape (S, S, 3), uint8.
        scaled: All maps of the layer.
        index: The map to draw.
        names: Names of all subspaces, for the hover text.
        colours, opacity, smooth: As on the tiles.
    """
    _, height, width = scaled.values.shape
    everything = [
        [
            "<br>".join(
                f"{'<b>' if k == index else ''}{names[k]}: {scaled.values[k, r, c]:.4g}{'</b>' if k == index else ''}"
                for k in range(len(names))
            )
            for c in range(width)
        ]
        for r in range(height)
    ]
    heat = {
        "type": "heatmap",
        "z": np.round(scaled.fractions[index], 4).tolist(),
        "zmin": 0,
        "zmax": 1,
        "colorscale": colour_scale(colours),
        "opacity": opacity,
        "zsmooth": "best" if smooth else False,
        "text": everything,
        "hovertemplate": "row %{y}, column %{x}<br>%{text}<extra>" + scaled.unit + "</extra>",
        "colorbar": {
            "thickness": 10,
            "outlinewidth": 0,
            "title": {"text": scaled.unit, "side": "right"},
            "tickvals": [position for position, _ in scaled.ticks],
            "ticktext": [label for _, label in scaled.ticks],
        },
    }
    side = {"showgrid": False, "zeroline": False, "fixedrange": True, "ticks": "", "nticks": 8}
    picture = {
        "source": data_uri(grey(pixels).round().astype(np.uint8)),
        "xref": "x",
        "yref": "y",
        "x": -0.5,
        "y": -0.5,
        "sizex": width,
        "sizey": height,
        "sizing": "stretch",
        "layer": "below",
    }
    return figure(
        [heat],
        height=420,
        images=[picture],
        xaxis=side | {"range": [-0.5, width - 0.5], "constrain": "domain"},
        yaxis=side | {"range": [height - 0.5, -0.5], "scaleanchor": "x", "constrain": "domain"},
        plot_bgcolor="rgba(0,0,0,0)",
    )
