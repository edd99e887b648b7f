"""ULSAM: Ultra-Lightweight Subspace Attention Module, in training form and in fast inference form.

Saini, Jha, Das, Mittal, Mohan, "ULSAM: Ultra-Lightweight Subspace Attention Module for Compact
Convolutional Neural Networks", WACV 2020, arXiv:2006.15102. Written from the paper's equations:

    logits_k = ReLU(BN(PW(MaxPool3x3(ReLU(BN(DW(F_k)))))))        for each subspace k of G = m / g channels
    A_k      = softmax of logits_k over all H * W positions       one map a subspace, sums to 1
    out_k    = F_k + A_k * F_k

The g small networks of the equations are one depthwise and one grouped convolution here: group k of the
grouped convolution reads exactly the G channels of subspace k.

In eval mode, where no gradient is asked for, both run as a few element-wise steps on the CPU: :class:`ULSAM` folds its
norms at each call, so it is never behind its weights, and :class:`FastULSAM` did so once.

Precision: a gain 1 + A lies about 0.5 % above 1 at 14x14, and a step of bfloat16 is 0.4 to 0.8 %. So both forms compute
in the precision of their weights whatever autocast says, and return features in it; the next layer's autocast casts
again.

The gain 1 + A is in the mean hardly more than 1: A sums to 1 over H * W places, so that mean is 1 + 1 / (H * W). The
*normalised* gain (1 + H * W * A) / 2 has mean 1 whatever the grid, and runs from a half to far above. It is this
project's, not the paper's.

Deviation: the authors' code sets BatchNorm's momentum to 0.9, which in PyTorch means "nearly the last batch
only"; this module keeps PyTorch's 0.1. State dicts stay convertible both ways in meaning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.jit import is_scripting, is_tracing, unused  # type: ignore[attr-defined]
from torch.nn import functional
from torch.nn.modules.module import _has_any_global_hook

#: What maps become of features: ``"published"`` is the paper's 1 + A, ``"normalised"`` this project's (1 + H * W * A) /
#: 2.
Gain = Literal["published", "normalised"]
GAINS: tuple[Gain, ...] = get_args(Gain)


class ULSAM(nn.Module):
    """Subspace attention, every step of the equations its own module.

    In eval mode, where neither the input nor a parameter asks for a gradient, the steps run folded and in place on the
    CPU: the same outputs many times as fast. The parts themselves run wherever somebody looks at them (hooks,
    compilers, tracers, transforms such as ``vmap``) or one of them was replaced.

    Args:
        channels: Channels m of the input.
        groups: Number of subspaces g; must divide ``channels``.
        gain: See :data:`Gain`.

    Raises:
        ValueError: If ``groups`` is not positive or does not divide ``channels``, or the gain is unknown.

    Reference:
        Saini et al., ULSAM, WACV 2020, section 3.
    """

    def __init__(self, channels: int, groups: int, gain: Gain = "published") -> None:
        super().__init__()
        check_groups(channels, groups)
        check_gain(gain)
        self.channels, self.groups, self.gain = channels, groups, gain
        self.depthwise = nn.Conv2d(channels, channels, 1, groups=channels)
        self.depthwise_norm = nn.BatchNorm2d(channels)
        self.depthwise_relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.pointwise = nn.Conv2d(channels, groups, 1, groups=groups)
        self.pointwise_norm = nn.BatchNorm2d(groups)
        self.pointwise_relu = nn.ReLU()
        self.softmax = nn.Softmax(dim=-1)

    def extra_repr(self) -> str:
        """Return what tells it from other modules, for people."""
        return f"channels={self.channels}, groups={self.groups}, gain={self.gain}"

    def attention(self, x: Tensor) -> Tensor:
        """Compute the attention maps alone.

        Args:
            x: Features, shape (N, m, H, W).

        Returns:
            Maps, shape (N, g, H, W); each sums to 1 over its H * W positions. In the parameters' precision.
        """
        if is_scripting():  # compiles neither contexts nor what looks at types
            return self._attention_by_parts(x)
        else:
            x = _raised(x, self)
            with _without_autocast(x):
                folded = self._folded_for(x)
                return self._attention_by_parts(x) if folded is None else _maps_in_place(x, *folded)

    def _attention_by_parts(self, x: Tensor) -> Tensor:
        z = self.depthwise_relu(self.depthwise_norm(self.depthwise(x)))
        logits = self.pointwise_relu(self.pointwise_norm(self.pointwise(self.pool(z))))  # (N, g, H, W)
        return self.softmax(logits.flatten(2)).view_as(logits)

    @unused
    def _folded_for(self, x: Tensor) -> Folded | None:
        """Return what stands for the parts, if it may. On the CPU only: on a GPU, folding would be most of the time."""
        if self.training or not _is_eager(x) or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
            return None
        if torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in self.parameters())):
            return None
        # What does not fit is refused by the parts, in PyTorch's own words.
        return fold(self, x.dtype) if x.ndim == 4 and x.shape[1] == self.channels else None

    def excess(self, x: Tensor) -> Tensor:
        """Return the gain minus 1, shape (N, g, H, W); see :func:`excess_gain`."""
        return excess_gain(self.attention(x), self.gain)

    def forward_with_attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the re-weighted features (N, m, H, W) and the maps (N, g, H, W) of one pass."""
        if not is_scripting():
            x = _raised(x, self)
        maps = self.attention(x)
        return apply_gain(x, excess_gain(maps, self.gain)), maps

    def forward(self, x: Tensor) -> Tensor:
        """Return the re-weighted features, shape (N, m, H, W)."""
        return self.forward_with_attention(x)[0]

    @classmethod
    def from_reference(cls, state_dict: Mapping[str, Tensor]) -> ULSAM:
        """Build the module from a state dict of the paper's own code.

        The authors' module keeps one small network for each subspace: ``subspaces.{k}.conv_dws``, ``.bn_dws``,
        ``.conv_point``, ``.bn_point``. Joined along the channels, they are this module's four layers.

        Args:
            state_dict: The reference module's state dict; a prefix before ``subspaces.`` is allowed, other keys are
                not.

        Returns:
            A module in eval mode, in the dtype of the given weights, with outputs equal to the reference's.

        Raises:
            ValueError: If keys or shapes are not those of the reference module; the message names them.
        """
        parts = _reference_subspaces(state_dict)
        expected = {f"{layer}.{name}" for layer in ("conv_dws", "conv_point") for name in ("weight", "bias")}
        expected |= {
            f"{layer}.{name}"
            for layer in ("bn_dws", "bn_point")
            for name in ("weight", "bias", "running_mean", "running_var")
        }
        optional = {"bn_dws.num_batches_tracked", "bn_point.num_batches_tracked"}
        for k, part in parts.items():
            if wrong := (part.keys() ^ expected) - (optional & part.keys()):
                raise ValueError(
                    f"subspace {k} of the state dict has missing or unknown keys: {', '.join(sorted(wrong))}"
                )

        renamed = {}
        names = {
            "conv_dws": "depthwise",
            "bn_dws": "depthwise_norm",
            "conv_point": "pointwise",
            "bn_point": "pointwise_norm",
        }
        for key in sorted(expected):
            layer, name = key.split(".")
            try:
                renamed[f"{names[layer]}.{name}"] = torch.cat([parts[k][key] for k in range(len(parts))])
            except RuntimeError as error:
                raise ValueError(f"the subspaces disagree in the shape of '{key}'") from error
        for key in optional & parts[0].keys():
            layer, name = key.split(".")
            renamed[f"{names[layer]}.{name}"] = parts[0][key]

        channels = renamed["depthwise.weight"].shape[0]
        module = cls(channels, len(parts)).to(renamed["depthwise.weight"].dtype)
        own = module.state_dict()
        for key, value in renamed.items():
            if value.shape != own[key].shape:
                raise ValueError(f"'{key}' has shape {tuple(value.shape)}, expected {tuple(own[key].shape)}")
        module.load_state_dict(own | renamed)
        return module.eval()


