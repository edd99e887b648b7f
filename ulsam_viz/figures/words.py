"""Short descriptions of maps."""

from __future__ import annotations

import numpy as np

from ..analysis import measures

_DOWN, _ACROSS = ("top", "middle", "bottom"), ("left", "centre", "right")


def map_note(attention_map: np.ndarray) -> str:
    """Return a short description of one map (H, W)."""
    if measures.is_dead(attention_map):
        return "uniform for this picture"
    return f"area {measures.effective_area(attention_map):.0%}, peak {measures.peak(attention_map):.1f}×"


def channel_words(channels: int, groups: int, k: int) -> str:
    """Name the channels of subspace k of so many."""
    size = channels // groups
    return f"channels {k * size} to {(k + 1) * size - 1}" if size > 1 else f"channel {k * size}"


def change_note(after: np.ndarray, before: np.ndarray) -> str:
    """Return a short description of one map (H, W), now and before a change."""
    if measures.is_dead(after) or measures.is_dead(before):
        return f"{map_note(after)} (was: {map_note(before)})"
    area, was = measures.effective_area(after), measures.effective_area(before)
    return f"area {area:.0%} (was {was:.0%}), peak {measures.peak(after):.1f}× (was {measures.peak(before):.1f}×)"


def where_it_peaks(attention_map: np.ndarray) -> str:
    """Say where a map (H, W) is largest, and how much larger than a uniform one."""
    if measures.is_dead(attention_map):
        return "uniform, no place is preferred"
    return f"peaks {where(attention_map)}, {measures.peak(attention_map):.1f} times uniform"


def where(values: np.ndarray) -> str:
    """Say where values (H, W) are largest: "at the top left (row 1, column 2)"."""
    height, width = values.shape
    row, column = (int(i) for i in np.unravel_index(int(values.argmax()), values.shape))
    third = f"{_DOWN[3 * row // height]} {_ACROSS[3 * column // width]}"
    return f"at the {'centre' if third == 'middle centre' else third} (row {row}, column {column})"
