"""The network: backbone, position and g; every stop is a trained variant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...engine.engine import DeviceChoice, default_engine
from ...models.backbones import BACKBONES
from ...models.ulsam import GAINS
from ...report.address import PLAIN
from ...report.address import backbone_label as backbone_label
from ...report.address import position_label as position_label
from ...report.address import position_words as position_words
from ...text.escaping import escape_markdown
from ...zoo.variants import Variant
from ..run.address import has_walked, say_missing, saying_missing, take_missing, wish
from ..run.interrupt import run_again
from ..run.scene import channels_of
from ..run.state import keep
from .ids import choose_by_id

_BIND: Literal["query-params"] = "query-params"
_DEFAULT_GROUPS = 4
_GAINS: dict[str, str] = {"published": "Gain as published", "normalised": "Normalised"}


def usual_position(variant: Variant) -> str:
    """Return the position that is shown first, ``"after-11"``."""
    return f"after-{BACKBONES[variant.backbone].usual_layer}"


def choose_variant(variants: Sequence[Variant], *, place: DeltaGenerator | None = None, without: str = "") -> Variant:
    """Show backbone, position and g; every stop is a trained variant.

    Args:
        variants: All that are offered.
        place: Where position and g are shown, if not below the backbone.
        without: ``"position"`` or ``"g"``: out of sight where it has no effect; its state and its address stay.
    """
    st.subheader("Network")
    # First the one that knows most of what people bring
    by_knowledge = sorted(variants, key=lambda v: (v.own, -len(v.classes)))
    backbones = list(dict.fromkeys(backbone_label(v) for v in by_knowledge))
    asked = st.query_params.get("net", "")
    if asked in backbones and asked != escape_markdown(asked) and "net" not in st.session_state:
        st.query_params["net"] = escape_markdown(asked)  # Streamlit writes into the address what an option is shown as
        run_again()
    missing = take_missing("net", backbones, escape_markdown, backbones[0])
    backbone = st.segmented_control(
        "Backbone",
        backbones,
        default=backbones[0],
        required=True,
        key=keep("net"),
        bind=_BIND,
        format_func=escape_markdown,
    )
    if missing:
        say_missing(f"There is no network “{missing}”; {backbone} is shown")
    of_backbone = [v for v in variants if backbone_label(v) == backbone]
    st.caption(escape_markdown(of_backbone[0].title))
    with place or st.container():
        variant = choose_module(of_backbone, without=without, horizontal=place is not None)
    trained = "" if variant.base or variant.own else ", trained with the same budget"
    # The explanations stand in one place behind the sliders: each of them would be a stop of the keyboard before g.
    st.caption(
        "Every stop is a network of its own.",
        help="**Position**: the layer that the attention module follows, or replaces (“instead”), in the paper's "
        "numbering: the stem is layer 1. "
        f"“None” is the same network without attention{trained}.  \n**g**: the layer's channels are split into g "
        "groups of neighbours; each "
        "gets one attention map.  \n**Gain**: what maps become of features. As published, 1 + A, in the mean hardly "
        "above 1. Normalised, (1 + H·W·A) / 2, with mean 1: ours, "
        f"not the paper's; attention may then act.  \n{_knowledge(by_knowledge)}",
    )
    return variant


def _knowledge(variants: Sequence[Variant]) -> str:
    titles = {backbone_label(v): v.title for v in variants}
    return "  \n".join(f"**{escape_markdown(label)}**: {escape_markdown(title)}." for label, title in titles.items())


def choose_module(
    of_backbone: Sequence[Variant],
    *,
    name: str = "",
    near: Variant | None = None,
    without: str = "",
    horizontal: bool = False,
) -> Variant:
    """Show position, g and gain of one backbone's variants.

    Args:
        of_backbone: All variants of one backbone.
        name: Begins the names of the state, ``{name}position`` and ``{name}g``.
        near: Its position, g and gain are chosen at first; the usual ones otherwise.
        without: See :func:`choose_variant`.
        horizontal: Position and g stand side by side.
    """
    if without:
        st.html(f"<style>.st-key-{name}{without} {{ display: none; }}</style>")
    backbone = backbone_label(of_backbone[0])
    # The gain is chosen before, and stands below: most visitors leave it as published
    sliders = st.container(horizontal=horizontal, width=300 if horizontal else "stretch")
    of_backbone = _of_gain(of_backbone, name=name, near=near)
    with sliders:
        return _choose_place(of_backbone, backbone, name=name, near=near, without=without)


def gain_asked(name: str) -> str | None:
    """Return the gain that the address or the visitor wishes of a network, where one was said."""
    key = f"{name}gain"
    asked: str | None = wish(key) if has_walked() else st.session_state.get(key) or st.query_params.get(key)
    return asked


def _of_gain(of_backbone: Sequence[Variant], *, name: str, near: Variant | None) -> list[Variant]:
    """Let the visitor choose a gain where networks of several were trained.

    Return those of that gain, and the plain one.
    """
    gains = sorted({v.gain for v in of_backbone}, key=GAINS.index)
    gain: str = gains[0]
    if len(gains) > 1:
        ids = dict.fromkeys([near.gain, *gains] if near else gains)
        gain = choose_by_id(
            st.segmented_control, "Gain", {id: _GAINS[id] for id in ids}, key=f"{name}gain", required=True
        )
    return [v for v in of_backbone if v.placement is None or v.gain == gain]


def _choose_place(
    of_backbone: Sequence[Variant], backbone: str, *, name: str, near: Variant | None, without: str
) -> Variant:
    positions = sorted(
        {position_label(v): v for v in of_backbone}.items(),
        key=lambda item: (item[1].placement is not None, *_position_order(item[1])),
    )
    names = [label for label, _ in positions]
    usual = position_label(near) if near else usual_position(of_backbone[0])
    usual = usual if usual in names else names[-1]
    missing = take_missing(f"{name}position", names, position_words, usual)
    position = st.select_slider(
        "Position",
        names,
        value=usual,
        key=keep(f"{name}position"),
        bind=_BIND,
        format_func=position_words,
    )
    if missing:
        say_missing(f"{backbone} has no position “{missing}”; {position_words(position)} is shown")
    here = [v for v in of_backbone if position_label(v) == position]
    if without == "position":
        here = [v for v in of_backbone if v.placement]
    if position == PLAIN and without != "position":
        st.caption("The plain control has no subspaces; choose a position to move g.")
        return here[0]
    groups = sorted({v.groups for v in here})
    if len(groups) == 1:
        if without != "g":
            st.caption(f"Trained here with g = {groups[0]} only.")
        return here[0]
    wished_g = near.groups if near else _DEFAULT_GROUPS
    usual_g = wished_g if wished_g in groups else groups[0]
    missing = take_missing(f"{name}g", groups, str, usual_g)
    g = st.select_slider(
        "Subspaces g",
        groups,
        value=usual_g,
        key=keep(f"{name}g"),
        bind=_BIND,
    )
    if missing:
        say_missing(f"Nothing was trained here with g = {missing}; g = {g} is shown")
    _say_what_does_not_divide(of_backbone, here, groups)
    return min((v for v in here if v.groups == g), key=lambda v: position_label(v) != position)


def _say_what_does_not_divide(of_backbone: Sequence[Variant], here: Sequence[Variant], groups: Sequence[int]) -> None:
    """Say why a group count that other positions offer is missing here."""
    missing = sorted({v.groups for v in of_backbone if v.placement} - set(groups))
    placement = here[0].placement
    if missing and placement:
        counts = {channels_of(here[0], layer) for layer in placement.layers}
        if whys := [
            f"{channels} channels do not divide by {g}" for g in missing for channels in sorted(counts) if channels % g
        ]:
            st.caption(f"{'; '.join(whys)}.")


def _position_order(variant: Variant) -> tuple[Any, ...]:
    p = variant.placement
    return (p.mode, len(p.layers), p.layers) if p else ()


def choose_device() -> DeviceChoice:
    """Show the device control, and the reason where a wish cannot be met."""
    names = {"auto": "Auto", "cpu": "CPU", "cuda": "CUDA"}
    with saying_missing("device", list(names), "device", "auto", words=lambda name: names.get(name, name)):
        wish = st.segmented_control(
            "Device",
            list(names),
            default="auto",
            required=True,
            key=keep("device"),
            bind=_BIND,
            format_func=names.__getitem__,
            help="Auto takes a CUDA GPU if there is one.",
        )
    choice = default_engine().choose_device(wish or "auto")
    if choice.reason:
        st.caption(f":material/info: {escape_markdown(choice.reason)}")
    return choice
