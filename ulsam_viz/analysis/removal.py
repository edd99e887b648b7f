"""The effect of removing each subspace's attention, for many pictures in one pass.

For one picture see :mod:`effects`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..models.network import Network
from ..models.optimize import relus_in_place
from ..models.ulsam import apply_gain
from .attention import Attention


@dataclass(frozen=True)
class Removals:
    """How pictures' answers move when one subspace's gain is 1; the same as ``"off"`` in :mod:`effects`.

    Attributes:
        logit: Change of the target's logit (after less before), shape (N, g).
        probability: Change of the target's calibrated probability, shape (N, g).
        flips: Whether the most probable class changes, shape (N, g).
    """

    logit: np.ndarray
    probability: np.ndarray
    flips: np.ndarray


@dataclass(frozen=True)
class Pass:
    """One pass of several pictures, from which the rest of the network can be run again.

    Attributes:
        seen: What it shows, for each picture.
        logits: Shape (N, classes), float32, on the CPU.
        entering: By layer, the features (N, m, H, W) that enter its module, on the network's device.
    """

    seen: list[Attention]
    logits: Tensor
    entering: Mapping[int, Tensor]


@torch.inference_mode()
def run_pass(model: Network, x: Tensor, *, temperature: float = 1.0) -> Pass:
    """Run one pass of several pictures like :func:`~.attention.attend_each`, and keep the input of each module.

    Args:
        model: A network in eval mode that no other thread uses meanwhile.
        x: Normalised pictures, shape (N, 3, S, S), on any device.
        temperature: The variant's.
    """
    with relus_in_place(model):
        features, maps, entering = model.features_with_entering(x.to(model.classifier.weight.device))
        logits = model.classify(features).float()
        probabilities = (logits / temperature).softmax(1).cpu().numpy()
    scores, last = logits.cpu(), features.float().cpu().numpy()
    arrays = {layer: m.float().cpu().numpy() for layer, m in maps.items()}
    seen = [
        Attention(scores[i].numpy(), probabilities[i], {layer: m[i] for layer, m in arrays.items()}, last[i])
        for i in range(len(x))
    ]
    return Pass(seen, scores, entering)


@torch.inference_mode()
def remove_each(model: Network, done: Pass, *, layer: int, targets: list[int], temperature: float = 1.0) -> Removals:
    """Return the effect of removing each subspace's attention, one at a time, for all pictures of a pass.

    Only the rest of the network runs again, once a subspace; modules of later layers react, as they would.

    Args:
        model: The network of the pass.
        done: The pass.
        layer: Number of a layer that carries a module.
        targets: Class number for each picture.
        temperature: The variant's.
    """
    module, features = model.attention_of(layer), done.entering[layer]
    attended = apply_gain(features, module.excess(features))
    answers = []
    with relus_in_place(model):
        for k in range(module.groups):
            without = attended.clone()
            own = slice(k * module.channels // module.groups, (k + 1) * module.channels // module.groups)
            without[:, own] = features[:, own]  # a gain of 1
            answers.append(model.after_attention(without, layer).float().cpu())
    after, before = torch.stack(answers, 1).double(), done.logits.double()
    rows, chosen = torch.arange(len(before)), torch.tensor(targets)
    shares = ((after / temperature).softmax(2)[rows, :, chosen], (before / temperature).softmax(1)[rows, chosen])
    return Removals(
        (after[rows, :, chosen] - before[rows, chosen][:, None]).numpy(),
        (shares[0] - shares[1][:, None]).numpy(),
        (after.argmax(2) != before.argmax(1)[:, None]).numpy(),
    )
