"""A network of the caller's own, as the engine takes it: what a :class:`~ulsam_viz.zoo.Variant` is to a trained one."""

from __future__ import annotations

import copy
import hashlib
import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import nn

from .images import Preprocessing
from .models.attention_network import AttentionNetwork
from .models.network import Network
from .zoo import Calibration

_lock = threading.Lock()
_numbers: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()  # an id may be another's once its owner is gone
_next = itertools.count()


@dataclass(frozen=True, eq=False)
class GuestNetwork:
    """What the engine needs to know of a network.

    Attributes:
        name: For people.
        key: What results may be kept by: equal keys, the same network with the same weights.
        network: A copy, in eval mode, as it was when it was handed in: the caller's may train on.
        classes: Class names by output number.
        preprocessing: Size and normalisation of its input.
        calibration: Nothing is known of its answers.
    """

    name: str
    key: str
    network: AttentionNetwork = field(repr=False)
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration = field(default=Calibration(), repr=False)

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return self.preprocessing.input_size


def as_guest(network: AttentionNetwork, classes: Sequence[str] | None, preprocessing: Preprocessing) -> GuestNetwork:
    """Take a network as it is now.

    Args:
        network: It is copied, never changed.
        classes: Class names by output number; None: the numbers themselves.
        preprocessing: Size and normalisation of its input.

    Raises:
        ValueError: If the network gives no logits, or others than the classes.
    """
    if not network.num_classes:
        raise ValueError("the network's output is not logits (N, classes), so there is nothing to explain")
    names = tuple(map(str, range(network.num_classes))) if classes is None else tuple(classes)
    if len(names) != network.num_classes:
        raise ValueError(f"the network has {network.num_classes} logits, and {len(names)} classes were named")
    module = cast(nn.Module, network)
    taken = copy.deepcopy(module).eval()
    name = network.label if isinstance(network, Network) else str(getattr(network, "title", type(network).__name__))
    key = f"own {_number_of(module)} {_content_of(taken)} {preprocessing}"  # baselines depend on how pictures are normalised
    return GuestNetwork(name, key, cast(AttentionNetwork, taken), names, preprocessing)


def _number_of(module: nn.Module) -> int:
    """Return a number that no other network of this process has, or had."""
    with _lock:
        if module not in _numbers:
            _numbers[module] = next(_next)
        return _numbers[module]


@torch.no_grad()
def _content_of(module: nn.Module) -> str:
    """Return a digest of how a network is built and of all its values, those of buffers that no state dict holds too."""
    digest = hashlib.blake2b(repr(module).encode(), digest_size=16)
    values: list[tuple[str, Any]] = [*module.named_parameters(), *module.named_buffers()]
    for name, value in values:
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
