"""Faithfulness of maps: insertion, deletion, overlap and pointing game, each compared with baselines.

A score alone says little: smooth maps, and maps that mark the centre, do well on most photographs. So maps are measured
beside baselines that ignore the network (:func:`measure_baselines`), which depend on the picture and the target alone:

- random orders of single pixels. They delete fast and insert slowly wherever the pixels are, since scattered grey
  pixels spoil any picture: a score that is due to fine grain alone must not pass for one that is due to the places;
- smooth random maps on the grids of late layers, 7 x 7 and 14 x 14: a map is compared with those as coarse as it is,
  since the coarser a map, the further its score may lie from the mean by chance;
- a bright spot in the centre, where photographers put their subjects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_BATCH = 16
BASELINES = ("random", "centre", "uniform")
STEPS = 16  # of insertion and deletion
GRIDS = (7, 14)  # of smooth random maps: those of the last layers
ORDERS = 4  # random orders of pixels: their scores hardly differ
SMOOTH = 10  # random maps on each grid
# Share of the variance of a map's ranks that lies between the cells of a grid. Random maps on that grid or a coarser
# one have 0.68 or more, those on twice as fine a grid below 0.45, attributions of single pixels, random orders and
# uniform maps less.
_SMOOTH_FROM = 0.6


@dataclass(frozen=True)
class Box:
    """A rectangle of the crop, in pixels: rows top to bottom (excluded), columns left to right (excluded)."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Faithfulness:
    """One map's scores.

    Attributes:
        insertion: Mean probability of the target while pixels are put back, the map's highest first: more is better.
        deletion: The same while pixels are taken away: less is better.
        grid: The coarsest of :data:`GRIDS` whose random maps are no smoother; None where its first pixels lie
            scattered.
    """

    insertion: float
    deletion: float
    grid: int | None


@dataclass(frozen=True)
class Baselines:
    """Scores of baselines that ignore the network, for one picture and target.

    Attributes:
        orders: Of random orders of single pixels.
        smooth: Of smooth random maps, by their grid.
        centre: Of a bright spot in the centre.
    """

    orders: tuple[Faithfulness, ...]
    smooth: Mapping[int, tuple[Faithfulness, ...]]
    centre: Faithfulness


def to_side(values: np.ndarray, side: int) -> np.ndarray:
    """Resize a map (H, W) to the picture's side, bilinearly."""
    tensor = torch.tensor(values, dtype=torch.float32)[None, None]
    return functional.interpolate(tensor, (side, side), mode="bilinear")[0, 0].numpy()