def _reference_subspaces(state_dict: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Return the reference module's tensors by subspace and by the rest of their keys.

    ValueError where a key is of none.
    """
    parts: dict[int, dict[str, Tensor]] = {}
    prefixes = set()
    for key, value in state_dict.items():
        match = re.fullmatch(r"(.*?)subspaces\.(\d+)\.(.+)", key)
        if not match:
            raise ValueError(f"'{key}' is not a key of the reference ULSAM module")
        prefixes.add(match[1])
        parts.setdefault(int(match[2]), {})[match[3]] = value
    if not parts or sorted(parts) != list(range(len(parts))) or len(prefixes) != 1:
        raise ValueError("the state dict does not hold subspaces 0, 1, ... of one reference ULSAM module")
    return parts


# What :func:`fold` returns: scale, shift, weight and bias.
Folded = tuple[Tensor, Tensor, Tensor, Tensor]

# The parts of a ULSAM as it was made, in order.
_KINDS = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Softmax)


class FastULSAM(nn.Module):
    """ULSAM in inference form: folded once, and fast with a gradient for the input too.

    Where no gradient is asked for, every step works in place on two buffers of the input's size, along whichever
    dimension is contiguous in memory. Otherwise the same steps are differentiable with respect to the input, and each
    non-linearity is its own module, so attributions through this form are right.

    Args:
        module: A trained module; it is read, never changed.

    Attributes:
        scale, shift: Per channel, shape (m, 1, 1).
        weight: Weights of the pointwise sum, shape (g, 1, G).
        bias: Shape (g, 1, 1).

    Raises:
        ValueError: If parts of the module were replaced, set otherwise or have hooks.
    """

    scale: Tensor
    shift: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, module: ULSAM) -> None:
        super().__init__()
        with torch.no_grad():
            folded = fold(module)
        if folded is None:
            raise ValueError("the module cannot be folded: parts of it were replaced, set otherwise or have hooks")
        self.channels, self.groups, self.gain = module.channels, module.groups, module.gain
        for name, value in zip(("scale", "shift", "weight", "bias"), folded, strict=True):
            self.register_buffer(name, value)
        # Modules, not functions: guided backpropagation finds non-linearities by their type.
        self.depthwise_relu = nn.ReLU()
        self.pointwise_relu = nn.ReLU()
        self.softmax = nn.Softmax(dim=-1)

    def attention(self, x: Tensor) -> Tensor:
        """Compute the maps: (N, m, H, W) -> (N, g, H, W), each summing to 1."""
        x = _raised(x, self)
        with _without_autocast(x):
            if _is_eager(x) and not _asks_for_gradient(x):
                return _maps_in_place(x, self.scale, self.shift, self.weight, self.bias)
            n, m, h, w = x.shape
            # Its gradient takes one pass with channels_last; in the other layout it is slow.
            z = self.depthwise_relu(
                torch.addcmul(self.shift, x, self.scale).contiguous(memory_format=torch.channels_last)
            )
            z = functional.max_pool2d(z, 3, stride=1, padding=1)
            logits = self.weight @ z.reshape(n, self.groups, m // self.groups, h * w) + self.bias  # (N, g, 1, H*W)
            return self.softmax(self.pointwise_relu(logits)).view(n, self.groups, h, w)

    def excess(self, x: Tensor) -> Tensor:
        """Return the gain minus 1, shape (N, g, H, W); see :func:`excess_gain`."""
        return excess_gain(self.attention(x), self.gain)

    def forward_with_attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the re-weighted features (N, m, H, W) and the maps (N, g, H, W) of one pass."""
        x = _raised(x, self)
        maps = self.attention(x)
        return apply_gain(x, excess_gain(maps, self.gain)), maps

    def forward(self, x: Tensor) -> Tensor:
        """Return the re-weighted features, shape (N, m, H, W)."""
        return self.forward_with_attention(x)[0]


def transparent_module(channels: int, groups: int, gain: Gain = "published") -> ULSAM:
    """Return a module in eval mode whose depthwise weights and norms change nothing, and whose pointwise sum is a mean.

    To start from by hand, or to time. Nothing is drawn from the process's random generators.
    """
    with torch.device("meta"):
        module = ULSAM(channels, groups, gain)
    module = module.to_empty(device="cpu").float().eval()
    for name, value in module.state_dict().items():
        value.fill_(
            1
            if name in ("depthwise.weight", "pointwise.weight") or name.endswith(("norm.weight", "running_var"))
            else 0
        )
    module.state_dict()["pointwise.weight"].div_(channels // groups)
    module.depthwise_norm.eps = module.pointwise_norm.eps = 0.0
    return module


def check_groups(channels: int, groups: int) -> None:
    """Raise ValueError, with the reason, unless ``groups`` subspaces can share ``channels`` evenly."""
    if groups < 1:
        raise ValueError(f"groups must be at least 1, not {groups}")
    if channels % groups:
        raise ValueError(f"{groups} groups do not divide {channels} channels: each subspace needs the same number")


def check_gain(gain: str) -> None:
    """Raise ValueError unless this is one of :data:`GAINS`."""
    if gain not in ("published", "normalised"):
        raise ValueError(f"gain must be one of published, normalised, not '{gain}'")


def excess_gain(maps: Tensor, gain: str) -> Tensor:
    """Return the gain minus 1 of maps A, shape (..., H, W): A as published, (H * W * A - 1) / 2 normalised."""
    if gain == "published":
        return maps
    return maps * (maps.shape[-2] * maps.shape[-1] / 2) - 0.5


def apply_gain(x: Tensor, excess: Tensor) -> Tensor:
    """Multiply each subspace's channels by its gain.

    Args:
        x: Features, shape (N, m, H, W).
        excess: The gain minus 1, see :func:`excess_gain`; shape (N, g, H, W).

    Returns:
        Features of the same shape and memory format; subspaces stay in order.
    """
    if not is_scripting():  # noqa: SIM102  (scripting leaves out what stands under this condition alone)
        if _is_channels_last(x):
            subspaces = x.permute(0, 2, 3, 1).unflatten(3, (excess.shape[1], -1))  # (N, H, W, g, G)
            return (subspaces * (1 + excess).permute(0, 2, 3, 1).unsqueeze(-1)).flatten(3).permute(0, 3, 1, 2)
    subspaces = x.unflatten(1, (excess.shape[1], -1))  # (N, g, G, H, W), a view in either memory format
    return torch.addcmul(subspaces, subspaces, excess.unsqueeze(2)).flatten(1, 2)


def fold(module: ULSAM, dtype: torch.dtype | None = None) -> Folded | None:
    """Fold a module's norms, as they are in eval mode, into what stands before them.

    Args:
        module: Read, not changed.
        dtype: If given, the parts must be in eval mode and in this dtype.

    Returns:
        Scale and shift of each channel, shape (m, 1, 1) each; weights of the sum over each group, (g, 1, G), and a bias
        (g, 1, 1). None if the parts are not those that ``__init__`` made: one was replaced, set otherwise, or has a
        hook.
    """
    parts: Any = module._modules.values()
    if tuple(map(type, parts)) != _KINDS or any(map(has_hooks, parts)) or _has_any_global_hook():
        return None
    depthwise, depthwise_norm, _, pool, pointwise, pointwise_norm, _, softmax = parts
    if (pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode, softmax.dim) != (
        3,
        1,
        1,
        1,
        False,
        -1,
    ):
        return None
    folded: list[Tensor] = []
    for conv, norm, groups in (
        (depthwise, depthwise_norm, module.channels),
        (pointwise, pointwise_norm, module.groups),
    ):
        settings = (conv.in_channels, conv.out_channels, conv.groups, conv.kernel_size, conv.stride, conv.padding)
        if settings != (module.channels, groups, groups, (1, 1), (1, 1), (0, 0)):
            return None
        # Straight from the dictionaries: Module.__getattr__ would take as long as the arithmetic.
        own, affine, measured = conv._parameters.get, norm._parameters.get, norm._buffers.get
        weight, bias, mean, var = own("weight"), own("bias"), measured("running_mean"), measured("running_var")
        factor, offset = affine("weight"), affine("bias")
        if weight is None or bias is None or mean is None or var is None or factor is None or offset is None:
            return None
        if dtype is not None and (norm.training or weight.dtype != dtype):
            return None
        scale = (var + norm.eps).rsqrt_().mul_(factor)
        shift = torch.addcmul(offset, bias - mean, scale)
        folded += [weight.view(groups, 1, -1) * scale.view(groups, 1, 1), shift.view(groups, 1, 1)]
    return folded[0], folded[1], folded[2], folded[3]


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody looks at what the module computes: by a hook, or by a ``forward`` put on this very module."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
    )


def _asks_for_gradient(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def _is_eager(x: Tensor) -> bool:
    """Return whether steps may run in place: x is a plain tensor, and no compiler, tracer, vmap or jvp is at work."""
    return (
        type(x) is Tensor
        and not torch.compiler.is_compiling()
        and not is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        and x.numel() > 0
    )


def _is_channels_last(x: Tensor) -> bool:
    return _is_eager(x) and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def _raised(x: Tensor, module: nn.Module) -> Tensor:
    """Return half-precision features in the precision of the module's weights, others as they are."""
    if isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16):  # torch.fx traces with something else
        return x.to(torch.promote_types(x.dtype, next(chain(module.parameters(), module.buffers()), x).dtype))
    return x


def _without_autocast(x: Tensor) -> AbstractContextManager[object]:
    if (
        isinstance(x, Tensor)
        and torch.amp.is_autocast_available(x.device.type)
        and torch.is_autocast_enabled(x.device.type)
    ):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


def _maps_in_place(x: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute the maps (N, g, H, W) from what :func:`fold` returns; x (N, m, H, W) is read, not changed.

    The 3x3 max-pool is separable, so four maxima of shifted views replace ``max_pool2d``, which is up to a hundred
    times slower on the CPU.
    """
    steps = _logits_channels_last if _is_channels_last(x) else _logits_contiguous
    logits = steps(x, scale, shift, weight, bias)  # (N, g, H*W)
    return torch.softmax(logits.relu_(), -1).view(x.shape[0], -1, *x.shape[2:])


def _logits_channels_last(x: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    n, m, h, w = x.shape
    # Per-channel factors lie along the innermost dimension: one vectorised pass.
    z = torch.addcmul(shift.view(m), x.permute(0, 2, 3, 1), scale.view(m)).relu_()
    other = torch.empty_like(z)
    _max_of_three(z, 1, out=other)
    _max_of_three(other, 2, out=z)
    # (g, m), zero outside each group's channels: one product for all groups, where channels are innermost.
    groups, _, size = weight.shape
    rows = weight.new_zeros(groups, groups, size)
    rows.diagonal(dim1=0, dim2=1).copy_(weight.squeeze(1).T)
    return torch.baddbmm(
        bias.view(1, -1, 1), rows.view(1, groups, m).expand(n, -1, -1), z.view(n, h * w, m).transpose(1, 2)
    )


def _logits_contiguous(x: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    n, m, h, w = x.shape
    # Two passes are faster than one addcmul here: with a factor a row, only mul and add are vectorised.
    z = torch.mul(x, scale, out=torch.empty(x.shape, dtype=x.dtype, device=x.device)).add_(shift).relu_()
    other = torch.empty_like(z)
    _max_of_three(z.view(n * m, h, w), 1, out=other.view(n * m, h, w))
    # Along rows as short as these, only the whole buffer is a long vector; that mixes the ends of neighbouring rows,
    # so both outer columns are done again.
    _max_of_three(other.view(-1), 0, out=z.view(-1))
    for edge, inner in ((0, min(1, w - 1)), (w - 1, max(w - 2, 0))):
        torch.maximum(other[..., edge], other[..., inner], out=z[..., edge])
    return (weight @ z.view(n, len(weight), -1, h * w)).add_(bias).squeeze(2)


def _max_of_three(x: Tensor, dim: int, *, out: Tensor) -> None:
    """Write the maximum of each element and its two neighbours along a dimension.

    At the ends there is one neighbour.
    """
    last = x.shape[dim] - 1
    before, after = x.narrow(dim, 0, last), x.narrow(dim, 1, last)
    torch.maximum(before, after, out=out.narrow(dim, 1, last))
    out.select(dim, 0).copy_(x.select(dim, 0))
    torch.maximum(out.narrow(dim, 0, last), after, out=out.narrow(dim, 0, last))
