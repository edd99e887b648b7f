"""The lesson's guided path: one step at a time, each with its words, its picture and its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from ...analysis.stages import STAGES, Stage
from ...figures.drawing import draw_values
from ...lesson.formulas import formula
from ...lesson.operators import operator
from ...lesson.steps import STEPS, Step
from ...zoo.variants import Variant
from ..choose.ids import choose_by_id
from ..choose.network import usual_position
from ..run.scene import Scene
from ..widgets.tiles import Tile, show_tiles
from .diagram import show_diagram
from .idea import ideas, tell_more
from .present import presenting
from .walk import STAGE_NAMES, Walk, choose_walk, take_place
from .whole import show_subspace_prediction, wholes

_TITLES = {step.id: step.title for step in STEPS}
#: What a stage's step shows beside its result: what it is made from.
_BEFORE: dict[Stage, Stage] = {stage: STAGES[i - 1] for i, stage in enumerate(STAGES) if i} | {"output": "features"}

#: Stages that hold one map a subspace; the others hold one a channel.
_OF_SUBSPACES: frozenset[Stage] = frozenset({"pointwise", "pointwise_normed", "logits", "attention", "gain"})


def show_lesson(scene: Scene, everything: Sequence[Variant]) -> Walk | None:
    """Draw the chosen step; return what it followed, or None for the plain control."""
    step = _choose_step(normalised=scene.variant.gain == "normalised")
    if not scene.attention.maps:
        st.info(
            "The plain control carries no module to look into. Choose a position in the sidebar, or take the usual one."
        )
        position = usual_position(scene.variant)
        st.button(f"Put a module {position.replace('-', ' layer ')}", on_click=_take, args=(position,))
        return None
    place = st.container()
    walk = choose_walk(scene)
    with place:
        text, more = step.write(walk.facts)
        st.markdown(text)
        if step.stage:
            _show_stage(walk, step.stage)
        else:
            (ideas() | wholes(everything))[step.id](walk)
        with st.expander("More"):
            st.markdown(more)
            if step.id == "why":
                tell_more(walk)
    return walk


def _choose_step(*, normalised: bool = False) -> Step:
    """Show the way with its blocks, the title, back and next; the chosen step lives in the address."""

    def blocks(*_: object, key: str, **__: object) -> None:
        show_diagram(st.session_state[key], _go, normalised=normalised)

    index = list(_TITLES).index(choose_by_id(blocks, "Step", _TITLES, key="step"))
    back, forth = ("Left", "Right") if presenting() else ("B", "N")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"#### {STEPS[index].title}", width="stretch")
        for label, to, icon, key in (
            ("Back", index - 1, "arrow_back", back),
            ("Next", index + 1, "arrow_forward", forth),
        ):
            there = 0 <= to < len(STEPS)
            st.button(
                label,
                icon=f":material/{icon}:",
                disabled=not there,
                on_click=_go,
                args=(STEPS[to].id if there else "",),
                type="primary" if to > index else "secondary",
                shortcut=key,
            )
    return STEPS[index]


def _go(step: str) -> None:
    st.session_state["step"] = step


def _take(position: str) -> None:
    st.session_state["position"] = position


def _show_stage(walk: Walk, stage: Stage) -> None:
    key = f"stage-{stage}"
    show_tiles([walk.picture(), *stage_tiles(walk, stage)], columns=4, key=key, on_place=lambda: take_place(key))
    st.caption(
        f"Click any cell to follow it. {_shape(walk, _BEFORE[stage])} → {_shape(walk, stage)}",
        help="Shapes: channels or subspaces × rows × columns. Arrow keys move on a map, Enter chooses.",
    )
    with st.expander("Show the numbers") if presenting() else st.container():
        _show_formula(walk, stage)
    if stage == "pointwise":
        _show_terms(walk)
    _show_strip(walk, stage)
    if stage == "output":
        show_subspace_prediction(walk)


def _shape(walk: Walk, stage: Stage) -> str:
    return " × ".join(map(str, getattr(walk.stages, stage).shape))


def stage_tiles(walk: Walk, stage: Stage) -> list[Tile]:
    """Draw what a stage is made from, by what, and what it makes.

    On one scale where the lesson is that little changes.
    """
    before = _BEFORE[stage]
    alike = stage in ("gain", "output")
    by = Tile("operator", STAGE_NAMES[stage], colour=walk.hue, card=operator(walk.stages, walk.derivation, stage))
    return [
        walk.tile(
            before,
            name=f"Before: {STAGE_NAMES[before]}",
            pick=True,
            window=stage == "pooled",
            alike=stage if alike else None,
        ),
        walk.tile("gain", name="× gain of the subspace", pick=True) if stage == "output" else by,
        walk.tile(stage, name=f"After: {STAGE_NAMES[stage]}", pick=True, alike=before if alike else None),
    ]


def _show_formula(walk: Walk, stage: Stage) -> None:
    d = walk.derivation
    written = formula(walk.stages, d, stage)
    of = f"subspace {walk.k + 1}" if stage in _OF_SUBSPACES else f"channel {d.channel}"
    apart = f"differs by {written.difference:.0e}" if written.difference else "is exactly that"
    st.markdown(
        f"At row {d.row}, column {d.column} of {of}"
        + (f", {written.result * walk.facts.places:.2f} times uniform:" if stage == "attention" else ":"),
        help=f"{written.legend}  \nComputed from the numbers before it; the module's own tensor {apart}. Numbers are "
        "written with five digits and "
        "computed with all.",
    )
    if stage == "output":  # elsewhere the operator's card has them
        st.latex(written.symbols)
    st.latex(written.numbers)


def _show_terms(walk: Walk) -> None:
    d, first = walk.derivation, walk.derivation.terms[:4]
    st.markdown(
        f"The {len(first)} channels that say most here, before the sum:"
        if len(first) > 1
        else "The channel that speaks here:"
    )
    show_tiles(
        [
            Tile(
                f"term-{t.channel}",
                f"Channel {t.channel}",
                note=f"{t.value:.3g} × {t.weight:+.3g} = {t.product + 0.0:+.3g}",
                drawing=draw_values(walk.stages.pooled[t.channel]),
                colour=walk.hue,
                mark=walk.mark(),
            )
            for t in first
        ],
        width=132,
        key="terms",
    )
    positive = sum(t.product > 0 for t in d.terms)
    st.caption(
        f"Of {len(d.terms)} channel{'s' * (len(d.terms) > 1)}, {positive} call for attention here and "
        f"{sum(t.product < 0 for t in d.terms)} speak against it; {sum(t.product == 0 for t in d.terms)} are 0."
    )


def _show_strip(walk: Walk, current: Stage) -> None:
    st.markdown("The whole way", help=f"Of channel {walk.derivation.channel} and subspace {walk.k + 1}.")
    tiles = []
    for stage in STAGES:
        values = walk.stages.map_of(stage, walk.k, walk.derivation.channel)
        note = f"{values.min():.4g} … {values.max():.4g}"
        tiles.append(replace(walk.tile(stage), note=note, selectable=stage != "features", selected=stage == current))
    show_tiles(tiles, width=130 if presenting() else 76, key="strip-stages", on_select=_jump)
    st.caption("Each on its own colours; the smallest and largest value below. Click one to go to its step.")


def _jump() -> None:
    stage = getattr(st.session_state.get("strip-stages"), "selected", None)
    if step := next((step for step in STEPS if step.stage == stage), None):
        st.session_state["step"] = step.id
