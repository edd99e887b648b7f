"""The head of the page: the picture as the network sees it, its answer, and the variant's card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...analysis.attention import Attention
from ...analysis.calibration import FALSE_ALARMS, Familiarity, familiarity
from ...evidence.statistics import accuracy_of
from ...models.cost import Latency
from ...text.escaping import escape_markdown
from ...text.spreadsheets import escaped
from ...zoo.variants import UNKNOWN, Variant, list_variants, position_name, top1_standard_error
from ..choose.display import show_view
from ..run.scene import Scene, facts, network_name, pretty
from ..run.times import as_text, measured
from ..run.words import differences, judged, of_gain
from ..widgets.strip import Answer, show_strip
from ..widgets.tables import table

_ANSWERS = 3
_BUTTONS = 350  # px


@dataclass(frozen=True)
class Head:
    """Containers of the page's head: strip, details (i), methods, downloads, and messages below them."""

    strip: DeltaGenerator
    details: DeltaGenerator
    methods: DeltaGenerator
    share: DeltaGenerator
    said: DeltaGenerator


def show_head_room() -> Head:
    """Lay the head out: a strip, and its buttons."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        strip = st.container(width="stretch")
        with st.container(horizontal=True, width=_BUTTONS, gap="small"):
            details = st.popover(
                "", icon=":material/info:", help="The picture, the answer and the network in numbers", key="details"
            )
            with st.container(width=76):
                show_view()
            methods = st.popover(
                "Methods", help="Attribution methods, their settings, and the class that they explain", key="explain"
            )
            share = st.popover("", icon=":material/share:", help="Take it with you: files and the address", key="share")
    return Head(strip, details.container(), methods.container(), share.container(), st.container())


def show_head(scene: Scene, head: Head) -> DeltaGenerator:
    """Show the picture, its answer and the network in the strip; return the place of the network's card."""
    sample = scene.picture.sample
    with head.strip:
        show_strip(
            sample.title if sample else f"“{scene.class_name(scene.attention.top(1)[0])}”, it says",
            scene.crop,
            chip(scene.variant),
            about_network(scene.variant),
            answers_of(scene.attention, scene.variant, target=scene.target),
            key="answer",
            on_target=lambda: _take_target(scene.variant),
        )
    found = familiarity(scene.attention.probabilities, scene.variant.calibration)
    if found and found.doubtful and not _fits(scene):
        head.said.markdown(how_familiar(found), help=how_often_warned(scene.variant) or None)
    with head.details:
        return _show_details(scene)


def chip(variant: Variant) -> str:
    """Write in the fewest words which network it is."""
    return f"{position_name(variant)}, g = {variant.groups}" if variant.placement else variant.label


def about_network(variant: Variant) -> str:
    """Say which network it is, and what it knows."""
    return f"{network_name(variant)}; it knows {variant.knows}"


def answers_of(attention: Attention, variant: Variant, *, target: int) -> list[Answer]:
    """Return the most probable classes, and the target, for the strip."""
    numbers = attention.top(_ANSWERS)
    shares = attention.probabilities
    return [
        Answer(n, pretty(variant.classes[n]), float(shares[n]), f"{shares[n]:.0%}", n == target)
        for n in dict.fromkeys([*numbers, target])
    ]


def _fits(scene: Scene) -> bool:
    return bool(scene.picture.sample and scene.picture.sample.truths(scene.variant.classes))


def _show_details(scene: Scene) -> DeltaGenerator:
    """Show what stands behind the strip; return the place of the network's card."""
    st.markdown(f"**{network_name(scene.variant)}**")
    place = st.empty()
    place.html(_variant_card(scene, None))
    st.caption(
        f"{differences(scene.variant)} {of_gain(scene.variant)} A bright place has not decided anything. More on the "
        "page Evidence."
    )
    st.markdown("**The picture**")
    sample = scene.picture.sample
    if sample:
        st.caption(f"{sample.notice} {judged(scene)} {sample.source}; {sample.licence}.")
    st.caption(
        f"The network sees {scene.variant.input_size} × {scene.variant.input_size} pixels. It knows "
        f"{escape_markdown(scene.variant.knows)}."
    )
    if found := familiarity(scene.attention.probabilities, scene.variant.calibration):
        st.caption(
            how_familiar(found, fits=_fits(scene))
            + " That is from how far the calibrated answer is spread over the classes (its entropy). It cannot be "
            "certain: some other subjects get sure answers. " + how_often_warned(scene.variant)
        )
    table_of = [(scene.class_name(n), 100 * float(scene.attention.probabilities[n])) for n in scene.attention.top(5)]
    st.dataframe(
        [{"class": escaped(name), "probability": share} for name, share in table_of],
        hide_index=True,
        column_config={"probability": st.column_config.NumberColumn(format="%.1f %%")},
    )
    return place


