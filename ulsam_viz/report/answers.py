"""The questions that were asked about a view, with their answers, in words, rows and maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..analysis import measures
from ..analysis.attention import Attention
from ..analysis.attribution import Attribution
from ..analysis.effects import Effect, ShapleyValues, ThroughSubspaces
from ..analysis.faithfulness import BASELINES, Baselines, Faithfulness
from ..analysis.methods import METHODS
from ..analysis.robustness import Infidelity
from ..analysis.sanity import CHECKS, SanityCheck
from ..analysis.verdicts import smallest_logit
from ..questions.describe import (
    AGAINST_WHAT,
    agreement_note,
    baseline_label,
    baseline_rows,
    chance_of,
    compared_rows,
    effect_rows,
    faithful_rows,
    what_it_does,
    who_is_better,
)
from ..questions.view import Topic
from ..text.escaping import escape_markdown
from .contact_sheet import flatten
from .record import Report

_TITLES = {
    "ablate": "Effect if removed",
    "shapley": "Shapley share",
    "source": "Why there?",
    "through": "Contribution through it",
    "baselines": "Is it faithful? What ignores the network",
    "faithful": "Is it faithful? Insertion and deletion",
    "marked-places": "Is it faithful? Marked places",
    "infidelity": "Is it faithful? Infidelity",
    "sensitivity": "Is it faithful? Max-sensitivity",
    "sanity": "Random-weight check",
    "covered": "A part of the picture covered",
    "strength": "One map turned up or down",
    "without-each": "Without each subspace's attention",
    "experiment": "The module changed",
    "module-times": "Times of the module",
}
_FORMS = {
    "Δ logit": "+.4f",
    "Δ probability": "+.3f pt",
    "top-1 flips": ".0f %",
    "KL (nats)": ".2e",
    "Shapley value": "+.5f",
    "standard error": ".5f",
    "contribution": "+.4f",
    "insertion": ".3f",
    "deletion": ".3f",
    "mass in the box": ".0f %",
    "ρ": "+.2f",
    "top 20 % shared": ".0f %",
    "infidelity": ".0f %",
    "±": ".0f",
    "in squared logits": ".4f",
    "max-sensitivity": ".3f",
    "as trained": ".1f %",
    "changed": ".1f %",
}


@dataclass(frozen=True)
class Answered:
    """One question with its answer.

    Attributes:
        title: The question.
        about: Of which layer, subspace, class.
        words: Sentences of the answer, in sparse Markdown.
        tables: Rows by column, each with its heading or "".
        pictures: Attributions of something else than the class.
    """

    title: str
    about: str
    words: Sequence[str] = ()
    tables: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = ()
    pictures: Sequence[Attribution] = ()


def answered(report: Report) -> list[Answered]:
    """Return all questions of a report with their answers, in the order they were asked."""
    return [_answer(topic, result, report) for topic, result in report.asked.items()]


def written(column: str, value: Any) -> str:
    """Write one value of a table for people."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        form, _, unit = _FORMS.get(column, ".4g").partition(" ")
        return f"{value:{form}}" + (f" {unit}" if unit else "")
    return str(value)


def _answer(topic: Topic, result: Any, report: Report) -> Answered:
    write = _WRITERS.get(topic.kind, _anything)
    words, tables, pictures = write(topic, result, report)
    about = ", ".join(_about(what, value, report) for what, value in topic.parts)
    return Answered(_TITLES.get(topic.kind, topic.kind.replace("-", " ")), about, words, tables, pictures)


def _about(what: str, value: Any, report: Report) -> str:
    if what == "class":
        return f"class “{report.sheet.classes[value]}”"
    if what == "subspace":
        return f"{what} {value + 1}"
    return f"{what} {'–'.join(map(str, value)) if isinstance(value, tuple) else value}"


_Written = tuple[Sequence[str], Sequence[tuple[str, Sequence[Mapping[str, Any]]]], Sequence[Attribution]]


