"""The page "Evidence": what the zoo's figures show, and what they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from ... import paper
from ...analysis.interventions import INTERVENTIONS
from ...cost import LATENCY_REPEATS, Latency
from ...engine import DeviceChoice, default_engine
from ...evidence import (
    accuracy_of,
    compare,
    control_of,
    noise_of_differences,
    what_attention_does,
)
from ...zoo import CheckpointError, Variant, position_name
from ..choose.network import choose_device, choose_variant
from ..run.page import open_page
from ..run.scene import facts, network_name
from ..run.times import measured
from .accuracy import show_accuracy


def show() -> None:
    """Draw the page."""
    zoo = open_page("evidence")
    with st.sidebar:
        chosen = choose_variant(zoo)
        device = choose_device()
        st.caption("The chosen network is marked in every table and plot.")
    everything = [v for v in zoo if v.dataset == chosen.dataset]  # what others' chance does, those of other data do not tell
    variants = [v for v in everything if v.family == chosen.family]
    st.markdown(f"### What the figures of {chosen.label} show, and what they do not")
    show_accuracy(variants, everything, chosen)
    _effects(variants, chosen)
    _maps(variants, chosen)
    _paper(chosen)
    _cost(variants, chosen, device)
    _conclusions(variants, everything)


def _maps(variants: Sequence[Variant], chosen: Variant) -> None:
    st.markdown(
        "**Are the maps alive, and what are they like?**",
        help="Over pictures that were not trained on. Dead: exactly uniform. Effective area: exp(entropy) / (H·W), 1 is uniform. Peak: multiples of "
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
        help="Over pictures that were not trained on, all modules of a network at once. Uniform and shuffled maps keep the mean gain, 1 + 1/(H·W), and take "
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
        if chosen.label.startswith(row.name.split(",")[0])
    ]
    if not table:
        st.caption(f"The paper has no figures of {chosen.label}.")
        return
    st.table(table)
    st.caption(
        "Saini et al., WACV 2020, arXiv:2006.15102; its authors give no spread over seeds. Differences between g there are a few tenths of a "
        f"point, as here between seeds. Ours is another network ({chosen.title}), so only the differences compare."
    )


def _pair(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.2f} / {pair[1]:.2f}"


def _cost(variants: Sequence[Variant], chosen: Variant, device: DeviceChoice) -> None:
    st.markdown(
        "**What attention costs**",
        help="Parameters and MACs are counted from the layers; element-wise bytes are what norms, ReLUs, pooling, softmax and gains read and "
        "write when each step runs by itself; the time is that of the fast form, measured here on demand.",
    )
    times = _times(variants, device)
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
                f"ms here, {device.device}": latency.median if (latency := times.get(variant.key)) else None,
                "half of the runs": f"{latency.low:.1f} to {latency.high:.1f}" if latency else None,
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
            f"Times are medians of {LATENCY_REPEATS} runs, all networks by turns: rows whose halves overlap are not told apart."
            if times
            else ""
        )
    )


def _times(variants: Sequence[Variant], device: DeviceChoice) -> Mapping[str, Latency]:
    """Return the times of these networks from one measurement, made when the visitor asks; without the damaged ones."""
    kept: dict[tuple[str, ...], Mapping[str, Latency]] = st.session_state.setdefault("times", {})
    of = (device.device, *(v.key for v in variants))
    if of not in kept and st.button(
        f"Measure all {len(variants)} networks here",
        help=f"{LATENCY_REPEATS} runs of each by turns, one thread on a CPU: about a third of a second a network.",
    ):
        bar, engine, whole = st.progress(0.0), default_engine(), []
        for variant, loaded in [(v, engine.warm(v, device.device)) for v in variants]:
            bar.progress(0.0, text=network_name(variant))
            try:
                loaded.result()
                whole.append(variant)
            except CheckpointError as error:
                st.toast(str(error), icon=":material/error:")
        times = measured(whole, device, lambda share: bar.progress(share, text="all networks by turns"))
        if isinstance(times, str):
            st.error(f"That could not be measured: {times}")
            return {}
        kept[of] = times
        st.rerun()
    return kept.get(of, {})


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
            "Networks with subspace attention after a layer differ by more than seeds explain, on these pictures."
            if told_apart
            else "On this test set, networks with subspace attention after a layer cannot be told from the plain control."
            if told_apart is False
            else "Nothing here tells differences of accuracy from chance."
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
    """Tell whether networks with attention after a layer and their control differ beyond chance; None where that is not known."""
    placed = [v for v in variants if v.placement and v.placement.mode == "after"]
    control, noise = control_of(placed[0], everything) if placed else None, noise_of_differences(everything)
    return compare([control, *map(accuracy_of, placed)], noise).beyond_chance if control and noise else None
