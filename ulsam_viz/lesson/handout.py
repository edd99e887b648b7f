"""The lesson on paper: one self-contained HTML file, pictures inside, formulas as MathML, which browsers draw themselves."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from latex2mathml.converter import convert

_STYLE = """
body { font: 11pt/1.45 system-ui, sans-serif; color: #1c2730; max-width: 190mm; margin: 8mm auto; padding: 0 6mm; font-variant-numeric: tabular-nums; }
h1 { font-size: 19pt; margin: 0 0 2mm; } h2 { font-size: 14pt; margin: 8mm 0 1mm; border-bottom: 1px solid #d8dee2; }
h3 { font-size: 11.5pt; margin: 5mm 0 1mm; } p { margin: 1mm 0 2mm; }
section { break-inside: avoid; } .figures { display: flex; flex-wrap: wrap; gap: 3mm; margin: 2mm 0; }
figure { margin: 0; width: 30mm; font-size: 8pt; line-height: 1.25; } figure.wide { width: 75mm; }
.picture { position: relative; } .mark { position: absolute; box-sizing: border-box; border: 1.5px solid #fff; outline: 1.5px solid #d1495b; }
figure img { width: 100%; display: block; border: 1px solid #d8dee2; } figcaption b i { display: inline-block; width: 2.2mm; height: 2.2mm; margin-right: 1mm; }
math { font-size: 11pt; } .formula { margin: 1.5mm 0; overflow-x: auto; } table { border-collapse: collapse; font-size: 9.5pt; }
td, th { padding: 0.5mm 4mm 0.5mm 0; text-align: right; } td:first-child, th:first-child { text-align: left; }
dt { font-weight: 600; margin-top: 2mm; } dd { margin: 0 0 1mm 4mm; } ol.answers { list-style: upper-alpha; margin: 1mm 0 2mm; }
.small { font-size: 9pt; color: #51606b; } @media print { body { margin: 0; max-width: none; } .reasons { break-before: page; } }
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
    """

    source: str
    name: str
    note: str
    colour: str = ""
    wide: bool = False
    mark: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Section:
    """One step on paper.

    Attributes:
        title, chapter: Of the step.
        text: Its words; ``*emphasis*`` and ``**strong**`` are understood.
        figures: Its pictures.
        formulas: LaTeX, each on a line of its own.
        note: A line below, smaller.
        table: Rows of cells, the first of them the head; or none.
    """

    title: str
    chapter: str
    text: str
    figures: tuple[Figure, ...] = ()
    formulas: tuple[str, ...] = ()
    note: str = ""
    table: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Paper:
    """All that the hand-out holds.

    Attributes:
        title: Heading.
        subtitle: Picture, network, address.
        sections: In order.
        cards: Claims and what is true.
        quiz: Question, answers, letter of the right one with the reason.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    cards: tuple[tuple[str, str], ...]
    quiz: tuple[tuple[str, tuple[str, ...], str], ...]


def write_handout(paper: Paper) -> str:
    """Return the HTML of a hand-out; it asks the network for nothing."""
    body = [f"<h1>{html.escape(paper.title)}</h1><p class=small>{html.escape(paper.subtitle)}</p>"]
    chapter = ""
    for number, section in enumerate(paper.sections, start=1):
        if section.chapter != chapter:
            chapter = section.chapter
            body.append(f"<h2>{html.escape(chapter)}</h2>")
        body.append(_section(number, section))
    cards = "".join(f"<dt>“{html.escape(claim)}”</dt><dd>{_words(truth)}</dd>" for claim, truth in paper.cards)
    body.append(f"<h2>Sentences that sound right</h2><dl>{cards}</dl><h2>Questions</h2>")
    for number, (question, answers, _) in enumerate(paper.quiz, start=1):
        options = "".join(f"<li>{html.escape(a)}</li>" for a in answers)
        body.append(f"<section><p><b>{number}.</b> {html.escape(question)}</p><ol class=answers>{options}</ol></section>")
    reasons = "".join(f"<p><b>{number}.</b> {html.escape(reason)}</p>" for number, (*_, reason) in enumerate(paper.quiz, start=1))
    body.append(f'<div class="reasons"><h2>Answers</h2>{reasons}</div>')
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(paper.title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>'


def _section(number: int, section: Section) -> str:
    parts = [f"<h3>{number}. {html.escape(section.title)}</h3><p>{_words(section.text)}</p>"]
    if section.figures:
        parts.append(f'<div class="figures">{"".join(map(_figure, section.figures))}</div>')
    parts += [f'<div class="formula">{_mathml(latex)}</div>' for latex in section.formulas]
    if section.table:
        head, *rows = section.table
        lines = [f"<tr>{''.join(f'<th>{html.escape(c)}</th>' for c in head)}</tr>"]
        lines += [f"<tr>{''.join(f'<td>{html.escape(c)}</td>' for c in row)}</tr>" for row in rows]
        parts.append(f"<table>{''.join(lines)}</table>")
    if section.note:
        parts.append(f"<p class=small>{html.escape(section.note)}</p>")
    return f"<section>{''.join(parts)}</section>"


def _figure(figure: Figure) -> str:
    swatch = f'<i style="background:{figure.colour}"></i>' if figure.colour else ""
    mark = ""
    if figure.mark:
        top, left, height, width = (f"{100 * v:.2f}%" for v in figure.mark)
        mark = f'<i class="mark" style="top:{top};left:{left};height:{height};width:{width}"></i>'
    return (
        f'<figure{" class=wide" if figure.wide else ""}><div class=picture><img src="{figure.source}" alt="{html.escape(figure.name)}">{mark}</div>'
        f"<figcaption><b>{swatch}{html.escape(figure.name)}</b><br>{html.escape(figure.note)}</figcaption></figure>"
    )


def _mathml(latex: str) -> str:
    return convert(re.sub(r"\\\\\[\d+pt\]", r"\\\\", latex), display="block")  # the converter knows no row spacing


def _words(text: str) -> str:
    """Write the steps' sparse Markdown as HTML."""
    safe = html.escape(text)
    return re.sub(r"\*(.+?)\*", r"<em>\1</em>", re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", safe))
