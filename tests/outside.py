"""Text from outside that asks to be read as Markdown, HTML or a formula.

A zoo and a table in which every name is such a text.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.tables import table_of_samples
from ulsam_viz import paths as places

#: Each is read as something else by whoever reads Markdown as Streamlit does, or HTML.
SIGNS = (
    "![i](http://evil.example/i.png)",
    '<img src="http://evil.example/h.png">',
    "[l](http://evil.example/)",
    "http://evil.example/a",
    "www.evil.example",
    "a@evil.example",
    "<http://evil.example>",
    "**b**",
    "_e_",
    "~s~",
    "`c`",
    "$x^2$",
    ":red[r]",
    ":red",
    ":smile:",
    ":material/home:",
    "&lt;",
    "-> <- --",
    "%{x}",
    "\\*",
)
HOSTILE = " ".join(SIGNS)
NAMES = ("mobilenet_v1-0.5-plain", "mobilenet_v1-0.5-after11-g4", "mobilenet_v1-0.5-after11-g2")
OWN = f"own {HOSTILE}"  # a network's name, which stands among the backbones


def hostile_zoo(folder: Path) -> Path:
    """Write a zoo of three networks, one of them the user's own, in whose manifest every text is hostile."""
    manifest: dict[str, Any] = json.loads((places.CHECKPOINTS / "manifest.json").read_text(encoding="utf-8"))
    records = [record for record in manifest["variants"] if record["name"] in NAMES]
    classes = [f"{i} {HOSTILE}" for i in range(len(manifest["classes"]["caltech101"]))]
    for record in records:
        shutil.copy(places.CHECKPOINTS / record["file"], folder)
        record |= {"name": f"{record['name']} {HOSTILE}", "classes": HOSTILE}
        record["metrics"] |= {"measured_on": HOSTILE}
        record["made_by"] |= {"code": HOSTILE, "device": HOSTILE, "finished": HOSTILE}
    own = records[1] | {"name": OWN, "own": True}
    found = {"format": manifest["format"], "classes": {HOSTILE: classes}, "variants": [*records, own]}
    (folder / "manifest.json").write_text(json.dumps(found), encoding="utf-8")
    return folder


def hostile_table(base: Path) -> Path:
    """Write a table of two classes of pictures in which every text is hostile, and a column too."""
    folder = table_of_samples(base, "table **b** [l](x)", 6, NAMES[1])
    file = folder / "attention.parquet"
    rows = pq.read_table(file).to_pandas()
    for column in ("picture", "class_folder", "answer", "target"):
        rows[column] = rows[column].astype(str) + f" {HOSTILE}"
    rows[f"agreement_{HOSTILE}"] = rows["area"]
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), file)
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    (folder / "settings.json").write_text(json.dumps(settings | {"variant": HOSTILE}), encoding="utf-8")
    return folder
