"""The sample pictures that come with the program, each with its licence and what to notice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..paths import ASSETS as ASSETS


@dataclass(frozen=True)
class Sample:
    """A sample picture.

    Attributes:
        path: The file.
        title: For people.
        shows: Names of the classes that are right for it, of whichever network, the best first; empty where none is.
        kind: ``"photograph"``, ``"drawing"`` or ``"probe"``.
        source: Who made it, where it is from.
        licence: Under which it may be passed on.
        notice: What to look at.
        box: Around the subject: top, left, bottom, right, in fractions of the centre square; None where there is no one
            subject.
    """

    path: Path
    title: str
    shows: tuple[str, ...]
    kind: str
    source: str
    licence: str
    notice: str
    box: tuple[float, float, float, float] | None

    def truths(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return which of a network's classes are right for it, the best first."""
        return tuple(name for name in self.shows if name in classes)


@lru_cache
def list_samples() -> tuple[Sample, ...]:
    """Return all sample pictures, in the order they are offered."""
    records = json.loads((ASSETS / "samples.json").read_text(encoding="utf-8"))
    return tuple(
        Sample(
            path=ASSETS / r.pop("file"),
            shows=tuple(r.pop("shows")),
            box=tuple(box) if (box := r.pop("box")) else None,  # type: ignore[arg-type]
            **r,
        )
        for r in records
    )
