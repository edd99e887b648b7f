"""A network's whole attention changed at once, and what that does over pictures."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ulsam_viz.analysis.interventions import INTERVENTIONS, Intervention, intervene
from ulsam_viz.images.preprocessing import Preprocessing, decode_image, prepare
from ulsam_viz.images.samples import list_samples
from ulsam_viz.models.mobilenet import MobileNetV2
from ulsam_viz.models.network import Mode, Network, Placement
from ulsam_viz.models.optimize import optimize
from ulsam_viz.training.evaluate import evaluate, sample_pictures
from ulsam_viz.zoo.variants import get_variant, load_variant

NAME = "mobilenet_v1-0.5-after6_8_11_13-g4"


@pytest.fixture(params=["training form", "inference form"])
def network(request: pytest.FixtureRequest, lively: Callable[..., Network]) -> Network:
    model = lively("mobilenet_v2", Placement((7, 11), 4))
    return optimize(model) if request.param == "inference form" else model


def answer(network: Network, x: Tensor, intervention: Intervention, seed: int = 0) -> tuple[Tensor, dict[int, Tensor]]:
    assert network.placement is not None
    first = network.placement.layers[0]
    return network.from_attention(
        network.before_attention(x, first), first, intervene(network, intervention, seed=seed)
    )


def test_attention_off_is_the_network_without_modules(lively: Callable[..., Network]) -> None:
    with_modules = lively("mobilenet_v2", Placement((7, 11), 4))
    plain = MobileNetV2(0.25, 7).eval()
    plain.load_state_dict({k: v for k, v in with_modules.state_dict().items() if not k.startswith("attention")})
    x = torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(answer(with_modules, x, "off")[0], plain(x))
    assert not torch.allclose(with_modules(x), plain(x))


@torch.inference_mode()
def test_every_module_is_changed_and_the_network_itself_is_not(network: Network) -> None:
    x = torch.randn(3, 3, 96, 96)
    before = copy.deepcopy(network.state_dict())
    logits, maps = network.forward_with_attention(x)
    for layer, own in maps.items():
        assert not answer(network, x, "off")[1][layer].any()
        uniform = answer(network, x, "uniform")[1][layer]
        torch.testing.assert_close(uniform, torch.full_like(own, 1 / own.shape[-1] ** 2))
    torch.testing.assert_close(network(x), logits)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())


@torch.inference_mode()
def test_shuffled_maps_hold_the_same_values_at_other_places(network: Network) -> None:
    x = torch.randn(3, 3, 96, 96)
    own = network.forward_with_attention(x)[1][7]
    logits, maps = answer(network, x, "shuffled")
    shuffled = maps[7]
    torch.testing.assert_close(shuffled.flatten(2).sort().values, own.flatten(2).sort().values)
    where = [(shuffled[0, k].flatten()[:, None] - own[0, k].flatten()).abs().argmin(1) for k in range(4)]
    assert not torch.equal(where[0], where[1])  # an order for each subspace
    # Which does not depend on the batch
    torch.testing.assert_close(answer(network, x[1:2], "shuffled")[0], logits[1:2])
    assert not torch.allclose(answer(network, x, "shuffled", seed=1)[1][7], shuffled)


@pytest.mark.parametrize("mode", ["after", "instead"])
def test_a_pass_may_begin_where_the_attention_does(mode: Mode, lively: Callable[..., Network]) -> None:
    model = lively("mobilenet_v1", Placement((8, 11), 2, mode))
    x = torch.randn(2, 3, 64, 64)
    logits, maps = model.forward_with_attention(x)
    from_there, same_maps = model.from_attention(model.before_attention(x, 8), 8)
    torch.testing.assert_close(from_there, logits)
    assert maps.keys() == same_maps.keys() == {8, 11}


@pytest.mark.parametrize("mode", ["after", "instead"])
@torch.inference_mode()
def test_what_takes_effect_in_place_of_the_maps_may_be_several_for_one_picture(
    mode: Mode, lively: Callable[..., Network]
) -> None:
    model = optimize(lively("mobilenet_v1", Placement((8, 11), 2, mode)))
    features = model.before_attention(torch.randn(1, 3, 64, 64), 8)
    own = model.attention_of(8).attention(features)
    given = torch.cat([own, torch.zeros_like(own), torch.full_like(own, -1)])
    logits, maps = model.from_attention(features, 8, {8: lambda _: given})
    assert torch.equal(maps[8], given) and len(maps[11]) == 3
    outputs = [model.attention_of(8)(features), features, torch.zeros_like(features)]  # gains 1 + A, 1 and 0
    torch.testing.assert_close(logits, torch.cat([model.after_attention(output, 8) for output in outputs]))


def test_the_effects_over_pictures_are_those_of_the_changed_networks() -> None:
    variant = get_variant(NAME)
    model, pictures = load_variant(NAME), sample_pictures(variant.classes)
    effects = evaluate(model, pictures, variant.preprocessing, quiet=True)["effects"]
    assert effects.keys() == INTERVENTIONS.keys()
    x = torch.cat(
        [prepare(decode_image(f.read_bytes()), Preprocessing(variant.input_size)).tensor for f in pictures.files]
    )
    rows, labels = np.arange(len(pictures.labels)), np.array(pictures.labels)
    before = model(x).softmax(1).numpy()
    for name in INTERVENTIONS:
        after = answer(model, x, name)[0].softmax(1).numpy()
        moved = 100 * np.abs(after[rows, labels] - before[rows, labels]).mean()
        assert effects[name]["probability"] == pytest.approx(moved, abs=2e-3)
        assert effects[name]["flips"] == pytest.approx(100 * (after.argmax(1) != before.argmax(1)).mean(), abs=0.01)
        assert effects[name]["top1"] == pytest.approx(100 * (after.argmax(1) == labels).mean(), abs=0.01)
    assert len(list_samples()) >= len(labels) >= 7
    assert "effects" not in evaluate(
        load_variant("mobilenet_v1-0.5-plain"), pictures, variant.preprocessing, quiet=True
    )
