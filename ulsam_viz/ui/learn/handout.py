"""The lesson for the chosen picture as a file to print."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ...evidence import paper
from ...figures.colours import scale_maps
from ...figures.drawing import paint
from ...figures.tiles import data_uri, mosaic
from ...lesson.formulas import formula
from ...lesson.handout import Paper, Section, write_handout
from ...lesson.steps import QUIZ, STEPS, Step
from ...report.html import Figure
from ...zoo.variants import Variant
from ..run.requests import compute
from ..widgets.tiles import Tile
from .idea import group_tiles, map_tiles
from .steps import stage_tiles
from .walk import Walk, at_same_position
from .whole import POSITIONS_NOTE, effects_of_each, groups_tiles, look, misconceptions, position_tiles


def offer_handout(walk: Walk, everything: Sequence[Variant]) -> None:
    """Offer the lesson as one HTML file; it is made when it is asked for."""
    st.download_button(
        "Hand-out for this picture (HTML, to print)",
        lambda: write_handout(_paper(walk, everything)).encode(),
        f"ulsam-lesson-{walk.scene.variant.name}.html",
        "text/html",
        on_click="ignore",
        icon=":material/print:",
        help="All steps with this picture's maps and numbers, the questions, and their answers on a last page.",
    )


def _paper(walk: Walk, everything: Sequence[Variant]) -> Paper:
    f = walk.facts
    return Paper(
        title="How subspace attention works",
        subtitle=f"Picture: {f.picture}. {f.network} ({walk.scene.variant.name}), layer {f.layer}; followed: "
        f"subspace {f.k}, channel {f.channel}, "
        f"row {f.row}, column {f.column}. Target: {f.target}. ULSAM: Saini et al., WACV 2020. Made with ulsam_viz.",
        sections=tuple(_section(walk, step, everything) for step in STEPS),
        cards=tuple(misconceptions(walk, compute(walk.scene, *effects_of_each(walk)))),
        quiz=tuple((q.text, q.answers, f"{'ABCDEF'[q.right]}. {q.reason}") for q in QUIZ),
    )


def _section(walk: Walk, step: Step, everything: Sequence[Variant]) -> Section:
    text = " ".join(step.write(walk.facts))
    if step.stage:
        written = formula(walk.stages, walk.derivation, step.stage)
        d = walk.derivation
        note = (
            f"{written.legend} At row {d.row}, column {d.column} of channel {d.channel}, subspace {walk.k + 1}: the "
            "place that is marked."
        )
        return Section(
            step.title,
            step.chapter,
            text,
            _figures(walk, stage_tiles(walk, step.stage)),
            (written.symbols, written.numbers),
            note,
        )
    figures: tuple[Figure, ...] = ()
    table: tuple[tuple[str, ...], ...] = ()
    note = ""
    if step.id == "why":
        figures = (
            Figure(data_uri(walk.scene.crop.pixels), "The picture", "as the network sees it"),
            *_figures(walk, map_tiles(walk)),
        )
    elif step.id == "channels":
        sheet = data_uri(mosaic(walk.stages.features, walk.scene.view.display, least_side=520))
        figures = (Figure(sheet, f"All {walk.facts.m} channels", "in rows from the top left", wide=True),)
    elif step.id == "subspaces":
        figures = _figures(walk, group_tiles(walk))
    elif step.id == "groups":
        by_groups = {v.groups: a.maps[walk.layer] for v, a in look(walk, at_same_position(walk.scene.variant))}
        scaled = scale_maps(by_groups, "uniform")
        figures = tuple(
            figure
            for g in sorted(by_groups)
            for figure in _figures(walk, groups_tiles(walk, by_groups[g], scaled[g])[:8], f"g = {g}, map ")
        )
        note = "At most eight maps of each network."
    elif step.id == "positions":
        figures, note = _figures(walk, position_tiles(walk, everything)[0]), POSITIONS_NOTE.format(f=walk.facts)
    elif step.id == "cost":
        f = walk.facts
        rows = [(m.name, f"{m.params(f.m):,.0f}", f"{m.macs(f.m, f.h, f.w) / 1e6:.3f}") for m in paper.MODULES]
        table = (("module", "parameters", "million MACs"), *rows)
        note = f"The paper's formulas for m = {f.m} channels on {f.h} × {f.w} places. The time is measured on the page."
    return Section(step.title, step.chapter, text, figures, note=note, table=table)


def _figures(walk: Walk, tiles: Sequence[Tile], prefix: str = "") -> tuple[Figure, ...]:
    display = walk.scene.view.display
    drawn = [(data_uri(paint(t.drawing, display)) if t.drawing else t.source, t) for t in tiles if not t.card]
    return tuple(Figure(source, prefix + t.name, t.note, t.colour, mark=t.mark) for source, t in drawn)
