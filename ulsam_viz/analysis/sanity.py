"""Sanity checks: the same maps with weights or groups shuffled.

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: a map that stays when the weights go shows the picture,
not the network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..models.attention_network import AttentionNetwork, Layer
from ..models.ulsam import FastULSAM
from .measures import agreement, is_dead
from .verdicts import SMALLEST_CORRELATION

Check = Literal["weights", "module", "groups"]
CHECKS: dict[Check, str] = {
    "weights": "every weight of the network shuffled within its layer",
    "module": "only the module's weights shuffled among channels",
    "groups": "channels dealt to the groups at random",
}


@dataclass(frozen=True)
class SanityCheck:
    """A layer's maps with weights or groups shuffled, over several shuffles.

    Attributes:
        check: What was shuffled.
        maps: Of the first shuffle, shape (g, H, W).
        correlations: Rank correlation of each map with the real one, shape (shuffles, g); NaN where either is uniform.
        above_chance: Whether that is more than smooth maps reach by chance, shape (shuffles, g); an opposite order is
            not.
    """

    check: Check
    maps: np.ndarray
    correlations: np.ndarray
    above_chance: np.ndarray

    @property
    def stays(self) -> np.ndarray:
        """Whether each map agrees with the real one in most shuffles, beyond chance and by a relevant size: (g,)."""
        return (self.above_chance & (self.correlations >= SMALLEST_CORRELATION)).mean(0) > 0.5


@torch.inference_mode()
def sanity_checks(
    model: AttentionNetwork,
    x: Tensor,
    *,
    layer: Layer,
    shuffles: int = 8,
    seed: int = 0,
    pause: Callable[[], None] = lambda: None,
) -> list[SanityCheck]:
    """Compute a layer's maps with weights or groups shuffled; groups only where there are several.

    Args:
        model: An optimised network; it is copied, never changed.
        x: One normalised picture, shape (1, 3, S, S).
        layer: A layer that carries a module.
        shuffles: Of each kind: one alone may agree by luck.
        seed: Of the shuffles.
        pause: Called before each.
    """
    module = model.attention_of(layer)
    x = x.to(model.device)
    features = model.restart_at(x, layer).features
    real = module.attention(features)[0].float().cpu().numpy()
    rng = torch.Generator().manual_seed(seed)
    found: dict[Check, list[np.ndarray]] = {check: [] for check in CHECKS}
    for _ in range(shuffles):
        pause()
        blind, module_only = copy.deepcopy(model), copy.deepcopy(module)
        _shuffle(blind.modules(), rng)
        _shuffle(module_only.modules(), rng)
        maps: dict[Check, Tensor] = {
            "weights": blind.attention_of(layer).attention(blind.restart_at(x, layer).features),
            "module": module_only.attention(features),
        }
        if module.groups > 1:
            maps["groups"] = _regrouped(module, features, rng)
        for check, tensor in maps.items():
            found[check].append(tensor[0].float().cpu().numpy())
    return [_compared(check, np.stack(maps), real) for check, maps in found.items() if maps]


def _compared(check: Check, maps: np.ndarray, real: np.ndarray) -> SanityCheck:
    """Compare maps (shuffles, g, H, W) with the real ones (g, H, W); what is uniform ranks nothing."""
    dead = is_dead(real)
    agreements = [
        [None if dead[k] or is_dead(one[k]) else agreement(one[k], real[k]) for k in range(len(real))] for one in maps
    ]
    correlations = np.array([[a.correlation if a else np.nan for a in row] for row in agreements])
    return SanityCheck(
        check,
        maps[0],
        correlations,
        np.array([[bool(a and a.correlation > a.chance) for a in row] for row in agreements]),
    )


def _shuffle(parts: Iterable[nn.Module], rng: torch.Generator) -> None:
    """Permute the values of each weight and bias: the distribution stays, what was learned is lost."""
    for part in parts:
        if isinstance(part, FastULSAM):
            order = torch.randperm(part.channels, generator=rng).to(part.scale.device)
            part.scale, part.shift = part.scale[order], part.shift[order]
            order = torch.randperm(part.channels, generator=rng).to(part.scale.device)
            part.weight = part.weight.flatten()[order].view_as(part.weight)
            part.bias = part.bias[torch.randperm(part.groups, generator=rng).to(part.bias.device)]
        elif isinstance(part, nn.Conv2d | nn.Linear):
            for tensor in (part.weight, part.bias):
                if tensor is not None:
                    order = torch.randperm(tensor.numel(), generator=rng).to(tensor.device)
                    tensor.copy_(tensor.flatten()[order].view_as(tensor))


def _regrouped(module: FastULSAM, features: Tensor, rng: torch.Generator) -> Tensor:
    """Return the maps (1, g, H, W) with each channel, its own weights kept, in a group drawn at random."""
    pooled = functional.max_pool2d(torch.relu(features * module.scale + module.shift), 3, stride=1, padding=1)
    spoken = pooled * module.weight.view(-1, 1, 1)  # what each channel adds to its group's logits
    order = torch.randperm(module.channels, generator=rng).to(features.device)
    logits = spoken[:, order].unflatten(1, (module.groups, -1)).sum(2) + module.bias.view(-1, 1, 1)
    return torch.relu(logits).flatten(2).softmax(-1).view_as(logits)
