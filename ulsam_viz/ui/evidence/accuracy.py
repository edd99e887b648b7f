"""The accuracies of the page "Evidence": a grid, dots of all trainings, and the table with what chance does to them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ...evidence.statistics import (
    SeedSpread,
    accuracy_of,
    by_position,
    common_seeds,
    control_of,
    difference,
    elsewhere,
    findings,
    noise_of_differences,
    peers_of,
    seed_spread,
    trained_anew,
)
from ...figures import comparisons
from ...text.escaping import escape_markdown
from ...zoo.variants import Variant
from .tables import command, place, show_table

_PLOT = {"displayModeBar": False}


def show_charts(variants: Sequence[Variant], everything: Sequence[Variant], chosen: Variant) -> None:
    """Draw the grid of one backbone's networks and the dots of all their trainings.

    Where all are alike, say so instead.
    """
    positions = by_position(variants)
    controls = [control_of(placed[0], variants) for placed in positions.values()]
    if not any(controls):
        st.info("This zoo holds no variant to compare with a plain control.")
        return
    every = [top1 for a in (*controls, *map(accuracy_of, variants)) if a for top1 in a.seeds]
    if len({f"{top1:.1f}" for top1 in every}) == 1:
        st.markdown(f"Top-1 of each {chosen.label}, in every training run: {every[0]:.1f} %.")
        return
    rows = [position.removeprefix("after ") for position in positions]
    groups = sorted({v.groups for v in variants if v.placement})
    cells = {
        (i, v.groups): accuracy_of(v) for i, placed in enumerate(positions.values()) for v in placed if accuracy_of(v)
    }
    cells |= {(i, 0): control for i, control in enumerate(controls) if control}
    columns = (0, *groups)
    shown = {(i, chosen.groups) for i, placed in enumerate(positions.values()) if chosen in placed}
    if chosen.placement is None:
        shown = {(i, 0) for i, placed in enumerate(positions.values()) if controls[i] and not placed[0].control}
    texts = [[f"{cells[i, g].seeds[0]:.1f}" if (i, g) in cells else "" for g in columns] for i in range(len(rows))]
    grid, dots = st.columns([1.15, 1], gap="large")
    with grid:
        st.markdown(
            f"**{chosen.label}, top-1 %**",
            help=f"Of the shipped networks, one seed each, on {escape_markdown(chosen.measured_on)}. "
            f"{escape_markdown(chosen.about_pictures)} Colour: difference to the row's own control over the seeds "
            "that both have, "
            "red above it. What stands instead of a layer was trained longer, and so was its control. Framed: the "
            "network that the sidebar names.",
        )
        st.plotly_chart(
            comparisons.difference_matrix(
                [
                    [difference(cells[i, g], control) if control and (i, g) in cells else None for g in columns]
                    for i, control in enumerate(controls)
                ],
                texts,
                rows,
                ["none", *map(str, groups)],
                titles=("after layer", "g"),
                marked=[(i, columns.index(g)) for i, g in shown],
                # What the test set alone leaves open is pale
                limit=max(2.0, 3 * accuracy_of(variants[0]).standard_error),
                unit="points",
            ),
            key="accuracy-grid",
            config=_PLOT,
            alt="top-1 by position and g: "
            + "; ".join(f"{p}: {', '.join(row)}" for p, row in zip(positions, texts, strict=True)),
        )
    with dots:
        st.markdown(
            "**Runs**",
            help="A dot a run; the heights within a row are g, the smallest on top; large: the network that the "
            "sidebar names. Line: the row's control, mean over the "
            f"row's seeds; around it one standard error of the test set. {_how_to_compare(variants)}",
        )
        st.plotly_chart(
            comparisons.accuracy_dots(
                rows,
                [[(v.groups, accuracy_of(v).seeds) for v in placed] for placed in positions.values()],
                title="after layer",
                controls=[_control_of_row(placed, variants) for placed in positions.values()],
                standard_error=max((a.standard_error for v in variants if (a := accuracy_of(v))), default=0.0),
                marked={(i, g or None) for i, g in shown},
            ),
            key="accuracy-dots",
            config=_PLOT,
            alt="top-1 of every training run by position",
        )


def show_accuracies(variants: Sequence[Variant], everything: Sequence[Variant], chosen: Variant) -> None:
    """Show the accuracy of each network and what the differences show, on each set of test pictures."""
    _show_accuracies(variants, everything, chosen)
    for seen in elsewhere(variants):
        st.markdown(f"**The same networks on {escape_markdown(seen[0].measured_on)}**")
        _show_accuracies(seen, seen, next((v for v in seen if v.name == chosen.name), seen[0]))


def _show_accuracies(variants: Sequence[Variant], everything: Sequence[Variant], chosen: Variant) -> None:
    rows = []
    for variant in variants:
        own, control = accuracy_of(variant), control_of(variant, variants)
        rows.append(
            place(variant, chosen)
            | {
                "top-1": own.seeds[0] if own else None,
                "top-5": variant.metrics.get("top5"),
                "seeds": len(own.seeds),
                "mean of seeds": own.mean if own else None,
                "±": own.spread,
                "to control": difference(own, control) if own and control and variant.placement else None,
            }
        )
    share = "%.2f %%"
    show_table(rows, {"top-1": share, "top-5": share, "mean of seeds": share, "±": "%.2f", "to control": "%+.2f pt"})
    for found in findings(variants, everything):
        st.markdown(found)
    st.caption(
        f"{escape_markdown(chosen.about_pictures)} {_chance(peers_of(chosen, everything))}± is the standard deviation "
        f"over seeds; to control: over the seeds that both have. {_error_of_one(chosen)} {command(chosen)}"
    )


def _error_of_one(chosen: Variant) -> str:
    if not (accuracy := accuracy_of(chosen)):
        return "What is not known of a network that was not trained here is left empty."
    return f"The standard error of one figure, from the size of the test set, is {accuracy.standard_error:.1f} points."


def _how_to_compare(variants: Sequence[Variant]) -> str:
    if any(v.placement and accuracy_of(v).spread is not None for v in variants):
        return "Compare how dots of one g scatter with how dots of different g do."
    return "With one dot each, nothing here tells what chance does."


def _chance(peers: Sequence[Variant]) -> str:
    """Say by which noise differences are judged: their own where the table of variants and seeds tells it."""
    spread, noise = seed_spread(peers), noise_of_differences(peers)
    if spread is None:
        return ""
    return (
        f"Seeds ({trained_anew(peers)}): a network trained anew from the same base, with other starting values of its "
        f"module, order and augmentation, moves by {spread.deviation:.2f} points (standard deviation, {spread.freedom} "
        f"degrees of freedom). {_noise(noise)} Comparison: Tukey's studentized range. Bases were not trained anew. "
    )


def _noise(noise: SeedSpread | None) -> str:
    if noise is None:
        return (
            "Variants of one seed see the same batches, so their differences move less than that; how much less is not "
            "known yet."
        )
    return (
        "Variants of one seed see the same batches; their differences are judged by what is left of that, "
        f"{noise.deviation:.2f} points a figure ({noise.freedom} degrees of freedom), taken to be the same elsewhere."
    )


def _control_of_row(placed: Sequence[Variant], variants: Sequence[Variant]) -> float | None:
    control = control_of(placed[0], variants)
    seeds = common_seeds([control, *map(accuracy_of, placed)]) if control else set()
    return control.over(seeds).mean if control and seeds else None
