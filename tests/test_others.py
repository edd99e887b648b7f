"""Other papers' modules: equal to independent implementations, and at home in the network."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from timm.layers import EcaModule, SEModule
from timm.layers.cbam import CbamModule
from torch import Tensor, nn
from torch.nn import functional

from tests.oracle import trained_looking
from ulsam_viz.models.cost import count_cost, module_elementwise_bytes
from ulsam_viz.models.mobilenet import MobileNetV1
from ulsam_viz.models.network import Placement
from ulsam_viz.models.optimize import optimize
from ulsam_viz.models.others import OTHERS, SPATIAL
from ulsam_viz.models.others.bam import BAM
from ulsam_viz.models.others.cbam import CBAM
from ulsam_viz.models.others.eca import ECA
from ulsam_viz.models.others.gate import Gate
from ulsam_viz.models.others.se import SE
from ulsam_viz.models.others.simam import SimAM
from ulsam_viz.models.ulsam import GAINS, Gain
from ulsam_viz.zoo.variants import placement_from, variant_name

CHANNELS = 64


def features() -> Tensor:
    return torch.randn(3, CHANNELS, 9, 7, generator=torch.Generator().manual_seed(0))


def _filled(oracle: nn.Module, ours: nn.Module) -> nn.Module:
    """Give an oracle our values, by order: both list the same tensors."""
    theirs, own = oracle.state_dict(), ours.state_dict()
    assert [v.numel() for v in theirs.values()] == [v.numel() for v in own.values()]
    oracle.load_state_dict({k: v.view(theirs[k].shape) for k, v in zip(theirs, own.values(), strict=True)})
    return oracle.eval()


@pytest.mark.parametrize(
    ("ours", "oracle"),
    [
        (SE(CHANNELS), SEModule(CHANNELS, rd_ratio=1 / 16, rd_divisor=1, bias=False)),
        (CBAM(CHANNELS), CbamModule(CHANNELS, rd_ratio=1 / 16)),
        (ECA(CHANNELS), EcaModule(CHANNELS)),
    ],
    ids=["se", "cbam", "eca"],
)
def test_a_module_equals_timms(ours: Gate, oracle: nn.Module) -> None:
    trained_looking(ours)
    with torch.no_grad():
        torch.testing.assert_close(ours(features()), _filled(oracle, ours)(features()))


@pytest.mark.parametrize("channels", [16, 48, 64, 256, 512, 1024])
def test_ecas_kernel_is_as_wide_as_timms(channels: int) -> None:
    assert ECA(channels).conv.kernel_size == EcaModule(channels).conv.kernel_size


def test_simam_equals_its_equations_in_numpy() -> None:
    x = features().double().numpy()
    expected = np.empty_like(x)
    for n, c in np.ndindex(x.shape[:2]):
        plane = x[n, c]
        # equation 5
        energy = 4 * (plane.var(ddof=1) + 1e-4) / ((plane - plane.mean()) ** 2 + 2 * plane.var(ddof=1) + 2e-4)
        expected[n, c] = plane / (1 + np.exp(-1 / energy))
    torch.testing.assert_close(SimAM(CHANNELS)(features().double()).numpy(), expected)


def test_bam_equals_its_equations_layer_by_layer() -> None:
    module = trained_looking(BAM(CHANNELS))
    values = module.state_dict()
    x = features()

    def norm(y: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            values[f"{name}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (y - mean) / torch.sqrt(var + 1e-5) * weight + bias

    def dense(y: Tensor, name: str, dilation: int = 1) -> Tensor:
        """Convolve by shifting: no convolution of PyTorch's."""
        weight, bias = values[f"{name}.weight"], values[f"{name}.bias"]
        reach = dilation * (weight.shape[-1] // 2)
        padded = functional.pad(y, [reach] * 4)
        total = bias.view(-1, 1, 1)
        for i, j in np.ndindex(tuple(weight.shape[2:])):
            part = padded[..., i * dilation : i * dilation + y.shape[2], j * dilation : j * dilation + y.shape[3]]
            total = total + torch.einsum("oc,nchw->nohw", weight[:, :, i, j], part)
        return total

    of_channel = norm(
        dense(norm(dense(x.mean((2, 3), keepdim=True), "channel.0"), "channel.1").relu(), "channel.3"), "channel.4"
    )
    z = norm(dense(x, "spatial.0"), "spatial.1").relu()
    z = norm(dense(z, "spatial.3", 4), "spatial.4").relu()
    z = norm(dense(z, "spatial.6", 4), "spatial.7").relu()
    of_place = norm(dense(z, "spatial.9"), "spatial.10")
    with torch.no_grad():
        torch.testing.assert_close(module(x), x + x / (1 + torch.exp(-(of_channel + of_place))), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", OTHERS)
def test_its_map_is_the_gain_relative_to_its_mean(name: str) -> None:
    module = trained_looking(OTHERS[name](CHANNELS))
    x = features()
    with torch.no_grad():
        out, maps = module.forward_with_attention(x)  # type: ignore[operator]
        gain = module.excess(x) + 1  # type: ignore[operator]
        torch.testing.assert_close(out, module(x))
        torch.testing.assert_close(out, x * gain)
    over_places = gain.mean(1, keepdim=True)
    torch.testing.assert_close(maps * maps[0, 0].numel(), over_places / over_places.mean((2, 3), keepdim=True))
    # Where a place is as good as another, the map is flat
    assert (maps.flatten(2).std(2) > 1e-6).all() == (name in SPATIAL)


@pytest.mark.parametrize("name", OTHERS)
def test_a_network_carries_it(name: str) -> None:
    placement = Placement((11,), 1, module=name)
    assert placement_from(placement.as_record()) == placement
    assert variant_name("mobilenet_v1", 0.5, placement) == f"mobilenet_v1-0.5-after11-{name}"
    network = trained_looking(MobileNetV1(0.25, 7, placement))
    before = copy.deepcopy(network.state_dict())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits, maps = network.forward_with_attention(x)  # type: ignore[operator]
        fast, same = optimize(network).forward_with_attention(x)  # type: ignore[operator]
        entered = network.before_attention(x, 11)  # type: ignore[operator]
        kept, _ = network.from_attention(entered, 11, {11: lambda excess: excess})  # type: ignore[operator]
    assert maps[11].shape == (2, 1, 4, 4)
    scale = logits.abs().max().item()
    for other in (fast, kept):
        torch.testing.assert_close(other / scale, logits / scale, atol=1e-4, rtol=0)
    torch.testing.assert_close(same[11], maps[11], atol=1e-4, rtol=1e-3)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])
    network.train()(x).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"module": "senet"}, "unknown module"),
        ({"module": "se", "groups": 4}, "no groups"),
        ({"module": "se", "gain": "normalised"}, "no groups"),
    ],
)
def test_what_is_no_module_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Placement(**({"groups": 1} | settings))  # type: ignore[arg-type]


