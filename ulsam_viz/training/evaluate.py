"""Evaluate a variant on labelled pictures: accuracy, calibration, map statistics, and the effect of attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..analysis import measures
from ..analysis.calibration import calibration_error
from ..analysis.interventions import CONSTANT, INTERVENTIONS, hold, intervene
from ..images.preprocessing import Preprocessing, prepare
from ..images.samples import list_samples
from ..models.attention_network import AttentionNetwork, Changes
from ..models.others.gate import Gate
from ..models.precision import whole_float32
from .data import Pictures, read_whole


@whole_float32()
@torch.inference_mode()
def evaluate(
    model: AttentionNetwork, pictures: Pictures, preprocessing: Preprocessing, *, batch: int = 32, quiet: bool = False
) -> dict[str, Any]:
    """Measure a network on labelled pictures. What they are (held out, or not) is for the caller to know and to say.

    Args:
        model: In eval mode, on any device.
        pictures: With the network's class numbers.
        preprocessing: The variant's.
        batch: Pictures in a pass; the figures do not depend on it beyond float error.
        quiet: No progress bar.

    Returns:
        ``pictures`` (count), ``top1``, ``top5`` (%), ``ece`` (expected calibration error of the softmax itself, 15
        bins, %), and
        ``attention``: for each layer with a module, lists with one figure a subspace: ``dead_share``,
        ``effective_area``, ``peak`` (mean over pictures, multiples of uniform), and one ``redundancy`` (mean pairwise
        correlation of live maps; None for g = 1). With modules also ``effects``: for each of
        :data:`~ulsam_viz.analysis.interventions.INTERVENTIONS` the ``top1`` of the network so changed, ``flips`` (% of
        the pictures whose answer it changes) and ``probability`` (mean absolute change of the true class's, in points);
        for other papers' modules also of :data:`~ulsam_viz.analysis.interventions.CONSTANT`.

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (ECE).
    """
    logits, labels = [], np.array(pictures.labels)
    per_layer: dict[Any, list[np.ndarray]] = {}
    device = model.device
    changed: dict[str, Changes] = {name: intervene(model, name) for name in INTERVENTIONS} if model.attended else {}
    if any(isinstance(model.attention_of(layer), Gate) for layer in model.attended):
        changed[CONSTANT] = hold(_mean_excess(model, batches_of(pictures, preprocessing, batch)))
    after: dict[str, list[Tensor]] = {name: [] for name in changed}
    for x in tqdm(
        batches_of(pictures, preprocessing, batch), total=-(-len(labels) // batch), disable=quiet, unit="batch"
    ):
        x = x.to(device, memory_format=torch.channels_last)
        if model.attended:
            start = model.restart_at(x, model.attended[0])  # the same under every intervention
            out, maps = start.run({})
            for name, changes in changed.items():
                after[name].append(start.run(changes)[0].float().cpu())
        else:
            out, maps = model.forward_with_attention(x)
        logits.append(out.float().cpu())
        for layer, m in maps.items():
            per_layer.setdefault(layer, []).append(m.float().cpu().numpy())
    probabilities = torch.cat(logits).softmax(1).numpy()
    effects = {
        name: _effect(probabilities, torch.cat(parts).softmax(1).numpy(), labels) for name, parts in after.items()
    }
    return {
        **_accuracy_figures(probabilities, labels),
        "attention": {str(layer): _attention_figures(np.concatenate(parts)) for layer, parts in per_layer.items()},
        **({"effects": effects} if effects else {}),
    }


def _mean_excess(model: AttentionNetwork, batches: Iterator[Tensor]) -> dict[Any, Tensor]:
    """Return each channel's mean gain minus 1 over pictures and positions, (m, 1, 1) by layer."""
    sums: dict[Any, Tensor] = {}
    count = 0
    for x in batches:
        count += len(x)
        for layer in model.attended:
            excess = model.attention_of(layer).excess(model.restart_at(x.to(model.device), layer).features)
            sums[layer] = sums.get(layer, 0) + excess.mean((2, 3), keepdim=True).sum(0)
    return {layer: total / count for layer, total in sums.items()}


@torch.inference_mode()
def accuracy(
    model: AttentionNetwork, pictures: Pictures, preprocessing: Preprocessing, *, batch: int = 32, quiet: bool = False
) -> dict[str, Any]:
    """Measure ``pictures``, ``top1``, ``top5`` and ``ece`` alone; see :func:`evaluate`."""
    device = model.device
    batches = tqdm(
        batches_of(pictures, preprocessing, batch), total=-(-len(pictures.labels) // batch), disable=quiet, unit="batch"
    )
    probabilities = torch.cat([model(x.to(device)).float().softmax(1).cpu() for x in batches])
    return _accuracy_figures(probabilities.numpy(), np.array(pictures.labels))


def _accuracy_figures(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Summarise answers (pictures, classes)."""
    hits = np.argsort(-probabilities, axis=1)[:, :5] == labels[:, None]
    return {
        "pictures": len(labels),
        "top1": round(100 * float(hits[:, 0].mean()), 2),
        "top5": round(100 * float(hits.any(1).mean()), 2),
        "ece": round(100 * calibration_error(probabilities.max(1), hits[:, 0]), 2),
    }


def _effect(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Compare answers (pictures, classes) without and with an intervention."""
    rows = np.arange(len(labels))
    return {
        "top1": round(100 * float((after.argmax(1) == labels).mean()), 2),
        "flips": round(100 * float((after.argmax(1) != before.argmax(1)).mean()), 2),
        "probability": round(100 * float(np.abs(after[rows, labels] - before[rows, labels]).mean()), 3),
    }


def sample_pictures(classes: Sequence[str]) -> Pictures:
    """Return the shipped sample pictures that show one of the classes: a few, for a check without any dataset."""
    numbers = {name: number for number, name in enumerate(classes)}
    shown = [(s.path, numbers[truths[0]]) for s in list_samples() if (truths := s.truths(classes))]
    return Pictures(tuple(path for path, _ in shown), tuple(label for _, label in shown), tuple(classes))


def batches_of(pictures: Pictures, preprocessing: Preprocessing, batch: int) -> Iterator[Tensor]:
    """Yield pictures as the app prepares them, shape (batch, 3, S, S); fewer in the last one."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(pictures.files), batch):
            files = pictures.files[start : start + batch]
            yield torch.cat(list(pool.map(lambda f: prepare(read_whole(f), preprocessing).tensor, files)))


def _attention_figures(maps: np.ndarray) -> dict[str, Any]:
    """Summarise maps (pictures, g, H, W) over pictures."""
    correlation = measures.mean_redundancy(maps)
    return {
        "dead_share": [round(float(v), 4) for v in measures.is_dead(maps).mean(0)],
        "effective_area": [round(float(v), 4) for v in measures.effective_area(maps).mean(0)],
        "peak": [round(float(v), 3) for v in measures.peak(maps).mean(0)],
        "redundancy": None if np.isnan(correlation).all() else round(float(np.nanmean(correlation)), 4),
    }
