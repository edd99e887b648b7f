"""The command `train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from ..images.preprocessing import Preprocessing
from ..models.network import Placement
from ..training.data import check_pictures, find_split
from ..training.distributed import joined_team
from ..training.frozen import ModuleRecipe, train_modules
from ..training.initialisation import TrainingError, imagenet_weights
from ..training.loop import Execution, train
from ..training.mixture import parse_test
from ..training.publish import check_classes, publish, publish_modules
from ..training.recipe import Recipe
from ..training.zoo_file import train_zoo
from ..zoo.pretrained import base_for
from ..zoo.variants import variant_name
from .training_options import chosen, typed


def run_train(options: argparse.Namespace, *, device: str) -> None:
    """Train one network, modules in a frozen base, or a list of runs; print where the weights are.

    Args:
        options: As parsed.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: For anything that the user can put right; the message says how.
    """
    _check(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    with joined_team(device) as (team, own_device):
        execution = Execution(device=own_device, team=team, **chosen(options, Execution))
        if options.zoo:
            train_zoo(options.zoo, options.data, options.runs, options.publish or Path("checkpoints"), execution)
        elif options.freeze_base:
            _train_modules(options, execution)
        else:
            _train_one(options, execution)


def _check(options: argparse.Namespace) -> None:
    """Refuse what would be ignored, before anything is computed.

    Raises:
        TrainingError: The message says what is not for this command.
    """
    ours, modules = typed(options, Recipe), typed(options, ModuleRecipe)
    if options.zoo:
        if options.download:
            raise TrainingError(
                "a list of runs takes its data as it lies there: download first, with a run of your own"
            )
        refused, reason = {**ours, **modules}, "the runs of a list say their own settings: write them in the file"
    elif options.freeze_base:
        choose_base = {"backbone", "width", "init"}
        refused = {name: s for name, s in ours.items() if name not in modules.keys() | choose_base}
        reason = "modules in a frozen base are trained without"
    else:
        refused, reason = (
            {name: s for name, s in modules.items() if name not in ours},
            "this is for modules alone, with --freeze-base",
        )
        if "layers" not in ours:
            refused |= {name: s for name, s in ours.items() if s.record is Placement}
            reason += "; modules have their --layers"
    flags = [s.flags[0] for s in refused.values()]
    flags += ["--measure"] if options.measure and (options.zoo or not options.freeze_base) else []
    flags += ["--input-size"] if options.input_size and (options.zoo or options.freeze_base) else []
    flags += [
        flag
        for flag, said in (("--name", options.name), ("--freeze-base", options.freeze_base))
        if said and options.zoo
    ]
    if flags:
        raise TrainingError(f"{', '.join(flags)}: {reason}")
    if options.input_size:
        if not options.publish:
            raise TrainingError("--input-size is what a network is measured and used at: give --publish too")
        Preprocessing(options.input_size)  # what is wrong with it is said now


def _recipe(options: argparse.Namespace) -> Recipe:
    said = chosen(options, Recipe)
    if "init" in said:
        said["init"] = _name_of_start(Path(said["init"]))
    return Recipe(placement=_placement(options), **said)


def _placement(options: argparse.Namespace) -> Placement | None:
    said = chosen(options, Placement)
    if "layers" not in said:
        return None
    if said.get("module", Placement.module) != Placement.module:
        said = {"groups": 1} | said  # they have none
    return Placement(**said)


def _train_one(options: argparse.Namespace, execution: Execution) -> None:
    recipe, team = _recipe(options), execution.team
    init = Path(options.init) if recipe.init else None
    if team.leads:  # downloads, which the other processes wait for
        print(find_split(recipe.dataset, options.data, download=options.download))
        if recipe.init == "imagenet":
            init = imagenet_weights(recipe.backbone, recipe.width, options.runs)
    init = team.told(init)
    split = find_split(recipe.dataset, options.data)
    out = _folder(options, recipe)
    if options.publish and team.leads:  # better now than after the training
        check_classes(options.publish, recipe.dataset, split.train.classes)
        if not out.exists():
            check_pictures(split.held_out)
    weights = train(recipe, split.train, out, init=init, execution=execution)
    if not team.leads:
        return
    print(f"weights: {weights}")
    if options.publish:
        _say(publish(out, split.held_out, options.publish, input_size=options.input_size, device=execution.device))


def _train_modules(options: argparse.Namespace, execution: Execution) -> None:
    placement, said = _placement(options), chosen(options, ModuleRecipe)
    if not placement or "sources" not in said:
        raise TrainingError("--freeze-base trains modules: name their --layers, and the --mixture of pictures")
    if options.publish and not options.measure:
        raise TrainingError("what is published is measured: name the pictures (--measure imagenet-photos:numbered)")
    backbone, width = getattr(options, "backbone", Recipe.backbone), getattr(options, "width", Recipe.width)
    base = base_for(backbone, width, imagenet=getattr(options, "init", None) == "imagenet")
    recipe = ModuleRecipe(base.name, placement, feature_layers=placement.layers, **said)
    tests = [parse_test(text) for text in options.measure or ()]
    out = _folder(options, recipe)
    weights = train_modules(recipe, options.data, out, features_folder=options.runs, execution=execution)
    if not execution.team.leads:
        return
    print(f"weights: {weights}")
    if options.publish:
        _say(publish_modules(out, tests, options.data, options.publish, device=execution.device))


def _folder(options: argparse.Namespace, recipe: Recipe | ModuleRecipe) -> Path:
    name = variant_name(recipe.backbone, recipe.width, recipe.placement)
    return options.runs / (options.name or f"{name}-seed{recipe.seed}")


def _say(record: dict[str, Any]) -> None:
    print(f"{record['name']}: top-1 {record['metrics']['top1']} %, top-5 {record['metrics']['top5']} %")


def _name_of_start(weights: Path) -> str:
    """Name the weights a run starts from: by its folder where another run made them."""
    return weights.resolve().parent.name if weights.name == "weights.safetensors" else weights.name
