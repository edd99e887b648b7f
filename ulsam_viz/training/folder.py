"""A training run's folder: lock, log, resumable state and final files."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save_file
from torch import Tensor

from .. import __version__
from ..paths import HOME
from ..zoo.variants import precision_of
from .classes import class_difference
from .initialisation import TrainingError


class Settings(Protocol):
    """A recipe of any kind."""

    def as_dict(self) -> dict[str, Any]:
        """Return all settings."""
        ...


class InUseError(TrainingError):
    """A run's folder that another process is at."""


class RunFolder:
    """``weights.safetensors`` and ``run.json`` of a finished run; ``state.pt`` and ``log.csv`` of one under way.

    Args:
        path: The folder; need not be there yet.
        recipe: Settings of the run that may use it.
        origin: What else determines its weights: the data, and the sha256 of the weights it starts from.
    """

    def __init__(self, path: Path, recipe: Settings, origin: Mapping[str, Any]) -> None:
        self.path = path
        self.weights = path / "weights.safetensors"
        self.settings: dict[str, Any] = json.loads(json.dumps(recipe.as_dict()))  # as the records give them back
        self.origin: dict[str, Any] = json.loads(json.dumps(origin))
        self._state = path / "state.pt"
        self._record = path / "run.json"

    def is_done(self) -> bool:
        """Return whether this very run is finished.

        Raises:
            TrainingError: If another one is.
        """
        if not self.weights.exists():
            return False
        self._compare(json.loads(self._record.read_text(encoding="utf-8")), "a finished run")
        return True

    def read_state(self) -> dict[str, Any] | None:
        """Return the state that a killed run left, on the CPU; None if there is none.

        Raises:
            TrainingError: If it is another run's.
        """
        if not self._state.exists():
            return None
        state: dict[str, Any] = torch.load(self._state, map_location="cpu", weights_only=True)
        record = json.loads(state["run"])
        if "precision" not in record["recipe"]:
            raise TrainingError(
                f"'{self.path}' holds an unfinished run of an older version, which does not say its precision: "
                f"choose another folder (--name), or remove '{self._state.name}' to begin anew"
            )
        self._compare(record, "an unfinished run")
        return state

    def _compare(self, record: Mapping[str, Any], what: str) -> None:
        """Refuse a record of a run with other settings, data or start."""
        record = {**record, "recipe": {**record["recipe"], "precision": precision_of(record)}}
        ours = {"recipe": self.settings, **self.origin}
        if other := [key for key, value in ours.items() if record.get(key) != value]:
            classes = (
                class_difference(record.get("classes") or (), self.origin["classes"]) if "classes" in other else ""
            )
            names = {"recipe": "recipe", "init_sha256": "start weights", "pictures": "data", "classes": "data"}
            differing = " and ".join(dict.fromkeys(names[key] for key in other))
            differing += f" ({classes})" if classes else ""
            raise TrainingError(f"'{self.path}' holds {what} of another {differing}; choose another folder (--name)")

    def save_state(self, **state: Any) -> None:
        """Replace the saved state; a kill leaves the old one or the new one, never half of one."""
        partial = self._state.with_suffix(".partial")
        torch.save({"run": json.dumps({"recipe": self.settings, **self.origin}), **state}, partial)
        os.replace(partial, self._state)

    def finish(self, weights: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Write the run's record and its weights, and drop the state; the weights come last, since they mean "done"."""
        self._record.write_text(json.dumps({"recipe": self.settings, **self.origin, **record}, indent=1) + "\n")
        partial = self.weights.with_suffix(".partial")
        save_file(weights, partial)
        os.replace(partial, self.weights)
        self._state.unlink(missing_ok=True)


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


class Log:
    """A CSV file of the loss; rows beyond the step that a resumed run goes on from are dropped."""

    FIELDS = ("step", "epoch", "size", "lr", "loss")

    def __init__(self, path: Path, *, keep_up_to: int) -> None:
        self.path = path
        rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if row["loss"] and int(row["step"]) <= keep_up_to]
        partial = path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.FIELDS)
            writer.writeheader()
            writer.writerows(rows)
        os.replace(partial, path)  # a kill meanwhile loses no row

    def write(self, **row: object) -> None:
        """Append one row."""
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.FIELDS).writerow(row)


def code_version() -> str:
    """Return the commit of the code that runs, marked if changed since; outside a checkout its version."""
    if not (HOME / ".git").exists():  # a repository further up is another program's
        return __version__
    try:
        command = ["git", "-C", str(HOME), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
