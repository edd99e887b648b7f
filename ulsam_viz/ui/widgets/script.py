"""The components' scripts, each with the functions that all share in front."""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from pathlib import Path

from ...figures.colours import DIVERGING, SEQUENTIAL, colour_table

_HERE = Path(__file__).parent


@lru_cache
def script(*names: str) -> str:
    """Return scripts of this folder as one, after what all share; the tables of colours are Python's own."""
    tables = {name: colour_table(name) for name in SEQUENTIAL} | {"signed": colour_table(DIVERGING)}
    written = json.dumps({name: base64.b64encode(values.tobytes()).decode() for name, values in tables.items()})
    texts = [(_HERE / name).read_text(encoding="utf-8") for name in ("store.js", *names)]
    return "\n".join(texts).replace("__TABLES__", written)
