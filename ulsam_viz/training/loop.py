"""One training run: resumable after a kill at any moment, with the same weights as an undisturbed run."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from ..images import Preprocessing
from ..models.mobilenet import BACKBONES, MobileNet
from .data import AugmentedPictures, Pictures, epoch_batches, jitter
from .recipe import Recipe, one_cycle

_LOG_EVERY_STEPS = 20


class TrainingError(ValueError):
    """A run that cannot start or go on; the message says why and what to do."""


class InUseError(TrainingError):
    """A run's folder that another process is at."""


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder; the lock goes with the process, however that ends.

    Raises:
        InUseError: At once, if another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0, is_singleton=True):  # the same process may take it again
            yield
    except Timeout as error:
        raise InUseError(f"another process is at '{folder}'; wait for it, or choose another folder") from error


def train(
    recipe: Recipe,
    pictures: Pictures,
    out: Path,
    *,
    init: Path | None = None,
    device: str = "cpu",
    workers: int = 2,
    save_seconds: float = 60.0,
    quiet: bool = False,
) -> Path:
    """Train a network, or go on where a killed run of the same recipe stood.

    Writes to ``out``: ``state.pt`` (to resume from; removed at the end), ``log.csv``, and when done
    ``weights.safetensors`` (float32) and ``run.json`` (what made them).

    Args:
        recipe: Settings of the run.
        pictures: The training part of the data.
        out: Folder of the run; created.
        init: Weights to start from; layers that do not fit in shape or name (a new head, ULSAM modules) start fresh.
        device: ``"cpu"`` or ``"cuda"``; on CUDA the forward pass runs in bfloat16 autocast.
        workers: Processes that load pictures.
        save_seconds: Seconds between saved states; a kill loses at most this much work.
        quiet: No progress bar.

    Returns:
        The path of the weights. A run that is already done is returned as it is.

    Raises:
        TrainingError: If ``out`` holds a run of another recipe, the weights do not fit, or the loss is no longer finite.
        InUseError: If another process is at ``out``.
    """
    with exclusive(out):
        return _train(recipe, pictures, out, init, device, workers, save_seconds, quiet)


