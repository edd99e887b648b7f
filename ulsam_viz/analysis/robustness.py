"""Captum's infidelity and max-sensitivity of maps.

A low number alone is no virtue: a map that never changes has no sensitivity, and any positive map foretells that larger
squares matter more. So both belong beside maps that ignore the network (:func:`.faithfulness.baseline_maps`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .faithfulness import device_of, to_side

_CELL = 8  # pixels: squares begin and end at its multiples, so maps can be summed over cells without loss
_BATCH = 16
_RESAMPLES = 200
RADIUS = 0.02  # Captum's default, in normalised units; `Preprocessing.in_grey_levels` says what of the picture that is


@dataclass(frozen=True)
class Infidelity:
    """A map's infidelity: its error in predicting the effect of covering parts of the picture.

    Attributes:
        value: Mean squared difference between the map's sum over a square, at the scale that suits the map best, and
            the fall of the logit when that square is covered; in squared logits.
        share: The same as a share of the mean squared fall: 0 foretells everything, 1 nothing.
        error: Standard error of the share, over which squares were drawn.
    """

    value: float
    share: float
    error: float


def squares_of(cells: int, count: int, seed: int = 0) -> Tensor:
    """Draw squares of 1/8 to 1/2 of the side, anywhere on a grid.

    Args:
        cells: Side of the grid, at least 8.
        count: How many squares.
        seed: Of the draw.

    Returns:
        1 in the square and 0 elsewhere, shape (count, 1, cells, cells), float64.
    """
    rng = np.random.default_rng(seed)
    squares = torch.zeros(count, 1, cells, cells, dtype=torch.float64)
    for square in squares:
        side = int(rng.integers(cells // 8, cells // 2 + 1))
        top, left = rng.integers(0, cells - side + 1, 2)
        square[:, top : top + side, left : left + side] = 1
    return squares


def infidelities(
    model: nn.Module,
    x: Tensor,
    maps: Mapping[str, np.ndarray],
    *,
    target: int,
    blank: Tensor,
    squares: int = 128,
    seed: int = 0,
    pause: Callable[[], None] = lambda: None,
) -> dict[str, Infidelity]:
    """Measure the infidelity of maps against covered squares.

    The input that Captum sees is not the picture but which places of it are there, (1, S / 8, S / 8): a map has one
    value a place, not one a colour, and a covered place loses all three. That equals spreading the map evenly over the
    colours and perturbing them together. The squares are the same for all maps, so they cost their passes once.

    Maps of different kinds have no common unit (attention, Grad-CAM), so each is multiplied by the factor that suits it
    best, Captum's ``normalize=True``; but never by a negative one, which would praise a map for marking the opposite.

    Args:
        model: Logits for pictures; in eval mode.
        x: One normalised picture, shape (1, 3, S, S), S a multiple of 8.
        maps: By name, each (H, W) or (S, S): attention, or attributions summed over colours.
        target: Class number.
        blank: What covered pixels become, shape of ``x``.
        squares: Pictures with one square covered; 2 or more.
        seed: Of the squares, and of the resampling behind the standard error.
        pause: Called between passes.

    Returns:
        Scores by name.

    Reference:
        Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019: the square removal.
    """
    from captum.metrics import infidelity

    count, side = len(maps), x.shape[-1]
    cells = side // _CELL
    covered = squares_of(cells, squares, seed)
    whole, after = _logits_without(
        model, x, blank, torch.cat((torch.zeros_like(covered[:1]), covered)), target, pause
    ).split([1, squares])
    sums = torch.stack([_cell_sums(to_side(values, side)) for values in maps.values()])  # (maps, 1, cells, cells)

    def logits(present: Tensor) -> Tensor:
        """Answer Captum: it asks for all squares at once, for each map in turn, and for the whole picture."""
        return (after if len(present) > count else whole).repeat(count)

    def perturb(present: Tensor) -> tuple[Tensor, Tensor]:
        taken = covered.repeat(count, 1, 1, 1)
        return taken, present - taken

    values = infidelity(logits, perturb, torch.ones_like(sums), sums, n_perturb_samples=squares, normalize=True)
    falls = (whole - after).numpy()
    foretold = torch.einsum("nchw,schw->ns", sums, covered).numpy()  # (maps, squares)
    mean_square = float((falls**2).mean())
    found = {}
    for name, value, own in zip(maps, values.tolist(), foretold, strict=True):
        value = mean_square if own @ falls <= 0 else max(value, 0.0)
        found[name] = Infidelity(value, value / max(mean_square, 1e-12), _standard_error(own, falls, seed))
    return found


@torch.inference_mode()
def _logits_without(
    model: nn.Module, x: Tensor, blank: Tensor, covered: Tensor, target: int, pause: Callable[[], None]
) -> Tensor:
    """Return the target's logit for each mask of covered cells (N, 1, cells, cells): (N,), float64."""
    device = device_of(model, x)
    x, blank = x.to(device), blank.to(device)
    answers = []
    for part in covered.float().split(_BATCH):
        pause()
        gone = functional.interpolate(part, x.shape[-2:]).to(x.device)  # nearest: whole cells
        mixed = (x + (blank - x) * gone).contiguous(memory_format=torch.channels_last)
        answers.append(model(mixed)[:, target].double().cpu())
    return torch.cat(answers)


