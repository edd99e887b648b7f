"""A list of runs in a TOML file: each is trained, measured and entered in the zoo once; what is done is skipped."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.mobilenet import Placement
from ..zoo import CheckpointError, list_variants
from .data import find_pictures
from .loop import TrainingError, train
from .publish import publish
from .recipe import Recipe


@dataclass(frozen=True)
class PlannedRun:
    """One run of a zoo file.

    Attributes:
        name: Folder of the run, and how later runs name it in ``init``.
        recipe: Its settings.
        data: Folder of its data below the data root.
        init: Name of an earlier run to start from, or None.
        publish: Enter the result in the zoo's manifest.
    """

    name: str
    recipe: Recipe
    data: str
    init: str | None
    publish: bool


def read_zoo_file(path: Path) -> list[PlannedRun]:
    """Read the runs of a zoo file, in order.

    A run takes the file's ``[defaults]`` where it says nothing. ``groups = [1, 2, 4]`` stands for one run each, whose
    name's ``{g}`` is replaced by the number.

    Raises:
        TrainingError: If the file cannot be read, names an unknown setting, or starts a run from a later one.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"'{path}' cannot be read: {error}") from error
    runs: list[PlannedRun] = []
    for entry in document.get("run", []):
        entry = document.get("defaults", {}) | entry
        groups = entry.pop("groups", None)
        for g in groups if isinstance(groups, list) else [groups]:
            run = _planned(dict(entry), g, path)
            if run.init and run.init not in {r.name for r in runs}:
                raise TrainingError(f"'{path}': run '{run.name}' starts from '{run.init}', which is not an earlier run")
            runs.append(run)
    if len({r.name for r in runs}) != len(runs):
        raise TrainingError(f"'{path}' names a run twice")
    return runs


def _planned(entry: dict[str, Any], groups: int | None, path: Path) -> PlannedRun:
    try:
        name = entry.pop("name").format(g=groups)
        data, init, published = entry.pop("data"), entry.pop("init", None), entry.pop("publish", False)
        layers, mode = entry.pop("layers", None), entry.pop("mode", "after")
        placement = Placement(tuple(layers), groups or 0, mode) if layers else None
        entry["stages"] = tuple((int(epochs), int(size)) for epochs, size in entry["stages"])
        recipe = Recipe(placement=placement, init=init, **entry)
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"'{path}' holds a run that cannot be used: {error}") from error
    return PlannedRun(name, recipe, data, init, published)


def train_zoo(path: Path, data_root: Path, runs_folder: Path, checkpoints: Path, **options: Any) -> None:
    """Train every run of a zoo file that is not done yet, in order, and publish those that are to be shown."""
    for run in read_zoo_file(path):
        folder = runs_folder / run.name
        init = runs_folder / run.init / "weights.safetensors" if run.init else None
        train(run.recipe, find_pictures(run.recipe.dataset, data_root / run.data, "train"), folder, init=init, **options)
        if run.publish and not _is_published(folder, checkpoints):
            record = publish(folder, find_pictures(run.recipe.dataset, data_root / run.data, "test"), checkpoints)
            print(f"{run.name}: top-1 {record['metrics']['top1']} %, top-5 {record['metrics']['top5']} %", flush=True)


def _is_published(run: Path, checkpoints: Path) -> bool:
    """Tell whether the zoo holds exactly this run."""
    made_by = json.loads((run / "run.json").read_text())
    del made_by["classes"]
    try:
        return any(v.made_by == made_by and v.path.exists() for v in list_variants(checkpoints))
    except CheckpointError:  # no zoo there yet
        return False
