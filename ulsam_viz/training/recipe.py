"""The recipe: what one training run is, as plain settings that the checkpoint carries."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..models.backbones import BACKBONES
from ..models.network import Placement
from .data import DATASETS

#: (epochs, input side in pixels), one after the other.
Stages = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Recipe:
    """Settings of one run; together with the data and the code they determine the weights.

    Each is an option of ``train``, whose type, default and help are those that stand here (:mod:`.options`). The
    defaults train a network from random weights on Caltech-101.

    Attributes:
        backbone: Family of the network.
        width: Width multiplier.
        placement: ULSAM modules, or None for the plain network.
        dataset: ``"caltech101"`` in torchvision's layout, or ``"imagefolder"``: any pictures, one folder a class.
        stages: Epochs and input side in pixels, one after the other, e.g. 20x128,6x192; sides are multiples of 32.
        batch: Pictures in a step, of all processes together.
        peak_lr: Peak of the one-cycle schedule over all stages.
        weight_decay: On weights of the backbone and classifier only: not on norms, biases or ULSAM modules.
        label_smoothing: Probability spread over the other classes.
        dropout: Before the classifier.
        min_area: Smallest share of the picture that a random crop keeps.
        jitter: Largest relative change of brightness, contrast and saturation.
        seed: Of initialisation, order and augmentation.
        init: Weights to start from, a safetensors file, of which the record keeps the name; ``"imagenet"``:
            torchvision's of MobileNet-V2 1.0, downloaded once; None: random ones.
        precision: Of training, on a GPU without TensorFloat-32; ``"bfloat16"`` runs the forward pass in autocast.
    """

    backbone: str = field(default="mobilenet_v1", metadata={"choices": tuple(BACKBONES)})
    width: float = 0.5
    placement: Placement | None = None
    dataset: str = field(default="caltech101", metadata={"choices": DATASETS})
    stages: Stages = ((30, 128),)
    batch: int = 64
    peak_lr: float = 0.06
    weight_decay: float = 3e-5
    label_smoothing: float = 0.1
    dropout: float = 0.2
    min_area: float = 0.4
    jitter: float = 0.3
    seed: int = 0
    init: str | None = None
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ValueError(f"unknown backbone '{self.backbone}': use {' or '.join(BACKBONES)}")
        for epochs, size in self.stages:
            if epochs < 1 or size < 32 or size % 32:
                raise ValueError(
                    f"a stage has at least one epoch and a side that is a multiple of 32, not {epochs} x {size}"
                )
        if self.batch < 2:
            raise ValueError("batch must be at least 2, for BatchNorm")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"unknown precision '{self.precision}': use float32 or bfloat16")

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(epochs for epochs, _ in self.stages)

    def size_at(self, epoch: int) -> int:
        """Return the input side, in pixels, of epoch 0, 1, ..."""
        for epochs, size in self.stages:
            if epoch < epochs:
                return size
            epoch -= epochs
        raise IndexError("epoch beyond the last stage")

    def as_dict(self) -> dict[str, Any]:
        """Return all settings, for the run's record."""
        return {**asdict(self), "placement": self.placement and self.placement.as_record()}


def parse_stages(text: str) -> Stages:
    """Read ``20x128,6x192``, as on the command line.

    Raises:
        ValueError: With an example.
    """
    try:
        return tuple((int(epochs), int(size)) for epochs, size in (stage.split("x") for stage in text.split(",")))
    except ValueError as error:
        raise ValueError(
            f"--stages is EPOCHSxSIDE[,EPOCHSxSIDE...], for instance 20x128,6x192, not '{text}'"
        ) from error


def stages_text(stages: Stages) -> str:
    """Write stages as :func:`parse_stages` reads them."""
    return ",".join(f"{epochs}x{size}" for epochs, size in stages)


def one_cycle(progress: float, peak: float) -> float:
    """Learning rate at a share 0..1 of the run: up along a line for the first 20 %, down along a cosine.

    Reference:
        Smith and Topin, "Super-Convergence", 2018, arXiv:1708.07120 (its shape, simplified).
    """
    if progress < 0.2:
        return peak * (0.04 + 0.96 * progress / 0.2)
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - 0.2) / 0.8))
