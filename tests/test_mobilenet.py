"""The networks: the paper's overheads row by row, placements, one pass for logits and maps, and the inference form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ulsam_viz import ULSAM, MobileNetV1, MobileNetV2, Placement, count_cost, insert_ulsam
from ulsam_viz.models.backbones import BACKBONES
from ulsam_viz.models.network import Network
from ulsam_viz.models.optimize import optimize

A, I = "after", "instead"  # noqa: E741

# backbone, width, layers, mode; change of parameters and of MACs in millions, from the paper's tables
PAPER_ROWS = [
    (MobileNetV1, 1.0, (11,), A, 0.0, 0.2007),
    (MobileNetV1, 1.0, (12,), A, 0.0, 0.2007),
    (MobileNetV1, 1.0, (13,), A, 0.0, 0.1004),
    *[(MobileNetV1, 1.0, (layer,), I, 3.9 - 4.2, 517 - 569) for layer in range(8, 13)],
    (MobileNetV1, 0.75, (10,), I, 2.4 - 2.6, 296 - 325),
    (MobileNetV1, 0.50, (10,), I, 1.2 - 1.3, 136 - 149),
    (MobileNetV2, 1.0, (17,), A, 0.0, 0.0157),
    (MobileNetV2, 1.0, (13,), I, 3.28 - 3.4, 277.34 - 300),
    (MobileNetV2, 1.0, (14,), I, 3.28 - 3.4, 277.34 - 300),
    (MobileNetV2, 1.0, (16,), I, 3.08 - 3.4, 284.54 - 300),
    (MobileNetV2, 1.0, (17,), I, 3.08 - 3.4, 284.54 - 300),
    (MobileNetV2, 1.0, (10, 13), I, 3.23 - 3.4, 267.06 - 300),
    (MobileNetV2, 1.0, (16, 17), I, 2.77 - 3.4, 269.08 - 300),
    (MobileNetV2, 1.0, (13, 16), I, 2.97 - 3.4, 261.88 - 300),
    (MobileNetV2, 1.0, (13, 14, 16, 17), I, 2.54 - 3.4, 224.16 - 300),
]


@pytest.mark.parametrize(("network", "width", "layers", "mode", "params", "macs"), PAPER_ROWS)
def test_the_papers_overheads(
    network: type[Network], width: float, layers: tuple[int, ...], mode: str, params: float, macs: float
) -> None:
    plain = count_cost(network(width))  # type: ignore[call-arg, arg-type]
    with_ulsam = count_cost(network(width, placement=Placement(layers, 4, mode)))  # type: ignore[call-arg, arg-type]
    # The paper rounds V1's parameters to 0.1 M, so a difference of two of its figures is off by up to 0.1.
    assert (with_ulsam.params - plain.params) / 1e6 == pytest.approx(
        params, abs=0.03 if network is MobileNetV2 or mode == A else 0.1
    )
    assert (with_ulsam.macs - plain.macs) / 1e6 == pytest.approx(macs, abs=0.6)


@pytest.mark.parametrize(("layers", "mode", "params", "macs"), [((10,), I, -0.268, -52.1), ((11,), A, 0.0, 0.2007)])
def test_v1s_exact_changes(layers: tuple[int, ...], mode: str, params: float, macs: float) -> None:
    plain, changed = count_cost(MobileNetV1()), count_cost(MobileNetV1(placement=Placement(layers, 1, mode)))  # type: ignore[arg-type]
    assert (changed.params - plain.params) / 1e6 == pytest.approx(params, abs=0.005)
    assert (changed.macs - plain.macs) / 1e6 == pytest.approx(macs, abs=0.05)


def test_the_plain_networks_cost_what_they_are_known_to() -> None:
    networks = MobileNetV1(), MobileNetV2()
    before = torch.get_rng_state()
    v1, v2 = map(count_cost, networks)
    assert torch.equal(torch.get_rng_state(), before)  # who counts draws no random numbers
    assert (v1.params, v1.macs) == (4_231_976, 568_740_352)
    assert (v2.params, v2.macs) == (3_504_872, 300_774_272)


def test_torchvisions_mobilenet_v2_has_the_same_parameters_in_the_same_order() -> None:
    from torchvision.models import mobilenet_v2

    ours = [tuple(p.shape) for p in MobileNetV2().parameters()]
    assert ours == [tuple(p.shape) for p in mobilenet_v2().parameters()]


def test_our_mobilenet_v2_computes_what_torchvisions_does() -> None:
    from torchvision.models import mobilenet_v2

    theirs, ours = mobilenet_v2().eval(), MobileNetV2().eval()
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.copy_(other)
    x = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(ours(x), theirs(x))


@torch.no_grad()
def layer_shapes(model: Network, input_size: int) -> dict[int, tuple[int, ...]]:
    """Return (channels, height, width) after each layer."""
    shapes, x = {}, torch.zeros(1, 3, input_size, input_size)
    for number, layer in model.eval().layers.items():
        x = layer(x)
        shapes[int(number)] = tuple(x.shape[1:])
    return shapes


def test_layers_are_numbered_as_in_the_paper() -> None:
    v1, v2 = layer_shapes(MobileNetV1(0.5), 224), layer_shapes(MobileNetV2(1.0), 224)
    assert v1[2] == (32, 112, 112)
    assert all(v1[n] == (256, 14, 14) for n in range(7, 13))
    assert v1[13] == v1[14] == (512, 7, 7)
    assert [v2[n][0] for n in range(2, 19)] == [16, 24, 24, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320]
    assert v2[14][1] == 14
    assert v2[17][1] == 7


@pytest.mark.parametrize(
    ("network", "placement", "reason"),
    [
        (MobileNetV1, Placement((11,), 3), "layer 11: 3 groups do not divide 512"),
        (MobileNetV1, Placement((15,), 4), "no layer 15"),
        (MobileNetV1, Placement((1,), 4), "no layer 1 "),
        (MobileNetV1, Placement((13,), 4, "instead"), r"cannot replace layer 13.*8, 9, 10, 11, 12, 14"),
        (MobileNetV2, Placement((18,), 4, "instead"), "cannot replace layer 18"),
        (MobileNetV2, Placement((4, 8), 4, "instead"), "cannot replace layer 8"),
    ],
)
def test_placements_that_do_not_fit_are_refused(network: type[Network], placement: Placement, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        network(placement=placement)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"layers": ()}, "at least one layer"),
        ({"layers": (11, 11)}, "once"),
        ({"groups": 0}, "at least 1"),
        ({"mode": "before"}, "mode"),
    ],
)
def test_placements_that_make_no_sense_are_refused(wrong: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Placement(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(
    "placement", [None, Placement((11,), 4), Placement((14, 7), 2), Placement((11, 14), 4, "instead")]
)
def test_one_pass_returns_what_the_ordinary_path_does_and_the_optimised_form_agrees(
    lively: Callable[..., Network], backbone: str, placement: Placement | None
) -> None:
    model = lively(backbone, placement).double()  # in float32 a ReLU at 0 may fall to either side, and gradients jump
    state = {k: v.clone() for k, v in model.state_dict().items()}
    fast = optimize(model)
    x = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    gradients = []
    for form in (model, fast):
        x.requires_grad_().grad = None
        logits, maps = form.forward_with_attention(x)
        assert torch.equal(form(x), logits)
        assert sorted(maps) == sorted(placement.layers if placement else ())
        for attention in maps.values():
            torch.testing.assert_close(attention.sum((2, 3)), torch.ones(attention.shape[:2], dtype=torch.float64))
        logits[:, 3].sum().backward()
        assert x.grad is not None
        gradients.append((logits.detach(), x.grad.clone(), [m.detach() for m in maps.values()]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-9, rtol=1e-9)
    # The optimised copy shares nothing with the network it was made from, which has not changed.
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert not fast.training
    assert not any(p.requires_grad for p in fast.parameters())


def test_instead_removes_the_layer() -> None:
    model = MobileNetV1(0.5, 10, Placement((10,), 4, "instead"))
    assert "10" not in model.layers
    assert "10" in model.attention


def test_cost_counts_an_optimised_network_like_the_trained_one() -> None:
    model = MobileNetV1(0.5, 10, Placement((11,), 4))
    assert count_cost(model) == count_cost(optimize(model))
    assert count_cost(model, 448).macs > 3.9 * count_cost(model).macs


@pytest.mark.parametrize("host", ["torchvision", "ours"])
def test_cost_of_an_adapted_network_is_that_of_its_host_and_its_modules(host: str) -> None:
    """Before and after `optimize`; a module costs what it costs in a network that was built with it."""
    from torchvision.models import resnet18

    plain = resnet18(num_classes=10).eval() if host == "torchvision" else MobileNetV1(0.5, 10).eval()
    at = "layer3" if host == "torchvision" else "layers.11"
    adapted = insert_ulsam(plain, {at: 4})
    cost, of_host = count_cost(adapted, 96), count_cost(plain, 96)
    assert count_cost(optimize(adapted), 96) == cost
    module = ULSAM(256, 4)
    assert cost.params - of_host.params == sum(p.numel() for p in module.parameters())
    # A depthwise weight and a pointwise one for each channel and place
    assert cost.macs - of_host.macs == 2 * 256 * 6 * 6
    if host == "ours":
        built = count_cost(MobileNetV1(0.5, 10, Placement((11,), 4)), 96)
        assert (cost.params, cost.macs) == (built.params, built.macs)
        # Operators, not modules, are counted
        assert cost.elementwise_bytes == pytest.approx(built.elementwise_bytes, rel=0.05)
    else:
        assert (of_host.params, count_cost(resnet18()).macs) == (11_181_642, 1_814_073_344)
