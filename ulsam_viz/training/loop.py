"""One training run: resumable after a kill at any moment, with the same weights as an undisturbed run."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from ..images.preprocessing import Preprocessing
from ..models.backbones import BACKBONES
from ..models.network import Network
from ..models.precision import repeatable, whole_float32
from .data import AugmentedPictures, Pictures, all_batches, jitter
from .distributed import Team, check_batch
from .folder import Log, RunFolder, code_version, exclusive
from .initialisation import TrainingError, start_from
from .recipe import Recipe, one_cycle

_LOG_EVERY_STEPS = 20


@dataclass(frozen=True)
class Execution:
    """How a run is carried out.

    It changes a run's speed, and its result only as far as rounding and BatchNorm's batches do.

    On the same device, a run that was killed and goes on gives the bits of one that was not.

    Attributes:
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        workers: Processes that load pictures.
        team: The processes that train together; a recipe's batch is that of all together.
        sync_batchnorm: With several processes (torchrun), take BatchNorm's statistics over the whole batch.
        save_seconds: Seconds between saved states; a kill loses at most this much work.
        quiet: Show no progress.
    """

    device: str = field(default="cpu", metadata={"option": False})  # the command has one of its own, with "auto"
    workers: int = 2
    team: Team = field(default_factory=Team, metadata={"option": False})
    sync_batchnorm: bool = False
    save_seconds: float = 60.0
    quiet: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a CUDA GPU."""
        return self.device.startswith("cuda")


def train(
    recipe: Recipe, pictures: Pictures, out: Path, *, init: Path | None = None, execution: Execution = Execution()
) -> Path:
    """Train a network, or go on where a killed run of the same recipe stood.

    Writes to ``out``: ``state.pt`` (to resume from; removed at the end), ``log.csv``, and when done
    ``weights.safetensors`` (float32) and ``run.json`` (what made them). Every process of a team calls this function.

    Args:
        recipe: Settings of the run.
        pictures: The training part of the data.
        out: Folder of the run; created.
        init: Weights to start from; layers that do not fit in shape or name (a new head, ULSAM modules) start fresh.
        execution: Device, processes; by default those of :class:`Execution`.

    Returns:
        The path of the weights. A run that is already done is returned as it is.

    Raises:
        TrainingError: If ``out`` holds a run of another recipe, start or data, the weights do not fit, or the loss is
            no longer finite.
        InUseError: If another process is at ``out``.
    """
    execution = execution or Execution()
    team = execution.team
    if len(pictures.files) < recipe.batch:
        raise TrainingError(f"{len(pictures.files)} pictures are fewer than one batch of {recipe.batch}")
    check_batch(recipe.batch, team)
    if init is not None and not init.exists():
        raise TrainingError(f"there are no weights to start from at '{init}'")
    origin = {
        "init_sha256": hashlib.sha256(init.read_bytes()).hexdigest() if init else None,
        "pictures": len(pictures.files),
        "classes": list(pictures.classes),
    }
    folder = RunFolder(out, recipe, origin)
    with exclusive(out) if team.leads else nullcontext():
        if not team.told(team.leads and folder.is_done()):
            with _exact(execution):
                _train(recipe, pictures, folder, init, execution)
    return folder.weights


@contextmanager
def _exact(execution: Execution) -> Iterator[None]:
    """Compute on a GPU what the recipe says, and the same bits each time; a CPU does so anyway."""
    if not execution.on_gpu:
        yield
        return
    with whole_float32(), repeatable():
        yield


