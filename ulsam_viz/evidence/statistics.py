"""Accuracies of the trained networks with their spread over seeds, and whether differences exceed chance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from ..analysis.interventions import Intervention
from ..analysis.verdicts import Verdict, judge
from ..text.escaping import escape_markdown
from ..zoo.variants import UNKNOWN, Variant, position_name

# Points of top-1. The paper's own gains are tenths of a point, the largest 0.39; less than this is not worth choosing a
# network by.
SMALLEST_TOP1 = 0.3
# The largest difference over this share of what chance reaches is called borderline, not "no difference".
BORDERLINE = 0.9
JudgedDifference = Literal[Verdict, "borderline"]
# A map is alive that is uniform for less than this share of the pictures.
_ALIVE = 0.2


@dataclass(frozen=True)
class Accuracy:
    """Top-1 of one variant on its test pictures, in %.

    Attributes:
        by_seed: One figure for each seed it was trained with, the shipped checkpoint's first.
        standard_error: Of one of them, from the size of the test set alone: sqrt(p (1 - p) / n).
        of_any_seed: It was not trained here, as a base that others trained: its one figure stands beside every seed.

    An own network's may not be known: it then has no figures, is false, and says "unknown".
    """

    by_seed: Mapping[int, float]
    standard_error: float
    of_any_seed: bool = False

    @property
    def seeds(self) -> tuple[float, ...]:
        """The figures, without their seeds."""
        return tuple(self.by_seed.values())

    @property
    def mean(self) -> float:
        """Mean over the seeds; NaN where there are none."""
        return statistics.fmean(self.seeds) if self.by_seed else math.nan

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None for a single one."""
        return statistics.stdev(self.seeds) if len(self.seeds) > 1 else None

    @property
    def over_seeds(self) -> str:
        """Mean and spread in words, ``"77.5 ± 0.3"``; empty for a single seed."""
        return f"{self.mean:.1f} ± {self.spread:.1f}" if self.spread is not None else ""

    def over(self, seeds: Collection[int]) -> Accuracy:
        """Return it over some of its seeds only: others' figures compare with those of the same seeds."""
        own = (
            dict.fromkeys(seeds, self.mean)
            if self.of_any_seed
            else {s: t for s, t in self.by_seed.items() if s in seeds}
        )
        return replace(self, by_seed=own)

    def __bool__(self) -> bool:
        return bool(self.by_seed)

    def __str__(self) -> str:
        """Write the shipped checkpoint's figure, and what its seeds say."""
        if not self:
            return UNKNOWN
        return f"{self.seeds[0]:.1f}" + (f" ({len(self.seeds)} seeds: {self.over_seeds})" if self.over_seeds else "")


def common_seeds(accuracies: Iterable[Accuracy]) -> set[int]:
    """Return the seeds that all have; one that stands for any seed leaves the choice to the others."""
    every = list(accuracies)
    seeds = [set(a.by_seed) for a in every if not a.of_any_seed] or [set(a.by_seed) for a in every]
    return set.intersection(*seeds) if seeds else set()


def is_measured(variant: Variant) -> bool:
    """Return whether a variant's figures may enter the zoo's statistics: one of the zoo, not one of the user's own."""
    return not variant.own


def accuracy_of(variant: Variant) -> Accuracy:
    """Return a variant's top-1 with all its seeds.

    Nothing of a network that somebody entered, whose training is not known.
    """
    if not is_measured(variant):
        return Accuracy({}, math.nan)
    found = _accuracy_from([{"metrics": variant.metrics, "made_by": variant.made_by}, *variant.repeats])
    return replace(found, of_any_seed=variant.base is not None and variant.placement is None)


def elsewhere(variants: Iterable[Variant]) -> list[list[Variant]]:
    """Return networks with their figures on other test pictures, a list for each set that several share."""
    seen: dict[str, list[Variant]] = {}
    for variant in (other for v in variants for other in v.elsewhere):
        seen.setdefault(variant.measured_on, []).append(variant)
    return [members for members in seen.values() if len(members) > 1]


def _accuracy_from(records: Sequence[Mapping[str, Any]]) -> Accuracy:
    top1, n = records[0]["metrics"]["top1"] / 100, records[0]["metrics"]["pictures"]
    by_seed = {r["made_by"]["recipe"]["seed"]: r["metrics"]["top1"] for r in records}
    return Accuracy(by_seed, 100 * math.sqrt(top1 * (1 - top1) / n))


def control_of(variant: Variant, variants: Sequence[Variant]) -> Accuracy | None:
    """Return the accuracy of the plain network that a variant is to be compared with: the same base, the same budget.

    Args:
        variant: With or without modules.
        variants: Where to look for it.
    """
    if variant.control:
        return _accuracy_from(variant.control)
    if variant.placement and variant.placement.mode == "instead":
        return None
    plain = (v for v in variants if v.placement is None and v.family == variant.family)
    return next((accuracy_of(v) for v in plain if is_measured(v)), None)


