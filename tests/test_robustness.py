"""Captum's metrics on networks whose answer is known: linear ones, for which the exact map exists."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ulsam_viz.analysis.attribution import attribute
from ulsam_viz.analysis.faithfulness import baseline_maps
from ulsam_viz.analysis.robustness import RADIUS, infidelities, max_sensitivity, squares_of
from ulsam_viz.images.preprocessing import Preprocessing
from ulsam_viz.models.network import Network, Placement
from ulsam_viz.models.optimize import optimize
from ulsam_viz.zoo.variants import get_variant

SIDE = 96


class Linear(nn.Module):
    """Two classes; the first one's logit is a weighted sum of the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))

    def forward(self, x: Tensor) -> Tensor:
        logit = (x * self.weight).sum((1, 2, 3)) / SIDE
        return torch.stack([logit, torch.zeros_like(logit)], 1)


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def model(lively: Callable[..., Network]) -> Network:
    return optimize(lively("mobilenet_v1", Placement((11,), 4)))


def exact_map(model: Linear, x: Tensor) -> np.ndarray:
    return (x[0] * model.weight).sum(0).numpy()


def test_the_exact_map_foretells_all_and_no_other_does(x: Tensor) -> None:
    model = Linear()
    exact = exact_map(model, x)
    maps = {
        "exact": exact,
        "other scale": 40 * exact,
        "opposite": -exact,
        "elsewhere": exact[::-1, ::-1].copy(),
        "zero": 0 * exact,
    }
    found = infidelities(model, x, maps | baseline_maps(SIDE), target=0, blank=torch.zeros_like(x))
    for name in ("exact", "other scale"):
        assert found[name].value == pytest.approx(0, abs=1e-6)
        assert found[name].error == pytest.approx(0, abs=1e-4)
    for name in ("elsewhere", "random", "centre", "uniform"):
        assert found[name].share > 0.5
        assert 0 <= found[name].error < 0.2
    for name in ("opposite", "zero"):  # no factor that is not negative helps
        assert found[name].share == 1
    assert found["zero"].value == max(f.value for f in found.values())


