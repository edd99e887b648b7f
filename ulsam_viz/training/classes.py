"""Which classes differ, in a few words."""

from __future__ import annotations

from collections.abc import Sequence

_NAMED = 5  # classes that a message names


def class_difference(
    expected: Sequence[str], found: Sequence[str], missing: str = "missing", extra: str = "not expected"
) -> str:
    """Say which classes differ: ``"missing: a, b; not expected: c"``; "" where the same are there, in whatever order.

    Args:
        expected: Names of classes.
        found: Names to compare with them.
        missing: What to call those that are expected and not found.
        extra: What to call the others.
    """
    kinds = ((missing, expected, {*found}), (extra, found, {*expected}))
    lists = [(title, [name for name in names if name not in others]) for title, names, others in kinds]
    return "; ".join(f"{title}: {first_names(names)}" for title, names in lists if names)


def first_names(names: Sequence[str]) -> str:
    """Return some of the names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
