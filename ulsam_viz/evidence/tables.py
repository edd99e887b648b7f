"""The zoo's figures as Markdown for README, docs/results.md and the model card.

`python -m ulsam_viz variants --write FILE` writes them, so that they are never retyped.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..analysis.interventions import CONSTANT
from ..models.cost import count_cost, untrained
from ..models.ulsam import GAINS
from ..zoo.variants import UNKNOWN, Variant, list_variants, pictures_of, position_name
from . import experiments as studies
from .statistics import (
    Comparison,
    accuracy_of,
    by_backbone,
    by_position,
    common_seeds,
    compare,
    control_of,
    elsewhere,
    findings,
    noise_of_differences,
    of_kind,
    peers_of,
    seed_spread,
    trained_anew,
    what_attention_does,
)


def write_tables(document: Path, variants: Sequence[Variant]) -> None:
    """Write a zoo's tables between a document's marks: ``<!-- accuracy -->`` to ``<!-- /accuracy -->`` and so on.

    Raises:
        ValueError: If the document has no mark of :data:`_TABLES`.
    """
    text, found = document.read_text(encoding="utf-8"), False
    for name, table in _TABLES.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if begin in text and end in text:
            head, _, rest = text.partition(begin)
            text, found = f"{head}{begin}\n\n{table(variants)}\n\n{end}{rest.partition(end)[2]}", True
    if not found:
        marks = ", ".join(f"<!-- {name} --> <!-- /{name} -->" for name in _TABLES)
        raise ValueError(f"'{document}' has no place for tables; one is: {marks}")
    document.write_text(text, encoding="utf-8")


def summary_table(variants: Sequence[Variant]) -> str:
    """Write one row for each backbone, set of test pictures and gain, modules after a layer.

    And the conclusion under them.
    """
    rows, most, differ = [list(_SUMMARY)], dict.fromkeys(GAINS, 0.0), []
    for members in by_backbone(variants).values():
        for seen in (members, *elsewhere(members)):
            everything = variants if seen is members else seen
            for gain in GAINS:
                placed = of_kind(seen, "after", gain)
                control = control_of(placed[0], everything) if placed else None
                if control is None:
                    continue
                comparison = compare(
                    [control, *map(accuracy_of, placed)], noise_of_differences(peers_of(placed[0], everything))
                )
                flips = max(v.metrics["effects"]["off"]["flips"] for v in placed if "effects" in v.metrics)
                most[gain] = max(most[gain], flips)
                name = f"{placed[0].label}, {placed[0].measured_on}"
                differ += [f"{name} ({gain})"] if comparison.beyond_chance else []
                figures = (
                    f"{control.seeds[0]:.1f}",
                    f"{comparison.largest:.2f}",
                    _chance(comparison),
                    f"{flips:.1f} %",
                )
                rows.append([name, gain, str(len(placed)), *figures])
    conclusion = (
        f"Taken away, attention changes at most {most['published']:.1f} % of a network's answers with the gain as "
        f"published, and at most {most['normalised']:.1f} % with the normalised gain, which is ours. Where chance is "
        f"known, top-1 differs by more than it explains in {'; '.join(differ) or 'none of the rows'}."
    )
    return f"{_table(rows)}\n\n{textwrap.fill(conclusion, 120)}"


# Columns of :func:`summary_table`.
_SUMMARY = ("network, test pictures", "gain", "networks", "top-1 %", "differs by", "by chance", "changed")


def _chance(comparison: Comparison) -> str:
    if comparison.by_chance is None:
        return "unknown"
    return f"{comparison.by_chance:.2f}{' (borderline)' if comparison.borderline else ''}"


def accuracy_tables(variants: Sequence[Variant]) -> str:
    """Write a grid of top-1 for each backbone and test set, positions by g, and what the differences show."""
    parts = []
    for members in by_backbone(variants).values():
        for seen in (members, *elsewhere(members)):
            parts += _accuracies(seen, variants if seen is members else seen)
    for on_one_set in (variants, *elsewhere(variants)):
        for dataset in dict.fromkeys(v.dataset for v in on_one_set):
            parts += _spread_of_seeds([v for v in on_one_set if v.dataset == dataset and v.gain == "published"])
    return "\n\n".join(parts)


def _accuracies(members: Sequence[Variant], everything: Sequence[Variant]) -> list[str]:
    """Write the grid of one backbone on one set of pictures, and what it shows."""
    groups = sorted({v.groups for v in members if v.placement})
    rows = [["top-1 %", "no attention", *(f"g = {g}" for g in groups)]]
    for position, placed in by_position(members).items():
        of_groups = {0: control_of(placed[0], members), **{v.groups: accuracy_of(v) for v in placed}}
        row = [of_groups.get(g) for g in (0, *groups)]
        rows.append([position, *("" if a is None else f"{a.seeds[0]:.1f}" if a else UNKNOWN for a in row)])
        if (seeds := len(common_seeds(a for a in row[1:] if a))) > 1:  # a base that others trained has none
            rows.append([f"{position}, {seeds} seeds", *(a.over_seeds if a else "" for a in row)])
    some = members[0]
    effects = [what_attention_does([v for v in members if v.gain == gain]) for gain in GAINS]
    head = f"**{some.title}**, {some.input_size} px, {some.measured_on}"
    about = f"{some.about_pictures} ECE: {_errors(members)}." if some.about_pictures else ""
    return list(filter(None, (f"{head}:", _table(rows), about, *findings(members, everything), *effects)))


def _errors(members: Sequence[Variant]) -> str:
    """Write the span of calibration errors, as trained and calibrated."""
    calibrated = [v.calibration.ece for v in members if v.calibration.ece is not None]
    after = f", {_span(calibrated, '.1f')} % with the temperature" if calibrated else ""
    return f"{_span([v.metrics['ece'] for v in members if 'ece' in v.metrics], '.1f')} % as trained{after}"


def _spread_of_seeds(members: Sequence[Variant]) -> list[str]:
    """Say how far the seeds of one and the same network lie apart; nothing where none has several."""
    if not (spread := seed_spread(members)):
        return []
    return [
        f"Over {members[0].measured_on}, ± is the standard deviation over seeds; pooled over all that have several "
        f"({trained_anew(members)}) it is {spread.deviation:.2f} points. What chance does to differences is known from "
        "these alone, and taken to be the same elsewhere. The test set's own standard error, which all variants "
        f"share, is {max(accuracy_of(v).standard_error for v in members):.1f} points."
    ]


def experiment_tables(variants: Sequence[Variant]) -> str:
    """Write what the experiments show: the normalised gain, other papers' modules, attention from the start."""
    parts = []
    for members in by_backbone(variants).values():
        if said := studies.gain_may_act(members):
            parts += [f"**The normalised gain, {members[0].title}:**", *said]
            parts += [
                f"{position_name(placed[0], gain=False).capitalize()}: {studies.g_and_accuracy(placed)}"
                for placed in by_position(members).values()
                if placed[0].gain == "normalised" and len(placed[0].repeats) > 1
            ]
            for placed in by_position(members).values():
                if placed[0].gain == "normalised" and (
                    answer := studies.does_g_matter(placed, list_variants(study="start"))
                ):
                    parts.append(answer)
    if compared := studies.modules_compared(list_variants(study="gain"), variants):
        where = f"{compared[0].label}, {position_name(compared[1])}, {len(compared[0].repeats) + 1} seeds each"
        parts += [
            f"**Other modules in the same place ({where}):**",
            _modules_table(compared),
            *studies.modules_in_words(compared),
        ]
    if start := list_variants(study="start"):
        place = f"{start[0].title} at {start[0].input_size} px"
        parts += [
            f"**Attention from the start ({place}, {start[0].measured_on}):**",
            _start_table(start),
            *studies.from_the_start(start),
        ]
    return "\n\n".join([*parts, studies.NOT_TESTED]) if parts else ""


