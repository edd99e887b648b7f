"""Train ULSAM modules in a frozen base; the base's weights never change, and a run saves the modules alone."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from ..models.backbones import BACKBONES
from ..models.network import Network, Placement
from ..zoo.pretrained import BASES, classes_of
from .distributed import check_batch
from .features import FeatureRecipe, Features, make_features, plain_base, row_batches
from .folder import Log, RunFolder, exclusive
from .initialisation import TrainingError
from .loop import Execution, surroundings
from .mixture import Source
from .recipe import one_cycle

_LOG_EVERY_STEPS = 20


@dataclass(frozen=True)
class ModuleRecipe:
    """Settings of one run; together with the data and the code they determine the modules.

    Attributes:
        base: A key of :data:`~ulsam_viz.zoo.pretrained.BASES`; it stays as it is.
        placement: The modules, after layers; None for the base as it is, which needs no training.
        sources: The mixture of pictures, below the data's folder; targets are their "labels" or the answers of the
            "base" itself, e.g. tiny-imagenet-200:imagefolder:labels caltech101:caltech101:base:4.
        feature_layers: Layers whose features are computed in one go, for this run and others; the placement's first
            among them.
        epochs: Passes over all copies of all pictures.
        batch: Rows in a step.
        peak_lr: Peak of the one-cycle schedule of AdamW.
        label_smoothing: Probability spread over the other classes, where labels are the targets.
        min_area, jitter: Of the augmentation, see :class:`~ulsam_viz.training.features.FeatureRecipe`.
        seed: Of the modules' initialisation and of the order; the augmented copies are the same for all seeds.
    """

    base: str = field(metadata={"option": False})  # follows from backbone and width
    placement: Placement | None
    sources: tuple[Source, ...]
    feature_layers: tuple[int, ...] = field(metadata={"option": False})  # one run alone needs its placement's
    epochs: int = 1
    batch: int = 64
    peak_lr: float = 0.01
    label_smoothing: float = 0.1
    min_area: float = 0.3
    jitter: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.base not in BASES:
            raise ValueError(f"unknown base '{self.base}': use {' or '.join(BASES)}")
        if self.placement and self.placement.mode != "after":
            raise ValueError("a frozen base keeps all its layers: modules come after layers, not instead of them")
        if self.placement and self.first_layer not in self.feature_layers:
            raise ValueError(
                f"features are computed of layers {self.feature_layers}, layer {self.first_layer} not among them"
            )
        if self.epochs < 1 or self.batch < 2:
            raise ValueError("there is at least one epoch, and a batch has at least two rows, for BatchNorm")

    @property
    def first_layer(self) -> int:
        """The layer whose features training starts from."""
        assert self.placement  # nothing is trained without
        return min(self.placement.layers)

    @property
    def backbone(self) -> str:
        """The base's network."""
        return BASES[self.base].backbone

    @property
    def width(self) -> float:
        """The base's width."""
        return BASES[self.base].width

    @property
    def dataset(self) -> str:
        """What the base was trained on."""
        return BASES[self.base].dataset

    @property
    def features(self) -> FeatureRecipe:
        """What the features are made of."""
        return FeatureRecipe(self.base, self.sources, self.feature_layers, self.min_area, self.jitter)

    def as_dict(self) -> dict[str, Any]:
        """Return all settings, for the run's record."""
        return {
            **asdict(self),
            "placement": self.placement and self.placement.as_record(),
            **({} if self.placement else {"sources": (), "feature_layers": (), "epochs": 0}),
            "backbone": self.backbone,
            "width": self.width,
            "dataset": self.dataset,
            "init": None,
            "precision": "float32",
        }


def train_modules(
    recipe: ModuleRecipe, data_root: Path, out: Path, *, features_folder: Path, execution: Execution
) -> Path:
    """Train modules, or go on where a killed run of the same recipe stood.

    Writes to ``out`` what :func:`~ulsam_viz.training.loop.train` writes; the weights are those of the modules alone.
    Every process of a team calls this function; the features are computed by the one that leads.

    Args:
        recipe: Settings of the run.
        data_root: Folder of the mixture's datasets.
        out: Folder of the run; created.
        features_folder: Keeps the base's features, for all runs that share them.
        execution: Device, workers, team.

    Returns:
        The path of the weights.

    Raises:
        TrainingError: If ``out`` holds another run, the batch cannot be split among the team, or the loss is no longer
            finite.
        InUseError: If another process is at ``out``, or is computing the features.
    """
    team = execution.team
    check_batch(recipe.batch, team)
    folder = RunFolder(out, recipe, {"init_sha256": BASES[recipe.base].sha256})
    with exclusive(out) if team.leads else nullcontext():
        if not recipe.placement:
            if team.leads:
                folder.finish({}, surroundings(execution))
        elif not team.told(team.leads and folder.is_done()):
            if team.leads:
                make_features(recipe.features, data_root, features_folder, execution=execution)
            team.told(None)  # the others wait for them
            features = make_features(recipe.features, data_root, features_folder, execution=execution)
            _train(recipe, features, folder, execution)
    return folder.weights


