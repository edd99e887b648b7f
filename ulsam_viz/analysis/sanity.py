"""Would the maps look as convincing without what was learnt? The same maps with weights or groups shuffled.

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: a map that stays when the weights go shows the picture,
not the network.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..models.mobilenet import MobileNet
from ..models.ulsam import FastULSAM
from .measures import Agreement, agreement

Check = Literal["weights", "module", "groups"]
CHECKS: dict[Check, str] = {
    "weights": "every weight of the network shuffled within its layer",
    "module": "only the module's weights shuffled among channels",
    "groups": "channels dealt to the groups at random",
}


@dataclass(frozen=True)
class SanityCheck:
    """A layer's maps without what was learnt.

    Attributes:
        check: What was shuffled.
        maps: Shape (g, H, W).
        agreements: Rank correlation of each with the real map, and what smooth maps reach by chance.
    """

    check: Check
    maps: np.ndarray
    agreements: tuple[Agreement, ...]


@torch.inference_mode()
def sanity_checks(model: MobileNet, x: Tensor, *, layer: int, seed: int = 0) -> list[SanityCheck]:
    """Compute a layer's maps with weights or groups shuffled.

    Args:
        model: An optimised network; it is copied, never changed.
        x: One normalised picture, shape (1, 3, S, S).
        layer: Number of a layer that carries a module.
        seed: Of the shuffles.
    """
    module = model.attention_of(layer)
    features = model.before_attention(x.to(model.classifier.weight.device), layer)
    real = module.attention(features)[0].cpu().numpy()
    rng = torch.Generator().manual_seed(seed)
    blind = copy.deepcopy(model)
    _shuffle(blind, rng)
    module_only = copy.deepcopy(module)
    _shuffle(module_only, rng)
    found: dict[Check, Tensor] = {
        "weights": blind.attention_of(layer).attention(blind.before_attention(x.to(features.device), layer)),
        "module": module_only.attention(features),
        "groups": _regrouped(module, features, rng),
    }
    results = []
    for check, maps in found.items():
        array = maps[0].float().cpu().numpy()
        results.append(SanityCheck(check, array, tuple(agreement(a, b) for a, b in zip(array, real, strict=True))))
    return results


def _shuffle(module: nn.Module, rng: torch.Generator) -> None:
    """Permute the values of each weight and bias: their distribution stays, what they say goes."""
    for part in module.modules():
        if isinstance(part, FastULSAM):
            order = torch.randperm(part.channels, generator=rng).to(part.scale.device)
            part.scale, part.shift = part.scale[order], part.shift[order]
            order = torch.randperm(part.channels, generator=rng).to(part.scale.device)
            part.weight = part.weight.flatten()[order].view_as(part.weight)
            part.refresh()
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
