"""One forward pass: logits and all attention maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.attention_network import AttentionNetwork
from ..models.optimize import relus_in_place


@dataclass(frozen=True)
class Attention:
    """The result of one forward pass of one picture.

    Attributes:
        logits: Shape (classes,).
        probabilities: softmax(logits / temperature), shape (classes,): calibrated where the network's temperature was
            given.
        maps: Attention maps by layer, each (g, H, W), each map summing to 1.
        features: What the classifier averages, shape (C, H, W); None of a foreign network, whose classifier is not
            known.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    maps: Mapping[Any, np.ndarray]
    features: np.ndarray | None

    def top(self, count: int = 5) -> list[int]:
        """Return the numbers of the most probable classes, the most probable first."""
        return [int(i) for i in np.argsort(-self.probabilities, kind="stable")[:count]]


def attend(model: AttentionNetwork, x: Tensor, *, temperature: float = 1.0) -> Attention:
    """Run one pass of one picture; see :func:`attend_each`.

    Args:
        model: A network in eval mode that no other thread uses meanwhile.
        x: One normalised picture, shape (1, 3, S, S), on any device.
        temperature: The variant's; a network alone does not know it.

    Raises:
        ValueError: If ``x`` is not one picture.
    """
    if x.ndim != 4 or x.shape[:2] != (1, 3):
        raise ValueError(f"expected one picture of shape (1, 3, S, S), not {tuple(x.shape)}")
    return attend_each(model, x, temperature=temperature)[0]


def attend_each(model: AttentionNetwork, x: Tensor, *, temperature: float = 1.0) -> list[Attention]:
    """Run one pass of several pictures.

    Args:
        model: A network in eval mode that no other thread uses meanwhile.
        x: Normalised pictures, shape (N, 3, S, S), on any device.
        temperature: The variant's; a network alone does not know it.

    Returns:
        For each picture logits, probabilities and the maps of every layer that carries a module.
    """
    with torch.inference_mode(), relus_in_place(model):
        logits, maps, features = model.look(x.to(model.device))
        logits = logits.float()
        probabilities = (logits / temperature).softmax(1).cpu().numpy()
    arrays = {layer: m.float().cpu().numpy() for layer, m in maps.items()}
    scores, last = logits.cpu().numpy(), None if features is None else features.float().cpu().numpy()
    # Copies: a view would keep the arrays of all pictures in memory, and share them.
    return [
        Attention(
            scores[i].copy(),
            probabilities[i].copy(),
            {layer: m[i].copy() for layer, m in arrays.items()},
            None if last is None else last[i].copy(),
        )
        for i in range(len(x))
    ]