def _ablated(topic: Topic, result: Sequence[Effect], report: Report) -> _Written:
    smallest, words, name = smallest_logit(report.temperature), [], report.sheet.classes[topic.part("class")]
    for k, own in enumerate(_maps(topic, report)):
        mine = {e.change: e for e in result if e.subspace == k}
        if {"shuffled", "off"} <= mine.keys():
            shuffles = mine["shuffled"].logit, chance_of(mine["shuffled"])
            dead = bool(measures.is_dead(own))
            words.append(what_it_does(k, name, mine["off"].logit, shuffles, smallest=smallest, dead=dead))
    if topic.other:
        words.append(f"The other picture that attention is taken from: {topic.other}.")
    return words, [("", effect_rows(result))], ()


def _shared(_: Topic, result: ShapleyValues, __: Report) -> _Written:
    errors = [None] * len(result.values) if result.exact else [float(e) for e in result.errors]
    rows = [
        {"subspace": str(k), "Shapley value": float(value), "standard error": error}
        for k, (value, error) in enumerate(zip(result.values, errors, strict=True), 1)
    ]
    how = (
        f"All {result.coalitions} coalitions were evaluated" if result.exact else "Sampled orders, with standard errors"
    )
    text = (
        "Each subspace's fair share of what the whole attention does, in logits. They sum to "
        f"{result.values.sum():+.5f}; the logit with all attention less the logit with none is {result.total:+.5f}. "
        f"{how}."
    )
    return [text], [("", rows)], ()


def _through(_: Topic, result: ThroughSubspaces, __: Report) -> _Written:
    rows = [{"subspace": str(k), "contribution": float(part)} for k, part in enumerate(result.parts, 1)]
    text = (
        "Gradient × activation behind the module, by group: a first-order estimate, about features and not attention. "
        f"The groups sum to {result.parts.sum():+.4f}, all channels together to {result.total:+.4f}."
    )
    return [text], [("", rows)], ()


def _sources(topic: Topic, result: Attribution, _: Report) -> _Written:
    place = f"row {topic.part('row')}, column {topic.part('column')}"
    text = (
        f"Which pixels make the subspace attend to {place}, by {METHODS[result.method].label}. No class is asked for."
    )
    return [text, *([result.warning] if result.warning else [])], (), [result]


def _faithful(topic: Topic, result: Mapping[str, Faithfulness], report: Report) -> _Written:
    target = topic.part("class")
    beside = next((r for t, r in report.asked.items() if t.kind == "baselines" and t.part("class") == target), None)
    if beside is None:  # what a page keeps is bounded
        return (
            (),
            [("", [{"map": name, "insertion": s.insertion, "deletion": s.deletion} for name, s in result.items()])],
            (),
        )
    return [who_is_better(result, beside)], [("", faithful_rows(result, beside))], ()


def _baselines(_: Topic, result: Baselines, __: Report) -> _Written:
    return [AGAINST_WHAT], [("", baseline_rows(result))], ()


def _marked(_: Topic, result: Mapping[str, Any], __: Report) -> _Written:
    box, label = result["box"], result["compared with"]
    scores = ("insertion", "deletion")
    rows = [{column: v for column, v in row.items() if not column.startswith(scores)} for row in result["table"]]
    text = f"The box: rows {box.top} to {box.bottom}, columns {box.left} to {box.right} of the crop, in pixels."
    text += f" ρ and top 20 %: with {label}." if label else ""
    return [text], [("", rows)], ()


def _unfaithful(_: Topic, result: Mapping[str, Infidelity], __: Report) -> _Written:
    rows = [
        {"map": _known(name), "infidelity": 100 * s.share, "±": 100 * s.error, "in squared logits": s.value}
        for name, s in result.items()
    ]
    return ["Less is better: 0 % foretells all that covering does, 100 % nothing."], [("", rows)], ()


