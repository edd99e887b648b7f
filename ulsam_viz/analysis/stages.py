"""ULSAM step by step: every tensor between input and output.

The module can be run with parts switched off or replaced, to see what each is there for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ..models.attention_network import AttentionNetwork, Layer
from ..models.ulsam import ULSAM, Gain, apply_gain, excess_gain

Weighting = Literal["softmax", "sigmoid"]
Stage = Literal[
    "features",
    "depthwise",
    "normed",
    "rectified",
    "pooled",
    "pointwise",
    "pointwise_normed",
    "logits",
    "attention",
    "gain",
    "output",
]
#: In the order of computation. Those of subspaces have g maps, the others one for each of the m channels.
STAGES: tuple[Stage, ...] = get_args(Stage)
OF_SUBSPACES: tuple[Stage, ...] = ("pointwise", "pointwise_normed", "logits", "attention", "gain")


@dataclass(frozen=True)
class Switches:
    """Changes of the module; without any it is ULSAM as published.

    Args:
        pool: Keep the 3x3 max-pool.
        first_relu: Keep the ReLU before the pool.
        last_relu: Keep the ReLU before the softmax: the one that makes dead maps.
        weighting: How logits become weights: softmax over all places, or a sigmoid for each place by itself.
        residual: Keep the 1 of the gain 1 + A.
        temperature: Logits are divided by it: small sharpens, large evens out. Positive.
        strength: The gain is 1 + strength * A. Not negative.

    Raises:
        ValueError: For a temperature or strength that makes no sense.
    """

    pool: bool = True
    first_relu: bool = True
    last_relu: bool = True
    weighting: Weighting = "softmax"
    residual: bool = True
    temperature: float = 1.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"the temperature must be above 0, not {self.temperature:g}: logits are divided by it")
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise ValueError(f"the strength must be 0 or more, not {self.strength:g}")


@dataclass(frozen=True)
class Norm:
    """One BatchNorm in eval mode: (x - mean) / sqrt(variance + eps) * weight + bias; all of shape (channels,)."""

    mean: np.ndarray
    variance: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    eps: float

    def apply(self, x: float, channel: int) -> float:
        """Normalise one value of a channel, in double precision."""
        deviation = math.sqrt(float(self.variance[channel]) + self.eps)
        return (x - float(self.mean[channel])) / deviation * float(self.weight[channel]) + float(self.bias[channel])


@dataclass(frozen=True)
class Weights:
    """A module's parameters.

    Attributes:
        depthwise, depthwise_bias: Shape (m,).
        norm: Of the m channels.
        pointwise: Shape (g, G).
        pointwise_bias: Shape (g,).
        pointwise_norm: Of the g subspaces.
    """

    depthwise: np.ndarray
    depthwise_bias: np.ndarray
    norm: Norm
    pointwise: np.ndarray
    pointwise_bias: np.ndarray
    pointwise_norm: Norm


@dataclass(frozen=True)
class Stages:
    """Every tensor of one pass of one picture through a module.

    Attributes:
        features: What enters, shape (m, H, W).
        depthwise, normed, rectified, pooled: Behind DW, BN, ReLU and max-pool, shape (m, H, W).
        pointwise, pointwise_normed, logits: Behind PW, BN and ReLU, shape (g, H, W).
        attention: The maps, shape (g, H, W).
        gain: What the features are multiplied by, shape (g, H, W).
        output: What leaves, shape (m, H, W).
        weights: The module's parameters.
        switches: What was changed about it.
        form: Of the module's gain.
    """

    features: np.ndarray
    depthwise: np.ndarray
    normed: np.ndarray
    rectified: np.ndarray
    pooled: np.ndarray
    pointwise: np.ndarray
    pointwise_normed: np.ndarray
    logits: np.ndarray
    attention: np.ndarray
    gain: np.ndarray
    output: np.ndarray
    weights: Weights
    switches: Switches
    form: Gain = "published"

    @property
    def groups(self) -> int:
        """Number of subspaces g."""
        return len(self.attention)

    @property
    def group_size(self) -> int:
        """Channels of a subspace, G = m / g."""
        return len(self.features) // self.groups

    def map_of(self, stage: Stage, k: int, channel: int) -> np.ndarray:
        """Return the (H, W) map of a stage: that of subspace k, or of a channel (numbered within the layer)."""
        values: np.ndarray = getattr(self, stage)
        return values[k if stage in OF_SUBSPACES else channel]


@torch.inference_mode()
def run_stages(module: ULSAM, features: Tensor, switches: Switches = Switches()) -> Stages:
    """Run a module step by step.

    Args:
        module: In training form and eval mode; it is read, never changed.
        features: What enters it, shape (1, m, H, W).
        switches: Changes of the module.

    Returns:
        All tensors in between, as numpy arrays, float32.

    Raises:
        ValueError: If the features are not one picture's, or have another number of channels.
    """
    if features.ndim != 4 or features.shape[:2] != (1, module.channels):
        raise ValueError(f"expected features of shape (1, {module.channels}, H, W), not {tuple(features.shape)}")
    x = features.float().cpu()
    tensors: dict[str, Tensor] = {"features": x}
    tensors["depthwise"] = x = module.depthwise(x)
    tensors["normed"] = x = module.depthwise_norm(x)
    tensors["rectified"] = x = module.depthwise_relu(x) if switches.first_relu else x
    tensors["pooled"] = x = module.pool(x) if switches.pool else x
    tensors["pointwise"] = x = module.pointwise(x)
    tensors["pointwise_normed"] = x = module.pointwise_norm(x)
    tensors["logits"] = x = module.pointwise_relu(x) if switches.last_relu else x
    scaled = x / switches.temperature
    maps = (
        torch.sigmoid(scaled) if switches.weighting == "sigmoid" else module.softmax(scaled.flatten(2)).view_as(scaled)
    )
    excess = excess_gain(maps, module.gain)
    if not switches.residual and module.gain == "normalised":
        excess = excess + 0.5  # the half that does not depend on the map
    gain = excess * switches.strength
    tensors |= {"attention": maps, "gain": 1 + gain if switches.residual else gain}
    tensors["output"] = apply_gain(tensors["features"], tensors["gain"] - 1)
    arrays = {name: tensor[0].contiguous().numpy().copy() for name, tensor in tensors.items()}
    return Stages(**arrays, weights=_weights_of(module), switches=switches, form=module.gain)


def _weights_of(module: ULSAM) -> Weights:
    def array(tensor: Tensor | None) -> np.ndarray:
        assert tensor is not None  # all of these exist in a ULSAM module
        return tensor.detach().float().cpu().numpy().copy()

    def norm(part: nn.BatchNorm2d) -> Norm:
        return Norm(array(part.running_mean), array(part.running_var), array(part.weight), array(part.bias), part.eps)

    return Weights(
        array(module.depthwise.weight).reshape(-1),
        array(module.depthwise.bias),
        norm(module.depthwise_norm),
        array(module.pointwise.weight).reshape(module.groups, -1),
        array(module.pointwise.bias),
        norm(module.pointwise_norm),
    )


@dataclass(frozen=True)
class Experiment:
    """A trained network whose module was changed.

    Attributes:
        stages: The changed module's tensors.
        logits: The network's answer with the module as trained, shape (classes,).
        changed: And with the changed one, shape (classes,).
    """

    stages: Stages
    logits: np.ndarray
    changed: np.ndarray


@torch.inference_mode()
def experiment(model: AttentionNetwork, module: ULSAM, x: Tensor, *, layer: Layer, switches: Switches) -> Experiment:
    """Change one layer's module within a trained network, and let the rest of the network answer.

    Args:
        model: The network, in eval mode; no other thread uses it meanwhile.
        module: The same layer's module in training form.
        x: One normalised picture, shape (1, 3, S, S).
        layer: Which one.
        switches: What is changed.
    """
    device = model.device
    start = model.restart_at(x.to(device), layer)
    changed = run_stages(module, start.features, switches)
    effective = torch.from_numpy(changed.gain - 1)[None].to(device)
    answers = [start.run(changes)[0] for changes in ({}, {layer: lambda _: effective})]
    before, after = (logits[0].float().cpu().numpy() for logits in answers)
    return Experiment(changed, before, after)
