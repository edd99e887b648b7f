"""ULSAM in inference form as one CUDA kernel, written in Triton: an option of :class:`~ulsam_viz.models.ulsam.FastULSAM`.

One program computes one subspace of one picture: it reads the subspace's channels twice, writes them once, and keeps
everything between in registers. It walks over the channels one after the other, so with few pictures and few subspaces most
of a GPU has nothing to do: hence no default. Imported only where it was asked for, since Triton ships with PyTorch for Linux
alone.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]
    x,
    out,
    maps,
    scale,
    shift,
    weight,
    bias,
    size,  # channels of a subspace
    height,
    width,
    x_n,
    x_c,
    x_h,
    x_w,
    out_n,
    out_c,
    out_h,
    out_w,
    block: tl.constexpr,
):
    k = tl.program_id(0)
    n = tl.program_id(1).to(tl.int64)
    place = tl.arange(0, block)
    inside = place < height * width
    row, column = place // width, place % width
    first = k * size
    logits = tl.zeros((block,), tl.float32)
    for c in range(size):
        channel = first + c
        factor, offset = tl.load(scale + channel), tl.load(shift + channel)
        source = x + n * x_n + channel * x_c
        pooled = tl.zeros((block,), tl.float32)  # values after a ReLU: zero is also what lies outside
        for i in tl.static_range(-1, 2):
            for j in tl.static_range(-1, 2):
                r, q = row + i, column + j
                there = inside & (r >= 0) & (r < height) & (q >= 0) & (q < width)
                value = tl.load(source + r * x_h + q * x_w, mask=there, other=0.0)
                pooled = tl.maximum(pooled, tl.where(there, value * factor + offset, 0.0))
        logits += tl.load(weight + channel) * pooled
    logits = tl.maximum(logits + tl.load(bias + k), 0.0)
    logits = tl.where(inside, logits, -float("inf"))
    exponentials = tl.exp(logits - tl.max(logits, 0))
    attention = exponentials / tl.sum(exponentials, 0)
    tl.store(maps + (n * tl.num_programs(0) + k) * height * width + place, attention, mask=inside)
    for c in range(size):
        channel = first + c
        value = tl.load(x + n * x_n + channel * x_c + row * x_h + column * x_w, mask=inside, other=0.0)
        target = out + n * out_n + channel * out_c + row * out_h + column * out_w
        tl.store(target, value * (1.0 + attention), mask=inside)


def fused(x: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Run the whole module.

    Args:
        x: Features, shape (N, m, H, W), any layout, float32, H * W at most ``KERNEL_POSITIONS`` of
            :mod:`~ulsam_viz.models.ulsam`.
        scale, shift: What the depthwise convolution and its BatchNorm come to, m values each.
        weight: Of the pointwise sum, m values.
        bias: Of each subspace, g values.

    Returns:
        Features in the layout of ``x``, and maps (N, g, H, W).

    Raises:
        ValueError: If the features are not float32: the kernel's sums are, so it would lose what float64 is for.
    """
    if x.dtype != torch.float32:
        raise ValueError(f"the kernel computes in float32, not {x.dtype}")
    n, m, h, w = x.shape
    groups = bias.numel()
    out = torch.empty_like(x)  # keeps the layout
    maps = torch.empty((n, groups, h, w), dtype=x.dtype, device=x.device)
    block = triton.next_power_of_2(h * w)
    with torch.cuda.device_of(x):  # Triton launches on the current device, which need not be the one of x
        _kernel[groups, n](
            x,
            out,
            maps,
            scale,
            shift,
            weight,
            bias,
            m // groups,
            h,
            w,
            *x.stride(),
            *out.stride(),
            block=block,
            num_warps=min(8, max(1, block // 128)),
        )
    return out, maps
