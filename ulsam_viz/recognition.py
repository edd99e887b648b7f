"""A state dict -> which network it is: ours, of any backbone, width and placement, or a MobileNet that others wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .foreign import Recognised, not_understood, recognise_foreign, width_candidates
from .models.backbones import BACKBONES
from .models.network import Mode, Network, Placement
from .models.others import OTHERS
from .models.ulsam import GAINS, Gain
from .zoo import CheckpointError

__all__ = ["Recognised", "recognise"]

_LONGEST_KEY = 300


def recognise(
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    gain: Gain | None = None,
    layers: Sequence[int] | None = None,
    eps: float | None = None,
) -> Recognised:
    """Find out which network a state dict belongs to.

    Args:
        tensors: Tensors by name.
        metadata: Of the file; ours name the gain.
        gain: Of ULSAM modules; None takes the metadata's, or else the published one.
        layers: Layers of the modules of other people's files, where names and shapes leave them open.
        eps: Of the norms of other people's files, if not 1e-5.

    Raises:
        CheckpointError: If it is none of the networks known here; the message says which keys were not understood.
    """
    metadata = metadata or {}
    named = metadata.get("gain") or ("normalised" if metadata.get("variant", "").endswith("-normalised") else "published")
    if named not in GAINS:
        raise CheckpointError(f"its metadata names the gain '{named[:40]}'; there are {', '.join(GAINS)}")
    used: Gain = gain or ("normalised" if named == "normalised" else "published")
    if long := [key for key in tensors if len(key) > _LONGEST_KEY]:
        raise not_understood(long, len(tensors))
    plain = {_bare(key): value for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    if odd := [key for key, value in plain.items() if not value.is_floating_point()]:
        raise not_understood(odd, len(tensors))
    if plain and all(key.startswith("attention.") for key in plain):
        raise CheckpointError("it holds modules alone, which were trained in a base; a whole network is needed")
    if "layers.1.0.weight" in plain and "classifier.weight" in plain:
        return _recognise_ours(plain, gain=used, layers=layers)
    return recognise_foreign(plain, gain=used, layers=layers, eps=eps)


def _bare(key: str) -> str:
    """Take off what ``DataParallel`` puts before every name."""
    return key.removeprefix("module.")


def _recognise_ours(tensors: Mapping[str, Tensor], *, gain: Gain, layers: Sequence[int] | None) -> Recognised:
    numbers = sorted({int(part) for key in tensors if key.startswith("layers.") and (part := key.split(".")[1]).isdecimal()})
    backbone = "mobilenet_v1" if "layers.2.0.0.weight" in tensors else "mobilenet_v2" if numbers[-1] == 18 else "efficientnet_lite0"
    network = BACKBONES[backbone]
    width = _width_of(tensors, network, numbers)
    placement = _placement_of(tensors, network, width, gain)
    if layers is not None and tuple(sorted(layers)) != (placement.layers if placement else ()):
        raise CheckpointError("its modules stand at other layers than those named, and its keys say which")
    classes = tensors["classifier.weight"].shape[0] if tensors["classifier.weight"].ndim else 0
    with torch.device("meta"):
        expected = network(width, max(classes, 1), placement).state_dict()
    if unknown := [key for key in tensors if key not in expected]:
        raise not_understood(unknown, len(tensors))
    return Recognised("this program's own", backbone, width, placement, classes, tensors)


def _width_of(tensors: Mapping[str, Tensor], network: type[Network], numbers: Sequence[int]) -> float:
    if not network.has_widths:
        return 1.0
    end = "1.0.weight" if network.backbone == "mobilenet_v1" else "project.0.weight"
    outputs = {n: t.shape[0] for n in numbers[1:] if (t := tensors.get(f"layers.{n}.{end}")) is not None and t.ndim}
    if not outputs or numbers[0] != 1:
        raise CheckpointError(f"it looks like {network.title} of this program, but its layers are not")
    full = 1024 if network.backbone == "mobilenet_v1" else 320
    for width in width_candidates(outputs[max(outputs)] / full):
        with torch.device("meta"):
            shapes = network.build(width).shapes
        if all(n in shapes and shapes[n][0] == channels for n, channels in outputs.items()):
            return width
    raise CheckpointError(f"it looks like {network.title} of this program, but its channels are those of no width")


def _placement_of(tensors: Mapping[str, Tensor], network: type[Network], width: float, gain: Gain) -> Placement | None:
    parts: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, rest = key.partition(".")
        number, _, name = rest.partition(".")
        if kind == "attention" and number.isdecimal():
            parts.setdefault(int(number[:9]), {})[name] = value
    if not parts:
        return None
    replaced = {n for n in parts if not any(key.startswith(f"layers.{n}.") for key in tensors)} if len(parts) <= 32 else set()
    if replaced and replaced != parts.keys():
        raise CheckpointError("some of its modules replace a layer and others follow one; a network here has them all alike")
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
        raise CheckpointError(f"its modules do not fit its layers: {error or 'they are of no kind known here'}") from error
    return placement
