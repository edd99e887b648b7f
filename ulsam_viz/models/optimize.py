"""Trained network -> inference network: the same outputs, faster."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .blocks import ConvNorm
from .network import Network
from .ulsam import ULSAM, FastULSAM


def optimize(model: Network) -> Network:
    """Fold BatchNorm into convolutions, replace ULSAM by its fast form, store weights channels_last.

    Every non-linearity stays its own module, so attributions that look for them stay right; gradients with respect to
    the input agree with the trained network's within float error.

    Args:
        model: A trained network; it is copied, never changed.

    Returns:
        A network in eval mode whose parameters need no gradients.
    """
    fast = copy.deepcopy(model).eval()
    for module in fast.modules():
        if isinstance(module, ConvNorm):
            conv, norm = module[0], module[1]
            assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            module[0], module[1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    for key, module in fast.attention.items():
        assert isinstance(module, ULSAM)
        fast.attention[key] = FastULSAM(module)
    # Typed as Module because PyTorch's stubs do not know that `to` returns the network itself.
    fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fast.requires_grad_(False)


@contextmanager
def relus_in_place(model: nn.Module) -> Iterator[None]:
    """Let every ReLU overwrite its input meanwhile: one pass over memory and one allocation less for each.

    Only for computations that look at no ReLU by hooks, and only on a network that no other thread uses.
    """
    relus = [module for module in model.modules() if isinstance(module, nn.ReLU) and not module.inplace]
    for relu in relus:
        relu.inplace = True
    try:
        yield
    finally:
        for relu in relus:
            relu.inplace = False
