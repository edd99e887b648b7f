"""Whether the places that a map marks matter for the answer: insertion, deletion, overlap, pointing; each beside baselines.

A score alone says little: smooth maps, and maps that mark the centre, do well on most photographs. So every map is
measured beside three that know nothing of the network: random, a centred Gaussian, and uniform.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_BATCH = 16
BASELINES = ("random", "centre", "uniform")
RANDOM_MAPS = 4  # one alone may be lucky
STEPS = 28  # of insertion and deletion


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
        hit: Whether the map's highest place lies in the box; None without a box.
        inside: Share of the map's positive mass in the box; None without a box.
        passes: Pictures sent forward.
        spread: For the random maps, the standard deviations of insertion and deletion over several; zeros otherwise.
    """

    insertion: float
    deletion: float
    hit: bool | None
    inside: float | None
    passes: int
    spread: tuple[float, float] = (0.0, 0.0)


def to_side(values: np.ndarray, side: int) -> np.ndarray:
    """Bring a map (H, W) to the picture's side, bilinearly."""
    tensor = torch.tensor(values, dtype=torch.float32)[None, None]
    return functional.interpolate(tensor, (side, side), mode="bilinear")[0, 0].numpy()


def baseline_maps(side: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the maps that know nothing, (side, side): smooth noise, a centred Gaussian, and one value everywhere."""
    axis = np.linspace(-1, 1, side)
    noise = np.random.default_rng(seed).random((14, 14))
    return {
        "random": to_side(noise, side),
        "centre": np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * 0.4**2)),
        "uniform": np.full((side, side), 1.0),
    }


@torch.inference_mode()
def insertion_and_deletion(
    model: nn.Module,
    x: Tensor,
    values: np.ndarray,
    *,
    target: int,
    blank: Tensor,
    blurred: Tensor,
    temperature: float = 1.0,
    steps: int = STEPS,
    pause: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """Measure how fast the target's probability comes with a map's highest pixels, and goes without them.

    Equal values have no order: those pixels are all inserted or deleted gradually and together, by mixing.

    Args:
        model: Logits for pictures; in eval mode.
        x: One normalised picture, shape (1, 3, S, S).
        values: The map, shape (S, S), any scale.
        target: Class number.
        blank: What deleted pixels become, shape of ``x``.
        blurred: What pixels are before they are inserted, shape of ``x``.
        temperature: The variant's, for probabilities.
        steps: Equal parts of the pixels, so steps + 1 pictures each way.
        pause: Called between passes.

    Returns:
        Areas under both curves, in [0, 1].

    Reference:
        Petsiuk et al., "RISE", BMVC 2018.
    """
    device = device_of(model, x)
    x, blank, blurred = x.to(device), blank.to(device), blurred.to(device)
    present = shares_present(values, steps).to(device)  # (steps + 1, 1, S, S)
    inserted = _mean_probability(model, x, blurred, present, target, temperature, pause)
    deleted = _mean_probability(model, x, blank, 1 - present, target, temperature, pause)
    return inserted, deleted


def device_of(model: nn.Module, x: Tensor) -> torch.device:
    """Return where a network's parameters are; where the picture is, if it has none."""
    return next((parameter.device for parameter in model.parameters()), x.device)


def shares_present(values: np.ndarray, steps: int) -> Tensor:
    """Return, for 0..steps, how far each pixel is there: those of the highest values first, ties together.

    Returns:
        Shape (steps + 1, 1, S, S), in [0, 1]; each step's mean is its share of the pixels.
    """
    flat = np.round(values.ravel().astype(np.float64), 12)
    _, inverse, counts = np.unique(-flat, return_inverse=True, return_counts=True)
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    wanted = np.linspace(0, flat.size, steps + 1)[:, None]
    of_level = np.clip((wanted - begins[None, :]) / counts[None, :], 0, 1)
    return torch.tensor(of_level[:, inverse].reshape(steps + 1, 1, *values.shape), dtype=torch.float32)


def _mean_probability(
    model: nn.Module,
    x: Tensor,
    absent: Tensor,
    present: Tensor,
    target: int,
    temperature: float,
    pause: Callable[[], None],
) -> float:
    """Return the area under the curve of the target's probability, by the trapezoid rule."""
    curve = []
    for share in present.split(_BATCH):
        pause()
        mixed = (absent + (x - absent) * share).contiguous(memory_format=torch.channels_last)
        curve.append((model(mixed).float() / temperature).softmax(1)[:, target].cpu())
    y = torch.cat(curve).double()
    return float((y[1:] + y[:-1]).mean() / 2)


def measure(
    model: nn.Module,
    x: Tensor,
    maps: Mapping[str, np.ndarray],
    *,
    target: int,
    blank: Tensor,
    blurred: Tensor,
    temperature: float = 1.0,
    box: Box | None = None,
    steps: int = STEPS,
    seed: int = 0,
    pause: Callable[[], None] = lambda: None,
) -> dict[str, Faithfulness]:
    """Measure maps, and the baselines after them.

    Args:
        model: Logits for pictures; in eval mode.
        x: One normalised picture, shape (1, 3, S, S).
        maps: By name, each (H, W) or (S, S): attention, or attributions.
        target: Class number.
        blank: What deleted pixels become, shape of ``x``.
        blurred: What pixels are before they are inserted, shape of ``x``.
        temperature: The variant's, for probabilities.
        box: Where the subject is, for the pointing game.
        steps: Of insertion and deletion.
        seed: Of the random baseline.
        pause: Called between passes.

    Returns:
        Scores by name, those of :data:`BASELINES` last.
    """
    side = x.shape[-1]
    blind = baseline_maps(side, seed)
    scores = {}
    for name, values in ({name: to_side(values, side) for name, values in maps.items()} | blind).items():
        several = [values] + [baseline_maps(side, seed + i)["random"] for i in range(1, RANDOM_MAPS) if name == "random"]
        areas = np.array(
            [
                insertion_and_deletion(
                    model, x, one, target=target, blank=blank, blurred=blurred, temperature=temperature, steps=steps, pause=pause
                )
                for one in several
            ]
        )
        hit, inside = pointing(values, box) if box else (None, None)
        insertion, deletion = areas.mean(0).tolist()
        spread = areas.std(0, ddof=1).tolist() if len(several) > 1 else (0.0, 0.0)
        scores[name] = Faithfulness(insertion, deletion, hit, inside, len(several) * 2 * (steps + 1), tuple(spread))
    return scores


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
    """Return which of a map's places are among its ``count`` highest, flat; equal values share what is left for them."""
    flat = values.ravel()
    threshold = np.partition(flat, -count)[-count]
    above, tied = flat > threshold, flat == threshold
    return above + tied * ((count - above.sum()) / tied.sum())