def test_their_cost_is_counted() -> None:
    m, places = 256, 14 * 14
    plain = count_cost(MobileNetV1(0.5, 101))
    added = {name: count_cost(MobileNetV1(0.5, 101, Placement((11,), 1, module=name))) for name in OTHERS}
    assert added["se"].params - plain.params == 2 * m * m // 16
    assert added["se"].macs - plain.macs == 2 * m * m // 16
    assert added["cbam"].params - plain.params == 2 * m * m // 16 + 98 + 2
    # The same layers for mean and maximum
    assert added["cbam"].macs - plain.macs == 2 * (2 * m * m // 16) + 98 * places
    assert added["eca"].params - plain.params == 5 and added["eca"].macs - plain.macs == 5 * m
    assert added["simam"].params == plain.params and added["simam"].macs == plain.macs
    # The gain reads and writes all features at least, and SimAM reads them several times.
    assert all(cost.elementwise_bytes - plain.elementwise_bytes >= 2 * 4 * m * places for cost in added.values())
    assert added["simam"].elementwise_bytes > added["eca"].elementwise_bytes


@pytest.mark.parametrize("groups", [1, 4, 16])
@pytest.mark.parametrize("gain", GAINS)
def test_one_counter_tells_what_all_modules_move(groups: int, gain: Gain) -> None:
    """ULSAM as the others: the tensors that PyTorch's operators read and write, convolutions apart."""
    m, g, places = 256, groups, 14 * 14
    # Each reads features, scale, shift, mean and variance, and writes features
    norms = 2 * (m + g) * places + 4 * (m + g)
    others = 2 * (m + g) * places + 3 * m * places + 2 * g * places  # ReLUs; the pool, with its indices; the softmax
    applied = (3 * m + g) * places + (4 * g * places if gain == "normalised" else 0)  # x twice and the gain in, x out
    plain = count_cost(MobileNetV1(0.5, 101)).elementwise_bytes
    with_it = count_cost(MobileNetV1(0.5, 101, Placement((11,), groups, gain=gain))).elementwise_bytes
    assert with_it - plain == module_elementwise_bytes(m, g, 14, 14, gain) == 4 * (norms + others + applied)


def test_element_wise_traffic_orders_modules_by_what_they_move() -> None:
    """At g = 4 ULSAM moves as much as BAM and CBAM do, not a fifth less."""
    plain, *added = (
        count_cost(MobileNetV1(0.5, 101, placement)).elementwise_bytes
        for placement in (
            None,
            *(
                Placement((11,), 4 if name == "ulsam" else 1, module=name)
                for name in ("eca", "bam", "cbam", "ulsam", "simam")
            ),
        )
    )
    assert added == sorted(added)
    assert [(moved - plain) / 1e6 for moved in added] == pytest.approx([0.61, 1.97, 2.03, 2.035, 3.02], abs=0.006)
