"""Plotly figures that compare: networks by accuracy, subspaces by number, changes by effect."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ..text.escaping import escape_plotly
from .charts import NEUTRAL, colour_scale, figure, labelled
from .colours import DIVERGING

_CHOSEN = "#2f6f8f"


def difference_matrix(
    differences: Sequence[Sequence[float | None]],
    texts: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    titles: tuple[str, str],
    marked: Collection[tuple[int, int]],
    limit: float,
    unit: str,
) -> go.Figure:
    """Draw differences as colours, with a text in each cell; None stays empty.

    Args:
        differences: What the colours show, (rows, columns).
        texts: What is written.
        rows, columns: Labels.
        titles: Of the rows and of the columns.
        marked: Cells that get a frame, (row, column).
        limit: Difference at the ends of the colour scale, both ways.
        unit: Of the differences.
    """
    heat = {
        "type": "heatmap",
        "z": differences,
        "x": list(range(len(columns))),
        "y": list(range(len(rows))),
        "zmin": -limit,
        "zmax": limit,
        "colorscale": colour_scale(DIVERGING),
        "xgap": 2,
        "ygap": 2,
        "text": texts,
        "texttemplate": "%{text}",
        "customdata": [[[row, column] for column in columns] for row in rows],
        "hovertemplate": "%{customdata[0]}, %{customdata[1]}: %{text}<br>%{z:+.2f} "
        + escape_plotly(unit)
        + "<extra></extra>",
        "hoverongaps": False,
        "colorbar": {
            "thickness": 8,
            "len": 1,
            "outlinewidth": 0,
            "tickvals": [-limit, 0, limit],
            "ticktext": [f"{-limit:+.2g}", "0", f"{limit:+.2g}"],
            "title": {"text": unit, "side": "right"},
        },
    }
    frames = [
        {
            "type": "rect",
            "x0": x - 0.5,
            "x1": x + 0.5,
            "y0": y - 0.5,
            "y1": y + 0.5,
            "line": {"width": 2.5, "color": _CHOSEN},
        }
        for y, x in marked
    ]
    return figure(
        [heat],
        height=80 + 34 * len(rows),
        shapes=frames,
        xaxis=labelled(columns) | {"side": "top", "title": {"text": titles[1]}},
        yaxis=labelled(rows) | {"autorange": "reversed", "title": {"text": titles[0]}},
    )


def accuracy_dots(
    rows: Sequence[str],
    runs: Sequence[Sequence[tuple[int, Sequence[float]]]],
    *,
    title: str,
    controls: Sequence[float | None],
    standard_error: float,
    marked: Collection[tuple[int, int | None]],
) -> go.Figure:
    """Draw every training run's accuracy as a dot, positions as rows, g as height within the row.

    Args:
        rows: Names of positions.
        runs: For each position, (g, accuracies over seeds) in order of g.
        title: Of the rows.
        controls: For each position, the accuracy of the plain network it is compared with.
        standard_error: Of one accuracy, from the size of the test set.
        marked: Dots of (row, g) that stand out; (row, None) is the row's control.
    """
    x, y, text, chosen = [], [], [], []
    for i, (name, placed) in enumerate(zip(rows, runs, strict=True)):
        for j, (g, seeds) in enumerate(placed):
            for seed in seeds:
                x.append(float(seed))
                y.append(i + (j - (len(placed) - 1) / 2) * 0.15)
                text.append(f"{name}, g = {g}: {seed:.2f} %")
                chosen.append((i, g) in marked)
    bands, ends = [], list(x)
    for i, control in enumerate(controls):
        if control is not None:
            low, high, height = control - standard_error, control + standard_error, {"y0": i - 0.46, "y1": i + 0.46}
            bands.append(
                {
                    "type": "rect",
                    "x0": low,
                    "x1": high,
                    **height,
                    "line": {"width": 0},
                    "fillcolor": "rgba(110,130,145,0.18)",
                }
            )
            line = (
                {"width": 3, "color": _CHOSEN}
                if (i, None) in marked
                else {"width": 1, "color": "rgba(110,130,145,0.8)"}
            )
            bands.append({"type": "line", "x0": control, "x1": control, **height, "line": line})
            ends += [low, high]
    marks = {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "text": text,
        "marker": {
            "size": [12 if c else 7 for c in chosen],
            "color": [_CHOSEN if c else NEUTRAL for c in chosen],
            "opacity": [1 if c else 0.75 for c in chosen],
        },
        "hovertemplate": "%{text}<extra></extra>",
    }
    return figure(
        [marks],
        height=80 + 34 * len(rows),
        shapes=[band | {"layer": "below"} for band in bands],
        xaxis={
            "fixedrange": True,
            "title": {"text": "top-1 %"},
            "range": [min(ends) - 0.1, max(ends) + 0.1],
            "zeroline": False,
        },
        yaxis=labelled(rows) | {"range": [len(rows) - 0.5, -0.5], "title": {"text": title}},
    )


def diverging_bars(
    names: Sequence[str],
    values: Sequence[float],
    *,
    spreads: Sequence[float | None],
    colours: Sequence[str],
    noise: tuple[float, float] | None,
    unit: str,
) -> go.Figure:
    """Draw changes as bars to both sides of zero.

    Args:
        names: What each bar is.
        values: Changes.
        spreads: Half the length of each bar's error line; None for none.
        colours: Of each bar.
        noise: Ends of the band that chance fills; None for no band.
        unit: Of the values.
    """
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(names))),
        "x": [float(v) for v in values],
        "marker": {"color": list(colours)},
        "error_x": {
            "type": "data",
            "array": [s and float(s) for s in spreads],
            "color": NEUTRAL,
            "thickness": 1.5,
            "width": 4,
            "visible": any(spreads),
        },
        "customdata": list(names),
        "hovertemplate": "%{customdata}: %{x:+.4f} " + escape_plotly(unit) + "<extra></extra>",
    }
    shapes = []
    if noise:
        band = {"type": "rect", "x0": noise[0], "x1": noise[1], "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
        shapes.append({**band, "line": {"width": 0}, "fillcolor": "rgba(110,130,145,0.22)"})
    reach = 1.15 * max(
        [abs(v) + (s or 0) for v, s in zip(values, spreads, strict=True)] + [*map(abs, noise or ()), 1e-6]
    )
    return figure(
        [bars],
        height=60 + 28 * len(names),
        bargap=0.35,
        shapes=shapes,
        xaxis={"fixedrange": True, "range": [-reach, reach], "zeroline": True, "title": {"text": unit}},
        yaxis=labelled(names) | {"autorange": "reversed"},
    )


def dots_by(
    labels: Sequence[str],
    values: Sequence[Sequence[float]],
    *,
    unit: str,
    colours: Sequence[Sequence[str]],
    least_span: float,
) -> go.Figure:
    """Draw a column of dots for each label, and a line through their means; NaN and empty columns are left out.

    Args:
        labels: Along the horizontal axis.
        values: Of each label's dots.
        unit: Of the vertical axis.
        colours: Of each dot.
        least_span: The axis shows at least so much, so that small differences look small.
    """
    dots: dict[str, list[Any]] = {"x": [], "y": [], "c": []}
    means: dict[str, list[float]] = {"x": [], "y": []}
    for i, (column, hues) in enumerate(zip(values, colours, strict=True)):
        known = [(float(v), hue) for v, hue in zip(column, hues, strict=True) if not np.isnan(v)]
        for j, (value, hue) in enumerate(known):
            dots["x"].append(i + (j - (len(known) - 1) / 2) * min(0.5 / max(len(known), 1), 0.08))
            dots["y"].append(value)
            dots["c"].append(hue)
        if known:
            means["x"].append(i)
            means["y"].append(float(np.mean([v for v, _ in known])))
    line = {
        "type": "scatter",
        "mode": "lines",
        **means,
        "line": {"color": "rgba(110,130,145,0.6)", "width": 1.5},
        "hovertemplate": "mean %{y:.3g} " + escape_plotly(unit) + "<extra></extra>",
    }
    marks = {
        "type": "scatter",
        "mode": "markers",
        "x": dots["x"],
        "y": dots["y"],
        "marker": {"size": 7, "color": dots["c"], "opacity": 0.9},
        "hovertemplate": "%{y:.3g} " + escape_plotly(unit) + "<extra></extra>",
    }
    low, high = min(dots["y"], default=0.0), max(dots["y"], default=0.0)
    margin = max(0.08 * (high - low), (least_span - (high - low)) / 2)
    return figure(
        [line, marks],
        height=210,
        showlegend=False,
        xaxis=labelled(labels) | {"range": [-0.5, len(labels) - 0.5]},
        yaxis={"fixedrange": True, "title": {"text": unit}, "automargin": True, "zeroline": False, "nticks": 5}
        | {"range": [max(low - margin, 0.0 if low >= 0 else low - margin) - 0.02 * least_span, high + margin]},
    )


def scale_and_frequency(points: Sequence[tuple[str, float, float, str]]) -> go.Figure:
    """Draw each map as a point: how wide it attends, and at which spatial frequency it varies.

    Args:
        points: (name, effective area in [0, 1], cycles a picture, colour) of each map.
    """
    marks = {
        "type": "scatter",
        "mode": "markers",
        "x": [100 * area for _, area, _, _ in points],
        "y": [frequency for _, _, frequency, _ in points],
        "text": [name for name, _, _, _ in points],
        "marker": {"size": 10, "color": [colour for _, _, _, colour in points], "opacity": 0.85},
        "hovertemplate": "%{text}: %{x:.0f} % of the places, %{y:.0f} cycles a picture<extra></extra>",
    }
    return figure(
        [marks],
        height=320,
        xaxis={"fixedrange": True, "title": {"text": "effective area, % of the places"}, "zeroline": False},
        yaxis={"fixedrange": True, "title": {"text": "dominant frequency, cycles a picture"}, "rangemode": "tozero"},
    )
