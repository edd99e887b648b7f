"""The temperature of each network's answers, and how sure they are about pictures of its classes and of others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from tqdm import tqdm

from ..analysis.calibration import (
    FALSE_ALARMS,
    calibration_error,
    deciles,
    fit_temperature,
    probabilities_of,
    spread_of,
)
from ..images.preprocessing import Preprocessing
from ..models.network import Network
from ..models.optimize import optimize
from ..zoo.variants import Variant, home_of, load_network
from .classes import first_names
from .data import AugmentedPictures, DataError, Pictures, jitter
from .evaluate import batches_of
from .publish import replace
from .subjects import OUTSIDE_IMAGENET

# The networks have seen every training picture many times and are far surer of them than of any other. Small random
# crops (ImageNet's usual ones, at least 8 % of the picture) make them as hard as new pictures are: the shipped
# networks, trained on crops of 40 % and more, are right on 74 to 76 % of these, and on 77 to 79 % of held-out pictures.
_SMALLEST_CROP = 0.08
_JITTER = 0.3
_SEED = 1
_BATCH = 32


@dataclass(frozen=True)
class Material:
    """Pictures ready for networks of one preprocessing.

    Attributes:
        fitted: Pictures to fit the temperature on, or random crops of them: batches (N, 3, S, S), normalised.
        fitted_labels: Their classes.
        known: Held-out pictures, as the app prepares them: batches likewise.
        known_labels: Their classes.
        foreign: Pictures that show none of the classes; may be empty.
        others: Further pictures, by what they are, of which it is measured how many would be warned of.
    """

    fitted: Sequence[Tensor]
    fitted_labels: np.ndarray
    known: Sequence[Tensor]
    known_labels: np.ndarray
    foreign: Sequence[Tensor]
    others: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)


def gather(
    train: Pictures, held_out: Pictures, foreign: Pictures | None, preprocessing: Preprocessing, *, count: int = 1000
) -> Material:
    """Read at most ``count`` held-out pictures, and half as many of each other kind, spread evenly over the lists.

    Args:
        train: The part that the networks were trained on.
        held_out: The part that they were not.
        foreign: Pictures of other subjects; its folders that are named like a class of the networks are left out.
        preprocessing: Size and normalisation.
        count: Held-out pictures; all are held in memory. An error of calibration takes more of them than a temperature
            does.
    """
    train, held_out = _thinned(train, count // 2), _thinned(held_out, count)
    others: Sequence[Tensor] = ()
    if foreign:
        kept = [i for i, label in enumerate(foreign.labels) if foreign.classes[label] not in train.classes]
        strange = Pictures(
            tuple(foreign.files[i] for i in kept), tuple(foreign.labels[i] for i in kept), foreign.classes
        )
        others = list(batches_of(_thinned(strange, count // 2), preprocessing, _BATCH))
    return Material(
        list(_crops(train, preprocessing)),
        np.array(train.labels),
        list(batches_of(held_out, preprocessing, _BATCH)),
        np.array(held_out.labels),
        others,
    )


def gather_for_base(
    shared: Pictures,
    known: Pictures,
    preprocessing: Preprocessing,
    *,
    others: Mapping[str, Pictures] | None = None,
    count: int = 1000,
) -> Material:
    """Read pictures for networks on a pretrained base: at most ``count`` known ones, half as many of each other kind.

    The base has not seen the pictures that its temperature is fitted on, so they are taken whole.

    Args:
        shared: Pictures to fit on, with the base's class numbers; see :func:`sharing`.
        known: Pictures to measure on, likewise.
        preprocessing: The base's.
        others: Further pictures by what they are, to count how many would be warned of; the first show none of the
            classes.
        count: All are held in memory.
    """
    shared, known = _thinned(shared, count // 2), _thinned(known, count)
    ready = [list(batches_of(pictures, preprocessing, _BATCH)) for pictures in (shared, known)]
    beside = {
        f"{len(few.files)} {which}": list(batches_of(few, preprocessing, _BATCH))
        for which, pictures in (others or {}).items()
        if pictures.files and (few := _thinned(pictures, count // 2))
    }
    foreign = next(iter(beside.values()), [])
    return Material(ready[0], np.array(shared.labels), ready[1], np.array(known.labels), foreign, beside)


def outside_imagenet(pictures: Pictures) -> Pictures:
    """Return the pictures of Caltech-101 whose subject is none of ImageNet's classes; see :data:`OUTSIDE_IMAGENET`."""
    kept = [i for i, label in enumerate(pictures.labels) if pictures.classes[label] in OUTSIDE_IMAGENET]
    return Pictures(tuple(pictures.files[i] for i in kept), tuple(pictures.labels[i] for i in kept), pictures.classes)


