"""What ``python -m ulsam_viz train`` does with what was typed."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..bases import base_for
from ..models.network import Placement
from ..zoo import variant_name
from .data import check_pictures, find_pictures
from .frozen import ModuleRecipe, train_modules
from .loop import Execution, train
from .mixture import parse_source, parse_test
from .publish import publish, publish_modules
from .recipe import Recipe
from .start import TrainingError, imagenet_weights
from .team import joined_team
from .zoo_file import train_zoo


def run_train(options: argparse.Namespace, *, device: str) -> None:
    """Train one network, modules in a frozen base, or a list of runs; print where the weights are.

    Args:
        options: As parsed.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: For anything that the user can put right; the message says how.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    with joined_team(device) as (team, own_device):
        execution = Execution(
            device=own_device,
            workers=options.workers,
            team=team,
            sync_batchnorm=options.sync_batchnorm,
        )
        if options.zoo:
            if options.download:
                raise TrainingError("a list of runs takes its data as it lies there: download first, with a run of your own")
            if options.precision != "auto":
                raise TrainingError("the runs of a list say their own precision: write it in the file")
            train_zoo(options.zoo, options.data, options.runs, options.publish or Path("checkpoints"), execution)
        elif options.freeze_base:
            _train_modules(options, execution)
        else:
            _train_one(options, execution)


def _train_one(options: argparse.Namespace, execution: Execution) -> None:
    try:
        stages = tuple((int(epochs), int(size)) for epochs, size in (s.split("x") for s in options.stages.split(",")))
    except ValueError as error:
        raise TrainingError(
            f"--stages is EPOCHSxSIDE[,EPOCHSxSIDE...], for instance 20x128,6x192, not '{options.stages}'"
        ) from error
    placement = Placement(tuple(options.layers), options.groups, options.mode, options.gain) if options.layers else None
    recipe = Recipe(
        backbone=options.backbone,
        width=options.width,
        placement=placement,
        dataset=options.dataset,
        stages=stages,
        batch=options.batch,
        peak_lr=options.lr,
        seed=options.seed,
        precision="bfloat16" if options.precision == "bfloat16" else "float32",
        init=_name_of_start(Path(options.init)) if options.init else None,
    )
    team = execution.team
    init = Path(options.init) if options.init else None
    if team.leads:  # downloads, which the other processes wait for
        find_pictures(options.dataset, options.data, "train", download=options.download)
        if options.init == "imagenet":
            init = imagenet_weights(options.backbone, options.width, options.runs)
    init = team.told(init)
    pictures = find_pictures(options.dataset, options.data, "train")
    out = options.runs / (options.name or f"{variant_name(options.backbone, options.width, placement)}-seed{options.seed}")
    held_out = find_pictures(options.dataset, options.data, "test") if options.publish and team.leads else None
    if held_out and not out.exists():
        check_pictures(held_out)  # better now than after the training
    weights = train(recipe, pictures, out, init=init, execution=execution)
    if not team.leads:
        return
    print(f"weights: {weights}")
    if held_out:
        record = publish(out, held_out, options.publish, device=execution.device)
        print(f"{record['name']}: top-1 {record['metrics']['top1']} %, top-5 {record['metrics']['top5']} %")


def _train_modules(options: argparse.Namespace, execution: Execution) -> None:
    if not options.layers or not options.mixture:
        raise TrainingError("--freeze-base trains modules: name their --layers, and the --mixture of pictures")
    if options.publish and not options.measure:
        raise TrainingError("what is published is measured: name the pictures (--measure imagenet-photos:numbered)")
    recipe = ModuleRecipe(
        base_for(options.backbone, options.width, imagenet=options.init == "imagenet").name,
        Placement(tuple(options.layers), options.groups, options.mode, options.gain),
        tuple(parse_source(text) for text in options.mixture),
        feature_layers=tuple(options.layers),
        batch=options.batch,
        seed=options.seed,
    )
    tests = [parse_test(text) for text in options.measure or ()]
    name = variant_name(recipe.backbone, recipe.width, recipe.placement)
    out = options.runs / (options.name or f"{name}-seed{options.seed}")
    print(f"weights: {train_modules(recipe, options.data, out, features_folder=options.runs, execution=execution)}")
    if options.publish:
        record = publish_modules(out, tests, options.data, options.publish)
        print(f"{record['name']}: top-1 {record['metrics']['top1']} %, top-5 {record['metrics']['top5']} %")


def _name_of_start(weights: Path) -> str:
    """Name the weights a run starts from: by its folder where another run made them."""
    return weights.resolve().parent.name if weights.name == "weights.safetensors" else weights.name