def frozen_network(recipe: ModuleRecipe) -> Network:
    """Return the base with fresh modules: BatchNorm of the base folded, only the modules have gradients."""
    plain, base = plain_base(recipe.base), BASES[recipe.base]
    network = BACKBONES[base.backbone](base.width, len(classes_of(base.dataset)), recipe.placement)
    network.layers, network.head, network.classifier = plain.layers, plain.head, plain.classifier
    network.eval().attention.train()
    return network


def _train(recipe: ModuleRecipe, features: Features, folder: RunFolder, execution: Execution) -> None:
    team, device = execution.team, execution.device
    torch.manual_seed(recipe.seed)
    network = frozen_network(recipe).to(device)
    if execution.sync_batchnorm:
        team.share_norms(network.attention)
    optimizer = torch.optim.AdamW(network.attention.parameters(), lr=0.0, weight_decay=0.0)
    per_epoch = len(features.trained) // recipe.batch
    total = per_epoch * recipe.epochs
    step, seconds = 0, 0.0
    if state := team.told(folder.read_state() if team.leads else None):
        network.attention.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    log = Log(folder.path / "log.csv", keep_up_to=step) if team.leads else None
    started = last_save = time.monotonic()
    hidden = execution.quiet or not team.leads
    bar = tqdm(total=total * recipe.batch, initial=step * recipe.batch, unit="img", disable=hidden, mininterval=2)
    for rows in _orders(recipe, features, step):
        rate = one_cycle(step / total, recipe.peak_lr)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _loss(network, features, rows[team.part(len(rows))], recipe, device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        team.share_gradients(network.attention)
        optimizer.step()
        step += 1
        bar.update(recipe.batch)
        if step % _LOG_EVERY_STEPS == 0 or step == total:
            value = team.mean(loss.detach()).item()
            if not math.isfinite(value):
                raise TrainingError(f"the loss is {value} at step {step}: lower the learning rate ({recipe.peak_lr})")
            if log:
                log.write(step=step, epoch=(step - 1) // per_epoch, size="", lr=f"{rate:.6g}", loss=f"{value:.6g}")
            bar.set_description(f"{folder.path.name}, loss {value:.3f}")
        if team.leads and time.monotonic() - last_save > execution.save_seconds:
            last_save = time.monotonic()
            folder.save_state(
                model=network.attention.state_dict(),
                optimizer=optimizer.state_dict(),
                step=step,
                seconds=seconds + last_save - started,
            )
    bar.close()
    if team.leads:
        _finish(network.eval(), features, recipe, folder, execution, seconds + time.monotonic() - started)


def _finish(
    network: Network, features: Features, recipe: ModuleRecipe, folder: RunFolder, execution: Execution, seconds: float
) -> None:
    """Measure what was trained on the rows that were held out, and write it."""
    device = execution.device
    weights = {f"attention.{k}": v.detach().cpu().contiguous() for k, v in network.attention.state_dict().items()}
    held_out = {
        "rows": len(features.held_out),
        "loss": round(_held_out_loss(network, features, recipe, device), 4),
        "loss_of_base": round(_held_out_loss(plain_base(recipe.base).to(device), features, recipe, device), 4),
    }
    record = {"pictures": len(set(features.pictures.tolist())), "rows": len(features.trained), "held_out": held_out}
    folder.finish(weights, record | {"seconds": round(seconds)} | surroundings(execution))


def _orders(recipe: ModuleRecipe, features: Features, skip: int) -> Iterator[np.ndarray]:
    """Yield the rows of every step from ``skip`` on.

    They depend on (seed, epoch) alone, so a resumed run repeats them.
    """
    per_epoch = len(features.trained) // recipe.batch
    for epoch in range(skip // per_epoch, recipe.epochs):
        rng = np.random.default_rng((recipe.seed, epoch))
        for number, rows in enumerate(row_batches(features.trained, batch=recipe.batch, rng=rng)):
            if epoch * per_epoch + number >= skip:
                yield rows


def _loss(network: Network, features: Features, rows: np.ndarray, recipe: ModuleRecipe, device: str) -> Tensor:
    """Return the mean cross-entropy of some rows.

    A network without modules goes on behind the place where they would be.
    """
    x = features.read(recipe.first_layer, rows).to(device)
    targets = features.targets(rows, smoothing=recipe.label_smoothing).to(device)
    if network.placement:
        logits, _ = network.from_attention(x, recipe.first_layer)
    else:
        logits = network.after_attention(x, recipe.first_layer)
    return functional.cross_entropy(logits, targets)


@torch.inference_mode()
def _held_out_loss(network: Network, features: Features, recipe: ModuleRecipe, device: str) -> float:
    total = 0.0
    for rows in row_batches(features.held_out, batch=recipe.batch):
        total += _loss(network, features, rows, recipe, device).item() * len(rows)
    return total / len(features.held_out)
