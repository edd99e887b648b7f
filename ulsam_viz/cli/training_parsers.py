"""The options of ``train``, ``evaluate`` and ``calibrate``; nothing here imports PyTorch before it is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[argparse.Namespace], None]
_TRAIN_EXAMPLES = """\
examples:
  %(prog)s --data DIR --download --layers 11 --groups 4 --stages 30x128,6x192 --publish my_zoo
  %(prog)s --data DIR --zoo ulsam_viz/training/zoo.toml
"""
_EVALUATE_EXAMPLES = """\
examples:
  %(prog)s --variant mobilenet_v1-0.5-after11-g4
  %(prog)s --variant mobilenet_v1-0.5-after11-g4 --data DIR --json
  %(prog)s --variant efficientnet_lite0-after12-g4 --data DIR/flickr-photos --dataset numbered
"""
_CALIBRATE_EXAMPLES = """\
examples:
  %(prog)s --data DIR --foreign DIR
  %(prog)s --data DIR --variant mobilenet_v1-0.5-after11-g4
  %(prog)s --data DIR --known DIR/flickr-photos:numbered
"""


def add_train(commands: Any, *, run: Run) -> None:
    """Add `train`; the settings of a run are added when it is the command, from their records (:mod:`.options`)."""
    train = commands.add_parser(
        "train",
        help="train a network, or with --zoo a whole list; resumes where it was stopped",
        epilog=_TRAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.set_defaults(run=run)
    train.late = _add_settings
    train.add_argument("--data", type=Path, required=True, help="folder of the dataset (with --zoo: of all datasets)")
    train.add_argument(
        "--zoo", type=Path, help="TOML file of runs, which say their own settings; what is done is skipped"
    )
    train.add_argument("--runs", type=Path, default=Path("runs"), help="folder that keeps runs (default: %(default)s)")
    train.add_argument("--name", help="name of the run's folder (default: from the settings)")
    train.add_argument("--download", action="store_true", help="fetch Caltech-101 through torchvision")
    train.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="to train and to measure on")
    train.add_argument(
        "--freeze-base",
        action="store_true",
        help="train the ULSAM modules alone, in the backbone as others trained it on ImageNet: efficientnet_lite0 "
        "from its package, "
        "mobilenet_v2 at width 1.0 with --init imagenet",
    )
    train.add_argument(
        "--measure",
        nargs="+",
        metavar="FOLDER:DATASET[:EVERY]",
        help="with --freeze-base and --publish: pictures below --data to measure on, the first for the variant's "
        "figures",
    )
    train.add_argument(
        "--input-size",
        type=int,
        metavar="N",
        help="with --publish: side in pixels of the input that the network is measured and used at (default: the "
        "last stage's)",
    )
    train.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's)")
    train.add_argument(
        "--publish",
        type=Path,
        metavar="DIR",
        help="enter the result in the zoo in DIR (with --zoo: default checkpoints)",
    )


def _add_settings(train: argparse.ArgumentParser) -> None:
    from ..training.frozen import ModuleRecipe
    from ..training.loop import Execution
    from ..training.recipe import Recipe
    from .training_options import add_settings

    add_settings(train, "the recipe", {Recipe: "", ModuleRecipe: "with --freeze-base"})
    add_settings(train, "how it is carried out", {Execution: ""})


def add_evaluate(commands: Any, *, run: Run) -> None:
    """Add `evaluate`."""
    evaluate = commands.add_parser(
        "evaluate",
        help="measure a trained variant against its manifest",
        epilog=_EVALUATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.set_defaults(run=run)
    evaluate.add_argument("--variant", required=True, nargs="+", help="one or more names from `variants`")
    evaluate.add_argument(
        "--data", type=Path, help="folder of the dataset; without it, only the shipped samples are looked at"
    )
    evaluate.add_argument(
        "--dataset",
        choices=("caltech101", "imagefolder", "numbered"),
        help="imagefolder: one folder a class; for networks that know ImageNet's classes, folders of all its "
        "synsets, or of some with an "
        "imagenet_index.tsv beside them; numbered: files that begin with their class number (default: what the "
        "variant was trained on; for those that know ImageNet's "
        "classes numbered if there are such files)",
    )
    evaluate.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    evaluate.add_argument("--json", action="store_true", help="print JSON, and no progress")
    evaluate.add_argument(
        "--enter",
        action="store_true",
        help="enter the figures in the manifest as the network's own, and keep those it had beside them; of networks "
        "on a base that others "
        "trained",
    )


def add_calibrate(commands: Any, *, run: Run) -> None:
    """Add `calibrate`."""
    calibrate = commands.add_parser(
        "calibrate",
        help="fit the temperature of trained variants' answers, and enter it in the manifest",
        epilog=_CALIBRATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    calibrate.set_defaults(run=run)
    calibrate.add_argument("--data", type=Path, required=True, help="folder of the dataset that they were trained on")
    calibrate.add_argument("--dataset", choices=("caltech101", "imagefolder"), default="caltech101")
    calibrate.add_argument(
        "--foreign", type=Path, help="image folder of other subjects; its held-out part is looked at"
    )
    calibrate.add_argument(
        "--known",
        metavar="FOLDER:DATASET",
        help="calibrate the networks on a base that others trained: fitted on pictures of the dataset whose class "
        "has the name of one "
        "of the base's, measured on these, e.g. photos:numbered; with Caltech-101 also how many of its pictures "
        "would be warned of",
    )
    calibrate.add_argument(
        "--variant", nargs="+", help="names from `variants` (default: all with the dataset's classes)"
    )
    calibrate.add_argument(
        "--pictures",
        type=int,
        default=1000,
        help="held-out pictures, and half as many of each other kind (default: 1000)",
    )
