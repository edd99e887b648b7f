"""A table of the samples, as `batch` writes it, for the tests of the page Dataset."""

from __future__ import annotations

from pathlib import Path

from ulsam_viz.batch import local
from ulsam_viz.batch.rows import Look
from ulsam_viz.samples import list_samples
from ulsam_viz.zoo import get_variant


def samples_in_folders(root: Path, count: int) -> Path:
    """Write so many samples into the folders ``a`` and ``b``, as classes would lie, and return the folder of both."""
    for i, sample in enumerate(list_samples()[:count]):
        place = root / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / sample.path.name).write_bytes(sample.path.read_bytes())
    return root


def table_of_samples(base: Path, name: str, count: int, variant: str) -> Path:
    """Write a table of so many samples, and return its folder, which has that name."""
    out = base / name
    local.run(str(samples_in_folders(base / "pictures", count)), out, Look(get_variant(variant)), workers=0, quiet=True)
    return out
