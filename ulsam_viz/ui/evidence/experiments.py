"""The experiments of the page "Evidence".

The gain set free, other papers' modules, attention from the start of training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ...analysis.interventions import CONSTANT
from ...evidence import experiments as studies
from ...evidence.statistics import accuracy_of, by_position
from ...models.cost import LATENCY_REPEATS, Cost, Latency, count_cost, measure_latencies, untrained
from ...models.optimize import optimize
from ...paths import program
from ...text.escaping import escape_markdown
from ...zoo.variants import Variant, list_variants, position_name
from .tables import show_table

_FIGURES = {"top-1": "%.2f %%", "±": "%.2f", "gain 1": "%.1f %%", "gain held": "%.1f %%", "shuffled": "%.1f %%"}
_ASKED = "module-times"  # what was measured, in the session


def show_experiments(zoo: Sequence[Variant]) -> None:
    """Show all of it, the answers first."""
    st.markdown("#### If attention may act")
    show_answers(zoo)
    st.markdown("#### The gain set free")
    show_gain(zoo)
    st.markdown("#### Other modules in the same place")
    show_modules(zoo)
    st.markdown("#### Attention from the start of training")
    show_start()


def show_answers(zoo: Sequence[Variant]) -> None:
    """Answer both questions first: does g matter, and why does the published gain hardly act?"""
    own, start = [v for v in zoo if v.gain == "normalised" and v.repeats], list_variants(study="start")
    for said in (
        *(studies.does_g_matter(placed, start) for placed in by_position(own).values()),
        studies.why_in_short(start),
    ):
        if said:
            st.markdown(said)


def show_gain(zoo: Sequence[Variant]) -> None:
    """Show what the normalised gain does, for every family that was trained with it."""
    families = {v.family: v.title for v in zoo if v.gain == "normalised"}
    for family, title in families.items():
        own = [v for v in zoo if v.family == family]
        st.markdown(f"**{escape_markdown(title)}**")
        for said in studies.gain_may_act(own):
            st.markdown(said)
        for placed in by_position(own).values():
            if placed[0].gain == "normalised" and len(placed[0].repeats) > 1:
                st.markdown(f"{position_name(placed[0], gain=False).capitalize()}: {studies.g_and_accuracy(placed)}")
        rows = [
            {"position": position_name(v), "g": v.groups} | _figures(v)
            for v in own
            if v.placement and (v.gain == "normalised" or _has_twin(v, own))
        ]
        show_table(rows, _FIGURES)
    st.caption(
        "The normalised gain (1 + H·W·A) / 2 is ours, not the paper's. Gain 1, gain held, shuffled: share of the "
        "answers that change when attention is taken away, held at its mean, or given to shuffled places; means over "
        f"seeds. In brackets: 95 % intervals over seeds, or what chance brings about. Reproduce: `{program()} train "
        "--zoo ulsam_viz/training/zoo_gain.toml --data DIR`."
    )


def _has_twin(variant: Variant, own: Sequence[Variant]) -> bool:
    """Return whether a published-gain network stands where one with the normalised gain does."""
    return any(
        v.gain == "normalised"
        and v.placement
        and variant.placement
        and (v.placement.layers, v.placement.mode, v.groups)
        == (variant.placement.layers, variant.placement.mode, variant.groups)
        for v in own
    )


def _figures(variant: Variant) -> dict[str, Any]:
    accuracy = accuracy_of(variant)
    row: dict[str, Any] = {"top-1": accuracy.mean, "±": accuracy.spread, "seeds": len(accuracy.seeds)}
    if "effects" in variant.metrics:
        row |= {
            "gain 1": studies.without_attention(variant).mean,
            "gain held": studies.without_attention(variant, CONSTANT).mean,
            "shuffled": studies.without_attention(variant, "shuffled").mean,
        }
    return row


def show_modules(zoo: Sequence[Variant]) -> None:
    """Set ULSAM beside other papers' modules: what they cost, and what they do, in one place after one budget."""
    compared = studies.modules_compared(list_variants(study="gain"), zoo)
    if len(compared) < 2:
        st.caption("This zoo holds no other modules.")
        return
    for said in studies.modules_in_words(compared):
        st.markdown(said)
    costs = _costs(tuple(v.name for v in compared), compared)
    times = _times(compared)
    plain = costs[compared[0].name]
    rows = [
        {
            "module": studies.module_title(v),
            "parameters": costs[v.name].params - plain.params,
            "MACs (M)": (costs[v.name].macs - plain.macs) / 1e6,
            "element-wise (MB)": (costs[v.name].elementwise_bytes - plain.elementwise_bytes) / 1e6,
        }
        | ({"ms here": times[v.name].median, "from": times[v.name].low, "to": times[v.name].high} if times else {})
        | _figures(v)
        for v in compared
    ]
    added = {
        "parameters": "localized",
        "MACs (M)": "%.3f",
        "element-wise (MB)": "%.2f",
        "ms here": "%.2f",
        "from": "%.2f",
        "to": "%.2f",
    }
    show_table(rows, added | _FIGURES)
    where = f"{compared[0].label}, {position_name(compared[1])}"
    st.caption(
        f"{where}: all from the same start, with the same budget, {len(accuracy_of(compared[0]).seeds)} seeds each. "
        "Parameters, MACs, element-wise traffic: what the module adds to the plain network. Gain 1, gain held, "
        "shuffled: share of the answers that change when the gain is taken away, held at each channel's mean, or "
        "given to shuffled places. Each module is written from its paper's equations. Times are of whole networks, by "
        "turns; a module's is the difference to the first row."
    )


@st.cache_data(max_entries=4, show_spinner=False)
def _costs(names: tuple[str, ...], _compared: Sequence[Variant]) -> dict[str, Cost]:
    return {v.name: count_cost(untrained(v), v.input_size) for v in _compared}


def _times(compared: Sequence[Variant]) -> Mapping[str, Latency]:
    """Return the times of all networks from one measurement, made when the visitor asks."""
    if _ASKED not in st.session_state and st.button(
        f"Measure all {len(compared)} here",
        help=f"{LATENCY_REPEATS} passes of each network on one picture, by turns, on the CPU: some seconds.",
        key="measure-modules",
    ):
        with st.spinner(f"{len(compared)} networks by turns"):
            models = {v.name: (optimize(untrained(v)), v.input_size) for v in compared}
            st.session_state[_ASKED] = measure_latencies(models)
    found: Mapping[str, Latency] = st.session_state.get(_ASKED, {})
    return found


def show_start() -> None:
    """Show what attention does that is there from the first step of training."""
    study = list_variants(study="start")
    if not study:
        st.caption("This zoo holds no networks that had attention from the start.")
        return
    for said in studies.from_the_start(study):
        st.markdown(said)
    rows = [
        {"position": position_name(v), "g": v.groups or None}
        | _figures(v)
        | {
            "dead, largest": max(
                (100 * d for f in v.metrics["attention"].values() for d in f["dead_share"]), default=None
            )
        }
        for v in study
    ]
    show_table(rows, _FIGURES | {"dead, largest": "%.1f %%"})
    some = study[0]
    st.caption(
        f"{some.label} on {some.metrics['pictures']:,} held-out pictures of Tiny-ImageNet's {len(some.classes)} "
        f"classes at {some.input_size} px, trained from random weights, modules in place from the first step. "
        f"{studies.NOT_TESTED} Reproduce: `{program()} train --zoo ulsam_viz/training/zoo_start.toml --data DIR`."
    )
