"""ULSAM: Ultra-Lightweight Subspace Attention Module, in training form and in fast inference form.

Saini, Jha, Das, Mittal, Mohan, "ULSAM: Ultra-Lightweight Subspace Attention Module for Compact
Convolutional Neural Networks", WACV 2020, arXiv:2006.15102. Written from the paper's equations:

    logits_k = ReLU(BN(PW(MaxPool3x3(ReLU(BN(DW(F_k)))))))        for each subspace k of G = m / g channels
    A_k      = softmax of logits_k over all H * W positions       one map a subspace, sums to 1
    out_k    = F_k + A_k * F_k

The g small networks of the equations are one depthwise and one grouped convolution here: group k of the
grouped convolution reads exactly the G channels of subspace k.

Deviation: the authors' code sets BatchNorm's momentum to 0.9, which in PyTorch means "nearly the last batch
only"; this module keeps PyTorch's 0.1. State dicts stay convertible both ways in meaning.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional


class ULSAM(nn.Module):
    """Subspace attention in training form, every step of the equations its own module.

    Args:
        channels: Channels m of the input.
        groups: Number of subspaces g; must divide ``channels``.

    Raises:
        ValueError: If ``groups`` is not positive or does not divide ``channels``.

    Reference:
        Saini et al., ULSAM, WACV 2020, section 3.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        check_groups(channels, groups)
        self.channels, self.groups = channels, groups
        self.depthwise = nn.Conv2d(channels, channels, 1, groups=channels)
        self.depthwise_norm = nn.BatchNorm2d(channels)
        self.depthwise_relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.pointwise = nn.Conv2d(channels, groups, 1, groups=groups)
        self.pointwise_norm = nn.BatchNorm2d(groups)
        self.pointwise_relu = nn.ReLU()
        self.softmax = nn.Softmax(dim=-1)

    def attention(self, x: Tensor) -> Tensor:
        """Compute the attention maps alone.

        Args:
            x: Features, shape (N, m, H, W).

        Returns:
            Maps, shape (N, g, H, W); each sums to 1 over its H * W positions.
        """
        z = self.depthwise_relu(self.depthwise_norm(self.depthwise(x)))
        logits = self.pointwise_relu(self.pointwise_norm(self.pointwise(self.pool(z))))  # (N, g, H, W)
        return self.softmax(logits.flatten(2)).view_as(logits)

    def forward_with_attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the re-weighted features (N, m, H, W) and the maps (N, g, H, W) of one pass."""
        maps = self.attention(x)
        return apply_gain(x, maps), maps

    def forward(self, x: Tensor) -> Tensor:
        """Return the re-weighted features, shape (N, m, H, W)."""
        return self.forward_with_attention(x)[0]

    @classmethod
    def from_reference(cls, state_dict: Mapping[str, Tensor]) -> ULSAM:
        """Build the module from a state dict of the paper's own code.

        The authors' module keeps one small network for each subspace: ``subspaces.{k}.conv_dws``, ``.bn_dws``,
        ``.conv_point``, ``.bn_point``. Joined along the channels, they are this module's four layers.

        Args:
            state_dict: The reference module's state dict; a prefix before ``subspaces.`` is allowed, other keys are not.

        Returns:
            A module in eval mode, in the dtype of the given weights, with outputs equal to the reference's.

        Raises:
            ValueError: If keys or shapes are not those of the reference module; the message names them.
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
        expected = {f"{layer}.{name}" for layer in ("conv_dws", "conv_point") for name in ("weight", "bias")}
        expected |= {
            f"{layer}.{name}" for layer in ("bn_dws", "bn_point") for name in ("weight", "bias", "running_mean", "running_var")
        }
        optional = {"bn_dws.num_batches_tracked", "bn_point.num_batches_tracked"}
        for k, part in parts.items():
            if wrong := (part.keys() ^ expected) - (optional & part.keys()):
                raise ValueError(f"subspace {k} of the state dict has missing or unknown keys: {', '.join(sorted(wrong))}")

        renamed = {}
        names = {"conv_dws": "depthwise", "bn_dws": "depthwise_norm", "conv_point": "pointwise", "bn_point": "pointwise_norm"}
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


