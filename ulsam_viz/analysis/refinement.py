"""Integrated gradients that add points to the path until the sum is right.

A network changes unevenly on the path from the baseline to the picture, mostly near the baseline, so evenly spaced
points miss much of it. Each point's forward pass gives the logit there. By the fundamental theorem of calculus, the
gradients over an interval of the path must sum to the difference of the logit between its ends: each interval's error
is known without another pass, and the intervals with the largest errors are halved.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Points on the path at most; the first look takes 17.
MOST_POINTS = 128
#: What the sum of an attribution may miss, as a share of the logit's difference.
TOLERANCE = 0.05
_FIRST = 16  # intervals
_BATCH = 8  # points in one pass


class _Path:
    """The evaluated points of the path in order, from the baseline (0) to the picture (1).

    Attributes:
        points: Where they lie, shape (P,), float64.
        logits: The target's logit at each, shape (P,), float64.
        products: Gradient times the difference between picture and baseline, summed over colours, shape (P, S, S).
    """

    def __init__(self, model: Callable[[Tensor], Tensor], x: Tensor, baseline: Tensor, target: int) -> None:
        self.model, self.x, self.baseline, self.target = model, x, baseline, target
        self.points = torch.zeros(0, dtype=torch.float64)
        self.logits = torch.zeros(0, dtype=torch.float64)
        self.products = x.new_zeros(0, *x.shape[-2:])

    def look(self, points: Tensor) -> None:
        """Run the network forward and back at more points."""
        for part in points.split(_BATCH):
            between = torch.lerp(self.baseline, self.x, part.to(self.x).view(-1, 1, 1, 1)).requires_grad_()
            logits = self.model(between)[:, self.target]
            (gradients,) = torch.autograd.grad(logits.sum(), between)
            self.points = torch.cat((self.points, part))
            self.logits = torch.cat((self.logits, logits.detach().double().cpu()))
            self.products = torch.cat((self.products, (gradients * (self.x - self.baseline)).sum(1)))
        order = self.points.argsort()
        self.points, self.logits = self.points[order], self.logits[order]
        self.products = self.products[order.to(self.products.device)]

    def errors(self) -> Tensor:
        """Return the error of the trapezoidal rule over each interval, in logits, shape (P - 1,)."""
        slopes = self.products.double().sum((1, 2)).cpu()
        return (slopes[1:] + slopes[:-1]) / 2 * self.points.diff() - self.logits.diff()

    def integral(self) -> Tensor:
        """Return the attributions by the trapezoidal rule, shape (1, 1, S, S)."""
        widths = torch.nn.functional.pad(self.points.diff(), (1, 1))
        weights = ((widths[1:] + widths[:-1]) / 2).to(self.products)
        return torch.tensordot(weights, self.products, 1)[None, None]


def refined_gradients(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    baseline: Tensor,
    target: int,
    *,
    report: Callable[[Tensor, int], None],
) -> Tensor:
    """Integrate gradients from the baseline to the picture, halving intervals until the sum is right.

    It is right when the errors of all intervals, added up, are at most :data:`TOLERANCE` of the logit's difference, and
    so is the root of the sum of their squares: then no errors of opposite signs have merely cancelled.

    Args:
        model: Pictures (N, 3, S, S) -> logits (N, classes).
        x: One normalised picture, shape (1, 3, S, S).
        baseline: What it is compared with, of the same shape.
        target: Class number.
        report: Called after each round with the attributions so far and the number of points.

    Returns:
        Attributions summed over colours, shape (1, 1, S, S); of :data:`MOST_POINTS` points if the sum is not right by
        then.

    Reference:
        Sundararajan et al., ICML 2017; the points are ours.
    """
    path = _Path(model, x, baseline, target)
    path.look(torch.linspace(0, 1, _FIRST + 1, dtype=torch.float64))
    allowed = TOLERANCE * float((path.logits[-1] - path.logits[0]).abs())
    while True:
        report(result := path.integral(), len(path.points))
        errors, more = path.errors(), min(_BATCH, MOST_POINTS - len(path.points))
        if (abs(float(errors.sum())) <= allowed and float(errors.norm()) <= allowed) or more < 1:
            return result
        worst = errors.abs().topk(more).indices
        path.look((path.points[worst] + path.points[worst + 1]) / 2)