def _modules_table(compared: Sequence[Variant]) -> str:
    rows = [["module", "parameters", "MACs", "element-wise", "top-1 %", *_CHANGED]]
    plain, *_ = costs = [count_cost(untrained(v), v.input_size) for v in compared]
    for variant, cost in zip(compared, costs, strict=True):
        added = (
            f"+{cost.params - plain.params:,}",
            f"+{(cost.macs - plain.macs) / 1e6:.3f} M",
            f"+{(cost.elementwise_bytes - plain.elementwise_bytes) / 1e6:.2f} MB",
        )
        rows.append(
            [studies.module_title(variant), *(added if variant.placement else ("", "", "")), *_figures(variant)]
        )
    return _table(rows)


def _start_table(start: Sequence[Variant]) -> str:
    rows = [["network", "top-1 %", *_CHANGED]]
    for v in start:
        rows.append([f"{position_name(v)}, g = {v.groups}" if v.placement else position_name(v), *_figures(v)])
    return _table(rows)


# Columns of what :func:`_figures` writes after top-1.
_CHANGED = ("answers that change %: gain 1", "gain held at its mean", "places shuffled")


def _figures(variant: Variant) -> list[str]:
    accuracy = accuracy_of(variant)
    changes = ("off", CONSTANT, "shuffled") if variant.placement else ()
    return [
        accuracy.over_seeds or str(accuracy),
        *(str(studies.without_attention(variant, change)) for change in changes),
        *([] if changes else [""] * 3),
    ]


def map_table(variants: Sequence[Variant]) -> str:
    """Write a row for each variant with attention: statistics of its maps, and their effect."""
    rows = [
        [
            "variant",
            "top-5 %",
            "ECE %: as trained, calibrated",
            "dead maps: median, largest",
            "effective area",
            "peak (× uniform)",
            "redundancy",
            "other answers %: off, uniform, shuffled",
        ]
    ]
    second = [v for seen in elsewhere(variants) for v in seen]
    for variant in (*variants, *second):
        layers = variant.metrics.get("attention", {}).values()
        cells = [""] * 5
        if layers:
            dead = sorted(share for figures in layers for share in figures["dead_share"])
            redundancies = [figures["redundancy"] for figures in layers if figures["redundancy"] is not None]
            cells = [
                f"{dead[len(dead) // 2]:.1%}, {dead[-1]:.1%}",
                _span([v for figures in layers for v in figures["effective_area"]], ".2f"),
                _span([v for figures in layers for v in figures["peak"]], ".1f"),
                _span(redundancies, "+.2f") if redundancies else "",
                ", ".join(f"{figures['flips']:.1f}" for figures in variant.metrics.get("effects", {}).values()),
            ]
        name = f"`{variant.name}`" + (f" on {pictures_of(variant.metrics)}" if variant in second else "")
        rows.append([name, variant.figure("top5"), _calibrated(variant), *cells])
    return _table(rows)


def _calibrated(variant: Variant) -> str:
    calibration = variant.calibration
    after = "" if calibration.ece is None else f", {calibration.ece:.1f} (T = {calibration.temperature:.2f})"
    return f"{variant.figure('ece')}{after}"


def _span(values: Iterable[float], form: str) -> str:
    low, high = min(values), max(values)
    ends = dict.fromkeys([format(low, form), format(high, form)])
    return " to ".join(ends)


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


#: What stands between the marks of a document, by their name.
_TABLES = {"summary": summary_table, "accuracy": accuracy_tables, "maps": map_table, "experiments": experiment_tables}
