"""One picture through one trained variant, in one call: :func:`explain`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from .analysis.attribution import Attribution
from .analysis.computations import AttributionError
from .engine import default_engine
from .images import prepare
from .zoo import Variant, get_variant


@dataclass(frozen=True)
class Explanation:
    """Everything about one picture, one variant and one class.

    Attributes:
        variant: Name of the variant.
        logits: Shape (classes,).
        probabilities: Calibrated, shape (classes,): softmax(logits / T) with the variant's own ``calibration.temperature``.
        target: Class number that the attributions are for.
        attention: Attention maps by layer, each (g, H, W), each map summing to 1.
        attributions: Attributions by method, each (S, S), signed where the method is.
        details: The full record of each method: time, passes, convergence delta, caveat.
        pixels: The crop that the network saw, shape (S, S, 3), uint8.
    """

    variant: str
    logits: np.ndarray
    probabilities: np.ndarray
    target: int
    attention: Mapping[int, np.ndarray]
    attributions: Mapping[str, np.ndarray]
    details: Mapping[str, Attribution]
    pixels: np.ndarray


def explain(
    image: Image.Image,
    variant: str | Variant,
    methods: Sequence[str] = ("grad_cam",),
    target: int | str | None = None,
    *,
    device: str = "auto",
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
) -> Explanation:
    """Look at one picture through one trained variant.

    Args:
        image: An RGB picture; :func:`ulsam_viz.decode_image` makes one from a file's bytes.
        variant: A variant or its name.
        methods: Names of attribution methods.
        target: Class number or name; by default the predicted class.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        settings: For each method, values other than its defaults.
        seed: The same call with the same seed gives the same numbers, in any thread.

    Returns:
        Logits, maps, attributions and the crop that the network saw.

    Raises:
        KeyError: For an unknown variant.
        CheckpointError: If the variant's checkpoint is damaged.
        AttributionError: For an unknown method, setting or class.
    """
    engine = default_engine()
    record = get_variant(variant) if isinstance(variant, str) else variant
    place = engine.choose_device(device).device
    picture = prepare(image, record.preprocessing)
    attention = engine.attend(picture, record, place).result()
    number = attention.top(1)[0] if target is None else class_number(target, record)
    futures = {
        method: engine.attribute(
            picture, record, place, method=method, target=number, settings=(settings or {}).get(method), seed=seed
        )
        for method in methods
    }
    details = {method: future.result() for method, future in futures.items()}
    return Explanation(
        record.name,
        attention.logits,
        attention.probabilities,
        number,
        attention.maps,
        {method: a.values for method, a in details.items()},
        details,
        picture.pixels,
    )


def class_number(target: int | str, variant: Variant) -> int:
    """Return the number of a class that is given by its number or name.

    Raises:
        AttributionError: If the variant knows no such class.
    """
    if isinstance(target, str):
        if target not in variant.classes:
            raise AttributionError(f"{variant.name} knows no class '{target}'")
        return variant.classes.index(target)
    if not 0 <= target < len(variant.classes):
        raise AttributionError(f"{variant.name} has classes 0 to {len(variant.classes) - 1}, not {target}")
    return int(target)
