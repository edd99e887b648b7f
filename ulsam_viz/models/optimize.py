"""Trained network -> inference network: the same outputs, faster."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .adapter import AttendedModel
from .attention_network import AttentionNetwork
from .blocks import SameConv2d
from .network import Network
from .ulsam import ULSAM, FastULSAM, fold, has_hooks

M = TypeVar("M", bound=nn.Module)


def optimize(network: M) -> M:
    """Fold BatchNorm into convolutions, replace ULSAM by its fast form, store convolutions' weights channels_last.

    BatchNorm is folded where nothing can come between: into the convolution before it in an ``nn.Sequential``. What has
    hooks, was replaced by something else or stands in several places stays as it is. Every non-linearity stays its own
    module, so attributions that look for them stay right; gradients with respect to the input agree with the trained
    network's within float error. A ULSAM module by itself needs none of this: in eval mode it is fast.

    Args:
        network: Any trained network; it is copied, never changed.

    Returns:
        A network in eval mode whose parameters need no gradients. Its convolutions give features in channels_last, so
        code between them that calls ``view`` on features needs ``reshape`` or ``flatten``; a network that was adapted
        by :func:`~ulsam_viz.models.adapter.insert_ulsam` keeps PyTorch's own layout instead.
    """
    fast = copy.deepcopy(network).eval()
    places = Counter(module for _, module in fast.named_modules(remove_duplicate=False))
    forms: dict[nn.Module, FastULSAM] = {}  # a module in two places stays one
    for parent in list(fast.modules()):
        for name, child in parent._modules.items():
            if type(child) is ULSAM and not has_hooks(child) and fold(child):
                parent._modules[name] = forms.setdefault(child, FastULSAM(child).eval())
        if isinstance(parent, nn.Sequential) and type(parent).forward is nn.Sequential.forward:
            _fold_norms(parent, places)
    if isinstance(fast, AttendedModel):
        fast.own_layout = True  # foreign code may call view on features
        return fast.requires_grad_(False)
    for module in fast.modules():
        if isinstance(module, nn.Conv2d):
            # Typed as Module because PyTorch's stubs do not know that `to` returns the module itself.
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fast.requires_grad_(False)


class FoldedNorm(nn.Identity):
    """Stands where a BatchNorm was that went into the convolution before it.

    Args:
        channels: The norm's.
        bias: Whether that convolution had a bias of its own.
    """

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.channels, self.bias = channels, bias


def _fold_norms(steps: nn.Sequential, places: Counter[nn.Module]) -> None:
    for (before, conv), (after, norm) in pairwise(list(steps._modules.items())):
        if (
            not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d))
            or norm.training
            or norm.running_mean is None
        ):
            continue
        # Others may compute otherwise
        if type(conv) not in (nn.Conv2d, SameConv2d) or type(norm) is not nn.BatchNorm2d:
            continue
        if not any(places[part] > 1 or has_hooks(part) for part in (conv, norm)):
            folded = FoldedNorm(norm.num_features, conv.bias is not None).eval()
            steps._modules[before], steps._modules[after] = fuse_conv_bn_eval(conv, norm), folded


def undo_folding(network: nn.Module) -> None:
    """Give an optimised network, in place, the steps that it had before, to be counted: their values are others."""
    for parent in list(network.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, FastULSAM):
                parent._modules[name] = ULSAM(child.channels, child.groups, child.gain).to(child.scale).eval()
        for (_, conv), (after, norm) in pairwise(list(parent._modules.items())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FoldedNorm):
                conv.bias = conv.bias if norm.bias else None
                parent._modules[after] = nn.BatchNorm2d(norm.channels).to(conv.weight).eval()


@contextmanager
def relus_in_place(model: AttentionNetwork) -> Iterator[None]:
    """Let every ReLU overwrite its input meanwhile: one pass over memory and one allocation less for each.

    Only for computations that look at no ReLU by hooks, and only on a network that no other thread uses. A foreign
    network stays as it is: it may use a ReLU's input again.
    """
    own = model.modules() if isinstance(model, Network) else ()
    with _set_in_place([module for module in own if isinstance(module, nn.ReLU) and not module.inplace], True):
        yield


@contextmanager
def nothing_in_place(model: AttentionNetwork) -> Iterator[None]:
    """Let no activation overwrite its input meanwhile, for computations that look at both by hooks.

    In a network of one's own.
    """
    with _set_in_place([module for module in model.modules() if vars(module).get("inplace") is True], False):
        yield


@contextmanager
def _set_in_place(modules: Sequence[nn.Module], value: bool) -> Iterator[None]:
    for module in modules:
        module.inplace = value  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in modules:
            module.inplace = not value  # type: ignore[assignment]
