"""Documents to read and to print.

One self-contained HTML file each, on a screen light or dark, on paper always light.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..figures.colours import colour_table
from ..figures.papers import Legend
from .contact_sheet import as_image

STYLE = """
:root { --ink: #1c2730; --soft: #51606b; --line: #d8dee2; --page: #fff; --link: #0b5a8a; color-scheme: light; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e4eaee; --soft: #a3b2bc; --line: #34434d; --page: #121a20; --link: #7cc0ea; color-scheme: dark; }
}
@page { size: A4; margin: 14mm 15mm 16mm; @bottom-right { content: counter(page) " / " counter(pages);
  font: 8pt system-ui, sans-serif; color: #51606b; } }
html { background: var(--page); -webkit-text-size-adjust: 100%; }
body { font: 11pt/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 190mm;
  margin: 8mm auto; padding: 0 6mm;
  font-variant-numeric: tabular-nums; overflow-wrap: break-word; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
h1 { font-size: 19pt; line-height: 1.2; margin: 0 0 2mm; }
  h2 { font-size: 14pt; margin: 8mm 0 1mm; border-bottom: 1px solid var(--line); }
h3 { font-size: 11.5pt; margin: 5mm 0 1mm; } p { margin: 1mm 0 2mm; } h1, h2, h3, dt, caption { break-after: avoid; }
  dd { break-inside: avoid; } a { color: var(--link); }
section { break-inside: avoid; } .figures { display: flex; flex-wrap: wrap; gap: 3mm; margin: 2mm 0; }
figure { margin: 0; width: 30mm; font-size: 8pt; line-height: 1.25; break-inside: avoid; } figure.wide { width: 75mm; }
.picture { position: relative; } .mark { position: absolute; box-sizing: border-box; border: 1.5px solid #fff;
  outline: 1.5px solid #d1495b; }
figure img { width: 100%; display: block; border: 1px solid var(--line); box-sizing: border-box; }
figcaption { margin-top: 0.7mm; } figcaption b i { forced-color-adjust: none; display: inline-block; width: 2.2mm;
  height: 2.2mm; margin-right: 1mm; }
.bar { position: relative; display: flex; gap: 3mm; align-items: flex-start; font-size: 8pt; line-height: 1.25;
  color: var(--soft); margin: 1mm 0 2mm; break-after: avoid; }
.bar div { position: relative; width: 70mm; max-width: 75%; height: 7mm; }
  .bar img { width: 100%; height: 2.5mm; display: block; border: 0; }
.bar span { position: absolute; top: 3mm; transform: translateX(-50%); white-space: nowrap; }
  figure .bar div { width: 100%; max-width: none; height: 6mm; }
.bar span.first { transform: none; } .bar span.last { transform: translateX(-100%); }
  figure .bar { display: block; margin: 0.7mm 0 0; }
math { font-size: 11pt; } .formula { margin: 1.5mm 0; overflow-x: auto; }
.scroll { overflow-x: auto; margin: 1mm 0 2mm; } table { border-collapse: collapse; font-size: 9.5pt; }
  tr { break-inside: avoid; }
caption { text-align: left; font-weight: 600; padding: 0.5mm 0; white-space: nowrap; }
  thead th { border-bottom: 1px solid var(--line); vertical-align: bottom; }
td, th { padding: 0.5mm 4mm 0.5mm 0; text-align: right; vertical-align: top; }
  td:first-child, th:first-child, .words { text-align: left; } tbody th { font-weight: 400; }
table.words td { text-align: left; overflow-wrap: anywhere; }
  table.words th { white-space: nowrap; color: var(--soft); }
dt { font-weight: 600; margin-top: 2mm; } dd { margin: 0 0 1mm 4mm; }
  ol.answers { list-style: upper-alpha; margin: 1mm 0 2mm; }
pre { font: 9pt/1.4 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere;
  border: 1px solid var(--line); padding: 2mm; margin: 1mm 0 2mm; }
.small { font-size: 9pt; color: var(--soft); }
@media print { body { margin: 0; padding: 0; max-width: none; } .reasons { break-before: page; }
  .scroll, .formula { overflow: visible; } a { color: inherit; } }
@media screen and (max-width: 600px) { body { padding: 0 4mm; margin: 4mm auto; }
  table.words th { white-space: normal; } }
"""


@dataclass(frozen=True)
class Figure:
    """One picture.

    Attributes:
        source: Data URI.
        name, note: Below it.
        colour: A subspace's, shown before the name; or "".
        wide: It needs room.
        mark: A rectangle drawn on it: top, left, height, width, in fractions; or None.
        alt: What it shows, for those who do not see it; its name where that says it.
        scale: Its own, below it; or None.
    """

    source: str
    name: str
    note: str
    colour: str = ""
    wide: bool = False
    mark: tuple[float, float, float, float] | None = None
    alt: str = ""
    scale: Legend | None = None


def document(title: str, body: Sequence[str], *, style: str = "") -> str:
    """Return the HTML of a document of this title, of parts that are HTML; it asks the network for nothing."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{STYLE}{style}</style>"
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>'


def figures(all_of_them: Sequence[Figure]) -> str:
    """Return pictures side by side as HTML."""
    return f'<div class="figures">{"".join(map(_figure, all_of_them))}</div>' if all_of_them else ""


def _figure(figure: Figure) -> str:
    swatch = f'<i style="background:{figure.colour}"></i>' if figure.colour else ""
    mark = ""
    if figure.mark:
        top, left, height, width = (f"{100 * v:.2f}%" for v in figure.mark)
        mark = f'<i class="mark" style="top:{top};left:{left};height:{height};width:{width}"></i>'
    return (
        f'<figure{" class=wide" if figure.wide else ""}><div class=picture><img src="{figure.source}" '
        f'alt="{html.escape(figure.alt or figure.name)}">{mark}</div>'
        f"{scale_bar(figure.scale) if figure.scale else ''}"
        f"<figcaption><b>{swatch}{html.escape(figure.name)}</b><br>{html.escape(figure.note)}</figcaption></figure>"
    )


def scale_bar(scale: Legend) -> str:
    """Return a colour scale with its ticks and unit as HTML."""
    last = len(scale.ticks) - 1
    ends = {0: "first", last: "last"}
    ticks = "".join(
        f'<span class="{ends.get(i, "")}" style="left:{100 * position:.1f}%">{html.escape(label)}</span>'
        for i, (position, label) in enumerate(scale.ticks)
    )
    bar = f'<div><img src="{png_uri(colour_table(scale.colours)[None])}" alt="">{ticks}</div>'
    return f'<div class="bar">{bar}{html.escape(scale.unit)}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> str:
    """Return a table of texts as HTML; the first cell of a row names it, and columns of words begin at the left."""
    kinds = [' class="words"' if any(row[i][:1].isalpha() for row in rows) else "" for i in range(len(head))]
    top = "".join(f'<th scope="col"{kind}>{html.escape(c)}</th>' for c, kind in zip(head, kinds, strict=True))
    lines = []
    for first, *cells in rows:
        others = "".join(f"<td{kind}>{_cell(c)}</td>" for c, kind in zip(cells, kinds[1:], strict=True))
        lines.append(f'<tr><th scope="row">{html.escape(first)}</th>{others}</tr>')
    named = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table>{named}<thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def _cell(text: str) -> str:
    """Keep a number and its unit on one line."""
    return html.escape(text).replace(" %", "\u00a0%").replace(" pt", "\u00a0pt")


def png_uri(pixels: np.ndarray) -> str:
    """Encode an RGB array as a PNG data URI, which changes no pixel."""
    return "data:image/png;base64," + base64.b64encode(as_image(pixels)).decode()
