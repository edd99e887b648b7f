"""The normalised gain (1 + H * W * A) / 2, which is ours, beside the published 1 + A, which stays what it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from tests.test_ulsam import pair
from ulsam_viz.analysis.derivation import derive
from ulsam_viz.analysis.effects import ablate, shapley, with_strength
from ulsam_viz.analysis.interventions import INTERVENTIONS, intervene
from ulsam_viz.analysis.rescale import rescalable
from ulsam_viz.analysis.stages import Switches, run_stages
from ulsam_viz.lesson.formulas import formula
from ulsam_viz.models.network import Network, Placement
from ulsam_viz.models.optimize import optimize
from ulsam_viz.models.ulsam import GAINS, ULSAM, FastULSAM, Gain, apply_gain, excess_gain
from ulsam_viz.training.initialisation import TrainingError
from ulsam_viz.training.recipe import Recipe
from ulsam_viz.training.zoo_file import read_zoo_file
from ulsam_viz.zoo.variants import placement_from, variant_name

PLACE = Placement((6, 11), 4, gain="normalised")


def normalised(module: ULSAM) -> ULSAM:
    """Return a module with the same weights and the other gain."""
    twin = ULSAM(module.channels, module.groups, "normalised")
    twin.load_state_dict(module.state_dict())
    return twin.eval()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("shape", "groups"), [((2, 16, 13, 9), 4), ((1, 32, 14, 14), 1), ((3, 8, 1, 1), 8), ((1, 64, 7, 7), 16)]
)
def test_both_forms_multiply_by_the_equation(
    shape: tuple[int, int, int, int], groups: int, layout: torch.memory_format
) -> None:
    reference, published = pair(shape[1], groups)
    module = normalised(published)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=layout)
    maps = reference(x)[1]
    gain = (1 + shape[2] * shape[3] * maps) / 2
    torch.testing.assert_close(gain.mean((2, 3)), torch.ones(shape[0], groups), atol=1e-5, rtol=0)
    expected = x * gain.repeat_interleave(shape[1] // groups, 1)
    for form in (module, FastULSAM(module)):
        out, own = form.forward_with_attention(x)
        torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(own, maps, atol=1e-5, rtol=1e-5)
        assert out.is_contiguous(memory_format=layout)
        asked = x.clone(memory_format=torch.preserve_format).requires_grad_()
        torch.testing.assert_close(form(asked), expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(torch.jit.script(module)(x), expected, atol=1e-4, rtol=1e-5)


def test_the_published_gain_is_the_same_bit_for_bit() -> None:
    _, module = pair(16, 4)
    x = torch.randn(2, 16, 9, 9)
    maps = module.attention(x)
    assert excess_gain(maps, "published") is maps
    assert torch.equal(module(x), apply_gain(x, maps))
    assert Placement().as_record() == {"layers": (11,), "groups": 4, "mode": "after"}  # as records were before
    assert Recipe(placement=Placement()).as_dict()["placement"] == Placement().as_record()


@pytest.mark.parametrize("gain", ["", "Normalised", "mean 1"])
def test_an_unknown_gain_is_refused(gain: Gain) -> None:
    with pytest.raises(ValueError, match="published, normalised"):
        ULSAM(8, 2, gain)
    with pytest.raises(ValueError, match="published, normalised"):
        Placement(gain=gain)


def test_names_and_records_tell_it() -> None:
    assert get_args(Gain) == GAINS == ("published", "normalised")
    assert variant_name("mobilenet_v1", 0.5, PLACE) == "mobilenet_v1-0.5-after6_11-g4-normalised"
    assert placement_from(PLACE.as_record()) == PLACE
    assert placement_from(replace(PLACE, gain="published").as_record()) == replace(PLACE, gain="published")


def test_a_list_of_runs_names_it(tmp_path: Path) -> None:
    file = tmp_path / "zoo.toml"
    run = '[[run]]\nname = "a"\ndata = "caltech101"\nlayers = [11]\ngroups = 4\nstages = [[1, 64]]\n'
    file.write_text(run + 'gain = "normalised"\n')
    (planned,) = read_zoo_file(file)
    assert planned.recipe.placement == Placement((11,), 4, gain="normalised")
    file.write_text(run + 'gain = "mean"\n')
    with pytest.raises(TrainingError, match="published, normalised"):
        read_zoo_file(file)


@pytest.fixture(scope="module")
def seen() -> torch.Tensor:
    return torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(3))


def test_without_attention_every_gain_is_one_and_uniform_maps_are_the_same(
    lively: Callable[..., Network], seen: torch.Tensor
) -> None:
    network = optimize(lively("mobilenet_v1", PLACE))
    with torch.inference_mode():
        features = network.before_attention(seen, 6)
        bare = features
        for layer in range(7, 12):
            bare = network._layer(layer, bare)
        bare = network.after_attention(bare, 11)
        answers = {way: network.from_attention(features, 6, intervene(network, way))[0] for way in INTERVENTIONS}
        own = network(seen)
    torch.testing.assert_close(answers["off"], bare, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(answers["uniform"], bare, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(own, bare, atol=1e-2) and not torch.allclose(answers["shuffled"], own, atol=1e-3)


def test_effects_of_one_module_take_its_gain_to_one(lively: Callable[..., Network], seen: torch.Tensor) -> None:
    network = optimize(lively("mobilenet_v1", replace(PLACE, layers=(11,))))
    with torch.inference_mode():
        before = network(seen)[0]
        bare = network.after_attention(network.before_attention(seen, 11), 11)[0]
    target = int(before.argmax())
    taken = float(bare[target] - before[target])
    everything = {e.change: e for e in ablate(network, seen, layer=11, target=target) if e.subspace is None}
    assert everything["off"].logit == pytest.approx(taken, abs=1e-4)
    assert everything["uniform"].logit == pytest.approx(taken, abs=1e-4)
    shares = shapley(network, seen, layer=11, target=target)
    assert shares.total == pytest.approx(-taken, abs=1e-4) == float(shares.values.sum())
    logits = with_strength(network, seen, layer=11, subspace=1, strengths=(0.0, 1.0))
    np.testing.assert_allclose(logits[1], before.numpy(), atol=1e-4)
    off = next(e for e in ablate(network, seen, layer=11, target=target) if (e.subspace, e.change) == (1, "off"))
    assert logits[0][target] - logits[1][target] == pytest.approx(off.logit, abs=1e-4)


def test_deeplift_sums_to_the_difference_of_the_logits(lively: Callable[..., Network], seen: torch.Tensor) -> None:
    from captum.attr import DeepLift

    network = optimize(lively("mobilenet_v1", PLACE))
    inputs, baseline = seen.clone().requires_grad_(), torch.zeros_like(seen)
    attributions = DeepLift(rescalable(network)).attribute(inputs, baseline, target=2)
    with torch.inference_mode():
        expected = float((network(seen) - network(baseline))[0, 2])
    assert float(attributions.sum().detach()) == pytest.approx(expected, abs=1e-3 * max(1.0, abs(expected)))


@pytest.mark.parametrize(
    "switches", [Switches(), Switches(strength=3.0), Switches(residual=False), Switches(residual=False, strength=0.0)]
)
def test_the_arithmetic_of_a_place_is_the_modules_own(switches: Switches) -> None:
    module = normalised(pair(16, 4)[1])
    x = torch.randn(1, 16, 7, 5, generator=torch.Generator().manual_seed(2))
    stages = run_stages(module, x, switches)
    half = 35 * stages.attention / 2
    expected = 1 + switches.strength * (half - 0.5) if switches.residual else switches.strength * half
    np.testing.assert_allclose(stages.gain, expected, atol=1e-5)
    np.testing.assert_allclose(stages.output, stages.features * stages.gain.repeat(4, 0), atol=1e-5)
    if switches == Switches():
        np.testing.assert_allclose(stages.output, module(x)[0].detach().numpy(), atol=1e-5)
    written = derive(stages, subspace=2, channel=9, row=3, column=4)
    shown = formula(stages, written, "gain")
    assert shown.difference < 1e-5
    assert ("1 +" in shown.symbols) == switches.residual and "H W A_k" in shown.symbols and "35" in shown.numbers
    assert written.values["gain"] == pytest.approx(float(stages.gain[2, 3, 4]), abs=1e-5)
    assert written.values["output"] == pytest.approx(float(stages.output[9, 3, 4]), abs=1e-5)
