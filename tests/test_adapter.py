"""ULSAM in networks that others wrote: the same as hooks on the host would give, and nothing left behind."""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import timm
import torch
import torchvision.models as tv
from torch import Tensor, nn

from tests.patience import PATIENCE
from ulsam_viz import ULSAM, AttentionNetwork, insert_ulsam
from ulsam_viz.models.adapter import AttendedLayer, AttendedModel
from ulsam_viz.models.insertion_points import InsertionError, places_of
from ulsam_viz.models.optimize import optimize
from ulsam_viz.models.ulsam import FastULSAM, Gain

Host = tuple[Callable[[], nn.Module], dict[str, int]]
HOSTS: dict[str, Host] = {
    "MobileNet-V2": (tv.mobilenet_v2, {"features.13": 4, "features.17": 8}),
    "MobileNet-V3": (tv.mobilenet_v3_small, {"features.5": 4, "features.8": 8}),
    "EfficientNet-B0": (tv.efficientnet_b0, {"features.4": 4, "features.5.0": 8}),
    "ResNet-18": (tv.resnet18, {"bn1": 2, "layer3": 4, "layer4.0": 8}),  # what follows bn1 overwrites its input
    "ShuffleNet-V2": (tv.shufflenet_v2_x0_5, {"stage3": 4, "stage4.1.branch2": 8}),  # within a branch
    "ConvNeXt-Tiny": (tv.convnext_tiny, {"features.3": 4, "features.5.2": 8}),
    "timm MobileNet-V2": (lambda: timm.create_model("mobilenetv2_050"), {"blocks.3": 4, "blocks.4.1": 8}),
    "timm MobileNet-V3": (lambda: timm.create_model("mobilenetv3_small_050"), {"blocks.3": 4, "conv_stem": 2}),
    "timm EfficientNet-B0": (lambda: timm.create_model("efficientnet_b0"), {"blocks.3": 4, "blocks.4.0": 8}),
    "timm ResNet-18": (lambda: timm.create_model("resnet18"), {"layer3": 4, "layer4.0": 8}),
    "timm ConvNeXt-Tiny": (lambda: timm.create_model("convnext_tiny"), {"stages.1": 4, "stages.2.blocks.1": 8}),
}
SIDE = 96
EXAMPLE = torch.zeros(1, 3, SIDE, SIDE)


def livened(host: nn.Module) -> nn.Module:
    """Give a network with random weights norms that keep its features alive, as training does."""
    host.train()
    for module in host.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.normal_(module.bias, 0.1, 0.3)
        elif isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        host(pictures(8))
    return host.eval()


def pictures(count: int, seed: int = 3) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=HOSTS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, dict[str, int], AttendedModel]:
    build, groups = HOSTS[request.param]
    torch.manual_seed(5)
    host = livened(build())
    adapted = insert_ulsam(host, groups, example=EXAMPLE)
    with torch.no_grad():  # attention far above float error
        for name in groups:
            adapted.attention_of(name).pointwise_norm.weight.mul_(8)
    return host, groups, adapted


