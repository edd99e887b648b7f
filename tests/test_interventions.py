"""A network's whole attention changed at once, and what that does over pictures."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ulsam_viz.analysis.interventions import INTERVENTIONS, intervene
from ulsam_viz.images import Preprocessing, decode_image, prepare
from ulsam_viz.models.mobilenet import MobileNetV2
from ulsam_viz.models.network import Mode, Network, Placement
from ulsam_viz.models.optimize import optimize
from ulsam_viz.samples import list_samples
from ulsam_viz.training.evaluate import evaluate, sample_pictures
from ulsam_viz.zoo import get_variant, load_variant

NAME = "mobilenet_v1-0.5-after6_8_11_13-g4"


@pytest.fixture(params=["training form", "inference form"])
def network(request: pytest.FixtureRequest, lively: Callable[..., Network]) -> Network:
    model = lively("mobilenet_v2", Placement((7, 11), 4))
    return optimize(model) if request.param == "inference form" else model


def test_attention_off_is_the_network_without_modules(lively: Callable[..., Network]) -> None:
    with_modules = lively("mobilenet_v2", Placement((7, 11), 4))
    plain = MobileNetV2(0.25, 7).eval()
    plain.load_state_dict({k: v for k, v in with_modules.state_dict().items() if not k.startswith("attention")})
    x = torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(intervene(with_modules, "off")(x), plain(x))
    assert not torch.allclose(with_modules(x), plain(x))


@torch.inference_mode()
def test_every_module_is_changed_and_the_network_itself_is_not(network: Network) -> None:
    x = torch.randn(3, 3, 96, 96)
    before = copy.deepcopy(network.state_dict())
    logits, maps = network.forward_with_attention(x)
    for layer, own in maps.items():
        assert not intervene(network, "off").forward_with_attention(x)[1][layer].any()
        uniform = intervene(network, "uniform").forward_with_attention(x)[1][layer]
        torch.testing.assert_close(uniform, torch.full_like(own, 1 / own.shape[-1] ** 2))
    torch.testing.assert_close(network(x), logits)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())


@torch.inference_mode()
def test_shuffled_maps_hold_the_same_values_at_other_places(network: Network) -> None:
    x = torch.randn(3, 3, 96, 96)
    own = network.forward_with_attention(x)[1][7]
    changed = intervene(network, "shuffled")
    logits, maps = changed.forward_with_attention(x)
    shuffled = maps[7]
    torch.testing.assert_close(shuffled.flatten(2).sort().values, own.flatten(2).sort().values)
    where = [(shuffled[0, k].flatten()[:, None] - own[0, k].flatten()).abs().argmin(1) for k in range(4)]
    assert not torch.equal(where[0], where[1])  # an order for each subspace
    torch.testing.assert_close(changed(x[1:2]), logits[1:2])  # which does not depend on the batch
    assert not torch.allclose(intervene(network, "shuffled", seed=1).forward_with_attention(x)[1][7], shuffled)


@pytest.mark.parametrize("mode", ["after", "instead"])
def test_a_pass_may_begin_where_the_attention_does(mode: Mode, lively: Callable[..., Network]) -> None:
    model = lively("mobilenet_v1", Placement((8, 11), 2, mode))
    x = torch.randn(2, 3, 64, 64)
    logits, maps = model.forward_with_attention(x)
    from_there, same_maps = model.from_attention(model.before_attention(x, 8), 8)
    torch.testing.assert_close(from_there, logits)
    assert maps.keys() == same_maps.keys() == {8, 11}


def test_the_effects_over_pictures_are_those_of_the_changed_networks() -> None:
    variant = get_variant(NAME)
    model, pictures = load_variant(NAME), sample_pictures(variant.classes)
    effects = evaluate(model, pictures, variant.preprocessing, quiet=True)["effects"]
    assert effects.keys() == INTERVENTIONS.keys()
    x = torch.cat([prepare(decode_image(f.read_bytes()), Preprocessing(variant.input_size)).tensor for f in pictures.files])
    rows, labels = np.arange(len(pictures.labels)), np.array(pictures.labels)
    before = model(x).softmax(1).numpy()
    for name in INTERVENTIONS:
        after = intervene(model, name)(x).softmax(1).numpy()
        moved = 100 * np.abs(after[rows, labels] - before[rows, labels]).mean()
        assert effects[name]["probability"] == pytest.approx(moved, abs=2e-3)
        assert effects[name]["flips"] == pytest.approx(100 * (after.argmax(1) != before.argmax(1)).mean(), abs=0.01)
        assert effects[name]["top1"] == pytest.approx(100 * (after.argmax(1) == labels).mean(), abs=0.01)
    assert len(list_samples()) >= len(labels) >= 7
    assert "effects" not in evaluate(load_variant("mobilenet_v1-0.5-plain"), pictures, variant.preprocessing, quiet=True)
