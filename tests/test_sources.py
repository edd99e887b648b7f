"""Attention as the target of attributions, and maps without what was learnt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ulsam_viz import Placement, load_variant
from ulsam_viz.analysis.effects import with_strength
from ulsam_viz.analysis.methods import METHODS
from ulsam_viz.analysis.sanity import CHECKS, SanityCheck, _compared, _regrouped, sanity_checks
from ulsam_viz.analysis.sources import attribute_attention
from ulsam_viz.images.preprocessing import ModelInput, Preprocessing
from ulsam_viz.models.network import Network
from ulsam_viz.models.optimize import optimize

PRE = Preprocessing(96)


@pytest.fixture(scope="module", params=[("mobilenet_v1", (8, 11)), ("mobilenet_v2", (11,))], ids=lambda p: p[0])
def model(request: pytest.FixtureRequest, lively: Callable[..., Network]) -> Network:
    return optimize(lively(request.param[0], Placement(request.param[1], 4)))


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(4))


def relative(model: Network, x: Tensor, subspace: int) -> Tensor:
    maps = model.forward_with_attention(x)[1][11]
    return maps[:, subspace].flatten(1) * maps.shape[2] * maps.shape[3]


@pytest.mark.parametrize("method", METHODS)
def test_any_method_can_ask_why_a_subspace_looks_there(model: Network, x: Tensor, method: str) -> None:
    state = {k: v.clone() for k, v in model.state_dict().items()}
    result = attribute_attention(model, x, layer=11, subspace=2, method=method, preprocessing=PRE)
    assert result.values.shape == (96, 96)
    assert np.isfinite(result.values).all()
    assert result.values.std() > 0
    own = relative(model, x, 2)[0]
    assert result.target == int(own.argmax())
    if METHODS[method].complete_sum:
        assert result.explained == pytest.approx(
            float(own.max() - relative(model, torch.zeros_like(x), 2)[0, result.target]), abs=1e-4
        )
    if method == "deep_lift":
        assert abs(result.delta or 0) < 1e-3 * max(1, abs(result.explained or 0))
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_its_saliency_is_the_gradient_of_the_map(model: Network, x: Tensor) -> None:
    place = (1, 4)
    result = attribute_attention(model, x, layer=11, subspace=1, method="saliency", preprocessing=PRE, place=place)
    asked = x.clone().requires_grad_()
    relative(model, asked, 1)[0, 1 * 6 + 4].backward()
    assert asked.grad is not None
    np.testing.assert_allclose(result.values, asked.grad[0].abs().amax(0), rtol=1e-3, atol=1e-6)


def test_places_and_subspaces_that_are_not_there_are_refused(model: Network, x: Tensor) -> None:
    for wish, reason in (
        ({"subspace": 4}, "subspaces 0 to 3"),
        ({"place": (6, 0)}, "rows 0 to 5"),
        ({"layer": 5}, "carries no"),
    ):
        options = {"layer": 11, "subspace": 0, "method": "saliency", "preprocessing": PRE} | wish
        with pytest.raises(ValueError, match=reason):
            attribute_attention(model, x, **options)  # type: ignore[arg-type]


def test_shuffling_keeps_what_it_should_and_the_network(picture: ModelInput) -> None:
    network = load_variant("mobilenet_v1-0.5-after11-g4")
    state = {k: v.clone() for k, v in network.state_dict().items()}
    checks = sanity_checks(network, picture.tensor, layer=11, seed=3)
    assert [c.check for c in checks] == list(CHECKS)
    real = network.forward_with_attention(picture.tensor)[1][11][0].numpy()
    for check in checks:
        assert check.maps.shape == real.shape
        assert check.correlations.shape == check.above_chance.shape == (8, 4)
        assert np.nanstd(check.correlations) > 0.01  # the shuffles differ
        assert not check.above_chance[np.isnan(check.correlations)].any()
        np.testing.assert_allclose(check.maps.sum((1, 2)), 1, atol=1e-5)
        assert not np.allclose(check.maps, real, atol=1e-4)
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    again = sanity_checks(network, picture.tensor, layer=11, seed=3)
    assert all(np.array_equal(a.maps, b.maps) for a, b in zip(checks, again, strict=True))


def test_one_group_has_nothing_to_deal(picture: ModelInput) -> None:
    """With g = 1 every deal is the real one: dealing itself adds nothing, and is no check."""
    network = load_variant("mobilenet_v1-0.5-after11-g1")
    features = network.before_attention(picture.tensor, 11)
    dealt = _regrouped(network.attention_of(11), features, torch.Generator().manual_seed(0))
    torch.testing.assert_close(dealt, network.forward_with_attention(picture.tensor)[1][11], atol=1e-6, rtol=1e-4)
    assert [c.check for c in sanity_checks(network, picture.tensor, layer=11)] == ["weights", "module"]


def test_a_map_stays_if_it_ranks_places_alike_not_if_it_ranks_them_the_other_way() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((1, 14, 14))
    real, opposite = (np.exp(v) / np.exp(v).sum() for v in (logits, -logits))
    checks = [_compared("module", np.stack([maps] * 3), real) for maps in (real, opposite, np.full_like(real, 1 / 196))]
    assert [bool(c.stays[0]) for c in checks] == [True, False, False]
    assert checks[1].correlations[0, 0] == pytest.approx(-1)


def test_a_map_that_agrees_beyond_chance_but_little_does_not_stay() -> None:
    def found(correlation: float, *, above_chance: bool = True) -> bool:
        checks = SanityCheck("module", np.zeros((1, 7, 7)), np.full((3, 1), correlation), np.full((3, 1), above_chance))
        return bool(checks.stays[0])

    assert found(0.31)
    assert not found(0.29)
    assert not found(0.31, above_chance=False)


def test_strength_one_is_the_network_and_zero_is_no_attention(model: Network, x: Tensor) -> None:
    logits = with_strength(model, x, layer=11, subspace=0, strengths=[0.0, 1.0, 20.0])
    np.testing.assert_allclose(logits[1], model(x)[0].numpy(), atol=1e-4)
    assert not np.allclose(logits[2], logits[1], atol=1e-3)
    with pytest.raises(ValueError, match="subspaces 0 to 3"):
        with_strength(model, x, layer=11, subspace=7, strengths=[1.0])
