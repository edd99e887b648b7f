"""Results of the experiments: the normalised gain, other papers' modules, and attention from the start."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..analysis.interventions import CONSTANT
from ..models.others import OTHERS, SPATIAL
from ..models.ulsam import GAINS, Gain
from ..zoo.variants import Variant, list_variants, position_name
from .statistics import (
    SMALLEST_TOP1,
    Accuracy,
    Comparison,
    JudgedDifference,
    accuracy_of,
    by_position,
    common_seeds,
    compare,
    in_words,
    noise_of_seeds,
)

# Student's t, 95 % two-sided, by degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
# Percent of answers: less is not worth choosing g by.
SMALLEST_EFFECT = 1.0
# A gain acts where another one's effect is at most this share of its own.
_MUCH_LESS = 0.5
_USUAL_GROUPS = 4  # what other modules stand beside


@dataclass(frozen=True)
class Estimate:
    """A figure over seeds.

    Attributes:
        by_seed: The figure of each training.
    """

    by_seed: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.by_seed.values())

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean, by Student's t over the seeds, not below 0; None for a single one."""
        count = len(self.by_seed)
        if count < 2:
            return None
        t = _T[min(count - 1, len(_T)) - 1]
        half = t * statistics.stdev(self.by_seed.values()) / math.sqrt(count)
        return max(self.mean - half, 0.0), self.mean + half

    @property
    def cut(self) -> bool:
        """Whether the interval reached below 0 and was cut there, as for figures with a wide scatter."""
        return self.interval is not None and self.interval[0] == 0.0 < self.interval[1]

    def __str__(self) -> str:
        """Write ``"5.1 (4.2 to 6.0)"``, ``"17.4 (0.0, cut at zero, to 44.2)"``, or the figure alone."""
        if self.interval is None:
            return f"{self.mean:.1f}"
        low, high = self.interval
        return f"{self.mean:.1f} ({low:.1f}{', cut at zero,' if self.cut else ''} to {high:.1f})"


def without_attention(variant: Variant, change: str = "off") -> Estimate:
    """Return the share of answers, in %, that change without a network's attention, over its seeds.

    Args:
        variant: One whose effects were measured, at least of its first seed.
        change: One of :data:`~ulsam_viz.analysis.interventions.INTERVENTIONS`, or
            :data:`~ulsam_viz.analysis.interventions.CONSTANT`, which is ``"uniform"`` where the module is ULSAM: its
            mean gain is a constant anyway.
    """
    records: list[Mapping[str, Any]] = [{"metrics": variant.metrics, "made_by": variant.made_by}, *variant.repeats]
    found = {}
    for record in records:
        if (effects := record["metrics"].get("effects")) is None:  # older repeats were measured by their accuracy alone
            continue
        own = "uniform" if change == CONSTANT and CONSTANT not in effects else change
        found[record["made_by"]["recipe"]["seed"]] = float(effects[own]["flips"])
    return Estimate(found)


def compare_effects(estimates: Sequence[Estimate]) -> Comparison:
    """Judge whether effects of several networks differ by more than seeds explain, as accuracies are judged."""
    own = [Accuracy(e.by_seed, 0.0) for e in estimates]
    return compare(own, noise_of_seeds([e.by_seed for e in estimates]))


Verdict = Literal["scale", "training", "open"]


def why_silent(published: Sequence[Estimate], normalised: Sequence[Estimate]) -> Verdict:
    """Judge why the published gain hardly acts, from networks that had it from the first step of training.

    Args:
        published: Its effect for each g, over seeds.
        normalised: That of the normalised gain, for the same g and the same seeds.

    Returns:
        ``"scale"`` if for every g the whole training leaves the published gain's effect below half of the other's,
        beyond chance; ``"training"`` if for every g it is no longer below half; ``"open"`` otherwise, and with single
        seeds.
    """
    ratios_below = [p.mean < _MUCH_LESS * n.mean for p, n in zip(published, normalised, strict=True)]
    if not any(ratios_below):
        return "training"
    gaps = [
        Estimate({s: n.by_seed[s] - p.by_seed[s] / _MUCH_LESS for s in p.by_seed.keys() & n.by_seed.keys()})
        for p, n in zip(published, normalised, strict=True)
    ]
    beyond = [gap.interval is not None and gap.interval[0] > 0 for gap in gaps]
    return "scale" if all(ratios_below) and all(beyond) else "open"


