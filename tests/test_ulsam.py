"""The module: equal to the equations, in both forms; its maps, gains, gradients and refusals."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.oracle import ReferenceLoop, trained_looking
from ulsam_viz.models.ulsam import ULSAM, FastULSAM

GROUPS = (1, 2, 4, 8, 16)


def pair(channels: int, groups: int, seed: int = 0) -> tuple[ReferenceLoop, ULSAM]:
    reference = trained_looking(ReferenceLoop(channels, groups), seed)
    assert isinstance(reference, ReferenceLoop)
    return reference, ULSAM.from_reference(reference.state_dict())


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize(
    "shape", [(1, 32, 14, 14), (3, 48, 7, 7), (2, 16, 13, 9), (1, 64, 1, 1), (2, 32, 2, 5), (1, 512, 14, 14)]
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_both_forms_equal_the_equations(
    groups: int, shape: tuple[int, int, int, int], layout: torch.memory_format
) -> None:
    reference, module = pair(shape[1], groups)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=layout)
    before = x.clone()
    expected, expected_maps = reference(x)
    for form in (module, FastULSAM(module)):
        out, maps = form.forward_with_attention(x)
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(maps, expected_maps, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(maps.sum((2, 3)), torch.ones(shape[0], groups), atol=1e-5, rtol=0)
        assert torch.equal(form(x), out) and torch.equal(form.attention(x), maps)
        assert out.is_contiguous(memory_format=layout)
        with_gradient, maps = form.forward_with_attention(x.clone(memory_format=torch.preserve_format).requires_grad_())
        torch.testing.assert_close(with_gradient, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(maps, expected_maps, atol=1e-5, rtol=1e-5)
    assert torch.equal(x, before)


class _Operations(TorchDispatchMode):
    """Notes which operations run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def runs_by_parts(module: nn.Module, x: Tensor) -> bool:
    """Whether a call computes the paper's steps one by one, which only they do by a convolution."""
    with _Operations() as seen:
        module(x)
    return bool(seen.names & {"convolution", "_convolution", "mkldnn_convolution", "convolution_overrideable"})


