"""Any network with ULSAM in it made fast.

Same outputs, nothing folded that somebody looks at, the argument as it was.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

import ulsam_viz
from ulsam_viz.models.ulsam import ULSAM, FastULSAM


def settled(network: nn.Module) -> nn.Module:
    """Give norms the statistics of a trained network; in float64, so that only a wrong step can make a difference."""
    generator = torch.Generator().manual_seed(2)
    for name, value in network.state_dict().items():
        if name.endswith("running_mean"):
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
        elif name.endswith("running_var"):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return network.double().eval()


class OwnOrder(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        y = self[0](x)
        return self[1](y) + y


class Whole(nn.Module):
    """Convolutions and norms that stand next to each other in every way, and two attention modules, one of them used
    twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), ULSAM(8, 2))
        self.own = OwnOrder(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
        shared = nn.Conv2d(8, 8, 1)
        self.twice = nn.ModuleList([nn.Sequential(shared, nn.BatchNorm2d(8)), nn.Sequential(shared, nn.BatchNorm2d(8))])
        self.batchwise = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, track_running_stats=False))
        self.bare = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8, affine=False))
        self.conv, self.norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.attention = ULSAM(8, 4)
        self.again = self.attention

    def forward(self, x: Tensor) -> Tensor:
        x = self.own(self.stem(x))
        for part in self.twice:
            x = part(x)
        y = self.conv(self.bare(self.batchwise(x)))
        return self.again(self.norm(y) + self.attention(y))


def test_only_neighbours_that_nothing_can_come_between_are_folded() -> None:
    network = settled(Whole())
    x = torch.randn(2, 3, 12, 11, dtype=torch.float64)
    fast = ulsam_viz.optimize(network)
    torch.testing.assert_close(fast(x), network(x), atol=1e-10, rtol=1e-10)
    assert isinstance(fast, Whole)
    assert isinstance(fast.stem[1], nn.Identity) and isinstance(fast.bare[1], nn.Identity)
    assert isinstance(fast.stem[3], FastULSAM) and isinstance(fast.attention, FastULSAM)
    assert fast.again is fast.attention
    kept = [fast.own[1], fast.twice[0][1], fast.twice[1][1], fast.batchwise[1], fast.norm]  # type: ignore[index]
    assert all(isinstance(norm, nn.BatchNorm2d) for norm in kept)
    assert fast.stem[0].weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[operator]


def test_the_network_itself_stays_as_it_was() -> None:
    network = settled(Whole()).train()
    network.get_submodule("own").eval()
    network.get_submodule("conv").requires_grad_(False)
    hook = network.get_submodule("norm").register_forward_hook(lambda *_: None)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    before = [(type(m), m.training, len(m._forward_hooks)) for m in network.modules()]
    wants = [p.requires_grad for p in network.parameters()]
    strides = [p.stride() for p in network.parameters()]
    fast = ulsam_viz.optimize(network)
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    assert before == [(type(m), m.training, len(m._forward_hooks)) for m in network.modules()]
    assert wants == [p.requires_grad for p in network.parameters()]
    assert strides == [p.stride() for p in network.parameters()]
    assert not any(m.training for m in fast.modules()) and not any(p.requires_grad for p in fast.parameters())
    assert {p.data_ptr() for p in network.parameters()}.isdisjoint(p.data_ptr() for p in fast.parameters())
    hook.remove()


def test_what_has_hooks_or_is_something_else_stays() -> None:
    class Own(ULSAM):
        def attention(self, x: Tensor) -> Tensor:
            return super().attention(x).flip(1)

    seen: list[str] = []
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), Own(8, 2), ULSAM(8, 2), ULSAM(8, 2))
    settled(network)
    network[0].register_forward_hook(lambda *_: seen.append("conv"))
    network[3].register_forward_hook(lambda *_: seen.append("module"))
    network[4].get_submodule("pool").register_forward_hook(lambda *_: seen.append("pool"))
    x = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    expected = network(x)
    seen.clear()
    fast = ulsam_viz.optimize(network)
    torch.testing.assert_close(fast(x), expected, atol=1e-10, rtol=1e-10)
    assert seen == ["conv", "module", "pool"]
    assert isinstance(fast[1], nn.BatchNorm2d) and isinstance(fast[2], Own)


def with_ulsam(name: str) -> nn.Module:
    network = models.get_model(name, weights=None, num_classes=7)
    if name == "resnet18":
        network.layer3 = nn.Sequential(network.layer3, ULSAM(256, 4))
        network.layer4[0].relu = nn.Sequential(nn.ReLU(), ULSAM(512, 16))  # in a block, used twice by its own forward
    else:
        network.features.insert(14, ULSAM(96, 4))
    return settled(network)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_networks_of_others_give_the_same_logits_and_gradients(name: str) -> None:
    torch.manual_seed(0)
    network = with_ulsam(name)
    fast = ulsam_viz.optimize(network)
    assert not any(isinstance(m, ULSAM) for m in fast.modules())
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in n.modules()) for n in (network, fast)]
    # ResNet's blocks call their layers by name, so only its three short cuts are sequences; V2 is nothing else.
    assert norms == ([20 + 4, 17] if name == "resnet18" else [52 + 2, 0])
    results = []
    for form in (network, fast):
        x = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
        logits = form(x)
        logits[:, 3].sum().backward()
        results.append((logits.detach(), x.grad))
    torch.testing.assert_close(results[0], results[1], atol=1e-9, rtol=1e-7)
    with torch.inference_mode():
        torch.testing.assert_close(fast(x.detach()), results[0][0], atol=1e-9, rtol=1e-7)