_WHY: dict[Verdict, str] = {
    "scale": "So short fine-tuning is not why the published gain hardly acts; its scale is.",
    "training": "So the published gain acts when it is there from the start: short fine-tuning is why it hardly does "
    "in the zoo.",
    "open": "Whether its scale or short fine-tuning is why the published gain hardly acts stays open.",
}


def why_in_short(study: Sequence[Variant]) -> str:
    """Say why the published gain hardly acts in the zoo, from the networks of the study "start".

    Empty without both gains.
    """
    published, normalised = (of_gain(study, gain) for gain in GAINS)
    if not (published and normalised):
        return ""
    return _WHY[why_silent(*([without_attention(v, CONSTANT) for v in own] for own in (published, normalised)))]


def of_gain(study: Sequence[Variant], gain: Gain) -> list[Variant]:
    """Return the ULSAM networks of a study with one gain, by g."""
    placed = [v for v in study if v.placement and v.placement.module == "ulsam" and v.gain == gain]
    return sorted(placed, key=lambda v: v.groups)


def from_the_start(study: Sequence[Variant]) -> tuple[str, ...]:
    """Say what attention does that is there from the first step of training, why it hardly acts, and whether it helps.

    Args:
        study: The networks of the study "start"; nothing is said without both gains.
    """
    published, normalised = (of_gain(study, gain) for gain in GAINS)
    plain = next((v for v in study if v.placement is None), None)
    if not (published and normalised and plain):
        return ()
    # With its mean kept: on grids as coarse as these the published gain's mean is far above 1, and that is no
    # attention.
    effects = {gain: [without_attention(v, CONSTANT) for v in of_gain(study, gain)] for gain in GAINS}
    place = position_name(published[0])
    said = (
        f"Modules {place} from the first step, {len(common_seeds(map(accuracy_of, published)))} trainings each: with "
        f"the gain held at its mean {_each(published, effects['published'])} % of the answers change with the "
        f"published gain, {_each(normalised, effects['normalised'])} % with the normalised one. "
        f"{_WHY[why_silent(effects['published'], effects['normalised'])]}"
    )
    accuracies = [accuracy_of(v) for v in (plain, *published, *normalised)]
    found = compare(accuracies, noise_of_seeds([a.by_seed for a in accuracies]))
    return said, f"Their top-1 and the plain network's: {in_words(found)}"


def _each(variants: Sequence[Variant], estimates: Sequence[Estimate]) -> str:
    return ", ".join(f"{e} (g = {v.groups})".replace(") (", "; ") for v, e in zip(variants, estimates, strict=True))


def gain_may_act(zoo: Sequence[Variant]) -> tuple[str, ...]:
    """Say what the normalised gain does in the zoo, and whether g matters where attention may act.

    Args:
        zoo: Networks of one family, both gains; positions that have but one gain are passed over.
    """
    sentences = []
    for placed in by_position(zoo).values():
        if placed[0].gain != "normalised" or not all("effects" in v.metrics for v in placed):
            continue
        assert placed[0].placement
        where = (placed[0].placement.layers, placed[0].placement.mode)
        twins = [
            v for v in zoo if v.placement and (v.placement.layers, v.placement.mode) == where and v.gain == "published"
        ]
        pairs = [(v, w) for v in placed for w in twins if v.groups == w.groups]
        if not pairs:
            continue
        ours, theirs = ([without_attention(pair[i]).mean for pair in pairs] for i in (0, 1))
        ratios = sorted(a / max(b, 0.01) for a, b in zip(ours, theirs, strict=True))
        sentences.append(
            f"{position_name(placed[0], gain=False).capitalize()}: attention taken away changes {_span(ours)} % of the "
            f"answers with the normalised gain, {_span(theirs)} % as published: {ratios[0]:.0f} to {ratios[-1]:.0f} "
            f"times as many. {g_and_effect(placed)}"
        )
    return tuple(sentences)


