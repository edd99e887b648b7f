"""The attribution methods, their settings and costs, and the class that they explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...analysis.attention import Attention
from ...analysis.methods import METHODS, Method, Setting
from ...zoo.variants import Variant
from ..run.address import say_missing, saying_missing, take_all_missing, take_missing, wish
from ..run.scene import pretty
from ..run.state import keep

_BIND: Literal["query-params"] = "query-params"
_DEFAULT_METHODS = ("grad_cam", "integrated_gradients")


def choose_methods(variant: Variant, said: DeltaGenerator) -> dict[str, dict[str, Any]]:
    """Show the attribution methods and their settings; return the settings of each chosen method, cheap methods first.

    Args:
        variant: The network.
        said: Container for messages about values in the address that do not exist; the controls may be hidden.
    """
    st.subheader(
        "Attribution",
        help="Post-hoc methods, by Captum: which pixels speak for one class. Not the same thing as attention.",
    )
    missing = take_all_missing("methods", list(METHODS), lambda name: METHODS[name].label)
    chosen = st.pills(
        "Methods",
        list(METHODS),
        selection_mode="multi",
        default=list(_DEFAULT_METHODS),
        key=keep("methods"),
        bind=_BIND,
        format_func=lambda name: METHODS[name].label,
    )
    for name in missing:
        say_missing(f"There is no attribution method “{name}”", said)
    settings: dict[str, dict[str, Any]] = {}
    with_settings = [name for name in chosen if METHODS[name].settings]
    if with_settings:
        with st.expander("Settings of the methods"):
            for name in with_settings:
                settings[name] = _settings_of(METHODS[name], variant, said)
    passes = {name: count_passes(name, settings.get(name, {}), variant.input_size) for name in chosen}
    if chosen:
        listed = ", ".join(
            f"{METHODS[name].label} {passes_words(name, settings.get(name, {}), count)}"
            for name, count in sorted(passes.items(), key=lambda item: item[1])
        )
        st.caption(
            f"Cost, in passes of one picture: {listed}.",
            help="A pass takes the time in the variant's card, with gradients about three times that.",
        )
    return {name: settings.get(name, {}) for name in sorted(chosen, key=passes.__getitem__)}


def count_passes(name: str, settings: Mapping[str, Any], input_size: int) -> int:
    """Return how many passes of one picture a method takes at most with these settings."""
    method = METHODS[name]
    return method.passes(method.complete(settings), input_size)


def passes_words(name: str, settings: Mapping[str, Any], count: int) -> str:
    """Write a number of passes, which is only the most where the method itself finds out how many it needs."""
    refines = METHODS[name].complete(settings).get("steps") == "auto"
    return f"at most {count}" if refines else f"{count}"


def _settings_of(method: Method, variant: Variant, said: DeltaGenerator) -> dict[str, Any]:
    # The plain control has no layer that feeds an attention module.
    settings = [s for s in method.settings if s.name != "layer" or variant.placement]
    if not settings:
        return {}
    st.markdown(f"**{method.label}**")
    values = {}
    columns = st.columns(len(settings), gap="small")
    for column, setting in zip(columns, settings, strict=True):
        key, what = f"{method.name}.{setting.name}", f"{method.label} with {setting.label.lower()}"
        options = _options(setting, key)
        with column, saying_missing(key, options, what, setting.default, place=said):
            values[setting.name] = st.selectbox(
                setting.label,
                options,
                index=options.index(setting.default),
                key=keep(key),
                bind=_BIND,
                help=setting.help,
            )
    return values


def _options(setting: Setting, key: str) -> list[Any]:
    """Return what is offered, and the number that the address or an earlier run asks for, where any may be taken."""
    options = list(setting.options)
    for asked in (wish(key), st.session_state.get(key)):
        try:
            value = None if asked is None else setting.read(str(asked))
        except ValueError:
            continue
        if value is not None and value not in options:
            options.append(value)
    return options


def choose_target(variant: Variant, said: DeltaGenerator | None = None) -> int | None:
    """Show the target class; None means the predicted one.

    Args:
        variant: The network.
        said: As for :func:`choose_methods`; None where the control is in sight.
    """
    names = ["predicted", *variant.classes]
    missing = take_missing("target", names, _class_words, names[0])
    target = st.selectbox(
        "Target class",
        names,
        key=keep("target"),
        bind=_BIND,
        format_func=_class_words,
        help="Attributions answer “why this class?” for the target. The attention maps do not depend on it.",
    )
    if missing:
        say_missing(f"The network knows no class “{missing}”; the {_class_words(target)} is the target", said)
    return None if target == "predicted" else variant.classes.index(target)


def target_of(wish: int | None, attention: Attention) -> int:
    """Return the number of the class that is explained: what :func:`choose_target` returned, or the predicted one."""
    return attention.top(1)[0] if wish is None else wish


def _class_words(name: str) -> str:
    return "predicted class" if name == "predicted" else pretty(name)
