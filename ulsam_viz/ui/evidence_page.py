"""The page "Evidence": what the zoo's figures show, and what they do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from .. import paper
from ..analysis.interventions import INTERVENTIONS
from ..engine import DeviceChoice, default_engine
from ..evidence import (
    SeedSpread,
    accuracy_of,
    by_position,
    common_seeds,
    compare,
    control_of,
    difference,
    findings,
    noise_of_differences,
    seed_spread,
    trained_anew,
    what_attention_does,
)
from ..figures import comparisons
from ..zoo import CheckpointError, Variant, backbone_name, position_name
from . import controls
from .page import open_page
from .scene import facts, network_name
from .session import visitor

_PLOT = {"displayModeBar": False}


def show() -> None:
    """Draw the page."""
    everything = open_page("evidence")
    with st.sidebar:
        chosen = controls.choose_variant(everything)
        device = controls.choose_device()
        st.caption("The chosen network is marked in every table and plot.")
    variants = [v for v in everything if backbone_name(v) == backbone_name(chosen)]
    st.markdown(f"### What the figures of {backbone_name(chosen)} show, and what they do not")
    _accuracy(variants, everything, chosen)
    _effects(variants, chosen)
    _maps(variants, chosen)
    _paper(chosen)
    _cost(variants, chosen, device)
    _conclusions(variants, everything)


def _accuracy(variants: Sequence[Variant], everything: Sequence[Variant], chosen: Variant) -> None:
    spread, noise = seed_spread(everything), noise_of_differences(everything)
    control = next((v for v in variants if v.placement is None), None)
    positions = by_position(variants)
    if not positions or control is None:
        st.info("This zoo holds no variant to compare with a plain control.")
        return
    plain = accuracy_of(control)
    st.markdown(f"**Top-1 on {control.metrics['pictures']} held-out pictures**, in %; plain control {plain}")
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


def _maps(variants: Sequence[Variant], chosen: Variant) -> None:
    st.markdown(
        "**Are the maps alive, and what are they like?**",
        help="Over the held-out pictures. Dead: exactly uniform. Effective area: exp(entropy) / (H·W), 1 is uniform. Peak: multiples of "
        "uniform. Redundancy: mean correlation between the maps of different subspaces.",
    )
    rows = []
    for variant in variants:
        for layer, figures in variant.metrics["attention"].items():
            dead, area, peak = (sorted(figures[key]) for key in ("dead_share", "effective_area", "peak"))
            middle = len(dead) // 2
            rows.append(
                {
                    "position": _marked(variant, chosen),
                    "g": variant.groups,
                    "layer": int(layer),
                    "dead, median": 100 * dead[middle],
                    "dead, largest": 100 * dead[-1],
                    "area": sum(area) / len(area),
                    "area, smallest": area[0],
                    "peak": sum(peak) / len(peak),
                    "peak, largest": peak[-1],
                    "redundancy": figures["redundancy"],
                }
            )
    share = st.column_config.NumberColumn(format="%.1f %%")
    number, signed = st.column_config.NumberColumn(format="%.2f"), st.column_config.NumberColumn(format="%+.2f")
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="",
        height=min(420, 38 + 35 * len(rows)),
        column_config={
            "dead, median": share,
            "dead, largest": share,
            "area": number,
            "area, smallest": number,
            "peak": st.column_config.NumberColumn(format="%.1f ×"),
            "peak, largest": st.column_config.NumberColumn(format="%.1f ×"),
            "redundancy": signed,
        },
    )
    st.caption(
        "A peak in multiples of uniform cannot exceed H·W, so compare peaks within one grid. Do not conclude that a peaked map matters more: its effect is A, not its look."
    )


def _effects(variants: Sequence[Variant], chosen: Variant) -> None:
    said = what_attention_does(variants)
    if not said:
        return
    st.markdown(
        "**What does attention do?**",
        help="Over the held-out pictures, all modules of a network at once. Uniform and shuffled maps keep the mean gain, 1 + 1/(H·W), and take "
        "away only where it is; without attention that gain goes too.",
    )
    st.markdown(said)
    rows = [
        {"position": _marked(v, chosen), "g": v.groups}
        | {f"other answers, {name}": v.metrics["effects"][name]["flips"] for name in INTERVENTIONS}
        | {f"true class moves, {name}": v.metrics["effects"][name]["probability"] for name in INTERVENTIONS}
        for v in variants
        if "effects" in v.metrics
    ]
    formats = {name: "%.1f %%" if name.startswith("other") else "%.2f pt" for name in rows[0] if name not in ("position", "g")}
    st.dataframe(
        rows,
        hide_index=True,
        height=min(420, 38 + 35 * len(rows)),
        column_config={name: st.column_config.NumberColumn(format=form) for name, form in formats.items()},
    )
    st.caption(
        "Other answers: share of the pictures with another most probable class. True class moves: mean absolute change of its probability, in "
        "points. See whether taking the places away does as much as taking the attention away."
    )


def _marked(variant: Variant, chosen: Variant) -> str:
    return ("▸ " if variant is chosen else "") + position_name(variant)


def _paper(chosen: Variant) -> None:
    st.markdown("**The paper's own figures** (ImageNet-1K, full width, one run each; top-1 % / top-5 %)")
    table = [
        {
            "network": row.name,
            "vanilla": _pair(row.vanilla),
            **{f"g = {g}": _pair(pair) for g, pair in zip(paper.GROUPS, row.by_groups, strict=True)},
        }
        for row in paper.ACCURACY
        if backbone_name(chosen).startswith(row.name.split(",")[0])
    ]
    st.table(table)
    st.caption(
        "Saini et al., WACV 2020, arXiv:2006.15102; its authors give no spread over seeds. Differences between g there are a few tenths of a "
        "point, as here between seeds. Ours are other networks (half the width, 101 classes), so only the differences compare."
    )


def _pair(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.2f} / {pair[1]:.2f}"


def _cost(variants: Sequence[Variant], chosen: Variant, device: DeviceChoice) -> None:
    st.markdown(
        "**What attention costs**",
        help="Parameters and MACs are counted from the layers; element-wise bytes are what norms, ReLUs, pooling, softmax and gains read and "
        "write when each step runs by itself; the time is that of the fast form, measured here on demand.",
    )
    times: dict[str, float] = st.session_state.setdefault(f"times-{device.device}", {})
    missing = [v for v in variants if v.key not in times]
    if missing and st.button(
        f"Measure {'the other' if len(missing) < len(variants) else 'all'} {len(missing)} networks here",
        help="The fastest of 15 runs each, one thread on a CPU; a few seconds for ten networks.",
    ):
        bar = st.progress(0.0)
        for i, variant in enumerate(missing):
            bar.progress(i / len(missing), text=network_name(variant))
            try:
                times[variant.key] = default_engine().latency(variant, device.device, visitor=visitor()).result()
            except CheckpointError as error:
                times[variant.key] = math.nan  # not tried again in this session
                st.toast(str(error), icon=":material/error:")
        st.rerun()
    rows = []
    for variant in variants:
        try:
            cost, _ = facts(variant.key, variant)
        except CheckpointError as error:
            st.warning(str(error))
            continue
        rows.append(
            {
                "position": _marked(variant, chosen),
                "g": variant.groups or None,
                "parameters": cost.params,
                "MACs (M)": cost.macs / 1e6,
                "element-wise (MB)": cost.elementwise_bytes / 1e6,
                f"ms here, {device.device}": times.get(variant.key),
            }
        )
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="",
        height=min(420, 38 + 35 * len(rows)),
        column_config={
            "MACs (M)": st.column_config.NumberColumn(format="%.2f"),
            "element-wise (MB)": st.column_config.NumberColumn(format="%.2f"),
            f"ms here, {device.device}": st.column_config.NumberColumn(format="%.1f"),
        },
    )
    st.caption(
        "See that g changes no MACs, and that a module adds few parameters and MACs, but element-wise traffic (which the fast form mostly avoids). "
        + (
            ""
            if missing
            else "Times are the fastest of 15 runs; on a busy machine they differ more from moment to moment than from row to row."
        )
    )


def _conclusions(variants: Sequence[Variant], everything: Sequence[Variant]) -> None:
    told_apart = _told_apart(variants, everything)
    layers = [figures for v in variants for figures in v.metrics["attention"].values()]
    alive = [share < 0.2 for figures in layers for share in figures["dead_share"]]
    alike = [figures["redundancy"] for figures in layers if figures["redundancy"] is not None]
    st.markdown(
        f"""