def _sensitive(topic: Topic, result: Mapping[str, float] | Sequence[float], _: Report) -> _Written:
    by_name = result if isinstance(result, Mapping) else {METHODS[topic.part("of")].label: result[0]}
    rows = [{"map": name, "max-sensitivity": float(value)} for name, value in by_name.items()]
    return (
        ["The largest relative change of the map under invisible noise: less is steadier, not truer."],
        [("", rows)],
        (),
    )


def _shuffled(topic: Topic, result: Sequence[SanityCheck], report: Report) -> _Written:
    real = _maps(topic, report)
    tables = []
    for check in result:
        columns = zip(check.correlations.T, real, check.stays, strict=True)
        rows = [
            {"subspace": str(k), "agreement": agreement_note(column, bool(measures.is_dead(own))), "stays": bool(stays)}
            for k, (column, own, stays) in enumerate(columns, 1)
        ]
        tables.append((f"With {CHECKS[check.check]}", rows))
    return ["A map that stays when the weights go shows the picture, not what was learnt."], tables, ()


def _covered(_: Topic, result: Sequence[Attention], report: Report) -> _Written:
    before, target = report.sheet.logits, report.sheet.target
    moved = [float(one.logits[target] - before[target]) for one in result]
    words = []
    if len(moved) > 2:
        elsewhere = f"by {np.mean(moved[1:]):+.3f} ± {np.std(moved[1:], ddof=1):.3f} (standard deviation)"
        words = [
            f"A box of this size at {len(moved) - 1} other places moves the logit of "
            f"“{escape_markdown(report.sheet.classes[target])}” {elsewhere}; this one by {moved[0]:+.3f}."
        ]
    return words, [("", _compared(report, before, result[0].logits))], ()


def _turned(_: Topic, result: np.ndarray, report: Report) -> _Written:
    return (), [("", _compared(report, result[0], result[1]))], ()


def _without_each(_: Topic, result: np.ndarray, __: Report) -> _Written:
    return (), [("", [{"subspace": str(k), "Δ logit": float(v)} for k, v in enumerate(result, 1)])], ()


def _anything(topic: Topic, result: Any, _: Report) -> _Written:
    """Write an answer without a description of its own.

    Plain values as they are, arrays by their key in the archive.
    """
    arrays: dict[str, np.ndarray] = {}
    rows: list[dict[str, Any]] = []

    def walk(name: str, value: Any) -> None:
        if isinstance(value, dict) and set(value) == {"array"} and value["array"] in arrays:
            shape = " × ".join(map(str, arrays[value["array"]].shape)) or "one number"
            rows.append({"what": name or "values", "value": f"in the archive, {shape}"})
        elif isinstance(value, dict):
            for key, item in value.items():
                walk(f"{name} {key}".strip().replace("_", " "), item)
        elif isinstance(value, list):
            for i, item in enumerate(value, 1):
                walk(f"{name} {i}".strip(), item)
        else:
            rows.append({"what": name or "value", "value": value})

    walk("", flatten(result, topic.text, arrays))
    return (), [("", rows)], ()


_WRITERS: dict[str, Callable[[Topic, Any, Report], _Written]] = {
    "ablate": _ablated,
    "shapley": _shared,
    "source": _sources,
    "through": _through,
    "baselines": _baselines,
    "faithful": _faithful,
    "marked-places": _marked,
    "infidelity": _unfaithful,
    "sensitivity": _sensitive,
    "sanity": _shuffled,
    "covered": _covered,
    "strength": _turned,
    "without-each": _without_each,
}


def _maps(topic: Topic, report: Report) -> np.ndarray:
    """Return the maps of the layer that a question is about, (g, H, W)."""
    return report.sheet.attention[topic.part("layer")]


def _compared(report: Report, before: np.ndarray, after: np.ndarray) -> list[dict[str, Any]]:
    s = report.sheet
    return compared_rows(s.classes, s.target, before, after, temperature=report.temperature, name="changed")


def _known(name: str) -> str:
    return baseline_label(name) if name in BASELINES else name
