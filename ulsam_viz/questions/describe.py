"""What questions about a view found, in words: the page says it, and reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..analysis.calibration import probabilities_of
from ..analysis.effects import CHANGES, Effect
from ..analysis.faithfulness import Baselines, Faithfulness
from ..analysis.verdicts import judge, standings
from ..text.escaping import escape_markdown

#: Logits; less than that is neither shown nor told from the order of float32 sums.
FLOAT_NOISE = 5e-5
#: Half the width, in standard deviations of eight shuffles, of where a ninth falls in 95 of 100 cases:
#: Student's t with 7 degrees of freedom, 2.365, times sqrt(1 + 1/8).
NINTH = 2.51
#: Beside what maps are measured, for people.
AGAINST_WHAT = (
    "Smooth maps (attention, Grad-CAM, occlusion) are ranked among random maps as coarse as they are, on 7 × 7 or 14 × "
    "14 values; any other, whose first pixels lie scattered, among those of 14 × 14 and random orders of single "
    "pixels, since scattered pixels spoil any picture, wherever they are. Equal values stand in a random order. Better "
    "beyond chance: made for 5 random maps in 100."
)
_CURVES = ("insertion", "deletion")


def chance_of(shuffled: Effect) -> float:
    """Return how far from the mean of its shuffles one more may move the logit by chance, in 95 of 100 cases."""
    return max(NINTH * (shuffled.deviation or 0), FLOAT_NOISE)


def what_it_does(k: int, name: str, off: float, shuffled: tuple[float, float], *, smallest: float, dead: bool) -> str:
    """Say in words what subspace k's attention does to the logit, and whether its places matter.

    Args:
        k: Number of the subspace, from 0.
        name: The target class; the sentence is Markdown, in which it is escaped.
        off: Change of the logit without the attention; like all of them against the network as trained.
        shuffled: Its change with the places shuffled: the mean, and how far from it one more shuffle may fall by
            chance.
        smallest: Change of a logit below which none matters.
        dead: The map is uniform.
    """
    name = escape_markdown(name)
    if abs(off) < FLOAT_NOISE:
        return f"Subspace {k + 1}'s attention does not move the logit of “{name}”."
    little = f", less than the {smallest:.3f} that could matter" if abs(off) < smallest else ""
    does = f"Without subspace {k + 1}'s attention the logit of “{name}” moves by {off:+.4f}{little}"
    if dead:
        return (
            f"{does}. It is uniform for this picture: there are no places to shuffle, the gain is the same everywhere."
        )
    mean, spread = shuffled
    elsewhere = f"{does}; with its places shuffled, by {mean - spread:+.4f} to {mean + spread:+.4f}"
    verdict = judge(mean, chance=spread, smallest=smallest)
    if verdict == "within chance":
        return f"{elsewhere}: *where* it looks makes no difference that can be seen."
    if verdict == "too small":
        return f"{elsewhere}: more than chance, but with {mean:+.4f} in the mean too little to matter *where* it looks."
    return f"{elsewhere}: it matters *where* it looks."


def who_is_better(scores: Mapping[str, Faithfulness], baselines: Baselines) -> str:
    """Say which maps are better than random ones in insertion and deletion, and whether a centred spot is."""
    ranked = {name: standings(score, baselines) for name, score in scores.items()}
    found = []
    for i, what in enumerate(_CURVES):
        better = [f"{name} (rank {ranks[i]})" for name, ranks in ranked.items() if ranks[i].better]
        found.append(f"in {what} {_listed(better) or 'no map'}")
    also = [what for what, own in zip(_CURVES, standings(baselines.centre, baselines), strict=True) if own.better]
    centre = f" So is a spot in the centre, which ignores the network, in {_listed(also)}." if also else ""
    return f"Better than random maps beyond chance: {'; '.join(found)}.{centre}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def faithful_rows(scores: Mapping[str, Faithfulness], baselines: Baselines) -> list[dict[str, Any]]:
    """Return a row for each map with its insertion, its deletion and their ranks."""
    return [_ranked_row(name, score, baselines) for name, score in scores.items()]


def baseline_rows(baselines: Baselines) -> list[dict[str, Any]]:
    """Return a row for the centred spot, and one with the means of each kind of random maps."""
    means = [
        {"map": f"{len(scores)} {kind} (mean)"}
        | {what: float(np.mean([getattr(s, what) for s in scores])) for what in _CURVES}
        for kind, scores in _kinds(baselines)
    ]
    return [_ranked_row("spot in the centre", baselines.centre, baselines), *means]


def _kinds(baselines: Baselines) -> list[tuple[str, Sequence[Faithfulness]]]:
    smooth = [(f"random maps of {grid} × {grid}", scores) for grid, scores in baselines.smooth.items()]
    return [*smooth, ("random orders of pixels", baselines.orders)]


def _ranked_row(name: str, score: Faithfulness, baselines: Baselines) -> dict[str, Any]:
    insertion, deletion = standings(score, baselines)
    return {
        "map": name,
        "insertion": score.insertion,
        "insertion's rank": str(insertion),
        "deletion": score.deletion,
        "deletion's rank": str(deletion),
    }


def baseline_label(name: str) -> str:
    """Write the name of one of :data:`~.analysis.faithfulness.BASELINES` for people."""
    return f"{name} (ignores the network)"


def agreement_note(correlations: np.ndarray, real_is_dead: bool) -> str:
    """Say how far a map's shuffled versions, their rank correlations (shuffles,), agree with the real one."""
    if real_is_dead:
        return "the real map is uniform"
    known = correlations[~np.isnan(correlations)]
    dead = len(correlations) - len(known)
    if not len(known):
        return "uniform each time"
    return f"ρ {known.mean():+.2f} ± {known.std():.2f}" + (f", uniform {dead} times" if dead else "")


def effect_rows(effects: Iterable[Effect]) -> list[dict[str, Any]]:
    """Return a row for each change of each subspace; probabilities and flips in points and %, subspaces from 1."""
    return [
        {
            "subspace": "all" if e.subspace is None else str(e.subspace + 1),
            "change": CHANGES[e.change],
            "Δ logit": e.logit,
            "Δ probability": 100 * e.probability,
            "top-1 flips": 100 * e.flips,
            "KL (nats)": e.divergence,
        }
        for e in effects
    ]


def compared_rows(
    classes: Sequence[str], target: int, before: np.ndarray, after: np.ndarray, *, temperature: float, name: str
) -> list[dict[str, Any]]:
    """Set two answers (logits) beside each other, for the target and the most probable classes; probabilities in %.

    Args:
        classes: Names for people, by number.
        target: Class number.
        before, after: Shape (classes,); ``before`` is the network as trained.
        temperature: The variant's.
        name: Of the column of the changed answer.
    """
    probabilities = [probabilities_of(logits, temperature) for logits in (before, after)]
    numbers = list(dict.fromkeys([target, *np.argsort(-probabilities[0])[:3], *np.argsort(-probabilities[1])[:3]]))
    return [
        {
            "class": classes[n] + (" (target)" if n == target else ""),
            "as trained": 100 * float(probabilities[0][n]),
            name: 100 * float(probabilities[1][n]),
            "Δ logit": round(float(after[n] - before[n]), 4) + 0.0,  # never "-0.000"
        }
        for n in map(int, numbers)
    ]