def g_and_effect(placed: Sequence[Variant]) -> str:
    """Say whether the effect of attention depends on g, for the networks of one position and gain."""
    estimates = [without_attention(v) for v in placed]
    if any(e.interval is None for e in estimates) or len(placed) < 2:
        return "One training each: whether g is why they differ was not measured."
    found = compare_effects(estimates)
    each = ", ".join(f"g = {v.groups}: {e}" for v, e in zip(placed, estimates, strict=True))
    chance = f"chance: {found.by_chance:.1f}" if found.by_chance is not None else "chance unknown"
    return (
        f"By g, over seeds ({each}): largest difference {found.largest:.1f} points ({chance}). "
        f"{_OF_EFFECT[found.judged(SMALLEST_EFFECT)]}"
    )


_OF_EFFECT: dict[JudgedDifference, str] = {
    "within chance": "No more than chance: g does not show.",
    "borderline": "Borderline, just within chance: whether g shows stays open.",
    "too small": f"More than chance, but less than {SMALLEST_EFFECT:.0f} point: too little to choose g by.",
    "matters": "More than chance: here, with this gain, attention does more or less by g.",
}


def does_g_matter(placed: Sequence[Variant], start: Sequence[Variant] = ()) -> str:
    """Say whether g matters where attention may act, for the effect of attention and for accuracy.

    Args:
        placed: Networks of one position with the normalised gain, by g, several seeds each; else the text is empty.
        start: The networks of the study "start", another network and other layers, which may bear it out or not.
    """
    estimates = [without_attention(v) for v in placed]
    if len(placed) < 2 or any(e.interval is None for e in estimates):
        return ""
    found, top1 = compare_effects(estimates), [accuracy_of(v) for v in placed]
    accuracy = compare(top1, noise_of_seeds([a.by_seed for a in top1]))
    for_effect = _G_AND_EFFECT[found.judged(SMALLEST_EFFECT)]
    for_accuracy = "chance unknown" if accuracy.by_chance is None else _IN_SHORT[accuracy.judged(SMALLEST_TOP1)]
    said = (
        f"In {placed[0].label}, fine-tuned with modules {position_name(placed[0])}, {for_effect}: taken away, it "
        f"changes {estimates[0].mean:.1f} % of the answers at g = {placed[0].groups} and {estimates[-1].mean:.1f} % at "
        f"g = {placed[-1].groups}. Top-1 differs by {accuracy.largest:.2f} points between them: {for_accuracy}."
    )
    return " ".join(filter(None, (said, _g_from_the_start(start))))


_G_AND_EFFECT: dict[JudgedDifference, str] = {
    "within chance": "g does not show in what attention does",
    "borderline": "whether g shows in what attention does is borderline",
    "too small": "g changes what attention does, by too little to matter",
    "matters": "how much attention does depends on g",
}
_IN_SHORT: dict[JudgedDifference, str] = {
    "within chance": "within chance",
    "borderline": "borderline, just within chance",
    "too small": "beyond chance, too small to matter",
    "matters": "beyond chance",
}


def _g_from_the_start(start: Sequence[Variant]) -> str:
    """Say whether g matters for what attention does in the study "start", with the normalised gain.

    Empty where that is not known.
    """
    placed = of_gain(start, "normalised")
    estimates = [without_attention(v) for v in placed]
    if len(placed) < 2 or any(e.interval is None for e in estimates):
        return ""
    found = compare_effects(estimates)
    if found.by_chance is None:
        return ""
    verdict = found.judged(SMALLEST_EFFECT)
    bears_out = "bears that out" if verdict == "matters" else "does not bear that out"
    return (
        f"The study of attention from the start ({placed[0].label}, modules {position_name(placed[0])}) {bears_out}: "
        f"{_each(placed, estimates)} % of the answers, a largest difference of {found.largest:.1f} points, "
        f"{_IN_SHORT[verdict]} ({found.by_chance:.1f})."
    )


