"""Verdicts on effects: beyond chance, and beyond the smallest size of interest that is stated here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .faithfulness import Baselines, Faithfulness

# One point: less than a reader of the bars could see, and far less than one picture's answer differs from another's.
SMALLEST_PROBABILITY = 0.01
# A rank correlation of 0.3 is what is usually called a medium one; less shares under a tenth of the ranks' variance.
SMALLEST_CORRELATION = 0.3

# 95th percentile of Student's t for 1, 2, ... degrees of freedom; the last one serves, a little too strictly, for more.
_T95 = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753)

Verdict = Literal["within chance", "too small", "matters"]


def smallest_logit(temperature: float) -> float:
    """Return the change of one logit that can move its class's calibrated probability by a point, and no more.

    The softmax is steepest at one half, where a change of L in a logit moves the probability by L / (4 T).

    Args:
        temperature: The variant's.
    """
    return 4 * temperature * SMALLEST_PROBABILITY


def judge(effect: float, *, chance: float, smallest: float) -> Verdict:
    """Return what may be said of an effect.

    Args:
        effect: Signed.
        chance: What chance alone reaches, in magnitude.
        smallest: The smallest magnitude of interest.
    """
    if abs(effect) <= chance:
        return "within chance"
    return "matters" if abs(effect) >= smallest else "too small"


@dataclass(frozen=True)
class Standing:
    """Where a map's score stands among those of random maps.

    Attributes:
        rank: 1 for the best; a random map that scores the same stands before it.
        of: How many maps are ranked: the random ones, and this one.
        better: Whether it is better than random maps beyond chance, and by no less than :data:`SMALLEST_PROBABILITY`.
    """

    rank: int
    of: int
    better: bool

    def __str__(self) -> str:
        """Write it as ``"1 of 13"``."""
        return f"{self.rank} of {self.of}"


def stand(value: float, families: Sequence[Sequence[float]]) -> Standing:
    """Rank a score, of which more is better, among those of random maps.

    It is better beyond chance where it lies above the bound that one more random map of the kind would exceed in 5 of
    100 cases, one-sided: mean + t * deviation * sqrt(1 + 1 / n), with Student's t for n - 1 degrees of freedom.

    Args:
        value: The map's score.
        families: Those of random maps, by kind, two or more each; it must be better than each kind.
    """
    every = [other for family in families for other in family]
    leads = [(value - float(np.mean(family)), bound_of_chance(family)) for family in families]
    better = all(
        lead > 0 and judge(lead, chance=chance, smallest=SMALLEST_PROBABILITY) == "matters" for lead, chance in leads
    )
    return Standing(1 + sum(other >= value for other in every), 1 + len(every), better)


def bound_of_chance(values: Sequence[float]) -> float:
    """Return how far above the mean of some values one more lies in 5 of 100 cases.

    They are taken for normally distributed.
    """
    n = len(values)
    return float(_T95[min(n - 1, len(_T95)) - 1] * np.std(values, ddof=1) * math.sqrt(1 + 1 / n))


def standings(score: Faithfulness, baselines: Baselines) -> tuple[Standing, Standing]:
    """Rank a map's insertion and its deletion among those of the random maps that it may be compared with.

    A smooth map is compared with random maps on a grid as coarse as it is. Any other has single pixels scattered among
    its first ones, which delete fast wherever they are, so it must be better than random orders of single pixels as
    well.
    """
    finest = baselines.smooth[max(baselines.smooth)]
    families = [finest, baselines.orders] if score.grid is None else [baselines.smooth[score.grid]]
    return (
        stand(score.insertion, [[other.insertion for other in family] for family in families]),
        stand(-score.deletion, [[-other.deletion for other in family] for family in families]),
    )
