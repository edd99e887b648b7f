"""A list of runs in a TOML file: each is trained, measured and entered in the zoo once; what is done is skipped."""

from __future__ import annotations

import itertools
import json
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.network import Placement
from ..zoo.variants import CheckpointError, list_variants
from .data import find_pictures, find_split
from .distributed import Team
from .folder import InUseError, exclusive
from .frozen import ModuleRecipe, train_modules
from .initialisation import TrainingError
from .loop import Execution, train
from .mixture import Source, TestSet
from .publish import Role, publish, publish_modules
from .recipe import Recipe


@dataclass(frozen=True)
class PlannedRun:
    """One run of a zoo file.

    Attributes:
        name: Folder of the run, and how later runs name it in ``init``.
        recipe: Its settings.
        data: Folder of its data below the data root; "" for modules in a frozen base, whose mixture names its own.
        init: What it starts from: the name of an earlier run, the file name of a checkpoint in the zoo, or None.
        role: What the result is in the zoo's manifest, or None: it is not entered.
        study: The experiment beside the zoo that it belongs to, or None.
        input_size: Side of the input that it is measured at, in pixels; None: that of its last stage.
        tests: What modules in a frozen base are measured on.
    """

    name: str
    recipe: Recipe | ModuleRecipe
    data: str
    init: str | None
    role: Role | None
    study: str | None = None
    input_size: int | None = None
    tests: tuple[TestSet, ...] = ()


def read_zoo_file(path: Path) -> list[PlannedRun]:
    """Read the runs of a zoo file, in order. One that is not there is looked for among those that ship, by its name.

    A run takes the file's ``[defaults]`` where it says nothing; with ``freeze_base``, which trains modules in a frozen
    base, its ``[frozen_defaults]``. ``groups``, ``seed``, ``module`` and ``layers`` may be lists (of lists, for
    ``layers``): the entry then stands for one run each, in all combinations, and its name holds ``{g}``, ``{seed}``,
    ``{module}`` and ``{layers}``. With ``publish = true`` the first of several seeds enters the zoo with its weights,
    the others with their figures alone; with ``"figures"`` those of the first do so too. With ``study`` all of that
    belongs to an experiment beside the zoo. Figures alone has also a plain network with ``publish = "control of
    instead"``, which is what networks with modules instead of layers are compared with.

    Raises:
        TrainingError: If the file cannot be read, names an unknown setting, or starts a run from a later one.
    """
    shipped = Path(__file__).with_name(path.name)
    path = shipped if shipped.exists() and not path.exists() else path
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"'{path}' cannot be read: {error}") from error
    runs: list[PlannedRun] = []
    for entry in document.get("run", []):
        entry = document.get("frozen_defaults" if "freeze_base" in entry else "defaults", {}) | entry
        seeds, groups, layers, modules = (
            _several(entry.pop(key, other))
            for key, other in (("seed", Recipe.seed), ("groups", None), ("layers", None), ("module", Placement.module))
        )
        if not isinstance(layers[0], list):
            layers = [layers]
        for seed, places, module, g in itertools.product(seeds, layers, modules, groups):
            run = _planned(
                entry | {"seed": seed, "layers": places, "module": module, "groups": g}, seed != seeds[0], path
            )
            if run.init and not _is_checkpoint(run.init) and run.init not in {r.name for r in runs}:
                raise TrainingError(f"'{path}': run '{run.name}' starts from '{run.init}', which is not an earlier run")
            runs.append(run)
    if len({r.name for r in runs}) != len(runs):
        raise TrainingError(f"'{path}' names a run twice")
    return runs


def _is_checkpoint(init: str) -> bool:
    return init.endswith(".safetensors")


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _planned(entry: dict[str, Any], repeat: bool, path: Path) -> PlannedRun:
    try:
        layers, groups, mode = entry.pop("layers"), entry.pop("groups"), entry.pop("mode", Placement.mode)
        gain, module = entry.pop("gain", Placement.gain), entry.pop("module")
        groups = groups if module == Placement.module else 1
        placement = None if layers == [None] else Placement(tuple(layers), groups or 0, mode, gain, module)
        name = entry.pop("name").format(g=groups, module=module, seed=entry["seed"], layers="_".join(map(str, layers)))
        role, study = _role(entry.pop("publish", False), repeat), entry.pop("study", None)
        input_size = entry.pop("input_size", PlannedRun.input_size)
        if "freeze_base" in entry:
            return _planned_modules(entry, name, placement, role, study)
        data, init = entry.pop("data"), entry.pop("init", None)
        entry["stages"] = tuple((int(epochs), int(size)) for epochs, size in entry["stages"])
        recipe = Recipe(placement=placement, init=init, **entry)
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"'{path}' holds a run that cannot be used: {error}") from error
    return PlannedRun(name, recipe, data, init, role, study, input_size)


