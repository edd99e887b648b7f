"""Pictures for the tests of `batch` and of the page Dataset, and a table of them as `batch` writes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ulsam_viz.batch import local
from ulsam_viz.batch.rows import Look
from ulsam_viz.images.samples import ASSETS, list_samples
from ulsam_viz.zoo.variants import get_variant

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
    local.run(
        str(samples_in_folders(base / "pictures", count)),
        out,
        Look(get_variant(variant)),
        workers=0,
        part=part,
        quiet=True,
    )
    return out


def grown(table: Path, out: Path, pictures: int) -> Path:
    """Copy the folder of a table, and add pictures that are no files, whose measures lie about those of the others."""
    shutil.copytree(table, out)
    rows = pq.read_table(table / "attention.parquet").to_pandas()
    names, random = rows["picture"].unique(), np.random.default_rng(0)
    copies, schema = [rows], pq.read_schema(table / "attention.parquet")
    for copy in range(1, -(-pictures // len(names))):
        more = rows.assign(picture=f"copy {copy:04d}/" + rows["picture"], shard=None)
        for measure in ("area", "peak", "entropy"):
            more[measure] *= random.uniform(0.5, 1.5, len(rows)).astype(np.float32)
        copies.append(more)
    all_rows = pd.concat(copies)
    kept = all_rows["picture"].drop_duplicates()[:pictures]
    table_of_all = pa.Table.from_pandas(all_rows[all_rows["picture"].isin(kept)], schema, preserve_index=False)
    pq.write_table(table_of_all, out / "attention.parquet")
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
