"""Causal effects of a subspace's attention: change it, run the rest of the network, and compare the answers.

Everything starts from the features that enter one layer's module, computed once; only the rest of the network runs
again for each change. Modules of later layers react to the change, as they would.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..models.attention_network import AttentionNetwork, Layer, Restart
from ..models.ulsam import excess_gain

Change = Literal["off", "uniform", "shuffled", "exchanged", "other_picture", "features_off"]
CHANGES: dict[Change, str] = {
    "off": "attention off (gain 1)",
    "uniform": "attention uniform",
    "shuffled": "attention shuffled over places",
    "exchanged": "attention exchanged with another subspace",
    "other_picture": "attention taken from another picture",
    "features_off": "the group's features set to zero",
}
_BATCH = 16  # rests of the network in one pass
_EXACT_UP_TO = 8  # subspaces: 2 ** 8 coalitions take less than a second


def _go_on() -> None:
    """Do nothing: the default callback between two passes."""


@dataclass(frozen=True)
class Effect:
    """How one change of one subspace moved the answer.

    Attributes:
        subspace: Its number, from 0; None for all subspaces of the layer at once.
        change: What was done.
        logit: Change of the target's logit (after less before), mean over the ways of doing it.
        probability: Change of the target's calibrated probability, likewise.
        flips: Share of the ways in which the most probable class changed.
        divergence: Kullback-Leibler divergence of the calibrated answer after from the one before, in nats, mean.
        deviation: Standard deviation of ``logit`` over the ways; None if there is one way only.
        ways: How many there were: shuffles, partners; 1 otherwise.
    """

    subspace: int | None
    change: Change
    logit: float
    probability: float
    flips: float
    divergence: float
    deviation: float | None
    ways: int


@torch.inference_mode()
def ablate(
    model: AttentionNetwork,
    x: Tensor,
    *,
    layer: Layer,
    target: int,
    other: Tensor | None = None,
    temperature: float = 1.0,
    shuffles: int = 8,
    seed: int = 0,
    pause: Callable[[], None] = _go_on,
) -> list[Effect]:
    """Change each subspace's attention, and all at once, in every way of :data:`CHANGES`.

    Args:
        model: A network in eval mode that no other thread uses meanwhile.
        x: One normalised picture, shape (1, 3, S, S).
        layer: A layer that carries a module.
        target: Class number.
        other: Another picture, same shape, for ``"other_picture"``; without it that change is left out.
        temperature: The variant's, for probabilities.
        shuffles: Random orders of places for ``"shuffled"``, which is the level of noise: the same values elsewhere.
        seed: Of those orders.
        pause: Called between passes.

    Returns:
        Effects by subspace, then by change; last those of all subspaces at once ("exchanged" is left out there).
    """
    module, start, excess = _start(model, x, layer)
    before = start.run({})[0][0].float().cpu()
    g, places = excess.shape[1], excess.shape[2] * excess.shape[3]
    orders = [torch.from_numpy(np.random.default_rng((seed, i)).permutation(places)) for i in range(shuffles)]
    shuffled = [excess.flatten(2)[..., order].view_as(excess)[0] for order in orders]
    elsewhere = None
    if other is not None:
        theirs = model.restart_at(other.to(start.features.device), layer).features
        elsewhere = excess_gain(module.attention(theirs)[0], module.gain)
    own = excess[0]
    uniform = excess_gain(torch.full_like(own, 1 / places), module.gain)
    plans: list[tuple[int | None, Change, list[Tensor]]] = []
    for k in [*range(g), None]:
        chosen = range(g) if k is None else [k]
        ways: dict[Change, list[Tensor]] = {
            "off": [_with(own, chosen, torch.zeros_like(own))],
            "uniform": [_with(own, chosen, uniform)],
            "shuffled": [_with(own, chosen, values) for values in shuffled],
        }
        if k is not None and g > 1:
            ways["exchanged"] = [_exchanged(own, k, j) for j in range(g) if j != k]
        if elsewhere is not None:
            ways["other_picture"] = [_with(own, chosen, elsewhere)]
        ways["features_off"] = [_with(own, chosen, torch.full_like(own, -1))]  # a gain of 0
        plans += [(k, change, changed) for change, changed in ways.items()]
    answers = iter(_answers(start, layer, [way for _, _, ways in plans for way in ways], pause))
    return [_effect(k, change, before, [next(answers) for _ in ways], target, temperature) for k, change, ways in plans]


@dataclass(frozen=True)
class ShapleyValues:
    """How the effect of a layer's attention on the target's logit is shared among its subspaces.

    Attributes:
        values: Shapley value of each subspace, shape (g,), in logits.
        total: Logit with the whole attention less logit with none (all gains 1); the values sum to it.
        errors: Standard error of each value, shape (g,); zeros where all coalitions were evaluated.
        coalitions: Passes of the rest of the network that it cost.
    """

    values: np.ndarray
    total: float
    errors: np.ndarray
    coalitions: int

    @property
    def exact(self) -> bool:
        """Whether every coalition was evaluated."""
        return not self.errors.any()


@torch.inference_mode()
def shapley(
    model: AttentionNetwork,
    x: Tensor,
    *,
    layer: Layer,
    target: int,
    permutations: int = 32,
    seed: int = 0,
    pause: Callable[[], None] = _go_on,
) -> ShapleyValues:
    """Share the effect of a layer's attention among its subspaces.

    A coalition's members attend, the others have gain 1.

    Up to eight subspaces all coalitions are evaluated; beyond, random orders and their reverses are averaged.

    Args:
        model: A network in eval mode that no other thread uses meanwhile.
        x: One normalised picture, shape (1, 3, S, S).
        layer: A layer that carries a module.
        target: Class number.
        permutations: Random orders beyond eight subspaces; each is used both ways.
        seed: Of the orders.
        pause: Called between passes.

    Reference:
        Shapley, "A value for n-person games", 1953; Castro et al., 2009 (sampling).
    """
    _, start, excess = _start(model, x, layer)
    g = excess.shape[1]
    if g <= _EXACT_UP_TO:
        coalitions = [frozenset(c) for size in range(g + 1) for c in itertools.combinations(range(g), size)]
        orders = []
    else:
        rng = np.random.default_rng(seed)
        orders = [list(map(int, rng.permutation(g))) for _ in range(permutations)]
        orders += [order[::-1] for order in orders]
        coalitions = list(dict.fromkeys(frozenset(order[:i]) for order in orders for i in range(g + 1)))
    own = excess[0]
    ways = [_with(own, [k for k in range(g) if k not in c], torch.zeros_like(own)) for c in coalitions]
    logits = [float(answer[target].double()) for answer in _answers(start, layer, ways, pause)]
    worth = dict(zip(coalitions, logits, strict=True))
    total = worth[frozenset(range(g))] - worth[frozenset()]
    if not orders:
        return ShapleyValues(_exact_values(worth, g), total, np.zeros(g), len(coalitions))
    gains = np.array([_gains_along(order, worth) for order in orders])
    pairs = (gains[:permutations] + gains[permutations:]) / 2  # an order and its reverse are not independent
    return ShapleyValues(pairs.mean(0), total, pairs.std(0, ddof=1) / math.sqrt(permutations), len(coalitions))


def _exact_values(worth: Mapping[frozenset[int], float], g: int) -> np.ndarray:
    values = np.zeros(g)
    for coalition, value in worth.items():
        for k in range(g):
            if k not in coalition:
                weight = math.factorial(len(coalition)) * math.factorial(g - len(coalition) - 1) / math.factorial(g)
                values[k] += weight * (worth[coalition | {k}] - value)
    return values


def _gains_along(order: Sequence[int], worth: Mapping[frozenset[int], float]) -> np.ndarray:
    """Return what each member adds when they join in an order."""
    gains = np.zeros(len(order))
    for i, k in enumerate(order):
        gains[k] = worth[frozenset(order[: i + 1])] - worth[frozenset(order[:i])]
    return gains


@torch.inference_mode()
def with_strength(
    model: AttentionNetwork, x: Tensor, *, layer: Layer, subspace: int, strengths: Sequence[float]
) -> np.ndarray:
    """Return logits with one subspace's gain 1 + s * E in place of 1 + E, for several s; as published, E is the map A.

    Args:
        model: A network in eval mode that no other thread uses meanwhile.
        x: One normalised picture, shape (1, 3, S, S).
        layer: A layer that carries a module.
        subspace: Number of the subspace, from 0.
        strengths: Values of s: 1 is the network as trained, 0 no attention.

    Returns:
        Logits, shape (len(strengths), classes).
    """
    _, start, excess = _start(model, x, layer)
    if not 0 <= subspace < excess.shape[1]:
        raise ValueError(f"layer {layer} has subspaces 0 to {excess.shape[1] - 1}, not {subspace}")
    ways = [_with(excess[0], [subspace], excess[0] * s) for s in strengths]
    return torch.stack(_answers(start, layer, ways, _go_on)).numpy()


@dataclass(frozen=True)
class ThroughSubspaces:
    """The target's gradient times activation at the features that leave a layer's module, by subspace.

    Attributes:
        maps: Summed over each group's channels, shape (g, H, W).
        total: Sum over all channels and places; the maps sum to it.
    """

    maps: np.ndarray
    total: float

    @property
    def parts(self) -> np.ndarray:
        """Each subspace's share of the sum, shape (g,)."""
        return self.maps.sum((1, 2))


