"""One tile with its title and scale, as a paper prints it."""

from __future__ import annotations

import io
import textwrap
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .colours import colour_table

_WIDTH, _HEIGHT, _SIDE, _EDGE = 4.5, 3.9, 3.5, 0.03  # inches: of the whole, of the tile, and around all text
_LINE = 60  # letters of a title above a tile
_DRAWING = threading.Lock()  # matplotlib's settings are one for all threads


@dataclass(frozen=True)
class Legend:
    """A tile's scale: the name of its colours, ticks (position in [0, 1], label) and the unit."""

    colours: str
    ticks: Sequence[tuple[float, str]]
    unit: str = ""


def as_printed(pixels: np.ndarray, title: str, scale: Legend | None = None) -> dict[str, bytes]:
    """Draw one tile, shape (S, S, 3), with its title and scale, as files by kind: ``"png"`` and ``"svg"``.

    In the SVG text is text, so that a paper can set it anew. The same arguments give the same bytes. All have one size,
    so that they stand beside each other, but where the text needs more.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

    with _DRAWING, rc_context({"svg.fonttype": "none", "svg.hashsalt": "ulsam_viz", "text.parse_math": False}):
        figure = Figure(figsize=(_WIDTH if scale else _SIDE + 0.2, _HEIGHT))
        width, height = figure.get_size_inches()
        axes = figure.add_axes((0.1 / width, 0.1 / height, _SIDE / width, _SIDE / height))
        axes.imshow(pixels, interpolation="none")
        axes.set_axis_off()
        axes.set_title(textwrap.fill(title, _LINE), fontsize=8, pad=4)
        if scale:
            bar = figure.add_axes(((_SIDE + 0.2) / width, 0.1 / height, 0.12 / width, _SIDE / height))
            bar.imshow(
                colour_table(scale.colours)[::-1, None], extent=(0, 1, 0, 1), aspect="auto", interpolation="none"
            )
            bar.set_xticks([])
            bar.yaxis.tick_right()
            bar.yaxis.set_label_position("right")
            bar.set_yticks([position for position, _ in scale.ticks], [label for _, label in scale.ticks], fontsize=7)
            bar.set_ylabel(scale.unit, fontsize=8, labelpad=2)
        canvas = Bbox.union([Bbox.from_bounds(0, 0, width, height), figure.get_tightbbox().padded(_EDGE)])
        files = {}
        for kind in ("png", "svg"):
            buffer = io.BytesIO()
            figure.savefig(
                buffer, format=kind, dpi=200, bbox_inches=canvas, metadata={"Date": None} if kind == "svg" else None
            )
            files[kind] = buffer.getvalue()
    return files