def sharing(pictures: Pictures, classes: Sequence[str]) -> Pictures:
    """Return the pictures whose class has the name of one of a base's classes, with that one's number.

    Raises:
        DataError: If there are none.
    """

    def plain(name: str) -> str:
        return name.replace("_", " ").lower()

    number_of = {plain(name): number for number, name in enumerate(classes)}
    kept = [i for i, label in enumerate(pictures.labels) if plain(pictures.classes[label]) in number_of]
    if not kept:
        raise DataError(
            f"no class of these pictures has the name of one of the base's: {first_names(pictures.classes)}"
        )
    numbers = [number_of[plain(pictures.classes[pictures.labels[i]])] for i in kept]
    return Pictures(tuple(pictures.files[i] for i in kept), tuple(numbers), tuple(classes))


def measure(model: Network, material: Material) -> dict[str, Any]:
    """Fit a network's temperature on crops, and see what its answers to held-out and foreign pictures are like with it.

    Args:
        model: In eval mode.
        material: Pictures of its preprocessing.

    Returns:
        The manifest's record ``calibration``: ``temperature``, ``ece`` (%, known ones), ``ece_best`` (%, with the
        temperature
        that suits the known pictures themselves best: what no rule could beat by much), ``pictures`` (count of fitted
            ones,
        known and foreign ones), and ``known``, ``foreign`` and ``warned``, see
        :class:`~ulsam_viz.zoo.variants.Calibration`.
    """
    temperature = round(fit_temperature(_logits(model, material.fitted), material.fitted_labels), 3)
    logits, labels = _logits(model, material.known), material.known_labels
    known = probabilities_of(logits, temperature)
    best = probabilities_of(logits, fit_temperature(logits, labels))
    foreign = probabilities_of(_logits(model, material.foreign), temperature) if material.foreign else None
    border = float(np.quantile(spread_of(known), 1 - FALSE_ALARMS))
    warned = [
        (which, round(100 * float((spread_of(probabilities_of(_logits(model, own), temperature)) > border).mean()), 1))
        for which, own in material.others.items()
    ]
    return {
        "temperature": temperature,
        "ece": _percent(known, labels),
        "ece_best": _percent(best, labels),
        "pictures": [len(material.fitted_labels), len(labels), 0 if foreign is None else len(foreign)],
        "known": deciles(spread_of(known)),
        "foreign": () if foreign is None else deciles(spread_of(foreign)),
        **({"warned": warned} if warned else {}),
    }


def calibrate_zoo(
    variants: Sequence[Variant], gathered: Callable[[Preprocessing], Material], folder: Path | None = None
) -> Iterator[tuple[Variant, dict[str, Any]]]:
    """Measure networks with the same classes, one after the other, and enter each result in its manifest at once.

    Args:
        variants: The networks.
        gathered: Returns the pictures for networks of one preprocessing.
        folder: Of the manifest, in which nothing else is changed; None is the folder that each network is shown from.

    Yields:
        Each variant with its new record.
    """
    homes = {v.name: (folder, v.name) if folder else home_of(v) for v in variants}  # found before anything is measured
    for preprocessing in dict.fromkeys(v.preprocessing for v in variants):
        material = gathered(preprocessing)
        for variant in tqdm([v for v in variants if v.preprocessing == preprocessing], unit="network"):
            record = measure(optimize(load_network(variant)), material)
            home, name = homes[variant.name]
            _enter(home / "manifest.json", name, record)
            yield variant, record


def _enter(path: Path, name: str, calibration: dict[str, Any]) -> None:
    with FileLock(path.parent / "lock"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        studied = (v for study in manifest.get("studies", {}).values() for v in study["variants"] if v["file"])
        next(v for v in (*manifest["variants"], *studied) if v["name"] == name)["calibration"] = calibration
        replace(path, (json.dumps(manifest, indent=1) + "\n").encode())


def _thinned(pictures: Pictures, count: int) -> Pictures:
    """Keep every so many-th picture, ``count`` at most, so that all classes keep their share."""
    chosen = sorted({int(i) for i in np.linspace(0, len(pictures.files) - 1, count).round()})
    return Pictures(
        tuple(pictures.files[i] for i in chosen), tuple(pictures.labels[i] for i in chosen), pictures.classes
    )


def _crops(pictures: Pictures, preprocessing: Preprocessing) -> Iterator[Tensor]:
    data = AugmentedPictures(pictures, seed=_SEED, min_area=_SMALLEST_CROP)
    rng = torch.Generator().manual_seed(_SEED)
    for start in range(0, len(data), _BATCH):
        crops = [data[0, i, preprocessing.input_size][0] for i in range(start, min(start + _BATCH, len(data)))]
        yield jitter(preprocessing.normalize(torch.stack(crops)), rng, strength=_JITTER, batch=len(crops))


@torch.inference_mode()
def _logits(model: Network, batches: Iterable[Tensor]) -> np.ndarray:
    device = model.device
    parts = [model(x.to(device).contiguous(memory_format=torch.channels_last)).float().cpu() for x in batches]
    return torch.cat(parts).numpy()


def _percent(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return round(100 * calibration_error(probabilities.max(1), probabilities.argmax(1) == labels), 2)
