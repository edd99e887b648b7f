"""Summaries of a table: distributions, extreme pictures, selectivity for classes, and mean maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .table import Table

_SHUFFLES = 200
_LEAST_OF_A_CLASS = 2  # pictures: of one, there is no spread


@dataclass(frozen=True)
class Spread:
    """How a measure is distributed over the pictures, for each subspace of a layer.

    Attributes:
        quantiles: The 5th, 25th, 50th, 75th and 95th percentile, shape (5, g); NaN where nothing is known.
        mean: Shape (g,).
        known: Pictures that it means something for, shape (g,).
    """

    quantiles: np.ndarray
    mean: np.ndarray
    known: np.ndarray


def spread_of(values: np.ndarray) -> Spread:
    """Sum up values (N, g); NaN is left out."""
    ordered = np.sort(values, axis=0)  # NaN comes last
    known = (~np.isnan(values)).sum(0)
    positions = np.array([0.05, 0.25, 0.5, 0.75, 0.95])[:, None] * np.maximum(known - 1, 0)
    low = np.floor(positions).astype(int)
    high = np.minimum(low + 1, np.maximum(known - 1, 0))
    below, above = np.take_along_axis(ordered, low, 0), np.take_along_axis(ordered, high, 0)
    total = np.nansum(values, 0, dtype=np.float64)
    return Spread(
        below + (above - below) * (positions - low), np.where(known, total / np.maximum(known, 1), np.nan), known
    )


def extremes(values: np.ndarray, count: int) -> tuple[list[int], list[int]]:
    """Return the pictures with the largest and the smallest of values (N,), the most extreme first.

    None is in both lists.
    """
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    count = min(count, (len(order) + 1) // 2)
    return order[::-1][:count].tolist(), order[: min(count, len(order) - count)].tolist()


def apart(x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
    """Return the pictures that a scatter of at most so many points shows, one of those that lie together, in order.

    Args:
        x, y: Shape (N,); a picture of which one of them is NaN has no point.
        most: At least 4; where no more are known, all are returned.
    """
    known = np.flatnonzero(~np.isnan(x) & ~np.isnan(y))
    if len(known) <= most:
        return known
    across, up = ((v[known] - v[known].min()) / (np.ptp(v[known]) or 1) for v in (x, y))
    cells = 1024.0  # to a side of a grid: the finest that leaves few enough
    while True:
        cell = (across * cells).astype(int) * 2048 + (up * cells).astype(int)
        first = np.unique(cell, return_index=True)[1]
        if len(first) <= most:
            return known[np.sort(first)]
        cells *= 0.9


@dataclass(frozen=True)
class Selectivity:
    """How far a measure depends on the class of the picture, for each subspace of a layer.

    Attributes:
        classes: Names, C: those of two pictures and more.
        counts: Pictures of each, shape (C,).
        means: Mean of the measure, shape (C, g); NaN where nothing is known.
        explained: Share of its variance over the pictures that lies between classes (eta squared), shape (g,).
        chance: The 95th percentile of the largest of them where classes are shuffled over the pictures: one of many
            subspaces would exceed its own level by chance.
        best: The class with the largest mean, as its place in ``classes``, shape (g,); -1 where nothing is known.
    """

    classes: Sequence[str]
    counts: np.ndarray
    means: np.ndarray
    explained: np.ndarray
    chance: float
    best: np.ndarray


def selectivity(values: np.ndarray, folders: Sequence[str | None], *, seed: int = 0) -> Selectivity | None:
    """Say how far values (N, g) depend on the folder of the picture.

    None where there are not two classes of two pictures each.

    Args:
        values: A measure; NaN is left out.
        folders: Of the pictures, N.
        seed: Of the shuffles.

    Reference:
        Eta squared of a one-way analysis of variance; its level of chance by permutation.
    """
    names, numbers = np.unique([name or "" for name in folders], return_inverse=True)
    large = np.bincount(numbers, minlength=len(names)) >= _LEAST_OF_A_CLASS
    large &= names != ""
    kept = large[numbers]
    if large.sum() < 2:
        return None
    order = np.flatnonzero(kept)[np.argsort(numbers[kept], kind="stable")]
    counts = np.bincount(numbers[kept], minlength=len(names))[large]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    own = values[order].astype(np.float64)
    there = ~np.isnan(own)
    weights = there.astype(np.float64)
    total = weights.sum(0)
    mean = np.where(total > 0, np.nansum(own, 0) / np.maximum(total, 1), np.nan)
    centred = np.where(there, own - mean, 0.0)
    whole = (centred**2).sum(0)

    def between(shuffled: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sums, ns = np.add.reduceat(shuffled, starts), np.add.reduceat(known, starts)
        return (sums**2 / np.maximum(ns, 1)).sum(0), np.where(ns > 0, sums / np.maximum(ns, 1), np.nan)

    found, means = between(centred, weights)
    varied = whole > 1e-12 * np.maximum(total, 1)
    safe = np.where(varied, whole, np.inf)
    generator = np.random.default_rng(seed)
    shuffles: list[float] = []
    for _ in range(_SHUFFLES):
        turn = generator.permutation(len(order))
        shuffles.append(float((between(centred[turn], weights[turn])[0] / safe).max()))
    any_known = ~np.isnan(means).all(0)
    return Selectivity(
        names[large].tolist(),
        counts,
        means + mean,
        np.where(varied, found / safe, np.nan),
        float(np.percentile(shuffles, 95)),
        np.where(any_known, np.nan_to_num(means, nan=-np.inf).argmax(0), -1),
    )


@dataclass(frozen=True)
class MeanMaps:
    """The mean map of each subspace of a layer over the pictures, and how much of the single maps it is.

    Attributes:
        maps: Each summing to 1, shape (g, H, W), float32.
        same: Share of the single maps' variation over places that their mean explains, shape (g,): 1 where every
            picture has the same map, about 1 / N where pictures have nothing in common; NaN where all maps are uniform.
        centre: Correlation of the mean map with nearness to the centre, shape (g,), from -1 to 1; NaN where it is
            uniform.
        pictures: How many there are.
    """

    maps: np.ndarray
    same: np.ndarray
    centre: np.ndarray
    pictures: int


def mean_maps(table: Table, layer: int) -> MeanMaps | None:
    """Average a layer's maps over the pictures; None where maps were not kept.

    A map's variation is the sum over places of its squared difference from a uniform map.
    """
    total: np.ndarray | None = None
    squares: np.ndarray | float = 0.0
    count = 0
    for maps in table.looks.all_maps(layer) if table.looks else ():
        own = maps.astype(np.float32)
        places = own.shape[-1] * own.shape[-2]
        flat = own.reshape(*own.shape[:2], places)
        flat = flat - flat.mean(-1, keepdims=True)  # the same as 1 / places, but for what two bytes a number round off
        if total is not None and total.shape != own.shape[1:]:
            return None
        squares = squares + np.einsum("ngp,ngp->g", flat, flat)
        total = own.sum(0, dtype=np.float64) + (0.0 if total is None else total)
        count += len(own)
    if total is None or not count:
        return None
    mean = total / count
    off = mean - mean.mean((1, 2), keepdims=True)
    varied = np.asarray(squares) > 1e-9
    explained = count * (off**2).sum((1, 2)) / np.where(varied, squares, 1)
    return MeanMaps(mean.astype(np.float32), np.where(varied, np.minimum(explained, 1), np.nan), _nearness(off), count)


def _nearness(off: np.ndarray) -> np.ndarray:
    """Return the correlation of maps without their mean (g, H, W) with nearness to the centre."""
    rows, columns = ((np.arange(n) - (n - 1) / 2) / n for n in off.shape[-2:])
    near = -np.hypot(rows[:, None], columns[None, :])
    near = near - near.mean()
    norms = np.sqrt((off**2).sum((1, 2)) * (near**2).sum())
    return np.where(norms > 1e-9, (off * near).sum((1, 2)) / np.where(norms > 1e-9, norms, 1), np.nan)
