"""Numbers about maps: how concentrated, how alike, how far above chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A map whose values differ by less than this (in multiples of uniform) shows no preference that float32 could hold
# apart.
DEAD_BELOW = 1e-3


def gain_of(maps: np.ndarray, gain: str) -> np.ndarray:
    """Return the gain of maps A (..., H, W): 1 + A as published, (1 + H * W * A) / 2 normalised."""
    return 1 + maps if gain == "published" else (1 + relative_attention(maps)) / 2


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
    """Return which maps are uniform: (..., H, W) -> bool (...).

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
    return np.minimum(np.exp(entropy) / (maps.shape[-1] * maps.shape[-2]), 1)  # float32 may sum to a little more


def entropy(maps: np.ndarray) -> np.ndarray:
    """Return each map's entropy in bits: (..., H, W) -> (...); log2(H*W) for a uniform map."""
    return np.log2(effective_area(maps) * maps.shape[-1] * maps.shape[-2])


def dominant_frequency(attention_map: np.ndarray) -> float:
    """Return the spatial frequency that holds most of a map's variation, in cycles a picture.

    The power spectrum of the map is summed over rings of whole frequencies; the mean is left out. A smooth window keeps
    the picture's edges from looking like high frequencies.

    Args:
        attention_map: Shape (H, W), H = W.

    Returns:
        From 1 to H / 2; NaN for a uniform map.
    """
    if is_dead(attention_map):
        return float("nan")
    side = attention_map.shape[-1]
    window = np.hanning(side + 2)[1:-1]
    weights = np.outer(window, window)
    centred = (attention_map - (attention_map * weights).sum() / weights.sum()) * weights
    power = np.abs(np.fft.fft2(centred)) ** 2
    axis = np.fft.fftfreq(side, 1 / side)
    rings = np.rint(np.hypot(axis[:, None], axis[None, :])).astype(int)
    of_ring = np.bincount(rings.ravel(), power.ravel())[: side // 2 + 1]
    return float(of_ring[1:].argmax() + 1)


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
    """Return the mean correlation over pairs of subspaces whose maps are not uniform: (..., g, H, W) -> (...).

    NaN without a pair.
    """
    matrix = redundancy(maps)
    g = matrix.shape[-1]
    pairs = matrix[..., ~np.eye(g, dtype=bool)]
    counts = (~np.isnan(pairs)).sum(-1)
    return np.where(counts > 0, np.nansum(pairs, -1) / np.maximum(counts, 1), np.nan)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Rank flat values from 0, ties sharing their mean rank: (n,) -> (n,)."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[inverse]


def rank_correlations(maps: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of each map with one other: (g, H, W), (H, W) -> (g,).

    NaN where either is constant.

    The same as :func:`agreement` has, without the level of chance.
    """
    ranks = np.stack([_ranks(m.ravel()) for m in (*maps, other)])
    ranks -= ranks.mean(1, keepdims=True)
    norms = np.sqrt((ranks[:-1] ** 2).sum(1) * (ranks[-1] ** 2).sum())
    return np.where(norms > 0, ranks[:-1] @ ranks[-1] / np.where(norms > 0, norms, 1), np.nan)


def redundancy_of_each(maps: np.ndarray) -> np.ndarray:
    """Return each map's mean correlation with the others that are not uniform: (..., g, H, W) -> (..., g).

    NaN without any.
    """
    matrix = redundancy(maps)
    matrix[..., np.eye(matrix.shape[-1], dtype=bool)] = np.nan
    counts = (~np.isnan(matrix)).sum(-1)
    return np.where(counts > 0, np.nansum(matrix, -1) / np.maximum(counts, 1), np.nan)


@dataclass(frozen=True)
class Agreement:
    """The rank correlation of two maps, and what smooth maps reach by chance.

    Attributes:
        correlation: Spearman's rank correlation; NaN if either map is constant.
        chance: 95th percentile of its magnitude when one map is shifted cyclically to every other place: both maps keep
            their smoothness, only their alignment is lost. (So is a common liking for the centre or the border, which
            therefore counts as agreement.)
    """

    correlation: float
    chance: float

    @property
    def above_chance(self) -> bool:
        """Whether the correlation is larger in magnitude than in 95 % of the shifted placements."""
        return bool(abs(self.correlation) > self.chance)


def agreement(a: np.ndarray, b: np.ndarray) -> Agreement:
    """Compare two maps of one shape (H, W) by rank.

    All H*W cyclic shifts are evaluated at once, as the circular cross-correlation of the rank maps.
    """
    ranks_a, ranks_b = (_ranks(m.ravel()).reshape(m.shape) for m in (a, b))
    ranks_a, ranks_b = ranks_a - ranks_a.mean(), ranks_b - ranks_b.mean()
    norm = np.sqrt((ranks_a**2).sum() * (ranks_b**2).sum())
    if norm == 0:
        return Agreement(float("nan"), float("nan"))
    shifted = np.fft.ifft2(np.fft.fft2(ranks_a) * np.conj(np.fft.fft2(ranks_b))).real.ravel() / norm
    return Agreement(float((ranks_a * ranks_b).sum() / norm), float(np.percentile(np.abs(shifted[1:]), 95)))
