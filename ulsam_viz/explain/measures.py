"""Numbers about maps: how concentrated, how alike, how far above chance."""

from __future__ import annotations

import numpy as np

# A map whose values differ by less than this (in multiples of uniform) shows no preference that float32 could hold apart.
DEAD_BELOW = 1e-3


def relative_attention(maps: np.ndarray) -> np.ndarray:
    """Express attention in multiples of a uniform map.

    A ULSAM map is a softmax over positions: it sums to 1, and its values shrink as the layer grows. Times H*W, layers
    compare: 1.0 is "no preference".

    Args:
        maps: Attention maps, shape (..., H, W), each summing to 1.

    Returns:
        Dimensionless ratios, same shape, mean 1 for each map.

    Reference:
        Saini et al., ULSAM, WACV 2020, section 3.
    """
    return maps * (maps.shape[-1] * maps.shape[-2])


def peak(maps: np.ndarray) -> np.ndarray:
    """Return each map's largest value in multiples of uniform: (..., H, W) -> (...)."""
    return relative_attention(maps).max((-2, -1))


def is_dead(maps: np.ndarray) -> np.ndarray:
    """Tell which maps are uniform: (..., H, W) -> bool (...).

    The softmax follows a ReLU: where every logit is clipped to 0, the map says nothing about this picture.
    """
    relative = relative_attention(maps)
    return relative.max((-2, -1)) - relative.min((-2, -1)) < DEAD_BELOW


def effective_area(maps: np.ndarray) -> np.ndarray:
    """Return the share of positions that each map effectively attends to: exp(entropy) / (H*W).

    Args:
        maps: Shape (..., H, W), each non-negative and summing to 1.

    Returns:
        Shape (...), from 1/(H*W) (one position) to 1 (uniform).
    """
    logs = np.log(np.where(maps > 0, maps, 1))
    entropy = -(maps * logs).sum((-2, -1))
    return np.exp(entropy) / (maps.shape[-1] * maps.shape[-2])


def redundancy(maps: np.ndarray) -> np.ndarray:
    """Return the Pearson correlation of every two maps of a layer.

    Args:
        maps: Shape (..., g, H, W).

    Returns:
        Shape (..., g, g) in [-1, 1]; NaN where one of the two maps is dead, for which correlation has no meaning.
    """
    flat = relative_attention(maps).reshape(*maps.shape[:-2], -1).astype(np.float64)
    centred = flat - flat.mean(-1, keepdims=True)
    norms = np.sqrt((centred**2).sum(-1))
    norms = np.where(is_dead(maps), np.nan, norms)
    products = centred @ np.swapaxes(centred, -1, -2)
    return np.clip(products / (norms[..., :, None] * norms[..., None, :]), -1, 1)


def mean_redundancy(maps: np.ndarray) -> np.ndarray:
    """Return the mean correlation over pairs of different live subspaces: (..., g, H, W) -> (...); NaN without a pair."""
    matrix = redundancy(maps)
    g = matrix.shape[-1]
    pairs = matrix[..., ~np.eye(g, dtype=bool)]
    counts = (~np.isnan(pairs)).sum(-1)
    return np.where(counts > 0, np.nansum(pairs, -1) / np.maximum(counts, 1), np.nan)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Rank flat values from 0, ties sharing their mean rank: (n,) -> (n,)."""
    unique, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[inverse]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation of two arrays of one shape, ties at their mean rank; NaN if either is constant."""
    ranks_a, ranks_b = _ranks(a.ravel()), _ranks(b.ravel())
    ranks_a, ranks_b = ranks_a - ranks_a.mean(), ranks_b - ranks_b.mean()
    norm = np.sqrt((ranks_a**2).sum() * (ranks_b**2).sum())
    return float((ranks_a * ranks_b).sum() / norm) if norm > 0 else float("nan")