class FastULSAM(nn.Module):
    """ULSAM in inference form: the same outputs from far fewer passes over memory.

    In eval mode depthwise convolution and BatchNorm are one scale and shift a channel; pointwise convolution and
    BatchNorm are one weighted sum over each group. The 3x3 max-pool is separable, so four maxima of shifted views
    replace ``max_pool2d``, which is up to a hundred times slower on the CPU.

    On a GPU one kernel does it all (:mod:`~ulsam_viz.models.ulsam_cuda`), where no gradient is asked for and Triton is
    there. On the CPU, where no gradient is asked for, every step works in place on two buffers of the input's size, along whichever
    dimension is contiguous in memory. Otherwise the same steps are differentiable with respect to the input, and each
    non-linearity is its own module, so attributions through this form are right.

    Args:
        module: A trained module; it is read, never changed.

    Attributes:
        scale, shift: Per channel, shape (m, 1, 1).
        weight: Weights of the pointwise sum, shape (g, 1, G).
        bias: Shape (g, 1, 1).
    """

    scale: Tensor
    shift: Tensor
    weight: Tensor
    bias: Tensor
    _all_weights: Tensor

    def __init__(self, module: ULSAM) -> None:
        super().__init__()
        self.channels, self.groups = module.channels, module.groups
        with torch.no_grad():
            scale, shift = _norm_as_affine(module.depthwise_norm)
            depthwise_bias = _bias_of(module.depthwise)
            self.register_buffer("scale", (module.depthwise.weight.flatten() * scale).view(-1, 1, 1))
            self.register_buffer("shift", (depthwise_bias * scale + shift).view(-1, 1, 1))
            scale, shift = _norm_as_affine(module.pointwise_norm)
            weight = module.pointwise.weight.view(self.groups, 1, -1) * scale.view(-1, 1, 1)
            self.register_buffer("weight", weight)
            self.register_buffer("bias", (_bias_of(module.pointwise) * scale + shift).view(-1, 1, 1))
            self.refresh()
        # Modules, not functions: guided backpropagation finds non-linearities by their type.
        self.depthwise_relu = nn.ReLU()
        self.pointwise_relu = nn.ReLU()
        self.softmax = nn.Softmax(dim=-1)

    def refresh(self) -> None:
        """Derive again what depends on ``weight``, after that was changed."""
        # (g, m), zero outside each group's channels: one product for all groups, where channels are innermost.
        self.register_buffer("_all_weights", torch.block_diag(*self.weight), persistent=False)

    def attention(self, x: Tensor) -> Tensor:
        """Compute the maps: (N, m, H, W) -> (N, g, H, W), each summing to 1."""
        n, _, h, w = x.shape
        if torch.is_grad_enabled() and x.requires_grad:
            # Its gradient takes one pass with channels_last; in the other layout it is slow.
            z = self.depthwise_relu(torch.addcmul(self.shift, x, self.scale).contiguous(memory_format=torch.channels_last))
            z = functional.max_pool2d(z, 3, stride=1, padding=1)
            logits = self.weight @ z.reshape(n, self.groups, -1, h * w) + self.bias  # (N, g, 1, H*W)
            return self.softmax(self.pointwise_relu(logits)).view(n, self.groups, h, w)
        logits = self._logits_channels_last(x) if _is_channels_last(x) else self._logits_contiguous(x)  # (N, g, H*W)
        return torch.softmax(logits.relu_(), -1).view(n, self.groups, h, w)

    def _logits_channels_last(self, x: Tensor) -> Tensor:
        n, m, h, w = x.shape
        # Per-channel factors lie along the innermost dimension: one vectorised pass.
        z = torch.addcmul(self.shift.view(m), x.permute(0, 2, 3, 1), self.scale.view(m)).relu_()
        other = torch.empty_like(z)
        _max_of_three(z, 1, out=other)
        _max_of_three(other, 2, out=z)
        weights = self._all_weights.expand(n, -1, -1)
        return torch.baddbmm(self.bias.view(1, -1, 1), weights, z.view(n, h * w, m).transpose(1, 2))

    def _logits_contiguous(self, x: Tensor) -> Tensor:
        n, m, h, w = x.shape
        # Two passes are faster than one addcmul here: with a factor a row, only mul and add are vectorised.
        z = torch.mul(x, self.scale, out=torch.empty(x.shape, dtype=x.dtype, device=x.device)).add_(self.shift).relu_()
        other = torch.empty_like(z)
        _max_of_three(z.view(n * m, h, w), 1, out=other.view(n * m, h, w))
        # Along rows as short as these, only the whole buffer is a long vector; that mixes the ends of neighbouring rows,
        # so both outer columns are done again.
        _max_of_three(other.view(-1), 0, out=z.view(-1))
        for edge, inner in ((0, min(1, w - 1)), (w - 1, max(w - 2, 0))):
            torch.maximum(other[..., edge], other[..., inner], out=z[..., edge])
        return (self.weight @ z.view(n, self.groups, -1, h * w)).add_(self.bias).squeeze(2)

    def forward_with_attention(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the re-weighted features (N, m, H, W) and the maps (N, g, H, W) of one pass."""
        if x.is_cuda and not (torch.is_grad_enabled() and x.requires_grad) and (kernel := _cuda_kernel(x)):
            return kernel(x, self.scale, self.shift, self.weight, self.bias)
        maps = self.attention(x)
        if not _is_channels_last(x):
            return apply_gain(x, maps), maps
        n, m, h, w = x.shape
        subspaces = x.permute(0, 2, 3, 1).view(n, h, w, self.groups, -1)
        gain = (1 + maps).permute(0, 2, 3, 1).unsqueeze(-1)  # (N, H, W, g, 1)
        return (subspaces * gain).view(n, h, w, m).permute(0, 3, 1, 2), maps

    def forward(self, x: Tensor) -> Tensor:
        """Return the re-weighted features, shape (N, m, H, W)."""
        return self.forward_with_attention(x)[0]


def transparent_module(channels: int, groups: int) -> ULSAM:
    """Return a module in eval mode whose depthwise weights and norms change nothing, and whose pointwise sum is a mean.

    To start from by hand, or to time. Nothing is drawn from the process's random generators.
    """
    with torch.device("meta"):
        module = ULSAM(channels, groups)
    module = module.to_empty(device="cpu").eval()
    for name, value in module.state_dict().items():
        value.fill_(1 if name in ("depthwise.weight", "pointwise.weight") or name.endswith(("norm.weight", "running_var")) else 0)
    module.state_dict()["pointwise.weight"].div_(channels // groups)
    module.depthwise_norm.eps = module.pointwise_norm.eps = 0.0
    return module


def check_groups(channels: int, groups: int) -> None:
    """Raise ValueError, with the reason, unless ``groups`` subspaces can share ``channels`` evenly."""
    if groups < 1:
        raise ValueError(f"groups must be at least 1, not {groups}")
    if channels % groups:
        raise ValueError(f"{groups} groups do not divide {channels} channels: each subspace needs the same number")


def apply_gain(x: Tensor, maps: Tensor) -> Tensor:
    """Multiply each subspace's channels by its gain 1 + A.

    Args:
        x: Features, shape (N, m, H, W).
        maps: Attention maps, shape (N, g, H, W).

    Returns:
        Features of the same shape and memory format; subspaces stay in order.
    """
    subspaces = x.unflatten(1, (maps.shape[1], -1))  # (N, g, G, H, W), a view in either memory format
    return torch.addcmul(subspaces, subspaces, maps.unsqueeze(2)).flatten(1, 2)


def _cuda_kernel(x: Tensor) -> Callable[..., tuple[Tensor, Tensor]] | None:
    """Return the fused kernel if Triton is there and the map fits it."""
    if importlib.util.find_spec("triton") is None:
        return None
    from .ulsam_cuda import MAX_POSITIONS, fused

    return fused if x.shape[-1] * x.shape[-2] <= MAX_POSITIONS else None


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _max_of_three(x: Tensor, dim: int, *, out: Tensor) -> None:
    """Write the maximum of each element and its two neighbours along a dimension; at the ends there is one neighbour."""
    last = x.shape[dim] - 1
    before, after = x.narrow(dim, 0, last), x.narrow(dim, 1, last)
    torch.maximum(before, after, out=out.narrow(dim, 1, last))
    out.select(dim, 0).copy_(x.select(dim, 0))
    torch.maximum(out.narrow(dim, 0, last), after, out=out.narrow(dim, 0, last))


def _norm_as_affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and shift, shape (C,), that eval-mode BatchNorm applies to each channel."""
    assert norm.running_mean is not None and norm.running_var is not None  # created by this package with statistics
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _bias_of(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None  # ULSAM's convolutions have biases, as in the paper's code
    return conv.bias
