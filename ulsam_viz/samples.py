"""The sample pictures that come with the program, each with its licence and what to notice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "assets"


@dataclass(frozen=True)
class Sample:
    """A sample picture.

    Attributes:
        path: The file.
        title: For people.
        shows: Caltech-101 class of its subject, or None where the network has no class for it.
        kind: ``"photograph"``, ``"drawing"`` or ``"probe"``.
        source: Who made it, where it is from.
        licence: Under which it may be passed on.
        notice: What to look at.
        box: Around the subject: top, left, bottom, right, in fractions of the centre square; None where there is no one subject.
    """

    path: Path
    title: str
    shows: str | None
    kind: str
    source: str
    licence: str
    notice: str
    box: tuple[float, float, float, float] | None


@lru_cache
def list_samples() -> tuple[Sample, ...]:
    """Return all sample pictures, in the order they are offered."""
    records = json.loads((ASSETS / "samples.json").read_text(encoding="utf-8"))
    return tuple(
        Sample(path=ASSETS / r.pop("file"), box=tuple(box) if (box := r.pop("box")) else None, **r)
        for r in records  # type: ignore[arg-type]
    )
