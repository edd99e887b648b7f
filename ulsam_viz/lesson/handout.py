"""The lesson on paper.

One self-contained HTML file, pictures inside, formulas as MathML, which browsers draw themselves.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from latex2mathml.converter import convert

from ..report.html import Figure, document, figures, table
from ..text.escaping import markdown_to_html


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
    cards = "".join(
        f"<dt>“{html.escape(claim)}”</dt><dd>{markdown_to_html(truth)}</dd>" for claim, truth in paper.cards
    )
    body.append(f"<h2>Sentences that sound right</h2><dl>{cards}</dl><h2>Questions</h2>")
    for number, (question, answers, _) in enumerate(paper.quiz, start=1):
        options = "".join(f"<li>{html.escape(a)}</li>" for a in answers)
        body.append(
            f"<section><p><b>{number}.</b> {html.escape(question)}</p><ol class=answers>{options}</ol></section>"
        )
    reasons = "".join(
        f"<p><b>{number}.</b> {html.escape(reason)}</p>" for number, (*_, reason) in enumerate(paper.quiz, start=1)
    )
    body.append(f'<div class="reasons"><h2>Answers</h2>{reasons}</div>')
    return document(paper.title, body)


def _section(number: int, section: Section) -> str:
    parts = [f"<h3>{number}. {html.escape(section.title)}</h3><p>{markdown_to_html(section.text)}</p>"]
    parts.append(figures(section.figures))
    parts += [f'<div class="formula">{_mathml(latex)}</div>' for latex in section.formulas]
    if section.table:
        head, *rows = section.table
        parts.append(table(head, rows))
    if section.note:
        parts.append(f"<p class=small>{html.escape(section.note)}</p>")
    return f"<section>{''.join(parts)}</section>"


def _mathml(latex: str) -> str:
    return convert(re.sub(r"\\\\\[\d+pt\]", r"\\\\", latex), display="block")  # the converter knows no row spacing
