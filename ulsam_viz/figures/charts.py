"""Plotly figures. They are built as plain dictionaries without validation: that is what makes them fast."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ..text.escaping import escape_plotly
from .colours import DIVERGING, colour_stops

#: For lines that must be seen on both themes' backgrounds: at least 3:1 against white and against the dark one.
NEUTRAL = "#7a8790"
_WRITTEN = {"text", "customdata", "ticktext", "name", "title"}  # keys of what a figure shows


def figure(data: list[dict[str, Any]], **layout: Any) -> go.Figure:
    """Make a figure with the margins and manners that all share.

    What it writes is text, not HTML, with its line breaks.

    Templates alone are left as they are: what goes into one from outside is escaped where it is written.
    """
    base = {"margin": {"l": 4, "r": 4, "t": 4, "b": 4}, "dragmode": False, "hoverlabel": {"align": "left"}}
    return go.Figure(_as_text({"data": data, "layout": base | layout}), _validate=False)


def _as_text(value: Any, *, written: bool = False) -> Any:
    """Escape all texts that a figure shows; arrays of numbers stay what they are."""
    if isinstance(value, dict):
        return {key: _as_text(item, written=written or key in _WRITTEN) for key, item in value.items()}
    if isinstance(value, str):
        return escape_plotly(value).replace("\n", "<br>") if written else value
    if isinstance(value, list) and not _needs_no_escape(value):
        return [_as_text(item, written=written) for item in value]
    return value


def _needs_no_escape(items: list[Any]) -> bool:
    """Return whether no text of many (100,000 names of pictures) holds a sign, quickly.

    False where they are no texts.
    """
    try:
        return not re.search(r"[<&>%\n]", "".join(items))
    except TypeError:
        return False


def colour_scale(name: str) -> list[list[Any]]:
    """Spell a colour scale out: the browser's Plotly knows fewer names than Python's."""
    stops = colour_stops(name)
    return [[i / (len(stops) - 1), colour] for i, colour in enumerate(stops)]


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
        "z": [
            [float(v) if ok else None for v, ok in zip(line, oks, strict=True)]
            for line, oks in zip(values, known, strict=True)
        ],
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
            [
                f"{v:+.2f}{'*' * bool(star)}" if ok and written else ""
                for v, ok, star in zip(line, oks, marks, strict=True)
            ]
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