**What can be concluded.** {sum(alive)} of {len(alive)} maps are alive (uniform for less than a fifth of the pictures){
            f", and maps of one layer correlate by {sum(alike) / len(alike):+.2f} on average" if alike else ""
        }; a module adds few parameters and MACs. {
            "Networks with subspace attention after a layer differ by more than seeds explain, on these held-out pictures."
            if told_apart
            else "On this test set, networks with subspace attention after a layer cannot be told from the plain control."
            if told_apart is False
            else "There is no plain control to compare accuracies with."
        }

**What cannot.** {
            "That they would on other pictures: the test set's own standard error is no part of these comparisons."
            if told_apart
            else "That they are equal: smaller differences than those named above would not have been seen."
        } That attention helps, that one g or position
is better than another, or that it would not be at the paper's scale, where a few tenths of a point are claimed. That a network decides by its attention map: a map multiplies features by 1 + A,
and the mean of that is 1 + 1/(H·W).
"""
    )


def _told_apart(variants: Sequence[Variant], everything: Sequence[Variant]) -> bool | None:
    """Tell whether networks with attention after a layer and their control differ beyond chance; None without a control."""
    placed = [v for v in variants if v.placement and v.placement.mode == "after"]
    control = control_of(placed[0], everything) if placed else None
    return compare([control, *map(accuracy_of, placed)], noise_of_differences(everything)).beyond_chance if control else None