def baseline_maps(side: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return maps that ignore the network, (side, side).

    Smooth noise, a spot in the centre, and one value everywhere.
    """
    axis = np.linspace(-1, 1, side)
    return {
        "random": smooth_random_map(side, (seed,), grid=GRIDS[-1]),
        "centre": np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * 0.4**2)),
        "uniform": np.full((side, side), 1.0),
    }


def smooth_random_map(side: int, seed: Sequence[int], *, grid: int) -> np.ndarray:
    """Return random values on a grid, resized to (side, side) bilinearly."""
    return to_side(np.random.default_rng(seed).random((grid, grid)), side)


#: Maps that :func:`measure_baselines` measures.
BASELINE_MAPS = ORDERS + SMOOTH * len(GRIDS) + 1


def passes_of(maps: int, steps: int = STEPS) -> int:
    """Return the number of forward passes of :func:`measure`; maps share the curves' first and last points."""
    return 3 + maps * 2 * (steps - 1)


def insertion_and_deletion(model: nn.Module, x: Tensor, values: np.ndarray, **how: Any) -> tuple[float, float]:
    """Measure one map; arguments and scores as of :func:`measure`."""
    score = measure(model, x, {"": values}, **how)[""]
    return score.insertion, score.deletion


def device_of(model: nn.Module, x: Tensor) -> torch.device:
    """Return where a network's parameters are; where the picture is, if it has none."""
    return next((parameter.device for parameter in model.parameters()), x.device)


def order_of(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Rank a map's pixels from 0, the highest first.

    Equal ones, to a millionth of the largest, stand in a random order.

    Returns:
        Shape of ``values``, each of 0 to H * W - 1 once.
    """
    flat = values.ravel().astype(np.float64)
    level = np.round(flat / max(float(np.abs(flat).max()), 1e-300), 6)
    ranks = np.empty(flat.size, dtype=np.int64)
    ranks[np.lexsort((np.random.default_rng(seed).random(flat.size), -level))] = np.arange(flat.size)
    return ranks.reshape(values.shape)


def grid_of(order: np.ndarray) -> int | None:
    """Return the coarsest of :data:`GRIDS` whose random maps are no smoother than an order of pixels, (S, S).

    None if all are.
    """
    ranks = torch.tensor(order, dtype=torch.float64)[None, None]
    least = _SMOOTH_FROM * ranks.var(unbiased=False)
    return next((g for g in GRIDS if functional.adaptive_avg_pool2d(ranks, g).var(unbiased=False) >= least), None)


@torch.inference_mode()
def measure(
    model: nn.Module,
    x: Tensor,
    maps: Mapping[str, np.ndarray],
    *,
    target: int,
    blank: Tensor,
    blurred: Tensor,
    temperature: float = 1.0,
    steps: int = STEPS,
    seed: int = 0,
    pause: Callable[[], None] = lambda: None,
) -> dict[str, Faithfulness]:
    """Measure how fast the target's probability comes with a map's highest pixels, and goes without them.

    Args:
        model: Logits for pictures; in eval mode.
        x: One normalised picture, shape (1, 3, S, S).
        maps: By name, each (H, W) or (S, S), any scale: attention, or attributions.
        target: Class number.
        blank: What deleted pixels become, shape of ``x``.
        blurred: What pixels are before they are inserted, shape of ``x``.
        temperature: The variant's, for probabilities.
        steps: Equal parts of the pixels.
        seed: Of the order of equal pixels.
        pause: Called between passes.

    Returns:
        By name the areas under both curves, in [0, 1].

    Reference:
        Petsiuk et al., "RISE", BMVC 2018.
    """
    device = device_of(model, x)
    x, blank, blurred = x.to(device), blank.to(device), blurred.to(device)

    def probabilities(pictures: Tensor) -> Tensor:
        found = []
        for part in pictures.split(_BATCH):
            pause()
            logits = model(part.contiguous(memory_format=torch.channels_last)).float()
            found.append((logits / temperature).softmax(1)[:, target].double().cpu())
        return torch.cat(found)

    whole, none, hazy = probabilities(torch.cat((x, blank, blurred))).split(1)
    cuts = torch.linspace(0, x.shape[-1] ** 2, steps + 1, dtype=torch.float64)[1:-1, None, None, None]
    scores = {}
    for name, values in maps.items():
        order = order_of(to_side(values, x.shape[-1]), seed)
        first = (torch.tensor(order)[None, None] < cuts).to(device)  # (steps - 1, 1, S, S): which pixels had their turn
        inserted = torch.cat((hazy, probabilities(torch.where(first, x, blurred)), whole))
        deleted = torch.cat((whole, probabilities(torch.where(first, blank, x)), none))
        scores[name] = Faithfulness(_area(inserted), _area(deleted), grid_of(order))
    return scores


def _area(curve: Tensor) -> float:
    """Return the area under a curve over [0, 1], by the trapezoid rule."""
    return float((curve[1:] + curve[:-1]).mean() / 2)


def measure_baselines(model: nn.Module, x: Tensor, *, seed: int = 0, **how: Any) -> Baselines:
    """Measure baselines that ignore the network; they depend on the picture and target alone, so all maps share them.

    Args:
        model: Logits for pictures; in eval mode.
        x: One normalised picture, shape (1, 3, S, S).
        seed: Of the random maps and orders.
        how: As for :func:`measure`.
    """
    side = x.shape[-1]
    orders = {
        f"order {i}": np.random.default_rng((seed, i)).permutation(side * side).reshape(side, side).astype(np.float64)
        for i in range(ORDERS)
    }
    smooth = {
        grid: {f"{grid} x {grid} {i}": smooth_random_map(side, (seed, grid, i), grid=grid) for i in range(SMOOTH)}
        for grid in GRIDS
    }
    maps = orders | {"centre": baseline_maps(side)["centre"]}
    scores = measure(
        model, x, maps | {name: values for found in smooth.values() for name, values in found.items()}, **how
    )
    return Baselines(
        tuple(scores[n] for n in orders),
        {grid: tuple(scores[n] for n in found) for grid, found in smooth.items()},
        scores["centre"],
    )


def pointing(values: np.ndarray, box: Box) -> tuple[bool, float]:
    """Play the pointing game: does the highest place lie in the box, and how much of the positive mass?

    Args:
        values: Map, shape (S, S).
        box: Where the subject is.

    Reference:
        Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016.
    """
    inside = np.zeros(values.shape, dtype=bool)
    inside[box.top : box.bottom, box.left : box.right] = True
    mass = np.clip(values, 0, None)
    # Of equally high places, the first says nothing: a hit is the majority's.
    highest = np.isclose(values, values.max(), rtol=0, atol=1e-12)
    return bool(inside[highest].mean() > 0.5), float(mass[inside].sum() / max(mass.sum(), 1e-12))


def overlap(a: np.ndarray, b: np.ndarray, share: float = 0.2) -> float:
    """Return how much of two maps' highest places coincides: intersection over size, ``share`` by chance.

    Of equal values at the edge, each counts in part, as the mean over all orders of them does.

    Args:
        a, b: Maps of one shape.
        share: Of the places, the highest; 0.2 by default.
    """
    count = max(1, round(share * a.size))
    return float((_among_highest(a, count) * _among_highest(b, count)).sum() / count)


def _among_highest(values: np.ndarray, count: int) -> np.ndarray:
    """Return which of a map's places are among its ``count`` highest, flat.

    Equal values share what is left for them.
    """
    flat = values.ravel()
    threshold = np.partition(flat, -count)[-count]
    above, tied = flat > threshold, flat == threshold
    return above + tied * ((count - above.sum()) / tied.sum())
