"""What all networks share: numbered layers, ULSAM modules at a placement between them, and one pass that returns both.

Layers are numbered as in the ULSAM paper: the stem convolution is layer 1. This numbering reproduces every overhead in
the paper's tables. A network of the family only builds its layers (:mod:`.mobilenet`, :mod:`.efficientnet`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from .attention_network import AS_TRAINED, Changes, Restart, attend_to
from .others import OTHERS
from .ulsam import ULSAM, Gain, check_gain, check_groups

Mode = Literal["after", "instead"]


@dataclass(frozen=True)
class Placement:
    """Where a network carries ULSAM modules: one for each named layer, all with the same number of groups.

    Args:
        layers: Layers that carry a module, in the paper's numbering (the stem is 1), in any order; kept sorted.
        groups: Number of subspaces g of every module.
        mode: ``"after"`` follows the named layer; ``"instead"`` replaces it, where its output has its input's shape.
        gain: ``"published"`` multiplies features by 1 + A; ``"normalised"`` by (1 + H W A) / 2, whose mean is 1, which
            is this project's, not the paper's.
        module: ``"ulsam"``, or another paper's, which has no groups (1) and a gain of its own.

    Raises:
        ValueError: For no layers, a layer named twice, fewer than one group, an unknown mode, gain or module.
    """

    layers: tuple[int, ...] = (11,)
    groups: int = 4
    mode: Mode = "after"
    gain: Gain = "published"
    module: str = field(default="ulsam", metadata={"choices": ("ulsam", *OTHERS)})

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(sorted(self.layers)))
        if not self.layers:
            raise ValueError("a placement names at least one layer")
        if len(set(self.layers)) != len(self.layers):
            raise ValueError(f"a placement names each layer once, not {self.layers}")
        if self.groups < 1:
            raise ValueError(f"groups must be at least 1, not {self.groups}")
        if self.mode not in ("after", "instead"):
            raise ValueError(f"mode must be 'after' or 'instead', not {self.mode!r}")
        check_gain(self.gain)
        if self.module != "ulsam" and self.module not in OTHERS:
            raise ValueError(f"unknown module '{self.module}': use ulsam, {', '.join(OTHERS)}")
        if self.module != "ulsam" and (self.groups, self.gain) != (1, "published"):
            raise ValueError(f"'{self.module}' has no groups and no other gain: they are ULSAM's")

    def as_record(self) -> dict[str, Any]:
        """Return the placement as a record; fields with the published values are left out, as in older records."""
        return {
            key: value
            for key, value in asdict(self).items()
            if (key, value) not in (("gain", "published"), ("module", "ulsam"))
        }


@dataclass(frozen=True)
class Parts:
    """What a network of the family builds; the rest is the same for all.

    Attributes:
        layers: By number, from the stem, layer 1.
        shapes: Of each layer, its output channels, and whether its output has its input's shape.
        head: What follows the last layer, before the pool.
        features: Channels that the classifier reads.
    """

    layers: dict[int, nn.Module]
    shapes: dict[int, tuple[int, bool]]
    head: nn.Module
    features: int


class Network(nn.Module):
    """Numbered layers with ULSAM modules between them, and one pass that returns logits and maps.

    Args:
        width: Width multiplier of all channels.
        num_classes: Size of the output.
        placement: ULSAM modules, or None for the plain network.
        dropout: Probability before the classifier, in training.

    Raises:
        ValueError: If the width or the placement does not fit the network; the message says why.

    Attributes:
        layers: The layers by number (keys are strings); a layer that ULSAM replaces is not there.
        attention: The ULSAM modules by layer number.
        backbone: Its name in the table of networks and in records.
        title: Its name for people.
        short: The same where there is little room.
        has_widths: Whether it comes in several widths, which its names then tell.
        usual_layer: The layer that a module follows where nothing else is asked for.
    """

    backbone: ClassVar[str]
    title: ClassVar[str]
    short: ClassVar[str]
    usual_layer: ClassVar[int]
    has_widths: ClassVar[bool] = True

    def __init__(
        self, width: float = 1.0, num_classes: int = 1000, placement: Placement | None = None, *, dropout: float = 0.2
    ) -> None:
        super().__init__()
        parts = self.build(width)
        self.width, self.num_classes, self.placement = width, num_classes, placement
        attention = _attention_modules(parts.shapes, placement)
        replaced = attention.keys() if placement and placement.mode == "instead" else ()
        self.last_layer = max(parts.layers)
        self.layers = nn.ModuleDict({str(n): layer for n, layer in parts.layers.items() if n not in replaced})
        self.attention = nn.ModuleDict({str(n): module for n, module in attention.items()})
        self.head = parts.head
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(parts.features, num_classes)
        _initialise(self)

    @classmethod
    def build(cls, width: float) -> Parts:
        """Build the layers; each network of the family does so in its own way."""
        raise TypeError(f"{cls.__name__} builds no layers: use a network of the family")

    @classmethod
    def name_of(cls, width: float) -> str:
        """Return the name of this network at a width, for files and records: ``"mobilenet_v1-0.5"``."""
        return f"{cls.backbone}-{width:g}" if cls.has_widths else cls.backbone

    @classmethod
    def label_of(cls, width: float) -> str:
        """Return the same for people: ``"MobileNet-V1 0.5"``."""
        return f"{cls.title} {width:g}" if cls.has_widths else cls.title

    @classmethod
    def short_of(cls, width: float) -> str:
        """Return the same where there is little room: ``"V1-0.5"``."""
        return f"{cls.short}-{width:g}" if cls.has_widths else cls.short

    @property
    def label(self) -> str:
        """The network's name for people."""
        return self.label_of(self.width)

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return self.classifier.weight.device

    @property
    def attended(self) -> tuple[int, ...]:
        """The layers that carry a module, in the order of a pass."""
        return tuple(map(int, self.attention))

    @property
    def last_grid(self) -> nn.Module:
        """What the pool averages is this module's output."""
        return self.head

    def feeding(self, number: int) -> nn.Module:
        """Return the layer whose output enters the module of layer ``number``."""
        while str(number) not in self.layers:  # it is replaced by a module, and so may the one before be
            number -= 1
        return self.layers[str(number)]

    def features_with_attention(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Run one pass up to what the classifier averages.

        Args:
            x: Normalised pictures, shape (N, 3, H, W).

        Returns:
            Features (N, C, H', W'), and the maps (N, g, H_l, W_l) of each layer l that carries a module. Nothing is
            stored on the network.
        """
        return self._from_layer(1, x)

    def features_with_entering(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor], dict[int, Tensor]]:
        """Run one pass, and keep what enters each module: from there the rest can be run again, with other attention.

        Args:
            x: Normalised pictures, shape (N, 3, H, W).

        Returns:
            Features and maps as of :meth:`features_with_attention`, and by layer the features (N, m, H_l, W_l) that
            enter its module.
        """
        entering: dict[int, Tensor] = {}
        features, maps = self._from_layer(1, x, entering=entering)
        return features, maps, entering

    def _from_layer(
        self, first: int, x: Tensor, changes: Changes = AS_TRAINED, *, entering: dict[int, Tensor] | None = None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Run layers from ``first`` on, each with its module, and the head.

        What enters modules goes to ``entering``.
        """
        maps: dict[int, Tensor] = {}
        for number in range(first, self.last_layer + 1):
            x = self._layer(number, x)
            if str(number) in self.attention:
                if entering is not None:
                    entering[number] = x
                x, maps[number] = self._attend(number, x, changes)
        return self.head(x), maps

    def _attend(self, number: int, x: Tensor, changes: Changes) -> tuple[Tensor, Tensor]:
        """Run a layer's module; return the features that leave it, and its maps, or what took effect in their place."""
        return attend_to(self.attention_of(number), x, changes.get(number))

    def _layer(self, number: int, x: Tensor) -> Tensor:
        """Run one layer without its attention module; a layer that a module replaces changes nothing."""
        return self.layers[str(number)](x) if str(number) in self.layers else x

    def attention_of(self, number: int) -> Any:
        """Return the module of a layer, in whichever of its forms.

        Raises:
            ValueError: If that layer carries none.
        """
        if str(number) not in self.attention:
            raise ValueError(
                f"layer {number} carries no attention module; those that do: {', '.join(self.attention) or 'none'}"
            )
        return self.attention[str(number)]

    def before_attention(self, x: Tensor, number: int) -> Tensor:
        """Run pictures (N, 3, H, W) up to the features (N, m, H_l, W_l) that enter the module of layer ``number``."""
        for n in range(1, number + 1):
            x = self._layer(n, x)
            if n < number and str(n) in self.attention:
                x, _ = self.attention_of(n).forward_with_attention(x)
        return x

    def after_attention(self, features: Tensor, number: int) -> Tensor:
        """Run features (N, m, H_l, W_l) that leave the module of layer ``number`` to logits (N, classes)."""
        return self.classify(self._from_layer(number + 1, features)[0])

    def from_attention(
        self, features: Tensor, number: int, changes: Changes = AS_TRAINED
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Run the rest of the network, from the module of a layer on; the one way to see it with other attention.

        Args:
            features: What enters that module, shape (N, m, H_l, W_l).
            number: The layer's number.
            changes: What the gains have beyond 1 in place of their own, here and in later layers: 0 is gain 1, -1 is
                gain 0.

        Returns:
            Logits (N, classes), and by layer, from this one on, the maps, or what was put in the place of the gain
            beyond 1.
        """
        attended, own = self._attend(number, features, changes)
        x, later = self._from_layer(number + 1, attended, changes)
        return self.classify(x), {number: own, **later}

    def restart_at(self, x: Tensor, number: int) -> Restart:
        """Run pictures (N, 3, H, W) up to the module of layer ``number``; what follows runs from there."""
        self.attention_of(number)
        features = self.before_attention(x, number)
        return Restart(
            features,
            lambda changes: self.from_attention(features, number, changes),
            lambda output: self.after_attention(output, number),
        )

    def classify(self, features: Tensor) -> Tensor:
        """Return logits (N, classes) for features (N, C, H', W')."""
        return self.classifier(self.dropout(features.mean((2, 3))))

    def forward_with_attention(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Run one pass: pictures (N, 3, H, W) -> logits (N, classes) and the maps by layer."""
        features, maps = self.features_with_attention(x)
        return self.classify(features), maps

    def look(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor], Tensor]:
        """Run one pass: logits, maps, and the features (N, C, H', W') that the classifier averages."""
        features, maps = self.features_with_attention(x)
        return self.classify(features), maps, features

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (N, classes), for normalised pictures (N, 3, H, W)."""
        return self.forward_with_attention(x)[0]


def _attention_modules(shapes: dict[int, tuple[int, bool]], placement: Placement | None) -> dict[int, nn.Module]:
    """Build one module for each placed layer.

    ``shapes`` gives each layer's output channels and if it keeps its shape.
    """
    if placement is None:
        return {}
    modules: dict[int, nn.Module] = {}
    for number in placement.layers:
        if number not in shapes or number == 1:
            raise ValueError(
                f"there is no layer {number} to carry a module: this network's blocks are 2 to {max(shapes)}"
            )
        channels, keeps_shape = shapes[number]
        if placement.mode == "instead" and not keeps_shape:
            fitting = ", ".join(str(n) for n, (_, keeps) in shapes.items() if keeps)
            raise ValueError(
                f"ULSAM cannot replace layer {number}: it changes the shape of its input, and ULSAM keeps it. "
                f"Layers that can be replaced: {fitting}"
            )
        try:
            check_groups(channels, placement.groups)
        except ValueError as error:
            raise ValueError(f"layer {number}: {error}") from error
        other = OTHERS.get(placement.module)
        modules[number] = other(channels) if other else ULSAM(channels, placement.groups, placement.gain)
    return modules


def _initialise(model: Network) -> None:
    """He initialisation for the backbone; ULSAM keeps PyTorch's default, under which its maps stay alive."""
    if next(
        model.parameters()
    ).is_meta:  # there is nothing to set, and PyTorch would import its compiler for that: seconds
        return
    inside_attention = {id(m) for m in model.attention.modules()}
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and id(module) not in inside_attention:
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
