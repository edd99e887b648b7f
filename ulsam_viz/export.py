"""Results as files: one picture to show, one archive of numbers to compute with."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_MARGIN, _TEXT, _GAP = 24, 40, 14


@dataclass(frozen=True)
class Panel:
    """One tile of an exported picture: a heading, a note and an RGB array (S, S, 3)."""

    name: str
    note: str
    pixels: np.ndarray


def as_png(title: str, lines: Sequence[str], rows: Sequence[tuple[str, Sequence[Panel]]], *, columns: int = 8) -> bytes:
    """Compose a contact sheet.

    Args:
        title: Heading.
        lines: Lines below the heading: what was shown, on which scale.
        rows: Headings of rows with their panels; long rows wrap.
        columns: Panels side by side, at most.

    Returns:
        A PNG file.
    """
    side = max(p.pixels.shape[0] for _, panels in rows for p in panels)
    widest = max(min(len(panels), columns) for _, panels in rows)
    width = max(2 * _MARGIN + widest * side + (widest - 1) * _GAP, 760)
    heights = [30 + -(-len(panels) // columns) * (side + _TEXT + _GAP) for _, panels in rows]
    height = 2 * _MARGIN + 34 + 20 * len(lines) + sum(heights)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    fonts = {size: ImageFont.load_default(size=size) for size in (13, 15, 22)}
    ink, soft = (28, 39, 48), (92, 104, 112)
    y = _MARGIN
    draw.text((_MARGIN, y), title, font=fonts[22], fill=ink)
    y += 34
    for line in lines:
        draw.text((_MARGIN, y), line, font=fonts[13], fill=soft)
        y += 20
    for (heading, panels), row_height in zip(rows, heights, strict=True):
        draw.text((_MARGIN, y + 6), heading, font=fonts[15], fill=ink)
        for i, panel in enumerate(panels):
            x = _MARGIN + (i % columns) * (side + _GAP)
            top = y + 30 + (i // columns) * (side + _TEXT + _GAP)
            sheet.paste(Image.fromarray(panel.pixels), (x, top))
            draw.text((x, top + side + 3), panel.name, font=fonts[13], fill=ink)
            draw.text((x, top + side + 19), panel.note, font=fonts[13], fill=soft)
        y += row_height
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def as_npz(arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> bytes:
    """Write arrays and, as JSON under ``settings``, everything that produced them; no pickle is needed to read it."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, settings=np.array(json.dumps(settings)), allow_pickle=False, **arrays)
    return buffer.getvalue()


def flatten(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Turn a result into what JSON holds; its arrays go to ``arrays`` and leave their names.

    Args:
        value: A dataclass, mapping, sequence, array or plain value, nested in any way.
        name: Of the result, and the beginning of its arrays' names.
        arrays: Where arrays are put; changed.
    """
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: flatten(getattr(value, f.name), f"{name}.{f.name}", arrays) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): flatten(item, f"{name}.{key}", arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [flatten(item, f"{name}.{i}", arrays) for i, item in enumerate(value)]
    return value
