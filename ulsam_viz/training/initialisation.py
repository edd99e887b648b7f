"""Where a training starts: weights of another network, or torchvision's ImageNet weights."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ..models.mobilenet import MobileNetV2


class TrainingError(ValueError):
    """A run that cannot start or go on; the message says why and what to do."""


def start_from(model: nn.Module, path: Path) -> None:
    """Copy every tensor of a weights file that the network has under the same name and shape; the rest stays fresh.

    A ULSAM module is copied whole or not at all: one of another g starts fresh, although part of its shapes agree.

    Raises:
        TrainingError: If the file cannot be read or fits in no layer.
    """
    try:
        weights = load_file(path)
    except Exception as error:  # the parser's own error type is undocumented
        raise TrainingError(f"'{path}' cannot be read as safetensors: {error}") from error
    own = model.state_dict()
    other = {_module(k) for k, v in own.items() if k not in weights or v.shape != weights[k].shape}
    fitting = {k: v.to(own[k].dtype) for k, v in weights.items() if k in own and _module(k) not in other}
    if not any(k.startswith("layers.") for k in fitting):
        raise TrainingError(f"'{path}' fits in no layer of this network: another backbone or width?")
    model.load_state_dict(own | fitting)


def _module(key: str) -> str:
    """Return what a tensor is copied with: its ULSAM module, or nothing but itself."""
    return ".".join(key.split(".")[:2]) if key.startswith("attention.") else key


def imagenet_weights(backbone: str, width: float, folder: Path) -> Path:
    """Fetch torchvision's ImageNet weights of MobileNet-V2 1.0 and write them under this project's names.

    torchvision downloads them once, to its own cache (``$TORCH_HOME/hub/checkpoints``), and takes them from there.

    Args:
        backbone: Only ``"mobilenet_v2"`` has such weights.
        width: Only 1.0.
        folder: Where to write ``imagenet-mobilenet_v2-1.safetensors``.

    Raises:
        TrainingError: For another network, and if the weights can neither be found nor downloaded.
    """
    from torchvision.models import MobileNet_V2_Weights

    if backbone != "mobilenet_v2" or width != 1.0:
        raise TrainingError(
            f"torchvision has ImageNet weights for mobilenet_v2 at width 1.0 only, not for {backbone} at {width:g}; "
            "start from a safetensors file instead, or without --init"
        )
    try:
        theirs = MobileNet_V2_Weights.IMAGENET1K_V2.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise TrainingError(f"torchvision's ImageNet weights could not be had: {error}") from error
    with torch.device("meta"):
        ours = MobileNetV2(1.0).state_dict()
    # Both list the same tensors in the same order; only the names differ.
    if [tuple(v.shape) for v in ours.values()] != [tuple(v.shape) for v in theirs.values()]:
        raise TrainingError("torchvision's weights are not those of MobileNet-V2 1.0")
    path = folder / "imagenet-mobilenet_v2-1.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({key: value.contiguous() for key, value in zip(ours, theirs.values(), strict=True)}, partial)
    os.replace(partial, path)
    return path
