"""The accuracies of the page "Evidence": a grid and dots of all trainings, and sentences on what chance does to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from ...evidence import (
    SeedSpread,
    accuracy_of,
    by_position,
    common_seeds,
    control_of,
    difference,
    findings,
    noise_of_differences,
    seed_spread,
    trained_anew,
)
from ...figures import comparisons
from ...zoo import Variant, position_name

_PLOT = {"displayModeBar": False}


def show_accuracy(variants: Sequence[Variant], everything: Sequence[Variant], chosen: Variant) -> None:
    """Draw the grid of one backbone's networks, their dots, and what the figures show."""
    spread, noise = seed_spread(everything), noise_of_differences(everything)
    control = next((v for v in variants if v.placement is None), None)
    positions = by_position(variants)
    if not positions or control is None:
        st.info("This zoo holds no variant to compare with a plain control.")
        return
    plain = accuracy_of(control)
    st.markdown(f"**Top-1 on {control.measured_on}**, in %; plain control {plain}")
    grid, dots = st.columns([1.15, 1], gap="large")
    groups = sorted({v.groups for v in variants if v.placement})
    with grid:
        cells = {(position, v.groups): v for position, placed in positions.items() for v in placed}
        lines = [
            _matrix_line(p, [cells.get((p, g)) for g in groups], variants, over)
            for p in positions
            for over in _seeds_of(positions[p])
        ]
        st.plotly_chart(
            comparisons.difference_matrix(
                [line.differences for line in lines],
                [line.texts for line in lines],
                [line.label for line in lines],
                [f"g = {g}" for g in groups],
                marked=(position_name(chosen), f"g = {chosen.groups}"),
                limit=max(2.0, spread.deviation * 3 if spread else 0),
                unit="points to the control",
            ),
            key="accuracy-grid",
            config=_PLOT,
            alt="top-1 by position and g: " + "; ".join(f"{p}, g {g}: {accuracy_of(v)}" for (p, g), v in cells.items()),
        )
        st.caption(
            f"{_what_cells_say(variants)} Colour: difference to the row's own control of the same seeds, in points, red above it; "
            "what stands instead of a layer was trained longer, and so was its control. The sentences below say whether a difference is more than chance."
        )
    with dots:
        st.plotly_chart(
            comparisons.accuracy_dots(
                list(positions),
                [[(v.groups, accuracy_of(v).seeds) for v in placed] for placed in positions.values()],
                controls=[_control_of_row(placed, variants) for placed in positions.values()],
                standard_error=plain.standard_error,
            ),
            key="accuracy-dots",
            config=_PLOT,
            alt="top-1 of every training run by position",
        )
        st.caption(
            "One dot a training run; the heights within a row are g = 1 (top) to 16. Line: the row's control, mean over the row's seeds; "
            f"around it one standard error of the test set. {_how_to_compare(variants)}"
        )
    for found in findings(variants, everything):
        st.markdown(found)
    if spread:
        st.caption(
            f"Seeds ({trained_anew(everything)}): a network trained anew from the same base, with other starting values of its module, order and "
            f"augmentation, moves by {spread.deviation:.2f} points (standard deviation, {spread.freedom} degrees of freedom). {_noise(noise)} Comparison: "
            "Tukey's studentized range. Bases were not trained anew. Reproduce: "
            f"`python -m ulsam_viz evaluate --variant {chosen.name} --data DIR`"
        )


def _what_cells_say(variants: Sequence[Variant]) -> str:
    several = any(v.placement and accuracy_of(v).spread is not None for v in variants)
    return (
        "Of the shipped networks; where there are several seeds, a line of their mean ± standard deviation."
        if several
        else "One seed each."
    )


def _how_to_compare(variants: Sequence[Variant]) -> str:
    if any(v.placement and accuracy_of(v).spread is not None for v in variants):
        return "Compare how dots of one g scatter with how dots of different g do."
    return "With one dot each, nothing here tells what chance does; see the seeds below."


def _noise(noise: SeedSpread | None) -> str:
    """Say by which noise differences are judged: their own where the table of variants and seeds tells it."""
    if noise is None:
        return (
            "Variants of one seed see the same batches, so their differences move less than that; how much less is not known yet."
        )
    return (
        f"Variants of one seed see the same batches; their differences are judged by what is left of that, {noise.deviation:.2f} points a "
        f"figure ({noise.freedom} degrees of freedom), taken to be the same elsewhere."
    )


@dataclass(frozen=True)
class _MatrixLine:
    """One line of the grid of accuracies: its label, and for each g what is written and coloured."""

    label: str
    texts: list[str]
    differences: list[float | None]


def _seeds_of(placed: Sequence[Variant]) -> list[set[int]]:
    """Return the seeds that a position's lines are about: that of the shipped networks, and all that they have in common."""
    accuracies = [accuracy_of(v) for v in placed]
    shipped, common = {next(iter(accuracies[0].by_seed))}, common_seeds(accuracies)
    return [shipped, common] if len(common) > 1 else [shipped]


def _matrix_line(position: str, row: Sequence[Variant | None], variants: Sequence[Variant], seeds: set[int]) -> _MatrixLine:
    several = len(seeds) > 1
    texts, differences = [], []
    for variant in row:
        control = control_of(variant, variants) if variant else None
        own = accuracy_of(variant).over(seeds) if variant else None
        texts.append("" if own is None else own.over_seeds.replace(" ± ", "<br>± ") if several else f"{own.mean:.1f}")
        differences.append(difference(own, control) if own and control else None)
    return _MatrixLine(f"{position}, {len(seeds)} seeds" if several else position, texts, differences)


def _control_of_row(placed: Sequence[Variant], variants: Sequence[Variant]) -> float | None:
    control = control_of(placed[0], variants)
    seeds = common_seeds([control, *map(accuracy_of, placed)]) if control else set()
    return control.over(seeds).mean if control and seeds else None