def _train(recipe: Recipe, pictures: Pictures, folder: RunFolder, init: Path | None, execution: Execution) -> None:
    team, device = execution.team, execution.device
    torch.manual_seed(recipe.seed)
    model = BACKBONES[recipe.backbone](recipe.width, len(pictures.classes), recipe.placement, dropout=recipe.dropout)
    if init is not None:
        start_from(model, init)
    model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    wrapped = team.wrap(model, sync_batchnorm=execution.sync_batchnorm)
    optimizer = torch.optim.SGD(_parameter_groups(model, recipe.weight_decay), lr=0, momentum=0.9, nesterov=True)
    data = AugmentedPictures(pictures, seed=recipe.seed, min_area=recipe.min_area)
    sizes = [recipe.size_at(epoch) for epoch in range(recipe.epochs)]
    per_epoch = len(data) // recipe.batch
    total = per_epoch * recipe.epochs
    step, seconds = 0, 0.0
    if state := team.told(folder.read_state() if team.leads else None):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    log = Log(folder.path / "log.csv", keep_up_to=step) if team.leads else None

    started = last_save = time.monotonic()
    part = team.part(recipe.batch)
    bar = tqdm(
        total=total * recipe.batch,
        initial=step * recipe.batch,
        unit="img",
        disable=execution.quiet or not team.leads,
        smoothing=0.05,
        mininterval=2,
    )
    batches = all_batches(
        data,
        sizes=sizes,
        batch=recipe.batch,
        part=part,
        workers=execution.workers,
        start=step,
        pinned=execution.on_gpu,
    )
    for pixels, labels in batches:
        epoch = step // per_epoch
        rate = one_cycle(step / total, recipe.peak_lr)
        for group in optimizer.param_groups:
            group["lr"] = rate
        on_device = (pixels.to(device, non_blocking=True), labels.to(device, non_blocking=True))
        loss = _train_step(wrapped, optimizer, recipe, *on_device, step, part)
        step += 1
        bar.update(recipe.batch)
        if step % _LOG_EVERY_STEPS == 0 or step == total:
            value = team.mean(loss).item()
            if not math.isfinite(value):
                raise TrainingError(f"the loss is {value} at step {step}: lower the learning rate ({recipe.peak_lr})")
            if log:
                log.write(step=step, epoch=epoch, size=sizes[epoch], lr=f"{rate:.6g}", loss=f"{value:.6g}")
            bar.set_description(
                f"{folder.path.name} epoch {epoch + 1}/{recipe.epochs} at {sizes[epoch]} px, loss {value:.2f}"
            )
        if team.leads and time.monotonic() - last_save > execution.save_seconds:
            last_save = time.monotonic()
            folder.save_state(
                model=model.state_dict(),
                optimizer=optimizer.state_dict(),
                step=step,
                seconds=seconds + last_save - started,
            )
    bar.close()
    if team.leads:
        weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
        folder.finish(weights, {"seconds": round(seconds + time.monotonic() - started)} | surroundings(execution))


def _train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    pixels: Tensor,
    labels: Tensor,
    step: int,
    part: slice,
) -> Tensor:
    """Take one optimizer step.

    Every draw (dropout, colours) depends on (seed, step) alone, so a resumed run repeats it.
    """
    torch.manual_seed(recipe.seed * 1_000_003 + step)
    colours = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    x = Preprocessing().normalize(pixels.contiguous(memory_format=torch.channels_last))
    x = jitter(x, colours, strength=recipe.jitter, batch=recipe.batch, part=part)
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        loss = functional.cross_entropy(model(x), labels, label_smoothing=recipe.label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def _parameter_groups(model: Network, weight_decay: float) -> list[dict[str, Any]]:
    """Decay weights of the backbone's convolutions and of the classifier only: no norms, biases or ULSAM modules."""
    attention = {id(p) for p in model.attention.parameters()}
    decayed = [p for p in model.parameters() if p.ndim > 1 and id(p) not in attention]
    chosen = {id(p) for p in decayed}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def surroundings(execution: Execution) -> dict[str, Any]:
    """Describe, for a run's record, when, with which code and on what a run was made."""
    return {
        "finished": datetime.now(UTC).strftime("%Y-%m-%d"),
        "code": code_version(),
        "device": torch.cuda.get_device_name(execution.device) if execution.on_gpu else f"CPU, {os.cpu_count()} cores",
        "processes": execution.team.size,
        "sync_batchnorm": execution.sync_batchnorm and execution.team.size > 1,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
