"""What the page has handed to its own components, as AppTest sees it."""

from __future__ import annotations

import json
from typing import Any

from streamlit.testing.v1 import AppTest


def mounted(app: AppTest, name: str) -> list[dict[str, Any]]:
    """Return the data of every mount of a component: ``"tiles"``, ``"strip"``, ``"view"``."""
    protos = [element.proto for element in app.get("bidi_component")]
    return [json.loads(proto.json) for proto in protos if proto.component_name.endswith(f"ulsam_viz_{name}")]


def tiles(app: AppTest, *, role: str = "") -> list[dict[str, Any]]:
    """Return the tiles of the page, in order; those of one role."""
    return [tile for row in mounted(app, "tiles") for tile in row["tiles"] if role in ("", tile["role"])]


def answers(app: AppTest) -> dict[str, str]:
    """Return the classes of the head with their probabilities, as written."""
    (strip,) = mounted(app, "strip")
    return {answer["name"]: answer["written"] for answer in strip["answers"]}


def words_of(app: AppTest) -> str:
    """Return what the components write: titles, headings, names."""
    strips = [
        line
        for strip in mounted(app, "strip")
        for line in (strip["title"], strip["network"], *(a["name"] for a in strip["answers"]))
    ]
    rows = [
        line
        for row in mounted(app, "tiles")
        for line in (row["heading"], row["help"], *(tile["name"] for tile in row["tiles"]))
    ]
    return "\n".join([*strips, *rows])
