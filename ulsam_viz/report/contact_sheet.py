"""Results as files: one picture to show, one archive of numbers to compute with."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from ..images.folders import without_symbols

_MARGIN, _TEXT, _GAP = 24, 40, 14
# Heights: of a row's heading, of its colour bars with their ticks, of a line of text
_HEADING, _BAR, _LINE = (30, 36, 20)
_BAR_STEP, _LEAST_WIDTH = 400, 760
_INK, _SOFT = (28, 39, 48), (92, 104, 112)


@dataclass(frozen=True)
class Panel:
    """One tile of an exported picture: a heading, a note, an RGB array (S, S, 3), and a subspace's colour or ""."""

    name: str
    note: str
    pixels: np.ndarray
    colour: str = ""


@dataclass(frozen=True)
class ColourBar:
    """A colour scale: colours from low to high, shape (n, 3), uint8, ticks (position in [0, 1], label), and unit."""

    colours: np.ndarray
    ticks: Sequence[tuple[float, str]]
    unit: str


@dataclass(frozen=True)
class Row:
    """Panels that belong together, below a heading and the colour scales that they use."""

    heading: str
    panels: Sequence[Panel]
    bars: Sequence[ColourBar] = ()

    def height(self, side: int, columns: int) -> int:
        """Return the pixels from this row's top to the next one's."""
        return _HEADING + (_BAR if self.bars else 0) + -(-len(self.panels) // columns) * (side + _TEXT + _GAP)


def as_png(title: str, lines: Sequence[str], rows: Sequence[Row], *, address: str = "", columns: int = 8) -> bytes:
    """Compose a contact sheet.

    Args:
        title: Heading.
        lines: Lines below the heading: what was shown, on which scale.
        rows: Long ones wrap.
        address: Where the view can be opened again; also written into the file as its ``Source``.
        columns: Panels side by side, at most.

    Returns:
        A PNG file.
    """
    side = max(panel.pixels.shape[0] for row in rows for panel in row.panels)
    widest = max(min(len(row.panels), columns) for row in rows)
    width = max(2 * _MARGIN + widest * side + (widest - 1) * _GAP, _LEAST_WIDTH)
    fonts = {size: _font(size) for size in (13, 15, 22)}
    lines = [*lines, *_wrapped(address, fonts[13], width - 2 * _MARGIN)]
    height = 2 * _MARGIN + 34 + _LINE * len(lines) + sum(row.height(side, columns) for row in rows)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    y = _MARGIN
    draw.text((_MARGIN, y), title, font=fonts[22], fill=_INK)
    y += 34
    for line in lines:
        draw.text((_MARGIN, y), line, font=fonts[13], fill=_SOFT)
        y += _LINE
    for row in rows:
        draw.text((_MARGIN, y + 6), row.heading, font=fonts[15], fill=_INK)
        top = y + _HEADING
        for i, bar in enumerate(row.bars):
            _draw_bar(sheet, draw, bar, (_MARGIN + i * _BAR_STEP, top), fonts[13])
        top += _BAR if row.bars else 0
        for i, panel in enumerate(row.panels):
            _draw_panel(
                sheet,
                draw,
                panel,
                (_MARGIN + i % columns * (side + _GAP), top + i // columns * (side + _TEXT + _GAP)),
                fonts[13],
            )
        y += row.height(side, columns)
    source = PngInfo()
    source.add_itxt("Source", address)
    return as_image(np.asarray(sheet), source)


def as_image(pixels: np.ndarray, about: PngInfo | None = None) -> bytes:
    """Write pixels, shape (H, W, 3), uint8, as a PNG file, which changes none of them."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=about)
    return buffer.getvalue()


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans from matplotlib, which captum needs anyway: Pillow's font lacks ×, −, ≤ and accents."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Break a text without spaces, an address, into lines that fit."""
    lines = [""] if text else []
    for character in text:
        if font.getlength(lines[-1] + character) > width:
            lines.append("")
        lines[-1] += character
    return lines


def _draw_bar(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, bar: ColourBar, corner: tuple[int, int], font: ImageFont.FreeTypeFont
) -> None:
    (x, y), width = corner, len(bar.colours)
    sheet.paste(Image.fromarray(bar.colours[None].repeat(10, 0)), (x, y))
    for position, label in bar.ticks:
        draw.text((x + position * width, y + 12), label, font=font, fill=_SOFT, anchor="ma")
    draw.text((x + width + 14, y + 5), bar.unit, font=font, fill=_SOFT, anchor="lm")


def _draw_panel(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, panel: Panel, corner: tuple[int, int], font: ImageFont.FreeTypeFont
) -> None:
    (x, y), side = corner, panel.pixels.shape[0]
    sheet.paste(Image.fromarray(panel.pixels), (x, y))
    if panel.colour:
        draw.rectangle((x, y + side + 6, x + 9, y + side + 15), fill=panel.colour)
    draw.text((x + (15 if panel.colour else 0), y + side + 3), panel.name, font=font, fill=_INK)
    draw.text((x, y + side + 19), panel.note, font=font, fill=_SOFT)


def as_npz(arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> bytes:
    """Write arrays and, as JSON under ``settings``, everything that produced them; no pickle is needed to read it."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, settings=np.array(json.dumps(settings)), allow_pickle=False, **arrays)
    return buffer.getvalue()


def file_name(text: str) -> str:
    """Make of any text the name of a file, on every system and in no other folder."""
    return without_symbols(text, kept="_.-").strip("._") or "picture"


def printable(text: str) -> str:
    """Return a text without what cannot be written: control characters, and bytes of a file's name that are no text."""
    return "".join(c if c.isprintable() else "_" for c in text)


def flatten(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Turn a result into what JSON holds; its arrays go to ``arrays`` and leave their names.

    Lists count from 1. What is not a number (NaN), which JSON does not know, is null.

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
        return [flatten(item, f"{name}.{i}", arrays) for i, item in enumerate(value, 1)]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