def _take_target(variant: Variant) -> None:
    number = getattr(st.session_state.get("answer"), "target", None)
    if isinstance(number, int | float) and 0 <= int(number) < len(variant.classes):
        st.session_state["target"] = variant.classes[int(number)]


def how_familiar(found: Familiarity, *, fits: bool = False) -> str:
    """Say whether the picture's subject may be none of the classes, and what that rests on.

    Args:
        found: How the answer compares with others.
        fits: A class is known to fit, as for most samples.
    """
    known, other = f"{found.less_sure:.0%}", "" if found.as_sure is None else f"{found.as_sure:.0%}"
    if found.doubtful:
        others = f", but {other} of pictures of other subjects one at least this sure" if other else ""
        doubt = "" if fits else "**None of the network's classes may fit.** "
        return f"{doubt}Only {known} of test pictures get a less sure answer{others}."
    others = f", and {other} of pictures of other subjects one at least this sure" if other else ""
    return f"{known} of test pictures get a less sure answer{others}."


def how_often_warned(variant: Variant) -> str:
    """Say for which share of pictures the warning appears, where that was measured."""
    others = "".join(f", for {share:.0f} % of {which}" for which, share in variant.calibration.warned)
    return (
        f"The warning comes for {FALSE_ALARMS:.0%} of {escape_markdown(variant.measured_on)}{others}." if others else ""
    )


def _variant_card(scene: Scene, times: Mapping[str, Latency] | str | None) -> str:
    variant = scene.variant
    cost, _ = facts(variant.key, variant)
    rows = {
        "Variant": variant.name,
        "Top-1 / top-5": _accuracy(variant),
        **({"These pictures": variant.about_pictures} if variant.about_pictures else {}),
        **{
            f"On {other.measured_on}": f"{other.figure('top1')} % / {other.figure('top5')} %. {other.pictures_chosen}"
            for other in variant.elsewhere
        },
        **(
            {f"Over {len(accuracy.seeds)} seeds": f"{accuracy.over_seeds} % top-1"}
            if (accuracy := accuracy_of(variant)).over_seeds
            else {}
        ),
        "Parameters": f"{cost.params / 1e6:.3f} M",
        "MACs": f"{cost.macs / 1e6:.1f} M at {variant.input_size} px",
        "Time here": _time_here(variant, times),
        "Device": scene.device.device.upper() + (f": {scene.device.reason}" if scene.device.reason else ""),
    }
    return table(rows)


def _accuracy(variant: Variant) -> str:
    if "top1" not in variant.metrics:
        return UNKNOWN
    error = top1_standard_error(variant)
    return (
        f"{variant.figure('top1')} ± {error:.1f} % / {variant.figure('top5')} % (± standard error over "
        f"{variant.measured_on})"
        if isfinite(error)
        else f"{variant.figure('top1')} % / {variant.figure('top5')} %"
    )


def show_latency(scene: Scene, card: DeltaGenerator) -> None:
    """Fill in the times of the variant and its control when nothing else is left to do; nothing waits for them."""
    waiting = _variant_card(scene, None)
    times = measured([scene.variant, *_plain_control(scene.variant)], scene.device, lambda _: card.html(waiting))
    card.html(_variant_card(scene, times))


def _plain_control(variant: Variant) -> list[Variant]:
    """Return the plain network beside a variant that carries modules, if the zoo has it."""
    return [v for v in list_variants() if v.family == variant.family and variant.placement and not v.placement]


def _time_here(variant: Variant, times: Mapping[str, Latency] | str | None) -> str:
    """Write a variant's time with its control's, from one measurement."""
    control = _plain_control(variant) if isinstance(times, Mapping) else []
    return as_text(variant, times) + "".join(f"; the plain control {as_text(v, times)}, by turns" for v in control)