def _planned_modules(
    entry: dict[str, Any], name: str, placement: Placement | None, role: Role | None, study: str | None
) -> PlannedRun:
    """Read a run that trains modules in a frozen base."""
    tests = tuple(TestSet(**test) for test in entry.pop("measure", ()))
    if role and not tests:
        raise ValueError("what is published is measured: name its test sets")
    sources = tuple(Source(**source) for source in entry.pop("mixture"))
    recipe = ModuleRecipe(
        entry.pop("freeze_base"), placement, sources, feature_layers=tuple(entry.pop("feature_layers")), **entry
    )
    return PlannedRun(name, recipe, "", None, role, study, tests=tests)


def _role(publish: bool | str, repeat: bool) -> Role | None:
    if publish == Role.CONTROL_OF_INSTEAD.value:
        return Role.CONTROL_OF_INSTEAD
    first = Role(publish) if isinstance(publish, str) else Role.VARIANT
    return (Role.REPEAT if repeat else first) if publish else None


def train_zoo(path: Path, data_root: Path, runs_folder: Path, checkpoints: Path, execution: Execution) -> None:
    """Train every run of a zoo file that is not done yet, in order, and publish those that are to be shown.

    Several independent processes may work on one list, for instance one a processor core: each takes the first run that
    no other is at and whose start weights are there. The processes of a ``team`` train each run together.
    """
    team = execution.team
    pending = read_zoo_file(path)
    while pending:
        waiting = []
        for run in pending:
            folder = runs_folder / run.name
            init = _start_of(run, runs_folder, checkpoints)
            with _claimed(folder, init, team) as claimed:
                if not claimed:
                    waiting.append(run)
                    continue
                _carry_out(run, folder, init, data_root, execution)
                if run.role and team.leads and not _is_published(folder, checkpoints, run.study):
                    record = _publish(run, folder, data_root, checkpoints, run.role, execution.device)
                    print(
                        f"{run.name}: top-1 {record['metrics']['top1']} %, top-5 {record['metrics']['top5']} %",
                        flush=True,
                    )
        if len(waiting) == len(pending):
            time.sleep(5)
        pending = waiting


def _start_of(run: PlannedRun, runs_folder: Path, checkpoints: Path) -> Path | None:
    if run.init is None:
        return None
    return checkpoints / run.init if _is_checkpoint(run.init) else runs_folder / run.init / "weights.safetensors"


def _carry_out(run: PlannedRun, folder: Path, init: Path | None, data_root: Path, execution: Execution) -> None:
    if isinstance(run.recipe, ModuleRecipe):
        train_modules(run.recipe, data_root, folder, features_folder=folder.parent, execution=execution)
    else:
        train(
            run.recipe,
            find_split(run.recipe.dataset, data_root / run.data).train,
            folder,
            init=init,
            execution=execution,
        )


def _publish(
    run: PlannedRun, folder: Path, data_root: Path, checkpoints: Path, role: Role, device: str
) -> dict[str, Any]:
    if isinstance(run.recipe, ModuleRecipe):
        return publish_modules(folder, run.tests, data_root, checkpoints, role=role, study=run.study, device=device)
    held_out = find_pictures(run.recipe.dataset, data_root / run.data, "test")
    return publish(folder, held_out, checkpoints, input_size=run.input_size, role=role, study=run.study, device=device)


@contextmanager
def _claimed(folder: Path, init: Path | None, team: Team) -> Iterator[bool]:
    """Lock a run and yield True in all its processes, or False if others hold the lock."""
    with ExitStack() as stack:
        claimed = init is None or init.exists()
        if team.leads and claimed:
            try:
                stack.enter_context(exclusive(folder))
            except InUseError:
                claimed = False
        yield team.told(claimed)


def _is_published(run: Path, checkpoints: Path, study: str | None) -> bool:
    """Return whether the zoo, or its study, holds exactly this run, in whatever role."""
    made_by = json.loads((run / "run.json").read_text(encoding="utf-8"))
    made_by.pop("classes", None)
    try:
        variants = list_variants(checkpoints, study=study)
    except CheckpointError:  # no zoo there yet
        return False
    figures = [record for v in variants for record in (*v.repeats, *v.control)]
    shipped = any(v.made_by == made_by and (v.path is None or v.path.exists()) for v in variants)
    return shipped or any(record["made_by"] == made_by for record in figures)