def difference(a: Accuracy, b: Accuracy) -> float:
    """Return a minus b in points, over the seeds that both have: those saw the same pictures in the same order."""
    common = common_seeds((a, b))
    return a.over(common).mean - b.over(common).mean if common else a.mean - b.mean


@dataclass(frozen=True)
class SeedSpread:
    """How much chance moves top-1.

    Attributes:
        deviation: Standard deviation of one figure, in points.
        freedom: Degrees of freedom it rests on.
    """

    deviation: float
    freedom: int


def seed_spread(variants: Sequence[Variant]) -> SeedSpread | None:
    """Return how much top-1 varies between seeds of one and the same variant, pooled; None where none has several."""
    groups = [a.seeds for a in map(accuracy_of, variants) if len(a.seeds) > 1]
    freedom = sum(len(seeds) - 1 for seeds in groups)
    if not freedom:
        return None
    return SeedSpread(math.sqrt(sum(statistics.variance(s) * (len(s) - 1) for s in groups) / freedom), freedom)


def trained_anew(variants: Sequence[Variant]) -> str:
    """Name what was trained with several seeds, e.g.

    ``"MobileNet-V1 0.5, plain and after 11"``: all that is known of chance.
    """
    several = [v for v in variants if v.repeats]
    places = {
        members[0].label: list(dict.fromkeys(position_name(v) if v.placement else "plain" for v in members))
        for members in by_backbone(several).values()
    }
    return "; ".join(f"{backbone}, {' and '.join(names)}" for backbone, names in places.items())


def noise_of_differences(variants: Sequence[Variant]) -> SeedSpread | None:
    """Return how much chance moves the difference of two variants of one seed (over the square root of two).

    A seed fixes the order of the pictures and their augmentation, so part of what it does is the same for all variants
    and drops out of their differences. What is left is the residual of the table variants x seeds, once the mean of
    each variant and of each seed is taken off (a randomised block design).

    Args:
        variants: Those with the same several seeds form the table; without two such, nothing is known: None.
    """
    runs = {v.name: [{"metrics": v.metrics, "made_by": v.made_by}, *v.repeats] for v in variants if is_measured(v)}
    runs |= {f"control of {v.gain}": list(v.control) for v in variants if v.control}
    tables: dict[tuple[Any, ...], list[Mapping[int, float]]] = {}
    for records in runs.values():
        by_seed = _accuracy_from(records).by_seed
        if len(by_seed) > 1:
            start = records[0]["made_by"].get("init_sha256")  # what chance does to another base is another thing
            tables.setdefault((start, *sorted(by_seed)), []).append(by_seed)
    return noise_of_seeds(*tables.values())


def noise_of_seeds(*tables: Sequence[Mapping[int, float]]) -> SeedSpread | None:
    """Return the same from figures by seed: of each table, rows that all have the same several seeds, pooled."""
    squares, freedom = 0.0, 0
    for rows in tables:
        table = np.array([[row[seed] for seed in sorted(row)] for row in rows])
        residuals = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
        squares += float((residuals**2).sum())
        freedom += (table.shape[0] - 1) * (table.shape[1] - 1)
    return SeedSpread(math.sqrt(squares / freedom), freedom) if freedom else None


@dataclass(frozen=True)
class Comparison:
    """Whether several variants differ by more than seeds do.

    Attributes:
        largest: Largest difference between two means, in points.
        by_chance: The largest difference that variants of equal worth stay below in 95 of 100 cases; None without seeds
            to tell it from.
    """

    largest: float
    by_chance: float | None

    @property
    def beyond_chance(self) -> bool:
        """Whether the difference is more than seeds explain."""
        return self.by_chance is not None and self.largest > self.by_chance

    @property
    def borderline(self) -> bool:
        """Whether chance explains the difference, but it is more than :data:`BORDERLINE` of what chance reaches."""
        return self.by_chance is not None and BORDERLINE * self.by_chance < self.largest <= self.by_chance

    def judged(self, smallest: float) -> JudgedDifference:
        """Judge the difference against chance and the smallest size that matters.

        With single seeds it is within chance.
        """
        if self.borderline:
            return "borderline"
        return (
            "within chance" if self.by_chance is None else judge(self.largest, chance=self.by_chance, smallest=smallest)
        )


