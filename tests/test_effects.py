"""What a subspace does.

Every change against the same change made by hand, and Shapley values against their definition.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ulsam_viz import Placement, load_variant
from ulsam_viz.analysis.effects import Effect, ablate, shapley, through_subspaces
from ulsam_viz.images.preprocessing import ModelInput
from ulsam_viz.models.network import Network
from ulsam_viz.models.optimize import optimize

CASES = [
    ("mobilenet_v1", Placement((11,), 4), 11),
    ("mobilenet_v1", Placement((8, 11, 13), 2), 8),
    ("mobilenet_v1", Placement((10,), 4, "instead"), 10),
    ("mobilenet_v2", Placement((11, 14), 4), 14),
    ("mobilenet_v1", Placement((11,), 1), 11),
]


@pytest.fixture(
    scope="module", params=CASES, ids=lambda c: f"{c[0][-2:]}-{c[1].mode}{c[1].layers}-g{c[1].groups}-at{c[2]}"
)
def case(request: pytest.FixtureRequest, lively: Callable[..., Network]) -> tuple[Network, int]:
    backbone, placement, layer = request.param
    model = lively(backbone, placement)
    with torch.no_grad():  # attention strong enough for its effect to be far above float error
        for module in model.attention.values():
            module.pointwise_norm.weight.mul_(8)  # type: ignore[union-attr, operator]
    return optimize(model), layer


@pytest.fixture(scope="module")
def pictures() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(8)
    return torch.randn(1, 3, 96, 96, generator=rng), torch.randn(1, 3, 96, 96, generator=rng)


class Changed(nn.Module):
    """A module in the attention's place whose maps are given by a function of the real ones."""

    def __init__(self, inner: nn.Module, change: Callable[[Tensor], Tensor], keep: Tensor | None = None) -> None:
        super().__init__()
        self.inner, self.change, self.keep = inner, change, keep

    def forward_with_attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.change(self.inner.attention(x).clone())  # type: ignore[operator]
        gain = (1 + maps).repeat_interleave(x.shape[1] // maps.shape[1], 1)
        if self.keep is not None:
            gain = gain * self.keep.repeat_interleave(x.shape[1] // maps.shape[1])[:, None, None]
        return x * gain, maps


@torch.no_grad()
def logits_with(
    model: Network, x: Tensor, layer: int, change: Callable[[Tensor], Tensor], keep: Tensor | None = None
) -> Tensor:
    other = copy.deepcopy(model)
    other.attention[str(layer)] = Changed(other.attention[str(layer)], change, keep)
    return other(x)[0].double()


def reordered(order: Tensor, maps: Tensor) -> Tensor:
    return maps.flatten(2)[..., order].view_as(maps)


def swapped(k: int, j: int, maps: Tensor) -> Tensor:
    maps[:, [k, j]] = maps[:, [j, k]]
    return maps


def found(effects: list[Effect], k: int | None, change: str) -> Effect:
    return next(e for e in effects if (e.subspace, e.change) == (k, change))


def test_each_change_does_what_it_says(case: tuple[Network, int], pictures: tuple[Tensor, Tensor]) -> None:
    model, layer = case
    x, other = pictures
    g, target = model.attention_of(layer).groups, 3
    state = {key: value.clone() for key, value in model.state_dict().items()}
    effects = ablate(model, x, layer=layer, target=target, other=other, seed=5)
    with torch.no_grad():
        before = model(x)[0].double()
        theirs = model.attention_of(layer).attention(model.before_attention(other, layer))
    places = theirs.shape[2] * theirs.shape[3]

    def put(k: int | None, values: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def change(maps: Tensor) -> Tensor:
            chosen = list(range(g)) if k is None else [k]
            maps[:, chosen] = values(maps)[:, chosen]
            return maps

        return change

    def check(effect: Effect, answers: list[Tensor]) -> None:
        after = torch.stack(answers)
        assert effect.ways == len(answers)
        assert effect.logit == pytest.approx(float((after[:, target] - before[target]).mean()), abs=1e-5)
        assert effect.probability == pytest.approx(
            float((after.softmax(1)[:, target] - before.softmax(0)[target]).mean()), abs=1e-6
        )
        kl = [torch.nn.functional.kl_div(before.log_softmax(0), a.softmax(0), reduction="sum") for a in answers]
        assert effect.divergence == pytest.approx(float(torch.stack(kl).mean()), rel=1e-5, abs=1e-6)
        assert effect.flips == np.mean([int(a.argmax()) != int(before.argmax()) for a in answers])

    for k in [*range(g), None]:
        check(found(effects, k, "off"), [logits_with(model, x, layer, put(k, torch.zeros_like))])
        check(
            found(effects, k, "uniform"),
            [logits_with(model, x, layer, put(k, lambda m: torch.full_like(m, 1 / places)))],
        )
        check(found(effects, k, "other_picture"), [logits_with(model, x, layer, put(k, lambda m: theirs.expand_as(m)))])
        keep = torch.ones(g)
        keep[list(range(g)) if k is None else [k]] = 0
        check(found(effects, k, "features_off"), [logits_with(model, x, layer, lambda m: m, keep)])
        orders = [torch.from_numpy(np.random.default_rng((5, i)).permutation(places)) for i in range(8)]
        shuffles = [put(k, partial(reordered, order)) for order in orders]
        check(found(effects, k, "shuffled"), [logits_with(model, x, layer, change) for change in shuffles])
        if k is not None and g > 1:
            swaps = [partial(swapped, k, j) for j in range(g) if j != k]
            check(found(effects, k, "exchanged"), [logits_with(model, x, layer, swap) for swap in swaps])
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    if g == 1:
        assert not any(e.change == "exchanged" for e in effects)


def test_all_attention_off_is_a_network_without_the_module(
    lively: Callable[..., Network], pictures: tuple[Tensor, Tensor]
) -> None:
    x, _ = pictures
    model = lively("mobilenet_v1", Placement((11,), 4))
    without = lively("mobilenet_v1", None)
    own = {k: v for k, v in model.state_dict().items() if not k.startswith("attention.")}
    without.load_state_dict(own)
    effect = found(ablate(optimize(model), x, layer=11, target=2), None, "off")
    with torch.no_grad():
        expected = optimize(without)(x)[0, 2] - optimize(model)(x)[0, 2]
    assert effect.logit == pytest.approx(float(expected), abs=1e-6)


def test_shapley_values_follow_their_definition_and_sum_to_the_effect(
    case: tuple[Network, int], pictures: tuple[Tensor, Tensor]
) -> None:
    model, layer = case
    x, _ = pictures
    g, target = model.attention_of(layer).groups, 1
    result = shapley(model, x, layer=layer, target=target)
    assert result.exact
    assert result.coalitions == 2**g
    assert result.values.sum() == pytest.approx(result.total, abs=1e-5)
    everything = found(ablate(model, x, layer=layer, target=target), None, "off")
    assert result.total == pytest.approx(-everything.logit, abs=1e-5)

    def worth(members: tuple[int, ...]) -> float:
        def change(maps: Tensor) -> Tensor:
            maps[:, [k for k in range(g) if k not in members]] = 0
            return maps

        return float(logits_with(model, x, layer, change)[target])

    # The definition: the mean over all orders of what a member adds.
    orders = list(itertools.permutations(range(g)))
    for k in range(g):
        added = [worth(order[: order.index(k) + 1]) - worth(order[: order.index(k)]) for order in orders]
        assert result.values[k] == pytest.approx(np.mean(added), abs=1e-5)


def test_sampled_shapley_values_sum_exactly_and_are_right_within_their_error(
    lively: Callable[..., Network], pictures: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, _ = pictures
    model = lively("mobilenet_v1", Placement((11,), 8))
    with torch.no_grad():
        model.attention["11"].pointwise_norm.weight.mul_(8)  # type: ignore[union-attr, operator]
    fast = optimize(model)
    exact = shapley(fast, x, layer=11, target=0)
    assert exact.exact
    monkeypatch.setattr("ulsam_viz.analysis.effects._EXACT_UP_TO", 4)
    sampled = shapley(fast, x, layer=11, target=0, permutations=48)
    assert not sampled.exact
    assert sampled.values.sum() == pytest.approx(sampled.total, abs=1e-5)
    assert (np.abs(sampled.values - exact.values) <= 4 * sampled.errors + 1e-6).all()
    assert sampled.errors.max() < np.abs(exact.values).max()


def test_gradient_times_activation_splits_among_the_groups(
    case: tuple[Network, int], pictures: tuple[Tensor, Tensor]
) -> None:
    model, layer = case
    x, _ = pictures
    result = through_subspaces(model, x, layer=layer, target=4)
    assert result.parts.sum() == pytest.approx(result.total, abs=1e-5 * max(1, abs(result.total)))
    kept: dict[str, Tensor] = {}

    class Tap(Changed):
        def forward_with_attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
            out, maps = super().forward_with_attention(x)
            kept["out"] = out.detach().requires_grad_()
            return kept["out"], maps

    other = copy.deepcopy(model)
    other.attention[str(layer)] = Tap(other.attention[str(layer)], lambda maps: maps)
    other(x)[0, 4].backward()
    products = (kept["out"] * kept["out"].grad).detach()[0]  # type: ignore[operator]
    g = model.attention_of(layer).groups
    np.testing.assert_allclose(result.maps, products.unflatten(0, (g, -1)).sum(1), rtol=1e-3, atol=1e-5)


def test_effects_of_a_shipped_network_on_a_photograph(picture: ModelInput) -> None:
    model = load_variant("mobilenet_v1-0.5-after11-g4")
    effects = ablate(model, picture.tensor, layer=11, target=int(model(picture.tensor).argmax()), other=picture.tensor)
    # The same picture
    assert all(found(effects, k, "other_picture").logit == pytest.approx(0, abs=1e-5) for k in range(4))
    assert any(abs(found(effects, k, "off").logit) > 1e-4 for k in range(4))
    zero = found(effects, None, "features_off")
    assert abs(zero.logit) > 10 * abs(found(effects, None, "off").logit)  # attention weighs little, features all


def test_what_cannot_be_asked_is_refused(picture: ModelInput) -> None:
    plain, model = load_variant("mobilenet_v1-0.5-plain"), load_variant("mobilenet_v1-0.5-after11-g4")
    with pytest.raises(ValueError, match="layer 11 carries no attention module; those that do: none"):
        shapley(plain, picture.tensor, layer=11, target=0)
    with pytest.raises(ValueError, match="those that do: 11"):
        ablate(model, picture.tensor, layer=12, target=0)
    with pytest.raises(ValueError, match="expected one picture"):
        ablate(model, picture.tensor.repeat(2, 1, 1, 1), layer=11, target=0)


def test_results_go_into_an_archive_and_come_back(picture: ModelInput) -> None:
    import io
    import json

    from ulsam_viz.report.contact_sheet import as_npz, flatten

    model = load_variant("mobilenet_v1-0.5-after11-g4")
    result = shapley(model, picture.tensor, layer=11, target=0)
    effects = ablate(model, picture.tensor, layer=11, target=0)
    arrays: dict[str, np.ndarray] = {}
    settings = {"shapley": flatten(result, "shapley", arrays), "effects": flatten(effects, "effects", arrays)}
    with np.load(io.BytesIO(as_npz(arrays, settings))) as archive:
        read = json.loads(str(archive["settings"]))
        np.testing.assert_array_equal(archive[read["shapley"]["values"]["array"]], result.values)
    assert read["shapley"]["total"] == result.total
    assert [e["logit"] for e in read["effects"]] == [e.logit for e in effects]