def by_parts(module: ULSAM, x: Tensor) -> Tensor:
    z = module.pool(module.depthwise_relu(module.depthwise_norm(module.depthwise(x))))
    logits = module.pointwise_relu(module.pointwise_norm(module.pointwise(z)))
    return (
        x.unflatten(1, (module.groups, -1))
        .mul(1 + module.softmax(logits.flatten(2)).view_as(logits).unsqueeze(2))
        .flatten(1, 2)
    )


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("shape", [(2, 32, 14, 14), (2, 32, 1, 9), (1, 16, 7, 1), (1, 16, 1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_module_as_called_takes_the_fast_way_where_nobody_asks_for_gradients(
    groups: int, shape: tuple[int, int, int, int], layout: torch.memory_format, dtype: torch.dtype
) -> None:
    _, module = pair(shape[1], groups)
    module.to(dtype)
    x = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=layout)
    expected = by_parts(module, x).detach()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            torch.testing.assert_close(module(x), expected)
            assert module(x).is_contiguous(memory_format=layout)
            assert not runs_by_parts(module, x)
    assert runs_by_parts(module, x)  # its parameters ask
    module.requires_grad_(False)
    assert not runs_by_parts(module, x)
    assert runs_by_parts(module, x.clone().requires_grad_())


@torch.no_grad()
@pytest.mark.parametrize("form", [lambda m: m, FastULSAM])
def test_no_pictures_give_no_features(form: Callable[[ULSAM], ULSAM | FastULSAM]) -> None:
    out, maps = form(pair(16, 4)[1]).forward_with_attention(torch.empty(0, 16, 5, 5))
    assert (out.shape, maps.shape) == ((0, 16, 5, 5), (0, 4, 5, 5))


@torch.no_grad()
def test_training_mode_runs_the_parts_in_whole_or_in_part() -> None:
    _, module = pair(16, 4)
    x = torch.randn(2, 16, 5, 5)
    for part in (module, module.depthwise_norm, module.pointwise_norm):
        assert not runs_by_parts(module, x)
        part.training = True
        assert runs_by_parts(module, x)
        part.training = False


@torch.no_grad()
def test_the_fast_way_is_never_behind_the_weights() -> None:
    _, module = pair(16, 4)
    x = torch.randn(2, 16, 6, 5)
    keys = set(module.state_dict())

    def agrees(module: ULSAM, x: Tensor = x) -> None:
        assert not runs_by_parts(module, x)
        torch.testing.assert_close(module(x), by_parts(module, x))

    agrees(module)
    before = module(x)
    for change in (
        lambda: module.depthwise.weight.mul_(-2),
        lambda: module.depthwise_norm.bias.data.add_(1),  # leaves no trace on the tensor's version
        lambda: module.pointwise.weight.detach().numpy().fill(0.5),
        lambda: module.state_dict()["pointwise_norm.running_var"].fill_(0.1),
        lambda: setattr(module.pointwise.weight, "data", torch.randn(4, 4, 1, 1)),
        lambda: module.load_state_dict(pair(16, 4, seed=7)[1].state_dict()),
        lambda: setattr(module, "depthwise", nn.Conv2d(16, 16, 1, groups=16)),
    ):
        change()
        agrees(module)
        assert not torch.equal(module(x), before)
        before = module(x)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        agrees(twin)
        twin.depthwise_norm.weight.mul_(-1)
        assert not torch.equal(twin(x), module(x))
        agrees(twin)
    swapped = {"depthwise.bias": torch.linspace(-3, 3, 16)}
    given = torch.func.functional_call(module, swapped, x)
    module.load_state_dict(swapped, strict=False)
    torch.testing.assert_close(given, by_parts(module, x))
    agrees(module.double(), x.double())
    assert set(module.state_dict()) == keys
    half = module.bfloat16()
    assert (
        torch.equal(half(x.bfloat16()), half.train(False)(x.bfloat16())) and half(x.bfloat16()).dtype == torch.bfloat16
    )


PARTS = [name for name, _ in ULSAM(4, 2).named_children()]


@torch.no_grad()
@pytest.mark.parametrize("part", PARTS)
def test_hooks_on_a_part_are_honoured(part: str) -> None:
    _, module = pair(16, 4)
    x = torch.randn(1, 16, 5, 5)
    seen: list[Any] = []
    own = getattr(module, part)
    hooks: list[Callable[[], Any]] = [
        lambda: own.register_forward_hook(lambda *a: seen.append(a)),
        lambda: own.register_forward_pre_hook(lambda *a: seen.append(a)),
        lambda: nn.modules.module.register_module_forward_hook(lambda m, *a: seen.append(a) if m is own else None),
    ]
    for add in hooks:
        seen.clear()
        handle = add()
        try:
            module(x)
            assert len(seen) == 1
        finally:
            handle.remove()
        assert not runs_by_parts(module, x)
    handle = own.register_forward_hook(lambda m, inputs, output: output * 0.5)
    assert not torch.equal(module(x), FastULSAM(pair(16, 4)[1])(x)) or part == "softmax"
    with pytest.raises(ValueError, match="hooks"):
        FastULSAM(module)
    handle.remove()
    own.forward = lambda x: type(own).forward(own, x)  # as tools do that wrap a layer
    assert runs_by_parts(module, x)


class _Halved(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 2


@torch.no_grad()
@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "pool", nn.MaxPool2d(5, stride=1, padding=2)),
        lambda m: setattr(m, "pool", nn.AvgPool2d(3, stride=1, padding=1)),
        lambda m: setattr(m, "depthwise", nn.Conv2d(16, 16, 3, padding=1, groups=16)),
        lambda m: setattr(m, "depthwise", nn.Conv2d(16, 16, 1, groups=16, bias=False)),
        lambda m: setattr(m, "pointwise", nn.Conv2d(16, 4, 1)),
        lambda m: setattr(m, "pointwise_relu", nn.Identity()),
        lambda m: setattr(m, "depthwise_norm", nn.BatchNorm2d(16, track_running_stats=False)),
        lambda m: setattr(m, "depthwise_norm", nn.BatchNorm2d(16, affine=False).eval()),
        lambda m: setattr(m, "pointwise_norm", nn.InstanceNorm2d(4)),
        lambda m: nn.utils.parametrize.register_parametrization(m.depthwise, "weight", _Halved()),
    ],
)
def test_parts_that_were_replaced_are_what_runs(change: Callable[[ULSAM], None]) -> None:
    _, module = pair(16, 4)
    x = torch.randn(2, 16, 6, 5)
    change(module)
    assert runs_by_parts(module, x)
    torch.testing.assert_close(module(x), by_parts(module, x))
    with pytest.raises(ValueError, match="replaced"):
        FastULSAM(module)


