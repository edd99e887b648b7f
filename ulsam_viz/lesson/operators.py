"""Each stage's operator as a small card: its formula, and what it does to the numbers at hand, drawn."""

from __future__ import annotations

import numpy as np
from latex2mathml.converter import convert

from ..analysis.derivation import Derivation
from ..analysis.stages import STAGES, Stage, Stages
from .formulas import formula

_WIDTH, _HEIGHT = 100.0, 64.0  # of a drawing, in its own units


def operator(stages: Stages, derivation: Derivation, stage: Stage) -> str:
    """Write what makes a stage from the one before, with the place of a derivation marked.

    Args:
        stages: What the derivation was made from.
        derivation: The arithmetic of the place.
        stage: Any but the first, the features.

    Returns:
        HTML: a formula as MathML, and a drawing: the window of the max-pool, the weights of the pointwise sum, or the
            graph of
        what the operator makes of one number.
    """
    symbols = convert(formula(stages, derivation, stage).symbols, display="block")
    if stage == "pooled" and stages.switches.pool:
        return symbols + _window(derivation)
    if stage == "pointwise":
        size, k = stages.group_size, derivation.subspace
        weights = {t.channel: t.weight for t in derivation.terms}
        return symbols + _bars(np.array([weights[k * size + i] for i in range(size)]), derivation.channel - k * size)
    before: Stage = "features" if stage == "output" else STAGES[STAGES.index(stage) - 1]
    place = derivation.row, derivation.column
    k, channel = derivation.subspace, derivation.channel
    return symbols + _graph(
        stages.map_of(before, k, channel), stages.map_of(stage, k, channel), place, exponential=stage == "attention"
    )


def _window(d: Derivation) -> str:
    """Write the numbers that the max-pool looks at, the largest marked."""
    largest, columns = int(d.window.argmax()), d.window.shape[1]
    rows = (
        "".join(f"<td{' class=most' * (r * columns + c == largest)}>{value:.3g}</td>" for c, value in enumerate(line))
        for r, line in enumerate(d.window)
    )
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _bars(weights: np.ndarray, own: int) -> str:
    """Draw weights (n,) as bars from a line at 0, one of them marked."""
    limit = max(float(np.abs(weights).max()), 1e-12)
    step, middle = _WIDTH / len(weights), _HEIGHT / 2
    bars = "".join(
        f'<rect x="{i * step:.2f}" y="{min(middle, middle - w / limit * middle):.2f}" width="{0.8 * step:.2f}" '
        f'height="{abs(w) / limit * middle:.2f}" fill="{"var(--hue)" if i == own else "currentColor"}" '
        f'opacity="{1 if i == own else 0.55}"/>'
        for i, w in enumerate(weights.tolist())
    )
    line = f'<path d="M0 {middle}H{_WIDTH}" stroke="currentColor" stroke-width="0.5"/>'
    return _drawn(bars + line, f"{len(weights)} weights, {int((weights > 0).sum())} of them positive")


def _graph(before: np.ndarray, after: np.ndarray, place: tuple[int, int], *, exponential: bool) -> str:
    """Draw what becomes of each value: maps (H, W) before and after, 0 on both axes, one place marked.

    Between the values the line is straight, or where that is the function, exponential.
    """
    x, y = before.ravel().astype(np.float64), after.ravel().astype(np.float64)
    (left, right), (low, high) = ((min(0.0, float(v.min())), max(1e-12, float(v.max()))) for v in (x, y))

    def at(u: float, v: float) -> tuple[float, float]:
        return (u - left) / (right - left) * _WIDTH, _HEIGHT - (v - low) / (high - low) * _HEIGHT

    order = np.argsort(x)
    few = order[np.unique(np.linspace(0, len(order) - 1, 160).astype(int))]
    xs, ys = x[few], y[few]
    if exponential:
        even = np.linspace(xs[0], xs[-1], 80)
        xs, ys = even, np.exp(np.interp(even, xs, np.log(np.maximum(ys, 1e-300))))
    points = " ".join(f"{a:.2f},{b:.2f}" for a, b in map(at, xs, ys))
    (across, down), (u, v) = at(0, 0), at(float(before[place]), float(after[place]))
    axes = (
        f'<path d="M0 {down:.2f}H{_WIDTH}M{across:.2f} 0V{_HEIGHT}" stroke="currentColor" stroke-width="0.5" '
        'opacity="0.6" fill="none"/>'
    )
    line = f'<polyline points="{points}" fill="none" stroke="var(--hue)" stroke-width="2"/>'
    dot = f'<circle cx="{u:.2f}" cy="{v:.2f}" r="3" fill="#d1495b" stroke="#fff" stroke-width="1"/>'
    return _drawn(axes + line + dot, f"{before[place]:.4g} becomes {after[place]:.4g}")


def _drawn(inner: str, alt: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{alt}">{inner}</svg><div>{alt}</div>'
