"""One tile with its title and scale, as a paper prints it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from .colours import colour_table


def as_printed(
    pixels: np.ndarray, title: str, scale: tuple[str, Sequence[tuple[float, str]], str] | None = None
) -> dict[str, bytes]:
    """Draw one tile with its title and scale; matplotlib writes text as text, so that a paper can set it anew."""
    from matplotlib import cm, rc_context
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(4, 4.2), layout="constrained")
    axes = drawing.add_subplot()
    axes.imshow(pixels)
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)
    if scale:
        colours, ticks, unit = scale
        table = ListedColormap(colour_table(colours) / 255)
        bar = drawing.colorbar(cm.ScalarMappable(Normalize(0, 1), table), ax=axes, label=unit, shrink=0.8)
        bar.set_ticks([position for position, _ in ticks], labels=[label for _, label in ticks])
    files = {}
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ulsam_viz"}):
        for kind in ("png", "svg"):
            buffer = io.BytesIO()
            drawing.savefig(buffer, format=kind, dpi=200, metadata={"Date": None} if kind == "svg" else None)
            files[kind] = buffer.getvalue()
    return files