@torch.no_grad()
def test_what_does_not_fit_is_refused_in_eval_mode_too() -> None:
    _, module = pair(16, 4)
    with pytest.raises(RuntimeError, match="16 channels"):
        module(torch.randn(1, 8, 5, 5))
    with pytest.raises(ValueError, match="4D"):
        module(torch.randn(16, 5, 5))
    with pytest.raises(RuntimeError, match=r"[dD]ouble"):
        module(torch.randn(1, 16, 5, 5).double())


@torch.no_grad()
@pytest.mark.parametrize("form", [lambda m: m, FastULSAM])
def test_compilers_tracers_and_transforms_see_plain_steps(form: Callable[[ULSAM], ULSAM | FastULSAM]) -> None:
    module = form(pair(16, 4)[1])
    x, y = torch.randn(2, 16, 6, 6), torch.randn(2, 16, 6, 6)
    for made in (
        torch.compile(module, backend="eager", fullgraph=True),
        torch.jit.trace(module, x),
        torch.fx.symbolic_trace(module),
        torch.export.export(module, (x,)).module(),
    ):
        torch.testing.assert_close(made(y), module(y))
    tangent: Tensor = torch.func.jvp(module, (x,), (y,))[1]
    step = 1e-6
    difference = (module.double()(x.double() + step * y) - module(x.double() - step * y)) / (2 * step)
    torch.testing.assert_close(tangent.double(), difference, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_the_module_can_be_scripted_and_mapped() -> None:
    _, module = pair(16, 4)
    x = torch.randn(3, 16, 6, 6)
    torch.testing.assert_close(torch.jit.script(module)(x), module(x))
    torch.testing.assert_close(torch.func.vmap(lambda one: module(one[None])[0])(x), module(x))


@pytest.mark.parametrize("form", [lambda m: m, FastULSAM, lambda m: m.train()])
def test_the_gain_survives_autocast(form: Callable[[ULSAM], ULSAM | FastULSAM]) -> None:
    """A gain of half a percent is less than a step of bfloat16.

    Rounded to that, much of what goes in comes out unchanged.
    """
    module = form(pair(64, 4)[1])
    conv = nn.Conv2d(3, 64, 1)
    pictures = torch.randn(2, 3, 14, 14)
    with torch.autocast("cpu", torch.bfloat16):
        features = conv(pictures)
        assert features.dtype == torch.bfloat16
        out, maps = module.forward_with_attention(features)
        attention = module.attention(features)
    assert out.dtype == maps.dtype == torch.float32
    x = features.detach().float()
    seen = x != 0
    if not module.training:  # whose running statistics have moved
        expected, expected_maps = module.forward_with_attention(x)
        assert torch.equal(out, expected) and torch.equal(maps, expected_maps) and torch.equal(maps, attention)
    amplified = maps.detach().repeat_interleave(16, 1) > 1e-4
    assert (out == x)[seen & amplified].float().mean() < 0.01
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in conv.parameters())
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in module.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_features_of_half_precision_are_raised_to_the_modules_own(dtype: torch.dtype) -> None:
    _, module = pair(32, 4)
    x = torch.randn(1, 32, 7, 7).to(dtype)
    for form in (module, FastULSAM(module)):
        out, maps = form.forward_with_attention(x)
        torch.testing.assert_close(out, by_parts(module, x.float()))
        assert maps.dtype == torch.float32


