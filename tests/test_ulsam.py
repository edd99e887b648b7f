"""The module: equal to the equations, in both forms; its maps, gains, gradients and refusals."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.oracle import ReferenceLoop, trained_looking
from ulsam_viz.models.ulsam import ULSAM, FastULSAM

GROUPS = (1, 2, 4, 8, 16)


def pair(channels: int, groups: int, seed: int = 0) -> tuple[ReferenceLoop, ULSAM]:
    reference = trained_looking(ReferenceLoop(channels, groups), seed)
    assert isinstance(reference, ReferenceLoop)
    return reference, ULSAM.from_reference(reference.state_dict())


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("shape", [(1, 32, 14, 14), (3, 48, 7, 7), (2, 16, 13, 9), (1, 64, 1, 1), (2, 32, 2, 5), (1, 512, 14, 14)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_both_forms_equal_the_equations(groups: int, shape: tuple[int, int, int, int], layout: torch.memory_format) -> None:
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


KERNEL_AGAINST_PLAIN_FORM = """
import sys, torch
from tests.test_ulsam import pair
from ulsam_viz.models.ulsam import FastULSAM
from ulsam_viz.models.ulsam_cuda import fused
for channels, groups, side in ((16, 1, (14, 14)), (16, 4, (7, 5)), (32, 16, (9, 9)), (8, 8, (1, 1)), (12, 2, (3, 20))):
    _, module = pair(channels, groups)
    fast = FastULSAM(module)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, channels, *side).contiguous(memory_format=layout)
        expected, expected_maps = fast.forward_with_attention(x)
        x, (scale, shift, weight, bias) = x.to(sys.argv[1]), (t.to(sys.argv[1]) for t in (fast.scale, fast.shift, fast.weight, fast.bias))
        out, maps = (t.cpu() for t in fused(x, scale, shift, weight, bias))
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(maps, expected_maps, atol=1e-5, rtol=1e-5)
        assert out.stride() == x.stride()
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton ships with PyTorch for Linux only")
def test_the_cuda_kernel_equals_the_plain_form() -> None:
    """By Triton's interpreter on the CPU, chosen when Triton is imported, hence the process; and on the GPU if there is one."""
    for device, interpret in (("cpu", "1"), ("cuda", "0"))[: 1 + torch.cuda.is_available()]:
        env = os.environ | {"TRITON_INTERPRET": interpret}
        command = [sys.executable, "-c", KERNEL_AGAINST_PLAIN_FORM, device]
        subprocess.run(command, check=True, env=env, cwd=Path(__file__).parent.parent)


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
    ("channels", "groups", "reason"), [(30, 4, "4 groups do not divide 30"), (8, 0, "at least 1"), (8, -2, "at least 1")]
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
