"""What a figure must be before a sentence calls it one: beyond chance, and beyond a smallest size of interest stated here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from .faithfulness import BASELINES, Faithfulness

# One point: less than a reader of the bars could see, and far less than one picture's answer differs from another's.
SMALLEST_PROBABILITY = 0.01
# A rank correlation of 0.3 is what is usually called a medium one; less shares under a tenth of the ranks' variance.
SMALLEST_CORRELATION = 0.3

Verdict = Literal["within chance", "too small", "matters"]


def smallest_logit(temperature: float) -> float:
    """Return the change of one logit that can move its class's calibrated probability by a point, and no more.

    The softmax is steepest at one half, where a change of L in a logit moves the probability by L / (4 T).

    Args:
        temperature: The variant's.
    """
    return 4 * temperature * SMALLEST_PROBABILITY


def judge(effect: float, *, chance: float, smallest: float) -> Verdict:
    """Tell what may be said of an effect.

    Args:
        effect: Signed.
        chance: What chance alone reaches, in magnitude.
        smallest: The smallest magnitude of interest.
    """
    if abs(effect) <= chance:
        return "within chance"
    return "matters" if abs(effect) >= smallest else "too small"


def better_than_blind(score: Faithfulness, scores: Mapping[str, Faithfulness]) -> bool:
    """Tell whether a map finds what matters better than every map that knows nothing of the network.

    It must insert and delete better than each of :data:`~ulsam_viz.analysis.faithfulness.BASELINES`, by more than two
    standard deviations of the random ones and by no less than :data:`SMALLEST_PROBABILITY`.

    Args:
        score: The map's.
        scores: By name, with those of the baselines.
    """
    chance = [2 * deviation for deviation in scores["random"].spread]
    leads = [(score.insertion - scores[b].insertion, scores[b].deletion - score.deletion) for b in BASELINES]
    return all(
        lead > 0 and judge(lead, chance=c, smallest=SMALLEST_PROBABILITY) == "matters"
        for both in leads
        for lead, c in zip(both, chance, strict=True)
    )