def g_and_accuracy(placed: Sequence[Variant]) -> str:
    """Say in one sentence whether top-1 depends on g, and on the module at all, where attention may act."""
    own = [accuracy_of(v) for v in placed]
    control = placed[0].control
    rows = [*own, *([_control(control)] if control else [])]
    noise = noise_of_seeds([a.by_seed for a in rows])
    among, all_ = compare(own, noise), compare(rows, noise)
    if among.by_chance is None or all_.by_chance is None:
        return "Top-1 by g: one training each, so nothing tells chance."
    verdict = _IN_SHORT[among.judged(SMALLEST_TOP1)]
    said = f"Top-1 differs by {among.largest:.2f} points between group counts: {verdict} ({among.by_chance:.2f})."
    if control:
        gaps = [
            statistics.fmean(a.by_seed[s] - rows[-1].by_seed[s] for s in a.by_seed.keys() & rows[-1].by_seed.keys())
            for a in own
        ]
        verdict = _IN_SHORT[Comparison(max(map(abs, gaps)), all_.by_chance).judged(SMALLEST_TOP1)]
        said += f" To the plain control it is {min(gaps):+.2f} to {max(gaps):+.2f}: {verdict} ({all_.by_chance:.2f})."
    return said


def _control(records: Sequence[Mapping[str, Any]]) -> Accuracy:
    return Accuracy({r["made_by"]["recipe"]["seed"]: r["metrics"]["top1"] for r in records}, 0.0)


def _span(values: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(f"{v:.1f}" for v in (min(values), max(values))))


def modules_to_compare(zoo: Sequence[Variant], groups: int) -> list[Variant]:
    """Return networks with a spatial map in one place: ULSAM with both gains, then other papers' modules.

    Empty without those.

    Args:
        zoo: Where ULSAM's networks are found.
        groups: Their g; the usual one for the plain control, which has none.
    """
    others = [v for v in list_variants(study="gain") if v.path and v.placement and v.placement.module in SPATIAL]
    if not others or others[0].placement is None:
        return []
    place = (others[0].family, others[0].placement.layers)
    ulsam = [v for v in zoo if v.placement and (v.family, v.placement.layers) == place and v.placement.mode == "after"]
    return [*(v for v in ulsam if v.groups == (groups or _USUAL_GROUPS)), *others]


def module_title(variant: Variant) -> str:
    """Return a module's title: ``"CBAM (ECCV 2018)"``, ``"ULSAM, g = 4, normalised gain (ours)"``."""
    p = variant.placement
    if p is None:
        return "none (plain control)"
    if p.module != "ulsam":
        return OTHERS[p.module].title
    return f"ULSAM, g = {p.groups}" + (", normalised gain (ours)" if p.gain == "normalised" else " (WACV 2020)")


def modules_compared(study: Sequence[Variant], zoo: Sequence[Variant]) -> list[Variant]:
    """Return what is compared in one place after one start: the control, ULSAM with both gains, other papers' modules.

    Args:
        study: The networks of the study "gain".
        zoo: Where ULSAM with the normalised gain is found: with the group count of the study's published one.
    """
    ulsam = of_gain(study, "published")
    ours = [
        v
        for v in zoo
        for u in ulsam
        if v.placement
        and u.placement
        and v.family == u.family
        and v.gain == "normalised"
        and (v.placement.layers, v.groups) == (u.placement.layers, u.groups)
    ]
    others = [v for v in study if v.placement and v.placement.module != "ulsam"]
    return [*(v for v in study if v.placement is None), *ulsam, *ours, *others]


def modules_in_words(compared: Sequence[Variant]) -> tuple[str, ...]:
    """Say whether a module's accuracy stands out, and which modules act, with the gain held at its mean or removed."""
    if len(compared) < 2:
        return ()
    accuracies = [accuracy_of(v) for v in compared]
    found = compare(accuracies, noise_of_seeds([a.by_seed for a in accuracies]))
    placed = [(module_title(v), without_attention(v, CONSTANT).mean) for v in compared if v.placement]
    most, least = max(placed, key=lambda p: p[1]), min(placed, key=lambda p: p[1])
    return (
        f"Top-1 of the {len(compared)}: {in_words(found)}",
        f"With each channel's gain held at its mean, {most[0]} changes the most answers ({most[1]:.1f} %), {least[0]} "
        f"the fewest ({least[1]:.1f} %). Taking a gain away altogether also takes its mean, which for modules that end "
        "in a sigmoid is far from 1.",
    )


NOT_TESTED = (
    "Not tested: attention from the start on grids as fine as the zoo's 14 × 14 (here 8 × 8 and 4 × 4, where the "
    "published gain is larger: mean 1.016 and 1.063), full width, ImageNet, longer training, other places for other "
    "modules, and other budgets. Differences smaller than chance stay hidden, and the test pictures' own error is "
    "shared by all."
)
