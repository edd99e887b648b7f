"""Small tensors as tables of numbers with coloured cells, in HTML."""

from __future__ import annotations

import html

import numpy as np

from .colours import DIVERGING, colour_table


def number_grid(
    values: np.ndarray, title: str, *, colours: str = "viridis", hue: str = "", limits: tuple[float, float]
) -> str:
    """Write a small map as a table.

    Args:
        values: Shape (H, W).
        title: Its caption.
        colours: Colour scale for values without a sign.
        hue: A subspace's colour, shown before the title; or "".
        limits: Ends of the colour scale; below 0, the scale has its middle at 0.

    Returns:
        One HTML element; every number is text, so it can be read aloud and copied.
    """
    low, high = limits
    table = colour_table(DIVERGING if low < 0 else colours)
    rows = []
    for line in values:
        cells = []
        for value in line:
            r, g, b = table[int(np.clip((value - low) / max(high - low, 1e-12) * 255, 0, 255))]
            ink = "#111" if 0.299 * r + 0.587 * g + 0.114 * b > 140 else "#fff"
            cells.append(f'<td style="background:rgb({r},{g},{b});color:{ink}">{_short(float(value))}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    swatch = f'<span style="background:{hue}"></span>' if hue else ""
    return f'<table class="ulsam-grid"><caption>{swatch}{html.escape(title)}</caption>{"".join(rows)}</table>'


def _short(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 10 else f"{value:.4g}"
