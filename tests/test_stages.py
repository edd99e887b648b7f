"""ULSAM stage by stage.

Every number that the lesson shows against the module's own tensors, and each switch against the equations.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from tests.oracle import trained_looking
from ulsam_viz.analysis.derivation import derive
from ulsam_viz.analysis.effects import with_strength
from ulsam_viz.analysis.stages import STAGES, Stage, Stages, Switches, experiment, run_stages
from ulsam_viz.images.preprocessing import ModelInput
from ulsam_viz.lesson.formulas import formula, number
from ulsam_viz.models.optimize import optimize
from ulsam_viz.models.ulsam import ULSAM, transparent_module
from ulsam_viz.zoo.variants import list_variants, load_network

PLACED = [v for v in list_variants() if v.placement]
# What computes each stage in the trained module; "gain" has no part of its own.
PARTS: dict[Stage, str] = {
    "depthwise": "depthwise",
    "normed": "depthwise_norm",
    "rectified": "depthwise_relu",
    "pooled": "pool",
    "pointwise": "pointwise",
    "pointwise_normed": "pointwise_norm",
    "logits": "pointwise_relu",
    "attention": "softmax",
}


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(np.asarray(a, np.float64), np.asarray(b, np.float64), rtol=1e-5, atol=1e-5)


def own_tensors(network: Any, layer: int, x: torch.Tensor) -> dict[str, np.ndarray]:
    """Run the whole network, and note what its module's parts really put out."""
    module, seen = network.attention_of(layer), dict[str, np.ndarray]()
    hooks = [
        getattr(module, part).register_forward_hook(
            lambda _, __, out, stage=stage: seen.__setitem__(stage, out[0].detach().numpy())
        )
        for stage, part in PARTS.items()
    ]
    with torch.no_grad():
        features = network.before_attention(x, layer)
        _, maps = network.forward_with_attention(x)
        seen["output"] = module(features)[0].numpy()
    for hook in hooks:
        hook.remove()
    height, width = maps[layer].shape[2:]
    seen["attention"] = seen["attention"].reshape(-1, height, width)
    assert np.allclose(seen["attention"], maps[layer][0].numpy(), atol=1e-7)
    maps_now = seen["attention"]
    gain = 1 + maps_now if module.gain == "published" else (1 + height * width * maps_now) / 2
    return {**seen, "features": features[0].numpy(), "gain": gain}


@pytest.mark.parametrize("seed", range(12))
def test_every_number_of_every_formula_is_the_modules_own(seed: int, picture: ModelInput) -> None:
    rng = np.random.default_rng(seed)
    variant = PLACED[rng.integers(len(PLACED))]
    network = load_network(variant)
    layer = int(rng.choice([int(n) for n in network.attention]))
    own = own_tensors(network, layer, picture.tensor)
    with torch.no_grad():
        stages = run_stages(network.attention_of(layer), network.before_attention(picture.tensor, layer))
    for stage in STAGES:
        close(getattr(stages, stage), own[stage])
    height, width = stages.attention.shape[1:]
    for _ in range(8):
        k = int(rng.integers(stages.groups))
        channel = int(rng.integers(k * stages.group_size, (k + 1) * stages.group_size))
        row, column = int(rng.choice([0, height - 1, rng.integers(height)])), int(rng.integers(width))
        d = derive(stages, subspace=k, channel=channel, row=row, column=column)
        for stage in STAGES:
            index = (
                k
                if len(own[stage]) == stages.groups
                and stage not in ("features", "output", "depthwise", "normed", "rectified", "pooled")
                else channel
            )
            close(d.values[stage], own[stage][index, row, column])
            assert formula(stages, d, stage).difference <= 1e-5 * (1 + abs(d.values[stage]))
        close(d.window, own["rectified"][channel, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2])
        close([t.value for t in d.terms], own["pooled"][[t.channel for t in d.terms], row, column])
        close(d.denominator, np.exp(own["logits"][k].astype(np.float64)).sum())
        close(d.exponential / d.denominator, own["attention"][k, row, column])
        weights = network.attention_of(layer).pointwise.weight[k].flatten()
        close(
            [t.weight for t in d.terms], [float(weights[t.channel - k * stages.group_size].detach()) for t in d.terms]
        )
        assert [abs(t.product) for t in d.terms] == sorted((abs(t.product) for t in d.terms), reverse=True)
        _written_numbers_are_those(stages, d)


def _written_numbers_are_those(stages: Stages, d: Any) -> None:
    """Read the numbers back out of the LaTeX."""
    pooled = formula(stages, d, "pooled").numbers
    inside = pooled[pooled.index("{pmatrix}") + 9 : pooled.index(r"\end")]
    read = [_value(text) for text in re.split(r"&|\\\\", inside)]
    np.testing.assert_allclose(read, d.window.flatten(), rtol=1e-3)
    products = re.findall(
        r"underbrace\{(.+?) \\cdot \(?(-?[\d.]+(?: \\cdot 10\^\{-?\d+\})?)\)?\}_\{\\text\{channel (\d+)\}",
        formula(stages, d, "pointwise").numbers,
    )
    assert [int(channel) for *_, channel in products] == [t.channel for t in d.terms[:4]]
    np.testing.assert_allclose(
        [_value(w) * _value(v) for w, v, _ in products], [t.product for t in d.terms[:4]], rtol=2e-3, atol=1e-9
    )
    assert formula(stages, d, "attention").numbers.endswith(f"= {number(d.values['attention'])}")


