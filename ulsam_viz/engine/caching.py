"""A cache of results with a limit in bytes; cached arrays are read-only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch


class BoundedCache:
    """Least-recently-used results within a number of bytes; whoever uses it guards it by a lock.

    Args:
        limit: Bytes; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._items: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    @property
    def used(self) -> int:
        """Bytes that are kept."""
        return self._used

    def get(self, key: Any) -> tuple[bool, Any]:
        """Return whether the key is there, and its value."""
        if key not in self._items:
            return False, None
        self._items.move_to_end(key)
        return True, self._items[key][0]

    def put(self, key: Any, value: Any) -> None:
        """Keep a value; the least recently used ones go where it needs their room."""
        if key in self._items:
            self._used -= self._items.pop(key)[1]
        size = size_of(value) + 500
        self._items[key] = (value, size)
        self._used += size
        while self._used > self._limit and self._items:
            _, (_, freed) = self._items.popitem(last=False)
            self._used -= freed


def freeze(value: Any) -> None:
    """Make a result's arrays read-only: visitors share them."""
    if isinstance(value, np.ndarray):
        value.setflags(write=False)
    elif isinstance(value, Mapping):
        for item in value.values():
            freeze(item)
    elif isinstance(value, list | tuple):
        for item in value:
            freeze(item)
    elif hasattr(value, "__dataclass_fields__"):
        for f in fields(value):
            freeze(getattr(value, f.name))


def size_of(value: Any) -> int:
    """Return the bytes of the arrays and tensors in a result or network."""
    if isinstance(value, torch.nn.Module):
        tensors = [*value.parameters(), *value.buffers()]
        return sum(t.numel() * t.element_size() for t in tensors)
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(size_of(v) for v in value.values())
    if isinstance(value, list | tuple):
        return sum(size_of(v) for v in value)
    if hasattr(value, "__dataclass_fields__"):
        return sum(size_of(getattr(value, f.name)) for f in fields(value))
    return 0