@pytest.mark.parametrize("variant", ["mobilenet_v1-0.5-after11-g4", "efficientnet_lite0-after12-g4"])
def test_the_noise_in_grey_levels_is_what_the_preprocessing_makes_of_it(variant: str) -> None:
    preprocessing = get_variant(variant).preprocessing
    levels = torch.tensor([100, 110], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    a_level = preprocessing.normalize(levels).diff(dim=0).min() / 10
    assert preprocessing.in_grey_levels(RADIUS) == pytest.approx(RADIUS / float(a_level), rel=1e-4)
    assert f"{preprocessing.in_grey_levels(RADIUS):.2f}" == {"m": "1.17", "e": "2.56"}[variant[0]]


def test_it_is_captums_number_for_the_map_spread_over_the_colours(model: Network, x: Tensor) -> None:
    """The ordinary use: the network on pictures, an attribution of the picture's shape, equal perturbations of all
    colours.
    """
    from captum.metrics import infidelity

    values = np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32)
    blank = torch.full_like(x, 0.3)
    ours = infidelities(model, x, {"map": values}, target=2, blank=blank, squares=24, seed=5)["map"]
    covered = nn.functional.interpolate(squares_of(SIDE // 8, 24, 5).float(), (SIDE, SIDE)).expand(-1, 3, -1, -1)
    theirs = infidelity(
        model,
        lambda pictures: (covered, pictures + (blank - pictures) * covered),
        x,
        torch.tensor(values / 3).expand(1, 3, -1, -1),
        target=2,
        n_perturb_samples=24,
        normalize=True,
    )
    assert ours.value == pytest.approx(float(theirs), rel=1e-3)
    assert 0 < ours.share <= 1


def test_the_standard_error_is_that_of_other_draws(model: Network, x: Tensor) -> None:
    values = {"uniform": np.ones((SIDE, SIDE))}
    found = [
        infidelities(model, x, values, target=2, blank=torch.zeros_like(x), squares=64, seed=s)["uniform"]
        for s in range(12)
    ]
    spread = np.std([f.share for f in found], ddof=1)
    assert 0.4 < np.mean([f.error for f in found]) / spread < 2.5


def test_squares_lie_inside_and_have_the_sizes_that_are_promised() -> None:
    squares = squares_of(28, 300, 2)
    assert squares.unique().tolist() == [0, 1]
    sides = squares.sum((1, 2, 3)).sqrt()
    assert sides.min() == 3
    assert sides.max() == 14
    assert torch.equal(squares, squares_of(28, 300, 2))
    assert not torch.equal(squares, squares_of(28, 300, 3))


def test_a_constant_explanation_has_no_sensitivity_and_a_restless_one_much(x: Tensor) -> None:
    model = Linear()
    rng = torch.Generator().manual_seed(0)
    assert max_sensitivity(lambda p: model.weight.sum(0, keepdim=True), x) == (0.0,)
    smooth, restless = (
        max_sensitivity(explain, x)[0]
        for explain in (lambda p: (p * model.weight).sum(1), lambda p: torch.rand(1, SIDE, SIDE, generator=rng))
    )
    assert 0 < smooth < 0.05 < 0.5 < restless


def test_each_map_of_one_call_has_its_own_sensitivity_and_the_largest_counts(x: Tensor) -> None:
    calls: list[Tensor] = []

    def explain(picture: Tensor) -> Tensor:
        calls.append(picture)
        return torch.cat([torch.ones(1, SIDE, SIDE), picture[:, 0], 100 * picture[:, 0]])

    constant, one, hundred = max_sensitivity(explain, x, samples=5, radius=0.1)
    assert constant == 0
    assert one == pytest.approx(hundred)  # relative to the map's own size
    changes = [(p - x)[0, 0].norm() / x[0, 0].norm() for p in calls[1:]]
    assert one == pytest.approx(float(max(changes)), rel=1e-4)
    assert len(calls) == 6
    assert all(float((p - x).abs().max()) <= 0.1 + 1e-6 for p in calls)


@pytest.mark.parametrize("method", ["grad_cam", "saliency", "deep_lift", "smooth_grad"])
def test_methods_are_measured_the_same_in_any_thread_and_leave_all_as_it_was(
    model: Network, x: Tensor, method: str
) -> None:
    state = {k: v.clone() for k, v in model.state_dict().items()}
    before, picture = torch.random.get_rng_state(), x.clone()

    def explain(p: Tensor) -> Tensor:
        values = attribute(model, p, method=method, target=1, preprocessing=Preprocessing(SIDE)).values
        return torch.from_numpy(values)[None]

    found: list[tuple[float, ...]] = [max_sensitivity(explain, x, samples=3)]
    thread = threading.Thread(target=lambda: found.append(max_sensitivity(explain, x, samples=3)))
    thread.start()
    thread.join()
    assert found[0] == found[1]
    assert 0 < found[0][0] < 1.5
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(x, picture) and not x.requires_grad
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    assert not model.training


def test_infidelity_draws_its_own_numbers_and_can_be_stopped(model: Network, x: Tensor) -> None:
    state = {k: v.clone() for k, v in model.state_dict().items()}
    before, pauses = torch.random.get_rng_state(), []
    blank, maps = torch.zeros_like(x), baseline_maps(SIDE)
    first = infidelities(model, x, maps, target=0, blank=blank, squares=40, pause=lambda: pauses.append(1))
    torch.rand(3)
    assert infidelities(model, x, maps, target=0, blank=blank, squares=40) == first
    assert len(pauses) == 3  # 41 pictures, 16 a pass
    torch.random.set_rng_state(before)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        infidelities(model, x, maps, target=0, blank=blank, pause=stop)
    with pytest.raises(InterruptedError):
        max_sensitivity(lambda p: p[:, 0], x, pause=stop)