class _LargestResult(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_no_temporary_is_larger_than_the_input(layout: torch.memory_format) -> None:
    _, module = pair(64, 4)
    fast, x = FastULSAM(module), torch.randn(2, 64, 14, 14).contiguous(memory_format=layout)
    with torch.inference_mode(), _LargestResult() as seen:
        fast(x)
    assert seen.elements == x.numel()


def test_odd_views_are_read_as_they_are() -> None:
    """Neither layout: a slice of a larger tensor, and a transposed one."""
    reference, module = pair(16, 4)
    whole = torch.randn(2, 40, 9, 11)
    for x in (whole[:, 3:19, 1:, ::2], whole[:, :16].transpose(2, 3)):
        torch.testing.assert_close(FastULSAM(module)(x), reference(x)[0], atol=1e-5, rtol=1e-5)


def test_the_training_form_normalises_by_batch_like_the_loop() -> None:
    reference, module = pair(24, 4)
    reference.train(), module.train()
    x = torch.randn(5, 24, 8, 8)
    torch.testing.assert_close(module(x), reference(x)[0], atol=1e-5, rtol=1e-5)
    assert {n.momentum for n in module.modules() if isinstance(n, nn.BatchNorm2d)} == {0.1}


@pytest.mark.parametrize("groups", GROUPS)
def test_gradients_of_the_fast_form_are_right(groups: int) -> None:
    reference, module = pair(32, groups, seed=3)
    gradients = []
    for form in (reference, FastULSAM(module)):
        x = torch.randn(2, 32, 9, 9, generator=torch.Generator().manual_seed(5)).requires_grad_()
        out = form(x)[0] if form is reference else form(x)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-4)


def test_the_fast_form_works_in_bfloat16_and_reads_without_changing() -> None:
    _, module = pair(64, 8)
    state = {k: v.clone() for k, v in module.state_dict().items()}
    fast = FastULSAM(module)
    x = torch.randn(2, 64, 14, 14)
    torch.testing.assert_close(fast.bfloat16()(x.bfloat16()).float(), module(x), atol=0.05, rtol=0.05)
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())


def test_a_map_whose_logits_are_all_clipped_is_uniform() -> None:
    module = ULSAM(8, 2).eval()
    nn.init.constant_(module.pointwise_norm.bias, -100)
    for form in (module, FastULSAM(module)):
        torch.testing.assert_close(form.attention(torch.randn(1, 8, 6, 5)), torch.full((1, 2, 6, 5), 1 / 30))


def test_groups_nest_and_stay_in_order() -> None:
    """Changing the first half of the channels changes the first half of the maps only."""
    module = ULSAM(32, 4).eval()
    nn.init.constant_(module.pointwise_norm.bias, 3)  # far from clipping: every map is alive
    x = torch.randn(1, 32, 7, 7)
    y = x.clone()
    y[:, :16] += torch.randn(1, 16, 7, 7)
    for form in (module, FastULSAM(module)):
        changed = (form.attention(x) != form.attention(y)).any(-1).any(-1)[0]
        assert changed.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("channels", "groups", "reason"),
    [(30, 4, "4 groups do not divide 30"), (8, 0, "at least 1"), (8, -2, "at least 1")],
)
def test_group_counts_that_cannot_be_are_refused(channels: int, groups: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ULSAM(channels, groups)


def test_from_reference_refuses_what_is_not_the_reference() -> None:
    state = ReferenceLoop(16, 2).state_dict()
    ULSAM.from_reference({f"features.11.{k}": v for k, v in state.items()})
    with pytest.raises(ValueError, match="is not a key"):
        ULSAM.from_reference({"conv.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"bn_point\.weight"):
        ULSAM.from_reference({k: v for k, v in state.items() if k != "subspaces.1.bn_point.weight"})
    with pytest.raises(ValueError, match="subspaces 0, 1"):
        ULSAM.from_reference({k: v for k, v in state.items() if ".0." not in k})
    with pytest.raises(ValueError, match="shape"):
        ULSAM.from_reference(state | {"subspaces.0.conv_dws.weight": torch.zeros(8, 1, 3, 3)})
    with pytest.raises(ValueError, match="does not hold"):
        ULSAM.from_reference({})
