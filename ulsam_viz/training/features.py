"""Features of augmented pictures from a frozen base, computed once and kept on disk.

One pass of the base gives the features that enter every layer that will carry a module. They are kept as float16 in
memory-mapped arrays, one row for each copy of each picture; never all in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..images.preprocessing import Preprocessing, prepare
from ..models.backbones import BACKBONES
from ..models.network import Network
from ..models.optimize import optimize
from ..zoo.pretrained import BASES, classes_of, load_base
from .data import AugmentedPictures, Pictures, find_pictures, jitter, read_whole
from .folder import exclusive
from .loop import Execution
from .mixture import Source, find_numbered

_BATCH = 32
_SAVE_EVERY = 100  # batches
_HELD_OUT_EVERY = 20  # of the pictures: every copy of one is either trained on or held out


@dataclass(frozen=True)
class FeatureRecipe:
    """What determines the features.

    Attributes:
        base: A key of :data:`~ulsam_viz.zoo.pretrained.BASES`.
        sources: The mixture.
        layers: Whose outputs are kept.
        min_area: Smallest share of the picture that a random crop keeps.
        jitter: Largest relative change of brightness, contrast and saturation.
        seed: Of the augmentation.
    """

    base: str
    sources: tuple[Source, ...]
    layers: tuple[int, ...]
    min_area: float = 0.3
    jitter: float = 0.3
    seed: int = 0


class Features:
    """Features on disk, with the answers that belong to them.

    Args:
        folder: Where :func:`make_features` wrote them.

    Attributes:
        soft: For each row, its row of ``answers``; -1 where it has a label.
        labels: For each row, its class number; -1 where the base's answer is the target.
        trained, held_out: Numbers of the rows to train on, and of those that only measure.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        rows = np.load(folder / "rows.npz")
        self.labels, self.soft, self.pictures = rows["labels"], rows["soft"], rows["pictures"]
        held_out = self.pictures % _HELD_OUT_EVERY == 0
        self.trained, self.held_out = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        self._answers = np.load(folder / "answers.npy", mmap_mode="r")
        self._of_layer: dict[int, np.ndarray] = {}

    def read(self, layer: int, rows: np.ndarray) -> Tensor:
        """Return the features that leave a layer, shape (rows, C, H, W), float32, channels_last."""
        if layer not in self._of_layer:
            self._of_layer[layer] = np.load(self._folder / f"layer{layer}.npy", mmap_mode="r")
        values = torch.from_numpy(np.ascontiguousarray(self._of_layer[layer][rows])).float()
        return values.permute(0, 3, 1, 2)  # stored with channels innermost

    def targets(self, rows: np.ndarray, *, smoothing: float) -> Tensor:
        """Return probabilities to be answered, shape (rows, classes): smoothed labels, or the base's own answers."""
        wanted = torch.from_numpy(self._answers[np.maximum(self.soft[rows], 0)].astype(np.float32)).softmax(1)
        labels = torch.from_numpy(self.labels[rows])
        classes = wanted.shape[1]
        named = functional.one_hot(labels.clamp(min=0), classes) * (1 - smoothing) + smoothing / classes
        return torch.where((labels >= 0)[:, None], named, wanted)


def make_features(recipe: FeatureRecipe, data_root: Path, out: Path, *, execution: Execution) -> Features:
    """Compute the features of a mixture, or go on where a killed call stood; what is done is returned as it is.

    Args:
        recipe: What is to be computed.
        data_root: Folder of the datasets.
        out: Folder that keeps features; each recipe gets its own in it.
        execution: Device, workers, progress bar.

    Raises:
        InUseError: If another process is at it.
    """
    settings = json.dumps({**asdict(recipe), "base_sha256": BASES[recipe.base].sha256}, sort_keys=True)
    folder = out / f"features-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"
    done = folder / "done.json"
    if not done.exists():
        with exclusive(folder):
            _make(recipe, data_root, folder, execution)
            done.write_text(settings + "\n")
    return Features(folder)


def plain_base(name: str) -> Network:
    """Return a base without modules, BatchNorm folded, frozen."""
    base = BASES[name]
    with torch.device("meta"):
        network = BACKBONES[base.backbone](base.width, len(classes_of(base.dataset)))
    counters = {key: torch.tensor(0) for key in network.state_dict() if key.endswith("num_batches_tracked")}
    network.load_state_dict(load_base(name) | counters, assign=True)
    return optimize(network.eval())


def outputs_of(network: Network, x: Tensor, layers: Sequence[int]) -> tuple[dict[int, Tensor], Tensor]:
    """Run a plain network once; return what leaves each named layer, (N, C, H, W), and the logits."""
    kept: dict[int, Tensor] = {}
    for number in range(1, network.last_layer + 1):
        x = network.layers[str(number)](x)
        if number in layers:
            kept[number] = x
    return kept, network.classify(network.head(x))


