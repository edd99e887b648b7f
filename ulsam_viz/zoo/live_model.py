"""The record of a live model, as :class:`~ulsam_viz.zoo.variants.Variant` is of a trained network."""

from __future__ import annotations

import copy
import hashlib
import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..images.preprocessing import Preprocessing
from ..models.attention_network import AttentionNetwork
from ..models.network import Network
from .variants import Calibration

_lock = threading.Lock()
_numbers: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()  # an id may be another's once its owner is gone
_next = itertools.count()
#: Why a network of one output is refused, after what it is called.
ONE_OUTPUT = (
    "one output, and a softmax over one output is 100.0 % for every picture: networks that say a probability by a "
    "sigmoid, or a number, cannot be shown yet; give the network an output for each of two classes"
)


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
        precision: What it computes in, for people.
    """

    name: str
    key: str
    network: AttentionNetwork = field(repr=False)
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration = field(default=Calibration(), repr=False)
    precision: str = "float32"

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return self.preprocessing.input_size


def as_guest(network: AttentionNetwork, classes: Sequence[str] | None, preprocessing: Preprocessing) -> GuestNetwork:
    """Take a network as it is now.

    Args:
        network: It is copied, never changed; the copy is in float32, whatever the network is in.
        classes: Class names by output number; None: the numbers themselves.
        preprocessing: Size and normalisation of its input.

    Raises:
        ValueError: If the network gives no logits, a single one, or others than the classes; if it is in another
            precision than float32, and a copy in float32 cannot run.
    """
    if not network.num_classes:
        raise ValueError("the network's output is not logits (N, classes), so there is nothing to explain")
    if network.num_classes == 1:
        raise ValueError(f"the network has {ONE_OUTPUT}")
    names = tuple(map(str, range(network.num_classes))) if classes is None else tuple(classes)
    if len(names) != network.num_classes:
        raise ValueError(f"the network has {network.num_classes} logits, and {len(names)} classes were named")
    module = cast(nn.Module, network)
    others = sorted(
        {str(v.dtype).removeprefix("torch.") for v in _values_of(module) if v.is_floating_point()} - {"float32"}
    )
    taken = copy.deepcopy(module).eval()
    if others:
        taken = _in_float32(taken, " and ".join(others), preprocessing.input_size)
    name = network.label if isinstance(network, Network) else str(getattr(network, "title", type(network).__name__))
    # Baselines depend on how pictures are normalised
    key = f"own {_number_of(module)} {_content_of(taken)} {preprocessing}"
    precision = f"float32, on a copy of the network, which is in {' and '.join(others)}" if others else "float32"
    return GuestNetwork(name, key, cast(AttentionNetwork, taken), names, preprocessing, precision=precision)


def _values_of(module: nn.Module) -> Iterator[Tensor]:
    return itertools.chain(module.parameters(), module.buffers())


def _in_float32(taken: nn.Module, was: str, size: int) -> nn.Module:
    """Return a copy of a network in float32, exact enough for gradients and effects of a thousandth of a logit.

    Raises:
        ValueError: If it cannot run so.
    """
    taken = taken.float()
    x = torch.zeros(1, 3, size, size, dtype=torch.float32, device=next(_values_of(taken)).device)
    try:
        with torch.inference_mode():
            taken(x)
    except RuntimeError as error:
        raise ValueError(
            f"the network is in {was}, and a copy in float32 does not run ({error}); make it run after model.float()"
        ) from error
    return taken


def _number_of(module: nn.Module) -> int:
    """Return a number that no other network of this process has, or had."""
    with _lock:
        if module not in _numbers:
            _numbers[module] = next(_next)
        return _numbers[module]


@torch.no_grad()
def _content_of(module: nn.Module) -> str:
    """Return a digest of a network's structure and all its values, including buffers outside the state dict."""
    digest = hashlib.blake2b(repr(module).encode(), digest_size=16)
    values: list[tuple[str, Any]] = [*module.named_parameters(), *module.named_buffers()]
    for name, value in values:
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
