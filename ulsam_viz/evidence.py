"""What the zoo's figures say: accuracies with their spread over seeds, and whether a difference is more than chance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .zoo import Variant, backbone_name, position_name, top1_standard_error


@dataclass(frozen=True)
class Accuracy:
    """Top-1 of one variant on the held-out part, in %.

    Attributes:
        seeds: One figure for each seed it was trained with, the shipped checkpoint's first.
        standard_error: Of one of them, from the size of the test set alone: sqrt(p (1 - p) / n).
    """

    seeds: tuple[float, ...]
    standard_error: float

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.seeds)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None for a single one."""
        return statistics.stdev(self.seeds) if len(self.seeds) > 1 else None

    def __str__(self) -> str:
        several = f" ± {self.spread:.1f} ({len(self.seeds)} seeds)" if self.spread is not None else ""
        return f"{self.mean:.1f}{several}"


def accuracy_of(variant: Variant) -> Accuracy:
    """Return a variant's top-1 with all its seeds."""
    shipped: float = variant.metrics["top1"]
    return Accuracy((shipped, *(repeat["metrics"]["top1"] for repeat in variant.repeats)), top1_standard_error(variant))


def control_of(variant: Variant, variants: Sequence[Variant]) -> Accuracy | None:
    """Return the accuracy of the plain network that a variant is to be compared with: the same base, the same budget.

    Args:
        variant: With or without modules.
        variants: Where to look for it.
    """
    if variant.control:
        top1, n = variant.control["metrics"]["top1"], variant.control["metrics"]["pictures"]
        return Accuracy((top1,), 100 * math.sqrt(top1 / 100 * (1 - top1 / 100) / n))
    if variant.placement and variant.placement.mode == "instead":
        return None
    plain = (v for v in variants if v.placement is None and (v.backbone, v.width) == (variant.backbone, variant.width))
    return next((accuracy_of(v) for v in plain), None)


def with_control(variants: Sequence[Variant], everything: Sequence[Variant]) -> list[Accuracy]:
    """Return the accuracies of variants of one mode, and their control's."""
    control = control_of(variants[0], everything)
    return [*([control] if control else []), *(accuracy_of(v) for v in variants if v.placement)]


@dataclass(frozen=True)
class SeedSpread:
    """How much top-1 varies between seeds of one and the same variant.

    Attributes:
        deviation: Standard deviation in points, pooled over all variants with several seeds.
        freedom: Degrees of freedom it rests on: seeds less variants.
    """

    deviation: float
    freedom: int


def seed_spread(variants: Sequence[Variant]) -> SeedSpread | None:
    """Pool the spread over seeds; None where no variant has several."""
    groups = [a.seeds for a in map(accuracy_of, variants) if len(a.seeds) > 1]
    freedom = sum(len(seeds) - 1 for seeds in groups)
    if not freedom:
        return None
    return SeedSpread(math.sqrt(sum(statistics.variance(s) * (len(s) - 1) for s in groups) / freedom), freedom)


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


def compare(accuracies: Sequence[Accuracy], spread: SeedSpread | None) -> Comparison:
    """Compare mean accuracies, by Tukey's studentized range.

    Args:
        accuracies: Two or more.
        spread: The level of noise, from :func:`seed_spread`; it is taken to be the same at every position.
    """
    means = [a.mean for a in accuracies]
    counts = tuple(len(a.seeds) for a in accuracies)
    by_chance = spread.deviation * _studentized_range(counts, spread.freedom) if spread else None
    return Comparison(max(means) - min(means), by_chance)


@lru_cache
def _studentized_range(counts: tuple[int, ...], freedom: int, draws: int = 40_000) -> float:
    """Return the 95 % point of (range of means of so many draws) / (independent estimate of the deviation), by simulation."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((draws, len(counts))) / np.sqrt(counts)
    deviation = np.sqrt(rng.chisquare(freedom, draws) / freedom)
    return float(np.quantile(np.ptp(means, axis=1) / deviation, 0.95))


def in_words(comparison: Comparison) -> str:
    """Say what a comparison of accuracies shows, and what it does not."""
    found = f"the largest difference is {comparison.largest:.1f} points"
    if comparison.by_chance is None:
        return f"{found}; with one seed each, nothing tells how much of it is chance."
    if comparison.beyond_chance:
        return f"{found}, more than seeds alone would bring about (up to {comparison.by_chance:.1f} in 95 of 100 cases)."
    return (
        f"{found}. Networks of equal worth that differ only in their seed would differ by up to {comparison.by_chance:.1f} "
        "in 95 of 100 cases: no difference can be seen."
    )


def by_position(variants: Sequence[Variant]) -> dict[str, list[Variant]]:
    """Sort the variants of one backbone by position, each position's by g; the control is left out."""
    positions: dict[str, list[Variant]] = {}
    for variant in variants:  # the manifest's order
        if variant.placement:
            positions.setdefault(position_name(variant), []).append(variant)
    return positions


def by_backbone(variants: Sequence[Variant]) -> dict[str, list[Variant]]:
    """Sort variants by backbone and width."""
    backbones: dict[str, list[Variant]] = {}
    for variant in variants:
        backbones.setdefault(backbone_name(variant), []).append(variant)
    return backbones