def _train(
    recipe: Recipe,
    pictures: Pictures,
    out: Path,
    init: Path | None,
    device: str,
    workers: int,
    save_seconds: float,
    quiet: bool,
) -> Path:
    done, state_path = out / "weights.safetensors", out / "state.pt"
    settings = json.loads(json.dumps(recipe.as_dict()))
    if done.exists():
        if json.loads((out / "run.json").read_text())["recipe"] != settings:
            raise TrainingError(f"'{out}' holds a finished run of another recipe; choose another folder")
        return done
    if len(pictures.files) < recipe.batch:
        raise TrainingError(f"{len(pictures.files)} pictures are fewer than one batch of {recipe.batch}")

    torch.manual_seed(recipe.seed)
    model = BACKBONES[recipe.backbone](recipe.width, len(pictures.classes), recipe.placement, dropout=recipe.dropout)
    if init is not None:
        start_from(model, init)
    model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(_parameter_groups(model, recipe.weight_decay), lr=0, momentum=0.9, nesterov=True)
    data = AugmentedPictures(pictures, seed=recipe.seed, min_area=recipe.min_area)
    per_epoch = len(data) // recipe.batch
    total = per_epoch * recipe.epochs
    step, seconds = 0, 0.0
    if state_path.exists():
        state = torch.load(state_path, map_location=device, weights_only=True)
        if state["recipe"] != json.dumps(settings):
            raise TrainingError(f"'{out}' holds an unfinished run of another recipe; choose another folder")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    log = _Log(out / "log.csv", keep_up_to=step)

    def save_state() -> None:
        state = {
            "recipe": json.dumps(settings),
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "seconds": seconds + time.monotonic() - started,
        }
        partial = state_path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, state_path)  # a kill leaves the old state or the new one, never half of one

    started = last_save = time.monotonic()
    bar = tqdm(total=total * recipe.batch, initial=step * recipe.batch, unit="img", disable=quiet, smoothing=0.05, mininterval=2)
    while step < total:
        epoch = step // per_epoch
        size = recipe.size_at(epoch)
        batches = epoch_batches(data, epoch=epoch, size=size, batch=recipe.batch, workers=workers, skip=step % per_epoch)
        for pixels, labels in batches:
            rate = one_cycle(step / total, recipe.peak_lr)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = _train_step(model, optimizer, recipe, pixels.to(device), labels.to(device), step)
            step += 1
            bar.update(recipe.batch)
            if step % _LOG_EVERY_STEPS == 0 or step == total:
                value = loss.item()
                if value != value or value == float("inf"):
                    raise TrainingError(f"the loss is {value} at step {step}: lower the learning rate ({recipe.peak_lr})")
                log.write(step=step, epoch=epoch, size=size, lr=f"{rate:.6g}", loss=f"{value:.6g}")
                bar.set_description(f"{out.name} epoch {epoch + 1}/{recipe.epochs} at {size} px, loss {value:.2f}")
            if time.monotonic() - last_save > save_seconds:
                save_state()
                last_save = time.monotonic()
    bar.close()
    run = {
        "recipe": settings,
        "init_sha256": hashlib.sha256(init.read_bytes()).hexdigest() if init else None,
        "pictures": len(pictures.files),
        "classes": list(pictures.classes),
        "seconds": round(seconds + time.monotonic() - started),
        "finished": datetime.now(UTC).strftime("%Y-%m-%d"),
        "code": code_version(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else f"CPU, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    (out / "run.json").write_text(json.dumps(run, indent=1) + "\n")
    weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    partial = done.with_suffix(".partial")
    save_file(weights, partial)
    os.replace(partial, done)
    state_path.unlink(missing_ok=True)
    return done


def _train_step(
    model: MobileNet, optimizer: torch.optim.Optimizer, recipe: Recipe, pixels: Tensor, labels: Tensor, step: int
) -> Tensor:
    """Take one optimizer step; every draw (dropout, colours) depends on (seed, step) alone, so a resumed run repeats it."""
    torch.manual_seed(recipe.seed * 1_000_003 + step)
    colours = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    x = Preprocessing().normalize(pixels.contiguous(memory_format=torch.channels_last))
    x = jitter(x, colours, strength=recipe.jitter)
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=pixels.device.type == "cuda"):
        loss = functional.cross_entropy(model(x), labels, label_smoothing=recipe.label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def _parameter_groups(model: MobileNet, weight_decay: float) -> list[dict[str, Any]]:
    """Decay weights of the backbone's convolutions and of the classifier only: no norms, biases or ULSAM modules."""
    attention = {id(p) for p in model.attention.parameters()}
    decayed = [p for p in model.parameters() if p.ndim > 1 and id(p) not in attention]
    chosen = {id(p) for p in decayed}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def start_from(model: nn.Module, path: Path) -> None:
    """Copy every tensor of a weights file that the network has under the same name and shape; the rest stays fresh.

    Raises:
        TrainingError: If the file cannot be read or fits in no layer.
    """
    try:
        weights = load_file(path)
    except Exception as error:  # the parser's own error type is undocumented
        raise TrainingError(f"'{path}' cannot be read as safetensors: {error}") from error
    own = model.state_dict()
    fitting = {k: v.to(own[k].dtype) for k, v in weights.items() if k in own and v.shape == own[k].shape}
    if not any(k.startswith("layers.") for k in fitting):
        raise TrainingError(f"'{path}' fits in no layer of this network: another backbone or width?")
    model.load_state_dict(own | fitting)


def code_version() -> str:
    """Return the commit of the code that runs, marked if changed since; ``"unknown"`` outside a checkout."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class _Log:
    """A CSV file of the loss; rows beyond the step that a resumed run goes on from are dropped."""

    FIELDS = ("step", "epoch", "size", "lr", "loss")

    def __init__(self, path: Path, *, keep_up_to: int) -> None:
        self.path = path
        rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if row["loss"] and int(row["step"]) <= keep_up_to]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.FIELDS)
            writer.writeheader()
            writer.writerows(rows)

    def write(self, **row: object) -> None:
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.FIELDS).writerow(row)
