"""The command line: ``ulsam-viz app | inspect | compare | batch | variants | add | remove | train | evaluate | calibrate``; in a checkout ``python -m ulsam_viz``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .places import APP

if TYPE_CHECKING:
    from .training.loop import Execution


def main(arguments: list[str] | None = None) -> int:
    """Run one command; errors that a user can act on are one line on stderr and exit code 2."""
    parser = _parser()
    options, options_of_streamlit = parser.parse_known_args(arguments)
    if options_of_streamlit and options.run is not _app:
        parser.error(f"unrecognized arguments: {' '.join(options_of_streamlit)}")
    options.streamlit = options_of_streamlit
    try:
        options.run(options)
    except (ValueError, KeyError, OSError) as error:
        print(f"ulsam_viz: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ulsam_viz: stopped; a training or a batch goes on from what it saved with the same command", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    # As it was called: in a checkout there is no program `ulsam-viz`.
    called = Path(sys.argv[0]).name
    prog = called if called == "ulsam-viz" else "python -m ulsam_viz"
    parser = argparse.ArgumentParser(prog=prog, description="See how subspace attention works.")
    parser.add_argument("--version", action="version", version=f"ulsam_viz {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    app = commands.add_parser(
        "app",
        help="open the app in the browser",
        epilog="Options of `streamlit run` may follow, e.g. --server.headless=true.",
        allow_abbrev=False,  # or a part of one of theirs would be taken for ours
    )
    app.set_defaults(run=_app)
    app.add_argument("--port", type=int, help="port to serve it on (default: 8501, or the next one that is free)")
    app.add_argument(
        "--own-networks",
        action=argparse.BooleanOptionalAction,
        help="offer every visitor, or none, to upload a network of their own (default: visitors on this machine alone)",
    )

    _add_looks(commands)
    variants = commands.add_parser("variants", help="list the trained variants and their accuracy")
    variants.set_defaults(run=_variants)
    variants.add_argument(
        "--write", type=Path, nargs="+", metavar="FILE", help="put the tables of accuracy and of maps between a document's marks"
    )

    add = commands.add_parser("add", help="enter a trained network of your own, to be shown beside the zoo's")
    add.set_defaults(run=_add)
    add.add_argument("file", type=Path, metavar="FILE", help="state dict: .safetensors, or .pt/.pth, of which nothing is run")
    add.add_argument(
        "--classes", type=Path, required=True, metavar="TXT", help="names of its classes, one a line, by output number"
    )
    add.add_argument("--name", help="its name here (default: the file's)")
    add.add_argument(
        "--layers", type=int, nargs="+", help="layers of its ULSAM modules, where the file does not tell; the stem is 1"
    )
    add.add_argument(
        "--gain", choices=("published", "normalised"), help="of its modules (default: what the file says, or published)"
    )
    add.add_argument("--eps", type=float, help="of its norms (default: PyTorch's 1e-5)")
    add.add_argument("--input-size", type=int, default=224, help="side of its input in pixels (default: 224)")
    add.add_argument("--mean", type=float, nargs=3, metavar=("R", "G", "B"), help="of pixels in [0, 1] (default: ImageNet's)")
    add.add_argument("--std", type=float, nargs=3, metavar=("R", "G", "B"), help="of pixels in [0, 1] (default: ImageNet's)")
    add.add_argument("--crop", type=float, default=1.0, help="share of the shorter side that it sees (default: 1)")
    add.add_argument("--interpolation", choices=("bicubic", "bilinear"), default="bicubic", help="of resizing (default: bicubic)")
    add.add_argument("--to", type=Path, metavar="DIR", help="folder to keep it in (default: one where the system keeps your data)")

    remove = commands.add_parser("remove", help="remove a network that was entered with `add`, and its file")
    remove.set_defaults(run=_remove)
    remove.add_argument("name", metavar="NAME", help="from `variants`")
    remove.add_argument(
        "--from", dest="folder", type=Path, metavar="DIR", help="folder that it is kept in, if `variants` does not list it"
    )

    train = commands.add_parser("train", help="train a network, or with --zoo a whole list; resumes where it was stopped")
    train.set_defaults(run=_train)
    train.add_argument("--data", type=Path, required=True, help="folder of the dataset (with --zoo: of all datasets)")
    train.add_argument("--zoo", type=Path, help="TOML file of runs; what is done is skipped")
    train.add_argument("--runs", type=Path, default=Path("runs"), help="folder that keeps runs (default: runs)")
    train.add_argument("--name", help="name of the run's folder (default: from the settings)")
    train.add_argument("--dataset", choices=("caltech101", "imagefolder"), default="caltech101")
    train.add_argument("--download", action="store_true", help="fetch Caltech-101 through torchvision")
    train.add_argument("--backbone", default="mobilenet_v1", help="efficientnet_lite0, mobilenet_v1 (default) or mobilenet_v2")
    train.add_argument("--width", type=float, default=0.5)
    train.add_argument("--layers", type=int, nargs="*", default=[], help="layers that carry a ULSAM module, e.g. 11")
    train.add_argument("--groups", type=int, default=4, help="subspaces g (default: 4)")
    train.add_argument("--mode", choices=("after", "instead"), default="after")
    train.add_argument(
        "--gain",
        choices=("published", "normalised"),
        default="published",
        help="features are multiplied by 1 + A (default), or by (1 + H W A) / 2, whose mean is 1: ours, not the paper's",
    )
    train.add_argument(
        "--init", help="safetensors file to start from, or 'imagenet': torchvision's weights of MobileNet-V2 1.0, downloaded once"
    )
    train.add_argument(
        "--stages", default="5x192", help="epochs x input side, one after the other, e.g. 20x128,6x192 (default: 5x192)"
    )
    train.add_argument("--batch", type=int, default=64, help="pictures in a step, of all processes together (default: 64)")
    train.add_argument("--lr", type=float, default=0.02, help="peak of the one-cycle schedule (default: 0.02)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="to train and to measure on")
    train.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="bfloat16 runs the forward pass in autocast; auto is float32, on a GPU without TensorFloat-32 (default: auto)",
    )
    train.add_argument(
        "--freeze-base",
        action="store_true",
        help="train the ULSAM modules alone, in the backbone as others trained it on ImageNet: efficientnet_lite0 from its package, "
        "mobilenet_v2 at width 1.0 with --init imagenet",
    )
    train.add_argument(
        "--mixture",
        nargs="+",
        metavar="FOLDER:DATASET:TARGETS[:COPIES]",
        help="with --freeze-base: pictures below --data; targets are their 'labels' or the answers of the 'base' itself, "
        "e.g. tiny-imagenet-200:imagefolder:labels caltech101:caltech101:base:4",
    )
    train.add_argument(
        "--measure",
        nargs="+",
        metavar="FOLDER:DATASET[:EVERY]",
        help="with --freeze-base and --publish: pictures below --data to measure on, the first for the variant's figures",
    )
    train.add_argument(
        "--sync-batchnorm", action="store_true", help="under torchrun: BatchNorm sees the whole batch, not each process's part"
    )
    train.add_argument("--threads", type=int, help="CPU threads (default: PyTorch's)")
    train.add_argument("--workers", type=int, default=2, help="processes that load pictures (default: 2)")
    train.add_argument(
        "--publish", type=Path, metavar="DIR", help="enter the result in the zoo in DIR (with --zoo: default checkpoints)"
    )

    evaluate = commands.add_parser("evaluate", help="measure a trained variant against its manifest")
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("--variant", required=True, help="a name from `variants`")
    evaluate.add_argument("--data", type=Path, help="folder of the dataset; without it, only the shipped samples are looked at")
    evaluate.add_argument(
        "--dataset",
        choices=("caltech101", "imagefolder", "numbered"),
        default="caltech101",
        help="imagefolder: one folder a class; for networks that know ImageNet's classes, folders of all its synsets, or of some with an "
        "imagenet_index.tsv beside them; numbered: files that begin with their class number (default: caltech101)",
    )
    evaluate.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")

    calibrate = commands.add_parser(
        "calibrate", help="fit the temperature of trained variants' answers, and enter it in the manifest"
    )
    calibrate.set_defaults(run=_calibrate)
    calibrate.add_argument("--data", type=Path, required=True, help="folder of the dataset that they were trained on")
    calibrate.add_argument("--dataset", choices=("caltech101", "imagefolder"), default="caltech101")
    calibrate.add_argument("--foreign", type=Path, help="image folder of other subjects; its held-out part is looked at")
    calibrate.add_argument(
        "--known",
        metavar="FOLDER:DATASET",
        help="calibrate the networks on a base that others trained: fitted on pictures of the dataset whose class has the name of one "
        "of the base's, measured on these, e.g. photos:numbered",
    )
    calibrate.add_argument("--variant", nargs="+", help="names from `variants` (default: all with the dataset's classes)")
    calibrate.add_argument(
        "--pictures", type=int, default=1000, help="held-out pictures, and half as many of each other kind (default: 1000)"
    )
    _add_batch(commands)
    return parser


def _app(options: argparse.Namespace) -> None:
    from streamlit.web.cli import main as streamlit

    # Streamlit reads `.streamlit/config.toml` beside the script: theme, limits and privacy are the same however the app is started.
    flags = [f"--server.port={options.port}"] if options.port else []
    if options.own_networks is not None:
        os.environ["ULSAM_VIZ_OWN_NETWORKS"] = str(int(options.own_networks))
    if options.own_networks is not False:  # files.MAX_BYTES: a network may be larger than any picture
        flags.append("--server.maxUploadSize=200")
    streamlit(["run", str(APP), *flags, *options.streamlit], prog_name="streamlit")


def _variants(options: argparse.Namespace) -> None:
    from .evidence import accuracy_of
    from .zoo import CHECKPOINTS, list_variants, problems

    if options.write:
        from .tables import write_tables

        for document in options.write:
            write_tables(document, list_variants(CHECKPOINTS))
        return
    for problem in problems():
        print(f"ulsam_viz: {problem}", file=sys.stderr)
    print(f"{'name':42} {'top-1 %':>8} {'top-5 %':>8}   over seeds")
    for v in list_variants():
        several = accuracy_of(v).over_seeds
        print(f"{v.name:42} {v.figure('top1', '.2f'):>8} {v.figure('top5', '.2f'):>8}   {several}")


def _add(options: argparse.Namespace) -> None:
    from .images import Preprocessing
    from .own import add_network, read_classes
    from .zoo import folders, position_name

    usual = Preprocessing()
    entered = add_network(
        options.file,
        classes=read_classes(options.classes),
        preprocessing=Preprocessing(
            options.input_size,
            tuple(options.mean or usual.mean),
            tuple(options.std or usual.std),
            options.crop,
            options.interpolation,
        ),
        gain=options.gain,
        layers=options.layers,
        eps=options.eps,
        name=options.name,
        folder=options.to,
    )
    variant = entered.variant
    groups = f", g = {variant.groups}" if variant.groups else ""
    print(f"{variant.name}: {variant.label}, {len(variant.classes)} classes, modules {position_name(variant)}{groups}")
    print(f"read as: {entered.layout}")
    for note in entered.notes:
        print(f"note: {note}")
    if variant.path:
        print(f"file: {variant.path}")
        if variant.path.parent not in folders():
            print(f"the app shows it with ULSAM_VIZ_CHECKPOINTS naming that folder beside the zoo's: {folders()[0]}")


def _remove(options: argparse.Namespace) -> None:
    from .own import remove_network

    print(f"removed: {remove_network(options.name, options.folder)}")


def _train(options: argparse.Namespace) -> None:
    import torch

    from .training.loop import Execution
    from .training.start import TrainingError
    from .training.team import joined_team
    from .training.zoo_file import train_zoo

    if options.threads:
        torch.set_num_threads(options.threads)
    with joined_team(_device(options.device)) as (team, own_device):
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


def _device(wish: str) -> str:
    """Return ``"cpu"`` or ``"cuda"`` for what the command line says.

    Raises:
        ValueError: If there is no GPU and one is asked for.
    """
    import torch

    if wish == "cuda" and not torch.cuda.is_available():
        raise ValueError("PyTorch sees no CUDA GPU here; use --device cpu")
    return wish if wish != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _train_one(options: argparse.Namespace, execution: Execution) -> None:
    from .models.network import Placement
    from .training.data import check_pictures, find_pictures
    from .training.loop import train
    from .training.publish import publish
    from .training.recipe import Recipe
    from .training.start import TrainingError, imagenet_weights
    from .zoo import variant_name

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
    from .bases import base_for
    from .models.network import Placement
    from .training.frozen import ModuleRecipe, train_modules
    from .training.mixture import parse_source, parse_test
    from .training.publish import publish_modules
    from .training.start import TrainingError
    from .zoo import variant_name

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


def _evaluate(options: argparse.Namespace) -> None:
    from .analysis.interventions import INTERVENTIONS
    from .training.data import find_pictures
    from .training.evaluate import evaluate, sample_pictures
    from .training.mixture import find_numbered
    from .zoo import UNKNOWN, get_variant, load_variant

    variant = get_variant(options.variant)
    if options.data and variant.base:
        pictures, recorded = find_numbered(options.dataset, options.data, "test", variant.classes), variant.metrics
    elif options.data:
        pictures, recorded = find_pictures(options.dataset, options.data, "test"), variant.metrics
        if pictures.classes != variant.classes:
            raise ValueError(f"'{options.data}' has other classes than {variant.name} was trained on")
    else:
        pictures, recorded = sample_pictures(variant.classes), variant.metrics.get("samples", {})
        if not recorded:
            raise ValueError(f"{variant.name} has no figures for the shipped samples; give --data")
    measured = evaluate(load_variant(variant.name, _device(options.device)), pictures, variant.preprocessing)
    print(f"{'':15} {'measured':>9} {'manifest':>9}")
    for key in ("pictures", "top1", "top5", "ece"):
        print(f"{key:15} {measured[key]:9} {recorded.get(key, UNKNOWN):>9}")
    for name, figures in measured.get("effects", {}).items():
        print(INTERVENTIONS[name])
        for key, value in figures.items():
            print(f"  {key:13} {value:9} {recorded.get('effects', {}).get(name, {}).get(key, '-'):>9}")
    for layer, figures in measured["attention"].items():
        print(f"layer {layer}")
        for key, value in figures.items():
            print(f"  {key:15} {value}\n  {'manifest':15} {recorded.get('attention', {}).get(layer, {}).get(key, UNKNOWN)}")


def _calibrate(options: argparse.Namespace) -> None:
    from functools import partial

    from .training.calibrate import calibrate_zoo, gather, gather_for_base, sharing
    from .training.data import find_pictures
    from .training.mixture import parse_test
    from .zoo import CHECKPOINTS, get_variant, list_variants

    train = find_pictures(options.dataset, options.data, "train")
    chosen = [get_variant(n, CHECKPOINTS) for n in options.variant or ()] or list_variants(CHECKPOINTS)
    if options.known:
        variants = [v for v in chosen if v.base]
        classes = variants[0].classes if variants else ()
        test = parse_test(str(options.known)).find(Path(), classes)
        gathered = partial(gather_for_base, sharing(train, classes), test, count=options.pictures)
    else:
        held_out = find_pictures(options.dataset, options.data, "test")
        foreign = find_pictures("imagefolder", options.foreign, "test") if options.foreign else None
        variants = [v for v in chosen if v.classes == train.classes]
        gathered = partial(gather, train, held_out, foreign, count=options.pictures)
    if not variants or any(v.classes != variants[0].classes for v in variants) or len(variants) < len(options.variant or ()):
        raise ValueError(f"these are not trained variants with the classes of '{options.data}' (or, with --known, of one base)")
    for variant, record in calibrate_zoo(variants, gathered, CHECKPOINTS / "manifest.json"):
        print(
            f"{variant.name:42} temperature {record['temperature']:.3f}   ECE {record['ece']:.1f} % (best {record['ece_best']:.1f} %)"
        )


_BATCH_EXAMPLES = """\
examples:
  python -m ulsam_viz batch photos --variant mobilenet_v1-0.5-after11-g4 --out table
  python -m ulsam_viz batch photos --variant mobilenet_v1-0.5-after11-g4 --out table --methods grad_cam saliency --target Leopards
  python -m ulsam_viz batch s3://bucket/photos --variant mobilenet_v1-0.5-after11-g4 --out /shared/table --ray auto --workers 64

