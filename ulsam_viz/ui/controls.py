"""The sidebar: what to look at. Every control lives in the address, so a view can be shared and survives a reload."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from ..analysis.methods import METHODS, Method
from ..engine import DeviceChoice, default_engine
from ..figures.colours import SCALES, SEQUENTIAL, Scale
from ..figures.tiles import Display
from ..models.backbones import BACKBONES
from ..zoo import Variant
from .address import say_missing, take_missing

PLAIN = "plain"
_BIND: Literal["query-params"] = "query-params"
_DEFAULT_GROUPS = 4
# Only keys of controls whose state may be set: no buttons, charts, editors or uploads.
_KEPT = frozenset(
    [
        "picture",
        "net",
        "position",
        "g",
        "device",
        "methods",
        "target",
        "scale",
        "colours",
        "opacity",
        "smooth",
        "blend",
        "subspace",
        "question",
        "way",
        "second",
        "second-picture",
        "strength",
        "robust",
        "robust-limit",
        "source-method",
        "source-peak",
        "part",
        "step",
        "channel",
        "row",
        "column",
        "probe",
        "preset",
    ]
)
_KEPT_BEGINNINGS = ("box-rows", "box-columns", "cover-rows", "cover-columns", "sand-", "try-", "quiz-", "predict-")
_DEFAULT_METHODS = ("grad_cam", "integrated_gradients")


@dataclass(frozen=True)
class View:
    """How results are shown; changing it recomputes nothing."""

    scale: Scale
    blend: bool
    display: Display


def keep_choices() -> None:
    """Keep what the visitor chose while another page, without those controls, is shown."""
    own = {f"{method.name}.{setting.name}" for method in METHODS.values() for setting in method.settings}
    for key in map(str, list(st.session_state)):
        if key in _KEPT | own or key.startswith(_KEPT_BEGINNINGS):
            st.session_state[key] = st.session_state[key]


def backbone_label(variant: Variant) -> str:
    """Return e.g. ``"V1-0.5"`` for MobileNet-V1 of width 0.5."""
    return BACKBONES[variant.backbone].short_of(variant.width)


def usual_position(variant: Variant) -> str:
    """Return the position that is shown first, ``"after-11"``."""
    return f"after-{BACKBONES[variant.backbone].usual_layer}"


def position_label(variant: Variant) -> str:
    """Return e.g. ``"after-11"`` or ``"after-6-8-11-13"``; ``"plain"`` for the control."""
    p = variant.placement
    return PLAIN if p is None else f"{p.mode}-{'-'.join(map(str, p.layers))}"


def choose_by_id(widget: Callable[..., object], label: str, names: Mapping[str, str], *, key: str, **look: Any) -> str:
    """Show a choice whose address is an id, so that its names can change and addresses stay.

    Streamlit writes into the address what an option is called. So a selectbox of ids, which nobody sees, is what the address
    knows, and the visitor's control follows it and moves it.

    Args:
        widget: What shows the choice, e.g. ``st.segmented_control``.
        label: Its label, which is not shown.
        names: What the options are called, by id; the first is the default. An address may hold a name in place of the id,
            as addresses once did.
        key: Of the id in the session and in the address; the visitor's control has ``{key}-shown``.
        look: Further arguments of ``widget``.

    Returns:
        The chosen id.
    """
    asked = st.query_params.get(key)
    of_names = {name: id for id, name in names.items()}
    if asked in of_names and asked not in names and key not in st.session_state:
        st.query_params[key] = of_names[asked]
        st.rerun()  # Streamlit reads the address before the script can
    st.html(f"<style>.st-key-{key} {{ display: none; }}</style>")
    missing = take_missing(key, list(names), str, next(iter(names)))
    chosen = st.selectbox(label, list(names), key=key, bind=_BIND)
    shown = f"{key}-shown"
    st.session_state[shown] = chosen
    widget(
        label,
        list(names),
        key=shown,
        format_func=names.__getitem__,
        on_change=lambda: st.session_state.update({key: st.session_state[shown]}),
        label_visibility="collapsed",
        **look,
    )
    if missing:
        say_missing(f"{label} “{missing}” is not known; “{names[chosen]}” is shown")
    return chosen


def choose_variant(variants: Sequence[Variant]) -> Variant:
    """Show backbone, position and g; every stop is a trained variant."""
    st.subheader("Network", help="Networks trained by this project. Every stop of the sliders is a network of its own.")
    by_knowledge = sorted(variants, key=lambda v: -len(v.classes))  # first the one that knows most of what people bring
    backbones = list(dict.fromkeys(backbone_label(v) for v in by_knowledge))
    missing = take_missing("net", backbones, str, backbones[0])
    backbone = st.segmented_control(
        "Backbone",
        backbones,
        default=backbones[0],
        required=True,
        key="net",
        bind=_BIND,
        help="  \n".join(f"{label}: {next(v for v in variants if backbone_label(v) == label).title}." for label in backbones),
    )
    if missing:
        say_missing(f"There is no network “{missing}”; {backbone} is shown")
    of_backbone = [v for v in variants if backbone_label(v) == backbone]
    st.caption(of_backbone[0].title)
    positions = sorted(
        {position_label(v): v for v in of_backbone}.items(),
        key=lambda item: (item[1].placement is not None, *_position_order(item[1])),
    )
    names = [name for name, _ in positions]
    usual = usual_position(of_backbone[0])
    usual = usual if usual in names else names[-1]
    missing = take_missing("position", names, _position_words, usual)
    position = st.select_slider(
        "Position",
        names,
        value=usual,
        key="position",
        bind=_BIND,
        format_func=_position_words,
        help="The layer that the attention module follows, or replaces (“instead”), in the paper's numbering: the stem is layer 1. "
        f"“None” is the same network without attention{'' if of_backbone[0].base else ', trained with the same budget'}.",
    )
    if missing:
        say_missing(f"{backbone} has no position “{missing}”; {_position_words(position)} is shown")
    here = [v for v in of_backbone if position_label(v) == position]
    if position == PLAIN:
        st.caption("The plain control has no subspaces; choose a position to move g.")
        return here[0]
    groups = sorted(v.groups for v in here)
    if len(groups) == 1:
        st.caption(f"Trained here with g = {groups[0]} only.")
        return here[0]
    usual_g = _DEFAULT_GROUPS if _DEFAULT_GROUPS in groups else groups[0]
    missing = take_missing("g", groups, str, usual_g)
    g = st.select_slider(
        "Subspaces g",
        groups,
        value=usual_g,
        key="g",
        bind=_BIND,
        help="The layer's channels are split into g groups of neighbours; each gets one attention map.",
    )
    if missing:
        say_missing(f"Nothing was trained here with g = {missing}; g = {g} is shown")
    return next(v for v in here if v.groups == g)


def _position_words(name: str) -> str:
    return "none (plain)" if name == PLAIN else name.replace("-", " ", 1).replace("-", ", ")


def _position_order(variant: Variant) -> tuple[Any, ...]:
    p = variant.placement
    return (p.mode, len(p.layers), p.layers) if p else ()


def choose_device() -> DeviceChoice:
    """Show the device control, and the reason where a wish cannot be met."""
    wish = st.segmented_control(
        "Device",
        ["auto", "cpu", "cuda"],
        default="auto",
        required=True,
        key="device",
        bind=_BIND,
        format_func={"auto": "Auto", "cpu": "CPU", "cuda": "CUDA"}.__getitem__,
        help="Auto takes a CUDA GPU if there is one.",
    )
    choice = default_engine().choose_device(wish or "auto")
    if choice.reason:
        st.caption(f":material/info: {choice.reason}")
    return choice


def choose_methods(variant: Variant) -> dict[str, dict[str, Any]]:
    """Show the attribution methods and their settings; return the settings of each chosen method, cheap methods first."""
    st.subheader(
        "Attribution", help="Post-hoc methods, by Captum: which pixels speak for one class. Not the same thing as attention."
    )
    chosen = st.pills(
        "Methods",
        list(METHODS),
        selection_mode="multi",
        default=list(_DEFAULT_METHODS),
        key="methods",
        bind=_BIND,
        format_func=lambda name: METHODS[name].label,
    )
    settings: dict[str, dict[str, Any]] = {}
    with_settings = [name for name in chosen if METHODS[name].settings]
    if with_settings:
        with st.expander("Settings of the methods"):
            for name in with_settings:
                settings[name] = _settings_of(METHODS[name], variant)
    passes = {name: count_passes(name, settings.get(name, {}), variant.input_size) for name in chosen}
    if chosen:
        listed = ", ".join(f"{METHODS[name].label} {count}" for name, count in sorted(passes.items(), key=lambda item: item[1]))
        st.caption(
            f"Cost, in passes of one picture: {listed}.",
            help="A pass takes the time in the variant's card, with gradients about three times that.",
        )
    return {name: settings.get(name, {}) for name in sorted(chosen, key=passes.__getitem__)}


def count_passes(name: str, settings: Mapping[str, Any], input_size: int) -> int:
    """Return how many passes of one picture a method takes with these settings."""
    method = METHODS[name]
    return method.passes(method.complete(settings), input_size)


def _settings_of(method: Method, variant: Variant) -> dict[str, Any]:
    # The plain control has no layer that feeds an attention module.
    settings = [s for s in method.settings if s.name != "layer" or variant.placement]
    if not settings:
        return {}
    st.markdown(f"**{method.label}**")
    values = {}
    columns = st.columns(len(settings), gap="small")
    for column, setting in zip(columns, settings, strict=True):
        with column:
            values[setting.name] = st.selectbox(
                setting.label,
                setting.options,
                index=setting.options.index(setting.default),
                key=f"{method.name}.{setting.name}",
                bind=_BIND,
                help=setting.help,
            )
    return values


def choose_target(variant: Variant) -> int | None:
    """Show the target class; None means the predicted one."""
    names = ["predicted", *variant.classes]
    missing = take_missing("target", names, _class_words, names[0])
    target = st.selectbox(
        "Target class",
        names,
        key="target",
        bind=_BIND,
        format_func=_class_words,
        help="Attributions answer “why this class?” for the target. The attention maps do not depend on it.",
    )
    if missing:
        say_missing(f"The network knows no class “{missing}”; the {_class_words(target)} is the target")
    return None if target == "predicted" else variant.classes.index(target)


def _class_words(name: str) -> str:
    return "predicted class" if name == "predicted" else pretty(name)


def choose_view() -> View:
    """Show the display controls."""
    st.subheader("Display", help="Changes how results are drawn; nothing is computed again.")
    scale = st.selectbox(
        "Scale of the maps",
        list(SCALES),
        key="scale",
        bind=_BIND,
        format_func=SCALES.__getitem__,
        help="× uniform: 1 means no preference, one scale for all maps. Raw: the softmax values. Gain: what features are multiplied by. "
        "Min-max stretches each map by itself and so invents contrast.",
    )
    colours = st.selectbox("Colours", SEQUENTIAL, key="colours", bind=_BIND, help="All are perceptually uniform.")
    opacity = st.slider("Opacity of the map", 0.0, 1.0, 0.65, 0.05, key="opacity", bind=_BIND)
    smooth = st.toggle(
        "Smooth", key="smooth", bind=_BIND, help="Interpolates between cells. Off shows each cell of the network's grid as it is."
    )
    blend = st.toggle(
        "Blend view",
        key="blend",
        bind=_BIND,
        help="Adds one picture a layer, coloured by the subspace that attends most at each place.",
    )
    return View(scale, blend, Display(colours, opacity, smooth))


def pretty(class_name: str) -> str:
    """Write a class name for people: ``"stop_sign"`` -> ``"stop sign"``."""
    return class_name.replace("_", " ")
