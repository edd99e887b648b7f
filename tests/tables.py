"""Pictures for the tests of `batch` and of the page Dataset, and a table of them as `batch` writes it."""

from __future__ import annotations

import shutil
from pathlib import Path

from ulsam_viz.batch import local
from ulsam_viz.batch.rows import Look
from ulsam_viz.samples import ASSETS, list_samples
from ulsam_viz.zoo import get_variant

PHOTOGRAPHS = ("astronaut.jpg", "chelsea.jpg", "rocket.jpg")


def samples_in_folders(root: Path, count: int) -> Path:
    """Write so many samples into the folders ``a`` and ``b``, as classes would lie, and return the folder of both."""
    for i, sample in enumerate(list_samples()[:count]):
        place = root / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / sample.path.name).write_bytes(sample.path.read_bytes())
    return root


def table_of_samples(base: Path, name: str, count: int, variant: str, *, part: int = local.PART) -> Path:
    """Write a table of so many samples, and return its folder, which has that name."""
    out = base / name
    local.run(str(samples_in_folders(base / "pictures", count)), out, Look(get_variant(variant)), workers=0, part=part, quiet=True)
    return out


def photographs_and_others(root: Path) -> Path:
    """Three photographs, two of them in a folder of their own, and files that are none."""
    (root / "animals").mkdir()
    for name in PHOTOGRAPHS:
        shutil.copy(ASSETS / name, root / "animals" if name != "rocket.jpg" else root)
    (root / "animals" / "cut.jpg").write_bytes((ASSETS / "astronaut.jpg").read_bytes()[:2000])
    (root / "empty.png").touch()
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden").write_text("not looked at")
    return root
