"""What each subspace's map is like, in numbers: the same for the command line, for documents and for tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..analysis import measures
from ..analysis.effects import Effect
from ..figures.tiles import block_means
from .record import Report


def measured_in(report: Report) -> list[dict[str, Any]]:
    """Measure every subspace of a report; with what its removal does to the target, where the report was asked that.

    Returns:
        As :func:`measured`; and ``removed_logit``, ``removed_probability`` and ``removed_flips``, as `batch` has them,
        where any layer's effects are known: None for those of another layer.
    """
    sheet = report.sheet
    found = measured(sheet.attention, {name: a.values for name, a in sheet.attributions.items()})
    removed = {
        (layer, e.subspace + 1): e
        for topic, effects in report.asked.items()
        if topic.kind == "ablate"
        and (layer := topic.part("layer")) in sheet.attention
        and topic.part("class") == sheet.target
        for e in effects
        if e.change == "off" and e.subspace is not None
    }
    return [row | _removal(removed.get((row["layer"], row["subspace"]))) for row in found] if removed else found


def _removal(effect: Effect | None) -> dict[str, Any]:
    return {
        "removed_logit": effect and round(effect.logit, 6),
        "removed_probability": effect and round(effect.probability, 6),
        "removed_flips": effect and bool(effect.flips),
    }


def measured(attention: Mapping[Any, np.ndarray], attributions: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Measure every subspace's map of every layer, and set it beside each attribution.

    Args:
        attention: Maps by layer, each (g, H, W).
        attributions: By method, each (S, S).

    Returns:
        A row for each: plain values. Subspaces count from 1, rows and columns from 0; the area is a share, the peak a
        multiple of uniform, the entropy in bits; redundancy is the mean correlation with the layer's other maps, an
        agreement Spearman's rank correlation. What is not defined is None: for a dead map, too, where its peak lies.
    """
    rows = []
    for layer, maps in attention.items():
        alike = measures.redundancy_of_each(maps)
        for k, own in enumerate(maps):
            rows.append({"layer": layer, "subspace": k + 1, **_of_one(own, attributions, float(alike[k]))})
    return rows


def _of_one(own: np.ndarray, attributions: Mapping[str, np.ndarray], redundancy: float) -> dict[str, Any]:
    dead = bool(measures.is_dead(own))
    row, column = divmod(int(own.argmax()), own.shape[1])
    return {
        "area": round(float(measures.effective_area(own)), 6),
        "peak": round(float(measures.peak(own)), 6),
        "row": None if dead else row,
        "column": None if dead else column,
        "entropy": round(float(measures.entropy(own)), 6),
        "dead": dead,
        "redundancy": _known(redundancy),
        "agreement": {name: None if dead else _agreement(own, values) for name, values in attributions.items()},
    }


def _agreement(own: np.ndarray, values: np.ndarray) -> float | None:
    if own.shape[0] != own.shape[1] or len(values) % len(own):  # a foreign network's grid may not divide the picture
        return None
    return _known(measures.agreement(own, block_means(values, len(own))).correlation)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