def _cell_sums(values: np.ndarray) -> Tensor:
    """Sum a map (S, S) over cells: (1, S / 8, S / 8), float64."""
    return functional.avg_pool2d(torch.tensor(values, dtype=torch.float64)[None], _CELL) * _CELL**2


def _standard_error(foretold: np.ndarray, falls: np.ndarray, seed: int) -> float:
    """Return the bootstrap standard error of a map's share over the drawn squares."""
    drawn = np.random.default_rng(seed).integers(0, len(falls), (_RESAMPLES, len(falls)))
    a, b = foretold[drawn], falls[drawn]
    together = np.clip((a * b).sum(1), 0, None)
    shares = 1 - together**2 / np.maximum((a * a).sum(1) * (b * b).sum(1), 1e-12)
    return float(shares.std(ddof=1))


def max_sensitivity(
    explain: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    samples: int = 8,
    radius: float = RADIUS,
    seed: int = 0,
    pause: Callable[[], None] = lambda: None,
) -> tuple[float, ...]:
    """Return the largest relative change of maps under small noise on the picture.

    Args:
        explain: Picture (1, 3, S, S) -> maps (n, H, W). It is called samples + 1 times; a method that draws random
            numbers must draw the same ones each time, or their noise is measured too.
        x: One normalised picture, shape (1, 3, S, S).
        samples: Noisy pictures. The true largest change is at least what they show.
        radius: Largest change of a pixel, in normalised units; the noise is uniform.
        seed: Of the noise.
        pause: Called before each noisy picture.

    Returns:
        For each map, the largest norm of its change divided by the norm of the map; 0 for a map that never changes.

    Reference:
        Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019.
    """
    from captum.metrics import sensitivity_max

    rng = torch.Generator().manual_seed(seed)  # its own: the process's generators belong to others
    own = explain(x)

    def perturb(pictures: Tensor) -> tuple[Tensor, ...]:
        noise = (2 * torch.rand(x.shape, generator=rng, dtype=torch.float32) - 1) * radius
        return (pictures + noise.to(x.device),)

    def maps_of(pictures: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Answer Captum, which sees one picture for each map: all the same, so one is explained."""
        (batch,) = pictures
        if torch.equal(batch[:1], x):
            return (own,)  # a tuple: Captum would take a bare tensor for a tuple of its rows
        pause()
        with torch.enable_grad():  # Captum's metric switches it off, and gradients are what many methods are
            return (explain(batch[:1]),)

    found = sensitivity_max(
        maps_of, x.expand(len(own), -1, -1, -1), perturb, n_perturb_samples=samples, max_examples_per_batch=len(own)
    )
    return tuple(found.double().tolist())