The same command goes on where a run was killed. In Python: pandas.read_parquet("table/attention.parquet"); the maps of a row are
numpy.load(f"table/maps/{shard}.npz")[f"layer_{layer}"][row, subspace].
"""


_INSPECT_EXAMPLES = """\
examples:
  python -m ulsam_viz inspect photo.jpg
  python -m ulsam_viz inspect photo.jpg --methods grad_cam integrated_gradients --set integrated_gradients.steps=64
  python -m ulsam_viz inspect photo.jpg --report photo.html      one file to read and to print
  python -m ulsam_viz inspect photo.jpg --report photo.zip       figures as PNG and SVG, NPZ, CSV, BibTeX, for a paper
  python -m ulsam_viz inspect a.jpg b.jpg --report reports       a file for each
"""


def _add_looks(commands: Any) -> None:
    """Add `inspect` and `compare`."""
    inspect = commands.add_parser(
        "inspect",
        help="look at pictures: their answers, and what each subspace's map is like",
        epilog=_INSPECT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE")
    inspect.add_argument(
        "--methods", nargs="*", default=["grad_cam"], metavar="METHOD", help="attributions to set beside maps (default: grad_cam)"
    )
    inspect.add_argument("--target", help="number or name of the class that they are for (default: each picture's own answer)")
    inspect.add_argument(
        "--save", type=Path, metavar="DIR", help="a folder for each picture: maps as PNG and SVG, numbers as NPZ, settings as JSON"
    )
    inspect.add_argument(
        "--report",
        type=Path,
        metavar="PATH",
        help="a report: FILE.html, or FILE.zip with all its parts; for several pictures a folder",
    )
    inspect.add_argument(
        "--set", nargs="+", default=[], metavar="METHOD.SETTING=VALUE", help="settings of methods other than their defaults"
    )
    compare = commands.add_parser("compare", help="set many networks before one picture, a row for each")
    compare.set_defaults(run=_compare)
    compare.add_argument("picture", type=Path, metavar="PICTURE")
    compare.add_argument("--over", choices=("groups", "positions"), default="groups", help="what differs (default: groups)")
    for parser in (inspect, compare):
        parser.add_argument(
            "--variant", default="efficientnet_lite0-after12-g4", metavar="NAME", help="from `variants` (default: %(default)s)"
        )
        parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
        parser.add_argument("--json", action="store_true", help="print JSON, and no progress")


def _inspect(options: argparse.Namespace) -> None:
    from .commands import run_inspect

    run_inspect(
        options.pictures,
        options.variant,
        methods=options.methods,
        target=options.target,
        device=_device(options.device),
        settings=options.set,
        save=options.save,
        report=options.report,
        as_json=options.json,
    )


def _compare(options: argparse.Namespace) -> None:
    from .commands import run_compare

    run_compare(options.picture, options.variant, over=options.over, device=_device(options.device), as_json=options.json)


def _add_batch(commands: Any) -> None:
    batch = commands.add_parser(
        "batch",
        help="write a table of the attention in all pictures of a folder; resumes where it was stopped",
        description="Look at every picture of a folder through one variant. DIR/attention.parquet gets a row for each picture, layer\n"
        "and subspace (counted from 0), DIR/maps the maps in float16, DIR/skipped.csv the files that are no pictures, and why.",
        epilog=_BATCH_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    batch.set_defaults(run=_batch)
    batch.add_argument(
        "folder", metavar="FOLDER", help="pictures, in subfolders too; a path, or an address such as s3://bucket/photos"
    )
    batch.add_argument("--variant", required=True, metavar="NAME", help="a name from `variants`")
    batch.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the table, outside of FOLDER")
    batch.add_argument(
        "--methods", nargs="*", default=["grad_cam"], metavar="METHOD", help="attributions to compare maps with (default: grad_cam)"
    )
    batch.add_argument("--target", help="number or name of the class to ask about (default: each picture's own answer)")
    batch.add_argument("--no-maps", action="store_true", help="do not keep the maps")
    batch.add_argument("--no-effects", action="store_true", help="do not remove each subspace to see what that changes")
    batch.add_argument("--batch", type=int, default=16, metavar="N", help="pictures in a pass (default: 16)")
    batch.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that load pictures (default: 1); with --ray: networks (default: as many as fit)",
    )
    batch.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    batch.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="compute on Ray Data (requirements-ray.txt): on this machine, or on the cluster at ADDRESS ('auto': the one this runs in)",
    )
    batch.add_argument("--json", action="store_true", help="print what was done as JSON, and no progress")


def _batch(options: argparse.Namespace) -> None:
    import torch

    from .batch.command import run_batch

    if not options.ray:
        options.workers = 1 if options.workers is None else options.workers
        torch.set_num_threads(max(1, torch.get_num_threads() - max(0, options.workers)))  # the other cores load pictures
    print(run_batch(options, device=None if options.ray else _device(options.device)))