def compare(accuracies: Sequence[Accuracy], noise: SeedSpread | None) -> Comparison:
    """Compare accuracies over the seeds that all of them have, by Tukey's studentized range.

    Args:
        accuracies: Two or more.
        noise: From :func:`noise_of_differences`; it is taken to be the same at every position.
    """
    common = common_seeds(accuracies)
    means = [a.over(common).mean if common else a.mean for a in accuracies]
    # What was not trained here does not vary with the seed: as if of any number of them.
    counts = tuple(math.inf if a.of_any_seed else float(len(common) or len(a.by_seed)) for a in accuracies)
    by_chance = noise.deviation * _studentized_range(counts, noise.freedom) if noise else None
    return Comparison(max(means) - min(means), by_chance)


@lru_cache
def _studentized_range(counts: tuple[float, ...], freedom: int, draws: int = 40_000) -> float:
    """Return the 95 % point of the studentized range for so many means, by simulation."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((draws, len(counts))) / np.sqrt(counts)
    deviation = np.sqrt(rng.chisquare(freedom, draws) / freedom)
    return float(np.quantile(np.ptp(means, axis=1) / deviation, 0.95))


def in_words(comparison: Comparison) -> str:
    """Say what a comparison of accuracies shows, and what it does not."""
    found = f"the largest difference is {comparison.largest:.2f} points"
    if comparison.by_chance is None:
        return f"{found}; with one seed each, nothing tells how much of it is chance."
    if comparison.beyond_chance:
        return (
            f"{found}, more than other seeds would bring about (up to {comparison.by_chance:.2f} in 95 of 100 cases); "
            "other pictures could still order them otherwise."
        )
    shown = (
        "borderline, so a difference is neither shown nor ruled out"
        if comparison.borderline
        else "no difference can be seen"
    )
    return (
        f"{found}. Networks of equal worth, trained from the same seeds, would differ by up to "
        f"{comparison.by_chance:.2f} by chance in 95 of 100 cases: {shown}."
    )


def finding(placed: Sequence[Variant], everything: Sequence[Variant]) -> str:
    """Say what the accuracies of networks with modules, all of one mode, show beside their control's.

    A control of the same base is one of those compared. That of networks that lost a layer comes from a base of its
    own; its distance is told apart, because chance moves bases too and nothing here measures by how much.

    Args:
        placed: The networks; empty gives an empty text.
        everything: The zoo, for their control and for the noise; other datasets' networks say nothing about either.
    """
    placed = [v for v in placed if is_measured(v)]
    if not placed or (control := control_of(placed[0], everything)) is None:
        return ""
    own, noise = [accuracy_of(v) for v in placed], noise_of_differences(peers_of(placed[0], everything))
    names, their = (f"{len(own)} networks", "their") if len(own) > 1 else ("1 network", "its")
    if _has_its_controls_base(placed[0]):
        return f"{names} and {their} control at {control}: {in_words(compare([control, *own], noise))}"
    gaps = sorted(difference(a, control) for a in own)
    span = " to ".join(dict.fromkeys(f"{gap:+.1f}" for gap in (gaps[0], gaps[-1])))
    among = f"{in_words(compare(own, noise))} Their" if len(own) > 1 else "its"
    return (
        f"{names}: {among} difference to {their} control at {control} is {span} points; that one was trained as long, "
        "but from another base, and by how much two bases differ by chance was not measured."
    )


def findings(variants: Sequence[Variant], everything: Sequence[Variant]) -> list[str]:
    """Say what one backbone's accuracies show, for each mode of placement and each position with several seeds."""
    texts = []
    for (mode, gain), label in KINDS.items():
        placed = of_kind(variants, mode, gain)
        texts.append((label, finding(placed, everything)))
        for position, members in by_position(placed).items():
            if (seeds := len(common_seeds(map(accuracy_of, members)))) > 1:
                texts.append((f"{position.capitalize()} alone, over {seeds} seeds", finding(members, everything)))
    return [f"{label}, {text}" for label, text in texts if text]


#: What is judged together, by mode of placement and gain.
KINDS = {
    ("after", "published"): "After a layer",
    ("after", "normalised"): "After a layer, with the normalised gain",
    ("instead", "published"): "Instead of a layer",
}


def of_kind(variants: Iterable[Variant], mode: str, gain: str) -> list[Variant]:
    """Return those with modules of one mode of placement and one gain."""
    return [v for v in variants if v.placement and (v.placement.mode, v.gain) == (mode, gain)]


def kind_of(variant: Variant) -> tuple[str, str]:
    """Return mode and gain of a variant; a plain control is one of the published modules after a layer."""
    return (variant.placement.mode if variant.placement else "after"), variant.gain


def peers_of(variant: Variant, everything: Iterable[Variant]) -> list[Variant]:
    """Return the networks with a variant's data and gain, plain ones included.

    The spread of their seeds is its noise level.
    """
    return [v for v in everything if v.dataset == variant.dataset and v.gain == variant.gain]


