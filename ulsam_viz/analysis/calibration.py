"""Calibrated probabilities, and whether the picture's subject is likely to be among the classes.

A network's softmax is a score. Divided by a temperature, fitted once for each network, its logits give probabilities
that are right as often as they say. How far such an answer is spread over the classes then tells, for what it can,
pictures of the network's own classes from others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..zoo.variants import Calibration

# Of pictures of its own classes, so many are told to be unsure: about as many as the shipped networks get wrong.
FALSE_ALARMS = 0.2
_STEPS = 10  # a distribution is kept as its deciles


def probabilities_of(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return softmax(logits / temperature) over the last axis: (..., classes) -> (..., classes), in float64."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def spread_of(probabilities: np.ndarray) -> np.ndarray:
    """Return the entropy of probabilities in nats: (..., classes) -> (...).

    0 is one certain class, log(classes) is no idea. It counts the whole answer: what its confidence says, and whether
    the rest lies with one rival or with all of them.
    """
    return -(probabilities * np.log(np.where(probabilities > 0, probabilities, 1))).sum(-1)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature under which the right classes are most probable.

    Args:
        logits: Shape (pictures, classes).
        labels: The right classes, shape (pictures,).

    Returns:
        Between 0.05 and 20. The likelihood has one maximum over 1 / T: where the mean logit of the right classes is
        the one that the answers expect.

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    right = logits[np.arange(len(labels)), labels].astype(np.float64).mean()
    low, high = np.log(0.05), np.log(20.0)
    for _ in range(50):
        middle = (low + high) / 2
        expected = (probabilities_of(logits, np.exp(middle)) * logits).sum(1).mean()
        low, high = (low, middle) if expected < right else (middle, high)  # a higher T lowers what is expected
    return float(np.exp((low + high) / 2))


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error, in [0, 1]: how far confidence lies from the share that is right.

    Args:
        confidence: Of each answer, the largest probability, shape (pictures,).
        correct: Whether it was right, same shape.
        bins: Of equal width in confidence.

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(correct[index == b].mean() - confidence[index == b].mean()) * (index == b).mean() for b in set(index)]
    return float(sum(gaps))


def deciles(spreads: np.ndarray) -> tuple[float, ...]:
    """Return the smallest, the nine deciles and the largest of some answers' spreads."""
    return tuple(round(float(v), 4) for v in np.quantile(spreads, np.linspace(0, 1, _STEPS + 1)))


@dataclass(frozen=True)
class Familiarity:
    """How an answer compares with those that the same network gave to many pictures.

    Attributes:
        less_sure: Share of the held-out pictures of its own classes whose answer is less sure than this one.
        as_sure: Share of pictures of other subjects whose answer is at least as sure; None where none were looked at.
    """

    less_sure: float
    as_sure: float | None

    @property
    def doubtful(self) -> bool:
        """Whether the picture's subject may be none of the classes.

        Few pictures of known classes give so uncertain an answer.
        """
        return self.less_sure < FALSE_ALARMS


def familiarity(probabilities: np.ndarray, calibration: Calibration) -> Familiarity | None:
    """Compare one answer with those to known and to foreign pictures.

    Args:
        probabilities: Calibrated, shape (classes,).
        calibration: The network's.

    Returns:
        None for a network whose answers were not measured.
    """
    if not calibration.known:
        return None
    spread = float(spread_of(probabilities))
    as_sure = _share_below(spread, calibration.foreign) if calibration.foreign else None
    return Familiarity(1 - _share_below(spread, calibration.known), as_sure)


def _share_below(value: float, quantiles: Sequence[float]) -> float:
    return float(np.interp(value, quantiles, np.linspace(0, 1, len(quantiles))))