def _make(recipe: FeatureRecipe, data_root: Path, folder: Path, execution: Execution) -> None:
    base = BASES[recipe.base]
    classes = classes_of(base.dataset)
    network = plain_base(recipe.base).to(execution.device)
    parts: list[Pictures] = [
        find_numbered(s.dataset, data_root / s.data, "train", classes)
        if s.targets == "labels"
        else find_pictures(s.dataset, data_root / s.data, "train")
        for s in recipe.sources
    ]
    labels: list[int] = []
    soft: list[int] = []
    pictures: list[int] = []
    addresses: list[tuple[int, int, int]] = []
    to_answer: list[Path] = []
    offset = 0
    for source, part in zip(recipe.sources, parts, strict=True):
        count = len(part.files)
        for copy in range(source.copies):
            addresses += [(copy, offset + i, base.preprocessing.input_size) for i in range(count)]
            pictures += range(offset, offset + count)
            labels += part.labels if source.targets == "labels" else [-1] * count
            soft += [-1] * count if source.targets == "labels" else range(len(to_answer), len(to_answer) + count)
        to_answer += part.files if source.targets == "base" else ()
        offset += count
    np.savez(
        folder / "rows.npz",
        labels=np.array(labels, np.int64),
        soft=np.array(soft, np.int64),
        pictures=np.array(pictures, np.int64),
    )
    if not (folder / "answers.npy").exists():
        answers = (
            _answers(network, to_answer, base.preprocessing, execution)
            if to_answer
            else np.zeros((1, len(classes)), np.float16)
        )
        _replace(folder / "answers.npy", answers)
    everything = Pictures(tuple(f for p in parts for f in p.files), (0,) * offset, classes)
    _extract(recipe, network, everything, addresses, folder, execution)


@torch.inference_mode()
def _answers(network: Network, files: Sequence[Path], preprocessing: Preprocessing, execution: Execution) -> np.ndarray:
    """Return the logits for whole pictures, (pictures, classes), float16."""
    loader = DataLoader(_Whole(files, preprocessing), batch_size=_BATCH, num_workers=execution.workers)
    answers = [
        network(x.to(execution.device)).half().cpu()
        for x in tqdm(loader, disable=execution.quiet, desc="answers of the base", unit="batch")
    ]
    return torch.cat(answers).numpy()


class _Whole(torch.utils.data.Dataset[Tensor]):
    """Pictures prepared as the app does."""

    def __init__(self, files: Sequence[Path], preprocessing: Preprocessing) -> None:
        self._files, self._preprocessing = files, preprocessing

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Tensor:
        return prepare(read_whole(self._files[index]), self._preprocessing).tensor[0]


@torch.inference_mode()
def _extract(
    recipe: FeatureRecipe,
    network: Network,
    pictures: Pictures,
    addresses: Sequence[tuple[int, int, int]],
    folder: Path,
    execution: Execution,
) -> None:
    """Write every layer's array, a batch of rows at a time; ``progress`` says how many are on the disk."""
    data = AugmentedPictures(pictures, seed=recipe.seed, min_area=recipe.min_area)
    preprocessing = BASES[recipe.base].preprocessing
    progress = folder / "progress"
    begin = int(progress.read_text()) if progress.exists() else 0
    arrays: dict[int, Any] = {}
    batches = [list(addresses[i : i + _BATCH]) for i in range(begin, len(addresses), _BATCH)]
    loader = DataLoader(
        data, batch_sampler=batches, num_workers=execution.workers, prefetch_factor=4 if execution.workers else None
    )
    bar = tqdm(
        total=len(addresses),
        initial=begin,
        disable=execution.quiet,
        desc="features of the base",
        unit="img",
        mininterval=2,
    )
    for number, (pixels, _) in enumerate(loader):
        colours = torch.Generator().manual_seed(recipe.seed * 1_000_003 + begin // _BATCH + number)
        x = preprocessing.normalize(pixels.to(execution.device).contiguous(memory_format=torch.channels_last))
        x = jitter(x, colours, strength=recipe.jitter, batch=len(x))
        kept, _ = outputs_of(network, x, recipe.layers)
        start = begin + number * _BATCH
        for layer, values in kept.items():
            rows = values.permute(0, 2, 3, 1).half().cpu().numpy()
            if layer not in arrays:
                arrays[layer] = _open(folder / f"layer{layer}.npy", (len(addresses), *rows.shape[1:]))
            arrays[layer][start : start + len(rows)] = rows
        bar.update(len(x))
        if number % _SAVE_EVERY == _SAVE_EVERY - 1 or number + 1 == len(batches):
            for array in arrays.values():
                array.flush()
            _write(progress, str(start + len(x)))
    bar.close()


def _open(path: Path, shape: tuple[int, ...]) -> Any:
    mode = "r+" if path.exists() else "w+"
    return np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=shape)  # type: ignore[no-untyped-call]


def _replace(path: Path, values: np.ndarray) -> None:
    partial = path.with_name("partial-" + path.name)
    np.save(partial, values)
    os.replace(partial, path)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


def row_batches(rows: np.ndarray, *, batch: int, rng: np.random.Generator | None = None) -> Iterator[np.ndarray]:
    """Yield rows batch by batch, shuffled where a generator is given; sorted within a batch, for the disk's sake."""
    order = rng.permutation(rows) if rng else rows
    for start in range(0, len(order) - batch + 1 if rng else len(order), batch):
        yield np.sort(order[start : start + batch])
