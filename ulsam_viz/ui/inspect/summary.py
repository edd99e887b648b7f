"""The head of the page: the picture as the network sees it, its answer, and the variant's card."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...analysis.calibration import Familiarity, familiarity
from ...cost import Latency
from ...evidence import accuracy_of
from ...figures import charts
from ...zoo import Variant, list_variants, top1_standard_error
from ..run.scene import Scene, facts, network_name, pretty
from ..run.times import as_text, measured
from ..run.words import differences, judged
from ..widgets.tables import table


def show_summary(scene: Scene) -> tuple[DeltaGenerator, DeltaGenerator]:
    """Show picture and variant; return the places of the answer, which the maps go before, and of the variant's card."""
    st.markdown(f"### {scene.picture.name}: what {network_name(scene.variant)} attends to")
    seen, answer, card = st.columns([1.1, 1.7, 1.9], gap="medium")
    with seen:
        st.image(scene.crop.pixels, width=224, alt="the picture as the network sees it")
        st.caption(f"As the network sees it: {scene.variant.input_size} × {scene.variant.input_size} pixels.")
    with card:
        place = st.empty()
        place.html(_variant_card(scene, None))
        st.caption(
            f"{differences(scene.variant)} More on the page Evidence.",
            help="The attention's mean gain is 1 + 1/(H·W), 1.005 at 14 × 14: maps are vivid, their effect is small. "
            "A bright place has not decided anything.",
        )
    sample = scene.picture.sample
    if sample:
        st.caption(f"{sample.notice} {judged(scene)} Picture: {sample.source}; {sample.licence}.")
    return answer, place


def show_answer(scene: Scene) -> None:
    """Draw the most probable classes, and a row of them by name; a click on a bar, or a choice in the row, makes one the target."""
    numbers = scene.attention.top(5)
    if scene.target not in numbers:
        numbers.append(scene.target)
    st.plotly_chart(
        charts.top_classes(
            [scene.class_name(n) for n in numbers],
            [float(scene.attention.probabilities[n]) for n in numbers],
            marked=numbers.index(scene.target),
        ),
        key="top5",
        on_select=lambda: _target_from_bar(scene.variant, numbers),
        selection_mode="points",
        config={"displayModeBar": False},
        alt="most probable classes: " + ", ".join(f"{scene.class_name(n)} {scene.attention.probabilities[n]:.1%}" for n in numbers),
    )
    classes = [scene.variant.classes[n] for n in numbers]
    st.session_state["target-of-top"] = classes[numbers.index(scene.target)]  # it shows the target, whichever control set it
    st.pills(
        "Target among these",
        classes,
        required=True,
        key="target-of-top",
        format_func=pretty,
        on_change=_target_from_row,
        label_visibility="collapsed",
    )
    if found := familiarity(scene.attention.probabilities, scene.variant.calibration):
        fits = bool(scene.picture.sample and scene.picture.sample.truths(scene.variant.classes))
        (st.markdown if found.doubtful and not fits else st.caption)(
            how_familiar(found, fits=fits),
            help="From how far the calibrated answer is spread over the classes (its entropy), beside the answers to held-out pictures and to "
            "pictures that show none of the classes. It cannot be certain: some other subjects get sure answers.",
        )
    st.caption(
        f"The five most probable of {len(scene.variant.classes):,} classes. The filled bar is the target of the attributions; choose another class here, or click its bar."
    )


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


def _target_from_bar(variant: Variant, numbers: list[int]) -> None:
    points = st.session_state["top5"]["selection"]["points"]
    if points and 0 <= (index := int(points[0]["point_index"])) < len(numbers):
        st.session_state["target"] = variant.classes[numbers[index]]


def _target_from_row() -> None:
    st.session_state["target"] = st.session_state["target-of-top"]


def _variant_card(scene: Scene, times: Mapping[str, Latency] | str | None) -> str:
    variant, metrics = scene.variant, scene.variant.metrics
    cost, _ = facts(variant.key, variant)
    rows = {
        "Variant": variant.name,
        "Top-1 / top-5": f"{metrics['top1']:.1f} ± {top1_standard_error(variant):.1f} % / {metrics['top5']:.1f} % "
        f"(± standard error over {variant.measured_on})",
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
