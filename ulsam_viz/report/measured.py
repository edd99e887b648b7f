"""What each subspace's map is like, in numbers: the same for the command line, for documents and for tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..analysis import measures
from ..figures.tiles import block_means


def measured(attention: Mapping[Any, np.ndarray], attributions: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Measure every subspace's map of every layer, and set it beside each attribution.

    Args:
        attention: Maps by layer, each (g, H, W).
        attributions: By method, each (S, S).

    Returns:
        A row for each: plain values. Subspaces count from 1, rows and columns from 0; the area is a share, the peak a
        multiple of uniform, the entropy in bits; an agreement, Spearman's rank correlation, is None where it is not defined.
    """
    return [_of_one(layer, k, own, attributions) for layer, maps in attention.items() for k, own in enumerate(maps)]


def _of_one(layer: Any, k: int, own: np.ndarray, attributions: Mapping[str, np.ndarray]) -> dict[str, Any]:
    row, column = (int(i) for i in np.unravel_index(int(own.argmax()), own.shape))
    return {
        "layer": layer,
        "subspace": k + 1,
        "area": round(float(measures.effective_area(own)), 6),
        "peak": round(float(measures.peak(own)), 6),
        "row": row,
        "column": column,
        "entropy": round(float(measures.entropy(own)), 6),
        "dead": bool(measures.is_dead(own)),
        "agreement": {name: _agreement(own, values) for name, values in attributions.items()},
    }


def _agreement(own: np.ndarray, values: np.ndarray) -> float | None:
    if own.shape[0] != own.shape[1] or len(values) % len(own):  # a foreign network's grid may not divide the picture
        return None
    found = measures.agreement(own, block_means(values, len(own))).correlation
    return None if np.isnan(found) else round(float(found), 6)