def with_hooks(host: nn.Module, adapted: AttendedModel, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the same by hooks on the host as it was."""
    maps = {}

    def hook_for(name: str) -> Callable[[nn.Module, object, Tensor], Tensor]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            maps[name] = adapted.attention_of(name).attention(output)
            return output * (1 + maps[name].repeat_interleave(output.shape[1] // maps[name].shape[1], 1))

        return hook

    watched = copy.deepcopy(host)
    for name in adapted.attended:
        watched.get_submodule(name).register_forward_hook(hook_for(name))
    return watched(x), maps


def hooks_of(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def snapshot(model: nn.Module) -> tuple[dict[str, Tensor], list[bool], list[bool], int, list[int]]:
    state = {key: value.clone() for key, value in model.state_dict().items()}
    held = [len(vars(m)) for m in model.modules()]
    return (
        state,
        [m.training for m in model.modules()],
        [p.requires_grad for p in model.parameters()],
        hooks_of(model),
        held,
    )


def same(a: object, b: object) -> bool:
    (state, *rest), (other, *others) = a, b  # type: ignore[misc]
    return rest == others and state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in state)  # type: ignore[has-type]


@torch.no_grad()
def test_a_pass_is_the_hosts_with_attention_after_the_named_submodules(
    case: tuple[nn.Module, dict[str, int], AttendedModel],
) -> None:
    host, groups, adapted = case
    x, before, as_given = pictures(2), snapshot(adapted), snapshot(host)
    logits, maps = adapted.forward_with_attention(x)
    expected, expected_maps = with_hooks(host, adapted, x)
    assert (expected - host(x)).abs().max() > 1e-6 * expected.abs().max()
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert torch.equal(logits, adapted(x))
    assert list(maps) == list(expected_maps) == list(adapted.attended)  # in the order of the pass
    for name, own in maps.items():
        assert own.shape[:2] == (2, groups[name])
        torch.testing.assert_close(own.sum((2, 3)), torch.ones(2, groups[name]))
        torch.testing.assert_close(own, expected_maps[name])
    assert same(snapshot(adapted), before) and same(snapshot(host), as_given)
    assert torch.equal(adapted.without_attention()(x), host(x))
    assert isinstance(adapted, AttentionNetwork) and adapted.num_classes == 1000


def test_the_state_dict_has_the_hosts_keys_and_comes_back(
    case: tuple[nn.Module, dict[str, int], AttendedModel],
) -> None:
    host, groups, adapted = case
    state = adapted.state_dict()

    def renamed(key: str) -> str:
        for name in sorted(groups, key=len):
            key = key.replace(f"{name}.", f"{name}.layer.", 1) if key.startswith(f"{name}.") else key
        return key

    own = {key for key in state if ".attention." in key}
    assert {renamed(key) for key in host.state_dict()} == state.keys() - own
    assert all(f"{name}.attention.depthwise.weight" in own for name in groups)
    other = insert_ulsam(livened(copy.deepcopy(host)), groups, example=EXAMPLE)
    assert not other.load_state_dict(state).missing_keys
    outer, whole = nn.ModuleDict({"part": copy.deepcopy(adapted)}), nn.ModuleDict({"part": other})
    assert "part." + next(iter(state)) in outer.state_dict()
    whole.load_state_dict(outer.state_dict())
    x = pictures(1)
    with torch.no_grad():
        assert torch.equal(other.eval()(x), adapted(x))
    file = io.BytesIO()
    torch.save(adapted, file)
    file.seek(0)
    with torch.no_grad():
        assert torch.equal(torch.load(file, weights_only=False)(x), adapted(x))


def test_it_trains_and_the_host_that_was_handed_in_does_not(
    case: tuple[nn.Module, dict[str, int], AttendedModel],
) -> None:
    host, groups, adapted = case
    network, before = copy.deepcopy(adapted).train(), snapshot(host)
    logits, maps = network.forward_with_attention(pictures(4))
    (logits.square().mean() + sum(m.square().mean() for m in maps.values())).backward()
    for name in groups:
        assert network.attention_of(name).depthwise.weight.grad.abs().max() > 0
    assert all(p.grad is not None for p in network.parameters())
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert same(snapshot(host), before)
    assert not same(snapshot(network.eval()), snapshot(adapted))


@torch.no_grad()
def test_the_inference_form_gives_the_same(case: tuple[nn.Module, dict[str, int], AttendedModel]) -> None:
    _, groups, adapted = case
    fast, x = optimize(adapted), pictures(2)
    logits, maps = fast.forward_with_attention(x)
    expected, expected_maps = adapted.forward_with_attention(x)
    assert all(isinstance(fast.attention_of(name), FastULSAM) for name in groups)
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    for name in groups:
        torch.testing.assert_close(maps[name], expected_maps[name], rtol=1e-3, atol=1e-4)


def test_it_compiles_whole(case: tuple[nn.Module, dict[str, int], AttendedModel]) -> None:
    _, _, adapted = case
    torch.compiler.reset()
    compiled, x = torch.compile(adapted, backend="eager", fullgraph=True), pictures(1)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), adapted(x), rtol=1e-3, atol=1e-4 * float(adapted(x).abs().max()))
    torch.compiler.reset()


@pytest.fixture(scope="module")
def small() -> AttendedModel:
    torch.manual_seed(2)
    return insert_ulsam(livened(tv.mobilenet_v3_small()), {"features.5": 4, "features.8": 8}, example=EXAMPLE)


def test_two_threads_look_at_one_network_at_once(small: AttendedModel) -> None:
    both = threading.Barrier(2, timeout=PATIENCE)

    def meet(*_: object) -> None:
        both.wait()

    network = copy.deepcopy(small)
    network.feeding("features.8").register_forward_pre_hook(meet)  # in the middle of both passes
    inputs = [pictures(1, seed) for seed in (1, 2)]

    @torch.no_grad()
    def look(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return network.forward_with_attention(x)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(look, inputs))
    with torch.no_grad():
        for x, (logits, maps) in zip(inputs, found, strict=True):
            expected, expected_maps = small.forward_with_attention(x)
            assert torch.equal(logits, expected)
            assert all(torch.equal(maps[name], expected_maps[name]) for name in expected_maps)


def test_nothing_is_left_after_an_error(small: AttendedModel) -> None:
    before = snapshot(small)
    with pytest.raises(RuntimeError):
        small.forward_with_attention(torch.zeros(1, 4, SIDE, SIDE))
    with pytest.raises(RuntimeError):
        small.restart_at(pictures(1), "features.5").run({"features.8": lambda excess: excess[:, :5]})
    with pytest.raises(
        ValueError, match=r"layer features.3 carries no attention module; those that do: features.5, features.8"
    ):
        small.restart_at(pictures(1), "features.3")
    assert same(snapshot(small), before)
    with torch.no_grad():
        assert torch.equal(small(pictures(1)), small.forward_with_attention(pictures(1))[0])


def test_a_compiled_network_trains_and_tells_its_maps(small: AttendedModel) -> None:
    torch.compiler.reset()
    network, x = copy.deepcopy(small).train(), pictures(4)
    other = copy.deepcopy(network)
    compiled: Any = torch.compile(other, backend="eager")
    for model in (network, compiled):
        model(x).square().mean().backward()
    for (name, a), b in zip(network.named_parameters(), other.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5, msg=name)
    assert compiled.forward_with_attention(x)[1].keys() == set(small.attended)
    torch.compiler.reset()


@torch.no_grad()
def test_autocast_and_checkpoints_of_the_host(small: AttendedModel) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        logits, maps = small.forward_with_attention(pictures(1))
        assert torch.equal(logits, small(pictures(1)))
    assert all(own.dtype == torch.float32 for own in maps.values())
    host = timm.create_model("convnext_tiny")
    host.set_grad_checkpointing()
    adapted = insert_ulsam(host, {"stages.1": 4, "stages.2.blocks.1": 8}, example=EXAMPLE).train()
    with torch.enable_grad():
        logits, maps = adapted.forward_with_attention(pictures(2))
        (logits.square().sum() + maps["stages.2.blocks.1"].square().sum()).backward()
    assert adapted.attention_of("stages.2.blocks.1").depthwise.weight.grad.abs().max() > 0


def test_what_the_host_asks_of_a_submodule_is_answered() -> None:
    host = insert_ulsam(timm.create_model("mobilenetv3_small_050"), {"conv_stem": 2}, example=EXAMPLE)
    assert isinstance(host.model.conv_stem, AttendedLayer)
    assert host.model.conv_stem.stride == (2, 2)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = host.model.conv_stem.no_such_thing


def test_a_submodule_within_a_submodule() -> None:
    host = livened(tv.resnet18())
    adapted = insert_ulsam(host, {"layer4": 8, "layer4.1": 4}, example=EXAMPLE)
    assert adapted.attended == ("layer4.1", "layer4")
    assert {
        "layer4.attention.depthwise.weight",
        "layer4.layer.1.attention.depthwise.weight",
    } <= adapted.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(adapted(pictures(1)), with_hooks(host, adapted, pictures(1))[0])


@pytest.mark.parametrize("gain", ["published", "normalised"])
def test_modules_are_as_asked_for_where_the_host_is(gain: Gain) -> None:
    host = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU()).double().eval()
    host[0].requires_grad_(False)
    adapted = insert_ulsam(host, {"0": 3}, gain=gain, example=torch.zeros(1, 1, 9, 9))
    module = adapted.attention_of("0")
    assert isinstance(module, ULSAM) and (module.gain, module.groups, module.channels) == (gain, 3, 6)
    assert module.depthwise.weight.dtype == torch.float64 and not module.training
    assert not adapted.feeding("0").weight.requires_grad and module.depthwise.weight.requires_grad
    assert adapted.num_classes == 0  # its output is no logits
    output, maps = adapted.forward_with_attention(torch.randn(2, 1, 9, 9, dtype=torch.float64))
    assert output.shape == (2, 6, 7, 7) and maps["0"].shape == (2, 3, 7, 7)


class Odd(nn.Module):
    """Has one of everything that cannot carry a module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=4)
        self.again = nn.ReLU()
        self.idle = nn.Conv2d(8, 8, 1)
        self.twin = nn.Sequential(nn.Identity())
        self.shared = self.twin[0]
        self.norm = nn.LayerNorm(8)
        self.listed = nn.ModuleList([nn.Conv2d(8, 8, 1)])
        self.classifier = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twin(self.again(self.again(self.conv(x))))
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.classifier(self.listed[0](x).mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "groups", "reason"),
    [
        ("nothing", 2, "has no submodule 'nothing'"),
        ("again", 2, "'again' is called 2 times in a pass"),
        ("idle", 2, "'idle' is not called"),
        ("listed", 2, "'listed' is not called"),
        ("shared", 2, "'shared' stands in several places"),
        ("norm", 2, r"'norm' returns the shape \(1, 8, 8, 8\)|which is \(N, H, W, C\)"),
        ("classifier", 1, r"'classifier' returns the shape \(1, 5\), not features"),
        ("conv", 3, "3 groups do not divide the 8 channels of 'conv' evenly; these do: 1, 2, 4, 8"),
        ("conv", 0, "0 groups do not divide"),
    ],
)
def test_what_cannot_be_is_refused_and_what_can_is_listed(name: str, groups: int, reason: str) -> None:
    host = Odd()
    before = snapshot(host)
    with pytest.raises(InsertionError, match=reason) as caught:
        insert_ulsam(host, {name: groups}, example=torch.zeros(1, 3, 40, 40))
    if name != "conv":
        assert "These fit (channels x height x width): conv (8x10x10), twin (8x10x10), listed.0 (8x10x10)" in str(
            caught.value
        )
    assert same(snapshot(host), before)