def _has_its_controls_base(variant: Variant) -> bool:
    return not (variant.control and variant.placement and variant.placement.mode == "instead")


def what_attention_does(variants: Sequence[Variant]) -> str:
    """Say in Markdown what follows over the test set when attention is removed, or loses its positions.

    Args:
        variants: Those of one backbone and gain; those without such figures are passed over, and without any the text
            is empty.
    """
    measured = [v.metrics for v in variants if "effects" in v.metrics and is_measured(v)]
    if not measured:
        return ""

    def most(intervention: Intervention) -> str:
        flips = max(m["effects"][intervention]["flips"] for m in measured)
        moved = max(abs(m["effects"][intervention]["top1"] - m["top1"]) for m in measured)
        return (
            f"{flips:.1f} % of the {escape_markdown(variants[0].measured_on)} (top-1 moves by {moved:.1f} points at "
            "most)"
        )

    gain = "" if variants[0].gain == "published" else "With the normalised gain: "
    return (
        f"{gain}Take all attention away from any of these {len(measured)} networks, and its answer changes on at most "
        f"{most('off')}. Make every map uniform: at most {most('uniform')}. Shuffle the places of every map (one order "
        f"for each subspace): at most {most('shuffled')}."
    )


def conclusions(variants: Sequence[Variant], everything: Sequence[Variant], chosen: Variant) -> tuple[str, str, str]:
    """Say in three sentences what one backbone's figures allow to conclude, and what they leave open.

    Args:
        variants: Those of one backbone.
        everything: The zoo, for what chance does.
        chosen: One of them; accuracy is told of its mode of placement ("after" for the plain control).
    """
    placed = [v for v in of_kind(variants, *kind_of(chosen)) if is_measured(v)]
    control = control_of(placed[0], everything) if placed else None
    attention = _of_attention([v for v in variants if v.gain == chosen.gain])
    if control is None:
        return (
            "Nothing here compares with a plain control.",
            attention,
            "It stays open what attention does to accuracy.",
        )
    if not _has_its_controls_base(placed[0]):  # no comparison tells what chance does
        gaps = sorted(difference(accuracy_of(v), control) for v in placed)
        span = " to ".join(dict.fromkeys(f"{gap:+.1f}" for gap in (gaps[0], gaps[-1])))
        return f"Instead of a layer: {span} points; chance between bases unknown.", attention, _OPEN
    comparison = compare([control, *map(accuracy_of, placed)], noise_of_differences(peers_of(chosen, everything)))
    differs, by_chance = (
        f"{KINDS[kind_of(chosen)]}, top-1 differs by {comparison.largest:.2f} points",
        comparison.by_chance,
    )
    if by_chance is None:
        return f"{differs}; one seed each, chance unknown.", attention, _OPEN
    said = {
        "within chance": f"within chance ({by_chance:.2f}).",
        "borderline": f"borderline, just within chance ({by_chance:.2f}).",
        "too small": f"beyond chance ({by_chance:.2f}), too small to matter.",
        "matters": f"beyond chance ({by_chance:.2f}).",
    }
    verdict = comparison.judged(SMALLEST_TOP1)
    open_ = (
        _OPEN
        if verdict in ("within chance", "borderline")
        else "It stays open whether attention is why, and whether other pictures agree."
    )
    return f"{differs}: {said[verdict]}", attention, open_


_OPEN = "It stays open whether attention helps, and whether g matters."


def _of_attention(variants: Sequence[Variant]) -> str:
    dead = [
        share
        for v in variants
        for figures in v.metrics.get("attention", {}).values()
        for share in figures["dead_share"]
    ]
    flips = [v.metrics["effects"]["off"]["flips"] for v in variants if "effects" in v.metrics]
    if not dead:
        return "No maps were measured."
    alive = sum(share < _ALIVE for share in dead)
    maps = f"{f'All {alive}' if alive == len(dead) else f'{alive} of {len(dead)}'} maps are alive"
    return f"{maps}; without attention, at most {max(flips):.1f}\u00a0% of answers change." if flips else f"{maps}."


def by_position(variants: Sequence[Variant]) -> dict[str, list[Variant]]:
    """Sort the variants of one backbone by position, each position's by g; the control is left out."""
    positions: dict[str, list[Variant]] = {}
    for variant in variants:  # the manifest's order
        if variant.placement:
            positions.setdefault(position_name(variant), []).append(variant)
    return positions


def by_backbone(variants: Sequence[Variant]) -> dict[str, list[Variant]]:
    """Sort variants by what may be compared: the network and what it was trained on, in words."""
    backbones: dict[str, list[Variant]] = {}
    for variant in variants:
        backbones.setdefault(variant.title, []).append(variant)
    return backbones