def through_subspaces(model: AttentionNetwork, x: Tensor, *, layer: Layer, target: int) -> ThroughSubspaces:
    """Split gradient times activation at a layer among its subspaces: each group's first-order share of the logit.

    Args:
        model: A network in eval mode that no other thread uses meanwhile.
        x: One normalised picture, shape (1, 3, S, S).
        layer: A layer that carries a module.
        target: Class number.
    """
    module = model.attention_of(layer)
    with torch.no_grad():
        start = model.restart_at(x.to(model.device), layer)
        features, _ = module.forward_with_attention(start.features)
    features = features.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(start.run_on(features)[0, target], features)
    products = (gradient * features.detach())[0].double()
    maps = products.unflatten(0, (module.groups, -1)).sum(1)
    return ThroughSubspaces(maps.float().cpu().numpy(), float(products.sum()))


def _start(model: AttentionNetwork, x: Tensor, layer: Layer) -> tuple[Any, Restart, Tensor]:
    """Return the module, the pass that ends before it, and its gain minus 1."""
    if x.ndim != 4 or x.shape[:2] != (1, 3):
        raise ValueError(f"expected one picture of shape (1, 3, S, S), not {tuple(x.shape)}")
    module = model.attention_of(layer)
    start = model.restart_at(x.to(model.device), layer)
    return module, start, excess_gain(module.attention(start.features), module.gain)