def test_channels_last_is_told_from_channels_first() -> None:
    swin = tv.swin_t()
    with pytest.raises(InsertionError, match=r"which is \(N, H, W, C\), not \(N, C, H, W\)") as caught:
        insert_ulsam(swin, {"features.3": 4}, example=EXAMPLE)
    assert "permute (768x3x3)" in str(caught.value)
    names = {place.name for place in places_of(tv.convnext_tiny(), torch.zeros(1, 3, 96, 128))}
    assert "features.1.0" in names and "features.1.0.block.0" in names  # blocks return (N, C, H, W)
    assert not names & {f"features.1.0.block.{i}" for i in (1, 2, 3, 4)}  # but compute on (N, H, W, C) inside


def test_an_example_that_the_host_does_not_take_is_refused_in_words() -> None:
    host = nn.Sequential(nn.Conv2d(1, 4, 3))
    with pytest.raises(InsertionError, match=r"cannot run an example of shape \(1, 3, 224, 224\).*example="):
        insert_ulsam(host, {"0": 2})
    with pytest.raises(InsertionError, match="name at least one"):
        insert_ulsam(host, {})
    with pytest.raises(ValueError, match="gain must be one of"):
        insert_ulsam(host, {"0": 2}, gain="loud")  # type: ignore[arg-type]


def test_a_module_that_is_called_again_in_a_later_pass_has_no_one_map() -> None:
    class Repeats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.times = nn.Conv2d(3, 3, 1), 1

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(self.times):
                x = self.conv(x)
            return x.mean((2, 3))

    adapted = insert_ulsam(Repeats(), {"conv": 1}, example=EXAMPLE)
    adapted.model.times = 2  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="called 'conv' several times in one pass"):
        adapted.forward_with_attention(pictures(1))
    adapted(pictures(1))


def test_inserting_draws_only_for_the_modules_themselves() -> None:
    host = tv.mobilenet_v3_small()
    torch.manual_seed(1)
    adapted = insert_ulsam(host, {"features.5": 4}, example=EXAMPLE)
    torch.manual_seed(1)
    alone = ULSAM(40, 4)
    assert all(
        torch.equal(v, alone.state_dict()[k]) for k, v in adapted.attention_of("features.5").state_dict().items()
    )
