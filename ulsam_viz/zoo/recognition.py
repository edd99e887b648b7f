"""A state dict -> which network it is: ours, of any backbone, width and placement, or a MobileNet that others wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..models.backbones import BACKBONES
from ..models.network import Mode, Network, Placement
from ..models.others import OTHERS
from ..models.ulsam import GAINS, Gain
from .other_layouts import (
    STEM_KEEPS_SIZE,
    Recognised,
    check_pictures,
    not_understood,
    recognise_foreign,
    width_candidates,
)
from .variants import CheckpointError

__all__ = ["Recognised", "recognise"]

_LONGEST_KEY = 300


def recognise(
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    gain: Gain | None = None,
    layers: Sequence[int] | None = None,
    eps: float | None = None,
    input_size: int = 224,
    stem_stride: int | None = None,
) -> Recognised:
    """Find out which network a state dict belongs to.

    Args:
        tensors: Tensors by name.
        metadata: Of the file; ours name the gain.
        gain: Of ULSAM modules; None takes the metadata's, or else the published one.
        layers: Layers of the modules of other people's files, where names and shapes leave them open.
        eps: Of the norms of other people's files, if not 1e-5.
        input_size: Side of the input in pixels; where it is small, other people's stems often keep it.
        stem_stride: Of the first convolution, where it is known.

    Raises:
        CheckpointError: If it is none of the networks known here; the message says which keys were not understood.
    """
    metadata = metadata or {}
    named = metadata.get("gain") or (
        "normalised" if metadata.get("variant", "").endswith("-normalised") else "published"
    )
    if named not in GAINS:
        raise CheckpointError(f"its metadata names the gain '{named[:40]}'; there are {', '.join(GAINS)}")
    used: Gain = gain or ("normalised" if named == "normalised" else "published")
    if long := [key for key in tensors if len(key) > _LONGEST_KEY]:
        raise not_understood(long, len(tensors))
    plain = {key: value for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    if odd := [key for key, value in plain.items() if not value.is_floating_point()]:
        raise not_understood(odd, len(tensors))
    if plain and all(key.startswith("attention.") for key in plain):
        raise CheckpointError("it holds modules alone, which were trained in a base; a whole network is needed")
    check_pictures(plain)
    if stem_stride == 1:
        raise CheckpointError(STEM_KEEPS_SIZE)
    if _is_ours(plain):
        return _recognise_ours({_as_trained_here(key): v for key, v in plain.items()}, gain=used, layers=layers)
    return recognise_foreign(plain, gain=used, layers=layers, eps=eps, input_size=input_size, stem_stride=stem_stride)


def _is_ours(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether names are those of :class:`~ulsam_viz.models.network.Network`: layers from 1, one classifier."""
    first = any(key.startswith("layers.1.") for key in tensors) and not any(
        key.startswith("layers.0.") for key in tensors
    )
    return first and "classifier.weight" in tensors


def _as_trained_here(key: str) -> str:
    """Name a tensor of ours that :func:`~ulsam_viz.models.adapter.insert_ulsam` renamed as it was before."""
    return re.sub(
        r"^layers\.(\d+)\.attention\.", r"attention.\1.", re.sub(r"^layers\.(\d+)\.layer\.", r"layers.\1.", key)
    )


def _recognise_ours(tensors: Mapping[str, Tensor], *, gain: Gain, layers: Sequence[int] | None) -> Recognised:
    network, width = _network_of(tensors)
    placement = _placement_of(tensors, network, width, gain)
    if layers is not None and tuple(sorted(layers)) != (placement.layers if placement else ()):
        raise CheckpointError("its modules stand at other layers than those named, and its keys say which")
    classes = tensors["classifier.weight"].shape[0] if tensors["classifier.weight"].ndim else 0
    with torch.device("meta"):
        expected = network(width, max(classes, 1), placement).state_dict()
    if unknown := [key for key in tensors if key not in expected]:
        raise not_understood(unknown, len(tensors))
    return Recognised("this program's own", network.backbone, width, placement, classes, tensors)


def _network_of(tensors: Mapping[str, Tensor]) -> tuple[type[Network], float]:
    """Find the backbone whose names are nearest, and the width that has these shapes."""
    trunk = {key: value for key, value in tensors.items() if key.startswith(("layers.", "head."))}
    replaced = {key.split(".")[1] for key in tensors if key.startswith("attention.")} - {
        key.split(".")[1] for key in trunk
    }
    usual = {network: _shapes_at(network, 1.0) for network in BACKBONES.values()}
    expected = {
        n: {key for key in shapes if key.split(".")[1] not in replaced or key[0] == "h"} for n, shapes in usual.items()
    }
    nearest = min(expected, key=lambda n: len(trunk.keys() - expected[n]))
    alike = [n for n, names in expected.items() if trunk.keys() == names] or [nearest]
    for network in alike:
        for width in _widths(trunk, usual[network]) if network.has_widths else [1.0]:
            shapes = _shapes_at(network, width)
            if all(tuple(value.shape) == shapes.get(key, tuple(value.shape)) for key, value in trunk.items()):
                return network, width
    title = alike[0].title
    if not alike[0].has_widths:
        return alike[0], 1.0  # what does not fit is said when it is loaded
    raise CheckpointError(f"it looks like {title} of this program, but its channels are those of no width")


def _shapes_at(network: type[Network], width: float) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a network's layers and head, by name."""
    with torch.device("meta"):
        parts = network.build(width)
    named = {f"layers.{number}": layer for number, layer in parts.layers.items()} | {"head": parts.head}
    return {
        f"{name}.{key}": tuple(value.shape)
        for name, part in named.items()
        for key, value in part.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def _widths(trunk: Mapping[str, Tensor], usual: Mapping[str, tuple[int, ...]]) -> list[float]:
    """Return the widths that the last layer's channels could mean; a head's may be fixed."""
    ends = [key for key in usual if key.startswith("layers.") and key in trunk and trunk[key].ndim]
    return width_candidates(len(trunk[ends[-1]]) / usual[ends[-1]][0]) if ends else []


def _placement_of(tensors: Mapping[str, Tensor], network: type[Network], width: float, gain: Gain) -> Placement | None:
    parts: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, rest = key.partition(".")
        number, _, name = rest.partition(".")
        if kind == "attention" and number.isdecimal():
            parts.setdefault(int(number[:9]), {})[name] = value
    if not parts:
        return None
    replaced = (
        {n for n in parts if not any(key.startswith(f"layers.{n}.") for key in tensors)} if len(parts) <= 32 else set()
    )
    if replaced and replaced != parts.keys():
        raise CheckpointError(
            "some of its modules replace a layer and others follow one; a network here has them all alike"
        )
    mode: Mode = "instead" if replaced else "after"
    first = parts[min(parts)]
    try:
        if "pointwise.weight" in first:
            placement = Placement(tuple(parts), len(first["pointwise.weight"]), mode, gain)
        else:
            kind = next(k for k, make in OTHERS.items() if make(512).state_dict().keys() >= first.keys())
            placement = Placement(tuple(parts), 1, mode, module=kind)
        with torch.device("meta"):
            network(width, 1, placement)
    except (ValueError, StopIteration, TypeError) as error:
        raise CheckpointError(
            f"its modules do not fit its layers: {error or 'they are of no kind known here'}"
        ) from error
    return placement