def _value(latex: str) -> float:
    mantissa, _, exponent = latex.strip().partition(r" \cdot 10^")
    return float(mantissa) * 10 ** int(exponent.strip("{}") or 0)


def test_numbers_are_written_with_five_digits() -> None:
    written = {
        0.0: "0",
        2.5: "2.5000",
        -0.07336: "-0.073360",
        1234.56: "1234.6",
        99999.0: r"9.9999 \cdot 10^{4}",
        2.42e-5: r"2.4200 \cdot 10^{-5}",
    }
    assert [number(v) for v in written] == list(written.values())


@pytest.fixture
def module() -> ULSAM:
    made = trained_looking(ULSAM(8, 2), seed=3)
    assert isinstance(made, ULSAM)
    made.state_dict()["pointwise_norm.bias"].add_(2)  # alive: the ReLU before the softmax lets something through
    return made


def test_each_switch_is_one_change_of_the_equations(module: ULSAM) -> None:
    x = torch.randn(1, 8, 5, 6, generator=torch.Generator().manual_seed(1))
    plain = run_stages(module, x)
    close(plain.output, module(x)[0].detach())

    def changed(**switch: Any) -> Stages:
        return run_stages(module, x, Switches(**switch))

    assert (changed(pool=False).pooled == plain.rectified).all()
    close(changed(first_relu=False).rectified, plain.normed)
    close(changed(last_relu=False).logits, plain.pointwise_normed)
    close(changed(weighting="sigmoid").attention, 1 / (1 + np.exp(-plain.logits)))
    close(changed(residual=False).output, plain.features * plain.attention.repeat(4, 0))
    close(changed(strength=7.0).gain, 1 + 7 * plain.attention)
    cool, warm = changed(temperature=0.2).attention, changed(temperature=5.0).attention
    close(cool.sum((1, 2)), 1)
    exponentials = np.exp(plain.logits / 5 - (plain.logits / 5).max())
    close(warm, exponentials / exponentials.sum((1, 2), keepdims=True))
    assert (cool.max((1, 2)) > plain.attention.max((1, 2))).all()
    for switches in (
        Switches(pool=False, temperature=0.3),
        Switches(weighting="sigmoid", residual=False, strength=2),
        Switches(last_relu=False),
    ):
        stages = run_stages(module, x, switches)
        d = derive(stages, subspace=1, channel=6, row=4, column=0)
        for stage in STAGES:
            assert formula(stages, d, stage).difference < 1e-5


def test_large_logits_stay_finite_and_right() -> None:
    module = transparent_module(4, 2)
    x = torch.zeros(1, 4, 3, 3)
    x[0, :, 1, 1] = 900
    stages = run_stages(module, x, Switches(pool=False))
    d = derive(stages, subspace=0, channel=0, row=1, column=1)
    assert d.shift == 900 and d.exponential == 1 and d.denominator == 1
    assert "- 900" in formula(stages, d, "attention").numbers


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"temperature": -1.0},
        {"strength": -1.0},
        {"strength": float("inf")},
    ],
)
def test_values_that_make_no_sense_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=r"temperature must be above 0|strength must be 0 or more"):
        Switches(**values)


def test_places_that_do_not_exist_are_refused(module: ULSAM) -> None:
    stages = run_stages(module, torch.rand(1, 8, 4, 4))
    with pytest.raises(ValueError, match="no subspace 2"):
        derive(stages, subspace=2, channel=0, row=0, column=0)
    with pytest.raises(ValueError, match="row 4"):
        derive(stages, subspace=0, channel=0, row=4, column=0)
    with pytest.raises(ValueError, match="channel 4 is none of subspace 0: those are 0 to 3"):
        derive(stages, subspace=0, channel=4, row=0, column=0)
    with pytest.raises(ValueError, match=r"expected features of shape \(1, 8, H, W\)"):
        run_stages(module, torch.rand(2, 8, 4, 4))


def test_an_experiment_without_changes_is_the_network_and_strength_is_the_effect(picture: ModelInput) -> None:
    variant = next(v for v in PLACED if v.placement and v.placement.layers == (11,) and v.groups == 1)
    model, module = optimize(load_network(variant)), load_network(variant).attention_of(11)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    same = experiment(model, module, picture.tensor, layer=11, switches=Switches())
    np.testing.assert_allclose(same.changed, same.logits, atol=1e-4)
    with torch.no_grad():
        np.testing.assert_allclose(same.logits, model(picture.tensor)[0].numpy(), atol=1e-4)
    strong = experiment(model, module, picture.tensor, layer=11, switches=Switches(strength=20.0))
    expected = with_strength(model, picture.tensor, layer=11, subspace=0, strengths=[20.0])[0]
    np.testing.assert_allclose(strong.changed, expected, atol=1e-3)
    assert abs(strong.changed - strong.logits).max() > 0.01
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_the_transparent_module_is_a_mean_and_draws_nothing_random() -> None:
    state = torch.random.get_rng_state()
    module = transparent_module(4, 2)
    assert torch.equal(torch.random.get_rng_state(), state)
    x = torch.rand(1, 4, 3, 3)
    stages = run_stages(module, x, Switches(pool=False))
    close(stages.pooled, x[0])
    close(stages.logits, x[0].unflatten(0, (2, 2)).mean(1))
