"""The arithmetic of one position of a map, written out step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .stages import Stage, Stages

_LARGEST_EXPONENT = 60.0  # e^60 still is a number to look at


@dataclass(frozen=True)
class Term:
    """One product of the pointwise sum: a channel (numbered within the layer), its pooled value, its weight."""

    channel: int
    value: float
    weight: float

    @property
    def product(self) -> float:
        """The channel's contribution to the sum."""
        return self.value * self.weight


@dataclass(frozen=True)
class Derivation:
    """The arithmetic of one place, each number computed anew in double precision from the tensor of the stage before.

    Attributes:
        subspace, channel, row, column: The place; the channel is numbered within the layer.
        values: The result of each stage, to compare with the module's own tensors.
        window: What the max-pool took the largest of, up to 3 x 3.
        window_at: Row and column of the window's first value.
        terms: Products of the pointwise sum, the largest magnitude first.
        shift: Subtracted from all logits before they are raised, so that large ones stay finite; 0 for ordinary ones.
        exponential: e^(logit / temperature - shift) here.
        denominator: The sum of that over all places.
    """

    subspace: int
    channel: int
    row: int
    column: int
    values: dict[Stage, float]
    window: np.ndarray
    window_at: tuple[int, int]
    terms: tuple[Term, ...]
    shift: float
    exponential: float
    denominator: float


def _gain(stages: Stages, attention: float) -> float:
    """Return the gain at a position from the map's value there."""
    s = stages.switches
    if stages.form == "published":
        return float(s.residual) + s.strength * attention
    half = stages.attention[0].size * attention / 2
    return 1 + s.strength * (half - 0.5) if s.residual else s.strength * half


def derive(stages: Stages, *, subspace: int, channel: int, row: int, column: int) -> Derivation:
    """Return the arithmetic of one position of one subspace's map.

    Args:
        stages: Of any module.
        subspace: Number k, from 0.
        channel: Number within the layer; it must belong to the subspace.
        row: From 0.
        column: From 0.

    Raises:
        ValueError: If there is no such place, or the channel belongs to another subspace.
    """
    size, (height, width) = stages.group_size, stages.attention.shape[1:]
    if not (0 <= subspace < stages.groups and 0 <= row < height and 0 <= column < width):
        raise ValueError(
            f"there is no subspace {subspace}, row {row}, column {column} in {stages.groups} maps of {height} x {width}"
        )
    if not subspace * size <= channel < (subspace + 1) * size:
        raise ValueError(
            f"channel {channel} is none of subspace {subspace}: those are {subspace * size} to "
            f"{(subspace + 1) * size - 1}"
        )
    w, s = stages.weights, stages.switches

    def at(stage: Stage) -> float:
        return float(stages.map_of(stage, subspace, channel)[row, column])

    reach = 1 if s.pool else 0
    top, left = max(row - reach, 0), max(column - reach, 0)
    window = stages.rectified[channel, top : row + reach + 1, left : column + reach + 1].astype(np.float64)
    members = range(subspace * size, (subspace + 1) * size)
    terms = [
        Term(c, float(stages.pooled[c, row, column]), float(w.pointwise[subspace, c - members.start])) for c in members
    ]
    logits = stages.logits[subspace].astype(np.float64) / s.temperature
    shift = float(logits.max()) if np.abs(logits).max() > _LARGEST_EXPONENT else 0.0
    here = math.exp(logits[row, column] - shift)
    denominator = float(np.exp(logits - shift).sum())
    weight = here / denominator if s.weighting == "softmax" else float(1 / (1 + np.exp(-logits[row, column])))
    values: dict[Stage, float] = {
        "features": at("features"),
        "depthwise": float(w.depthwise[channel]) * at("features") + float(w.depthwise_bias[channel]),
        "normed": w.norm.apply(at("depthwise"), channel),
        "rectified": max(at("normed"), 0.0) if s.first_relu else at("normed"),
        "pooled": float(window.max()),
        "pointwise": math.fsum(t.product for t in terms) + float(w.pointwise_bias[subspace]),
        "pointwise_normed": w.pointwise_norm.apply(at("pointwise"), subspace),
        "logits": max(at("pointwise_normed"), 0.0) if s.last_relu else at("pointwise_normed"),
        "attention": weight,
        "gain": _gain(stages, at("attention")),
        "output": at("gain") * at("features"),
    }
    terms.sort(key=lambda term: -abs(term.product))
    return Derivation(
        subspace, channel, row, column, values, window, (top, left), tuple(terms), shift, here, denominator
    )