def _with(own: Tensor, chosen: Iterable[int], values: Tensor) -> Tensor:
    """Return a copy of the gains (g, H, W) in which those of the chosen subspaces are replaced."""
    changed = own.clone()
    chosen = list(chosen)
    changed[chosen] = values[chosen]
    return changed


def _exchanged(own: Tensor, k: int, j: int) -> Tensor:
    changed = own.clone()
    changed[[k, j]] = own[[j, k]]
    return changed


def _answers(
    start: Restart,
    layer: Layer,
    ways: Sequence[Tensor],
    pause: Callable[[], None],
) -> list[Tensor]:
    """Return the logits for several values of the gain minus 1 at the layer, (g, H, W) each."""

    def answer(batch: Tensor) -> Tensor:
        pause()
        return start.run({layer: lambda _: batch})[0].float().cpu()

    return [logits for batch in torch.stack(list(ways)).split(_BATCH) for logits in answer(batch)]


def _effect(
    k: int | None, change: Change, before: Tensor, answers: Sequence[Tensor], target: int, temperature: float
) -> Effect:
    after = torch.stack(list(answers)).double()
    base = before.double()
    log_before, log_after = (base / temperature).log_softmax(0), (after / temperature).log_softmax(1)
    moved = after[:, target] - base[target]
    return Effect(
        k,
        change,
        float(moved.mean()),
        float((log_after[:, target].exp() - log_before[target].exp()).mean()),
        float((after.argmax(1) != base.argmax()).double().mean()),
        float((log_after.exp() * (log_after - log_before)).sum(1).mean()),
        float(moved.std()) if len(answers) > 1 else None,
        len(answers),
    )
