"""The command line: ``ulsam-viz app | inspect | compare | batch | variants | add | remove | train | evaluate |
calibrate``; in a checkout ``python -m ulsam_viz``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

from .. import __version__
from ..paths import APP, program
from ..text.terminal import write_readably
from .training_parsers import add_calibrate, add_evaluate, add_train

_EXIT_CODES = """\
exit codes:
  0    all was done
  1    an error of the program itself, with where it happened
  2    a wrong argument, or a file that cannot be used: the reason is on stderr; `inspect` looked at the other pictures
  130  interrupted (Ctrl-C)
  141  whoever read the output stopped reading, as `head` does
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; errors that a user can act on are one line on stderr and exit code 2."""
    write_readably()
    options, options_of_streamlit = _parser().parse_known_args(arguments)
    if options_of_streamlit and options.run is not _app:
        options.parser.error(f"unrecognized arguments: {' '.join(options_of_streamlit)}")
    options.streamlit = options_of_streamlit
    try:
        options.run(options)
        sys.stdout.flush()  # here, where it can be caught that nobody reads it
    except (ValueError, KeyError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 141
        print(f"ulsam_viz: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "ulsam_viz: stopped; a training or a batch goes on from what it saved with the same command",
            file=sys.stderr,
        )
        return 130
    return 0


def _nobody_reads() -> bool:
    """Return whether stdout is a pipe that was closed.

    If so, what Python still writes there at its end goes nowhere.
    """
    try:
        print(flush=True)  # a line, for after an error nothing may be left to write
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


class _Command(argparse.ArgumentParser):
    """The parser of a command.

    Attributes:
        late: Adds options that are read from records which import PyTorch: once, when the command was asked for.
    """

    late: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse what the main parser hands to its command.

        ``parser`` of the result is this one, for errors that are found later.
        """
        if self.late:
            self.late(self)
            self.late = None
        options, rest = super().parse_known_args(args, namespace)
        options.parser = self
        return options, rest


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program(),
        description="See how subspace attention works.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ulsam_viz {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Command)

    app = commands.add_parser(
        "app",
        help="open the app in the browser",
        epilog=_APP_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # or a part of one of theirs would be taken for ours
    )
    app.set_defaults(run=_app)
    app.add_argument("--port", type=_port, help="port to serve it on (default: 8501, or the next one that is free)")
    app.add_argument(
        "--own-networks",
        action=argparse.BooleanOptionalAction,
        help="offer every visitor, or none, to upload a network of their own (default: visitors on this machine alone)",
    )
    app.add_argument(
        "--table",
        type=_folder,
        action="append",
        metavar="DIR",
        help="folder that `batch` wrote (--out), offered to every visitor on the page Dataset; may be repeated",
    )

    _add_looks(commands)
    variants = _add_command(commands, "variants", "list the trained variants and their accuracy", _VARIANTS_EXAMPLES)
    variants.set_defaults(run=_variants)
    variants.add_argument("--json", action="store_true", help="print JSON, with the sha256 of each file")
    variants.add_argument(
        "--write",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="put the tables of accuracy and of maps between a document's marks",
    )

    add = _add_command(
        commands, "add", "enter a trained network of your own, to be shown beside the zoo's", _ADD_EXAMPLES
    )
    add.set_defaults(run=_add)
    add.add_argument(
        "file", type=Path, metavar="FILE", help="state dict: .safetensors, or .pt/.pth/.ckpt, of which nothing is run"
    )
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
    add.add_argument(
        "--weights",
        choices=("ema", "raw"),
        help="which are taken where the file holds raw weights and their average (default: ema, the average)",
    )
    add.add_argument(
        "--stem-stride",
        type=int,
        choices=(1, 2),
        help="what its first convolution divides the picture's sides by, which a file does not tell; only 2 can be "
        "shown",
    )
    add.add_argument("--input-size", type=int, default=224, help="side of its input in pixels (default: 224)")
    add.add_argument(
        "--mean", type=float, nargs=3, metavar=("R", "G", "B"), help="of pixels in [0, 1] (default: ImageNet's)"
    )
    add.add_argument(
        "--std", type=float, nargs=3, metavar=("R", "G", "B"), help="of pixels in [0, 1] (default: ImageNet's)"
    )
    add.add_argument("--crop", type=float, default=1.0, help="share of the shorter side that it sees (default: 1)")
    add.add_argument(
        "--interpolation", choices=("bicubic", "bilinear"), default="bicubic", help="of resizing (default: bicubic)"
    )
    add.add_argument(
        "--to", type=Path, metavar="DIR", help="folder to keep it in (default: one where the system keeps your data)"
    )

    remove = _add_command(
        commands, "remove", "remove a network that was entered with `add`, and its file", _REMOVE_EXAMPLES
    )
    remove.set_defaults(run=_remove)
    remove.add_argument("name", metavar="NAME", help="from `variants`")
    remove.add_argument(
        "--from",
        dest="folder",
        type=Path,
        metavar="DIR",
        help="folder that it is kept in, if `variants` does not list it",
    )

    add_train(commands, run=_train)
    add_evaluate(commands, run=_evaluate)
    add_calibrate(commands, run=_calibrate)
    _add_batch(commands)
    return parser


def _add_command(commands: Any, name: str, help: str, epilog: str) -> Any:
    return commands.add_parser(name, help=help, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not '{text}'")
    return int(text)


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"'{text}' is not a folder")
    return Path(text)


def _app(options: argparse.Namespace) -> None:
    from streamlit.web.cli import main as streamlit

    from ..engine.memory import use_few_arenas

    use_few_arenas()

    # Streamlit reads `.streamlit/config.toml` beside the script: theme, limits and privacy are the same however the app
    # is started.
    flags = [f"--server.port={options.port}"] if options.port else []
    if (address := _served_at(options.streamlit)) not in ("", "0.0.0.0", "::"):
        flags.append(f"--browser.serverAddress={address}")  # what is printed and opened
    if options.own_networks is not None:
        os.environ["ULSAM_VIZ_OWN_NETWORKS"] = str(int(options.own_networks))
    if options.table:
        os.environ["ULSAM_VIZ_TABLES"] = os.pathsep.join(str(folder.resolve()) for folder in options.table)
    if os.environ.get("ULSAM_VIZ_OWN_NETWORKS") != "0":  # files.MAX_BYTES: a network may be larger than any picture
        flags.append("--server.maxUploadSize=200")
    streamlit(["run", str(APP), *flags, *options.streamlit], prog_name="streamlit")


def _served_at(options: list[str]) -> str:
    """Return the address that options of Streamlit serve the app at; "" where they name none."""
    pairs = [
        tuple(option.split("=", 1)) if "=" in option else (option, value)
        for option, value in zip_longest(options, options[1:], fillvalue="")
    ]
    return next((value for name, value in pairs if name == "--server.address"), "")


def _variants(options: argparse.Namespace) -> None:
    from ..evidence.statistics import accuracy_of
    from ..zoo.variants import CHECKPOINTS, list_variants, problems

    if options.write:
        from ..evidence.tables import write_tables

        for document in options.write:
            write_tables(document, list_variants(CHECKPOINTS))
        return
    for problem in problems():
        print(f"ulsam_viz: {problem}", file=sys.stderr)
    if options.json:
        print(json.dumps([_listed(v) for v in list_variants()], indent=1))
        return
    print(f"{'name':42} {'top-1 %':>8} {'top-5 %':>8}   over seeds")
    for v in list_variants():
        several = accuracy_of(v).over_seeds
        print(f"{v.name:42} {v.figure('top1', '.2f'):>8} {v.figure('top5', '.2f'):>8}   {several}")


def _listed(variant: Any) -> dict[str, Any]:
    from ..evidence.statistics import accuracy_of

    accuracy = accuracy_of(variant)
    return {
        "name": variant.name,
        "top1": variant.metrics.get("top1"),
        "top5": variant.metrics.get("top5"),
        "top1_by_seed": {str(seed): top1 for seed, top1 in accuracy.by_seed.items()},
        "sha256": variant.sha256,
    }


def _add(options: argparse.Namespace) -> None:
    from ..images.preprocessing import Preprocessing
    from ..zoo.user_networks import add_network, read_classes
    from ..zoo.variants import folders, position_name

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
        kind=options.weights,
        stem_stride=options.stem_stride,
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
    from ..zoo.user_networks import remove_network

    print(f"removed: {remove_network(options.name, options.folder)}")


def _train(options: argparse.Namespace) -> None:
    from .train import run_train

    run_train(options, device=_device(options.device))


def _evaluate(options: argparse.Namespace) -> None:
    from .measure import run_evaluate

    run_evaluate(options, device=_device(options.device))


def _calibrate(options: argparse.Namespace) -> None:
    from .measure import run_calibrate

    run_calibrate(options)


def _device(wish: str) -> str:
    """Return ``"cpu"`` or ``"cuda"`` for what the command line says.

    Raises:
        ValueError: If there is no GPU and one is asked for.
    """
    import torch

    if wish == "cuda" and not torch.cuda.is_available():
        raise ValueError("PyTorch sees no CUDA GPU here; use --device cpu")
    return wish if wish != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


_BATCH_EXAMPLES = """\
examples:
  %(prog)s photos --variant mobilenet_v1-0.5-after11-g4 --out table
  %(prog)s photos --variant mobilenet_v1-0.5-after11-g4 --out table --methods grad_cam saliency --target Leopards
  %(prog)s s3://bucket/photos --variant mobilenet_v1-0.5-after11-g4 --out /shared/table --ray auto --workers 64
  %(prog)s photos --variant mobilenet_v1-0.5-after11-g4 --out table --update

The same command goes on where a run was killed. Where pictures came, went or changed since, it says so and stops; with --update it
looks at those that are new or changed, and leaves the table that a fresh run would.
In Python: pandas.read_parquet("table/attention.parquet"); the maps of a row are
numpy.load(f"table/maps/{shard}.npz")[f"layer_{layer}"][row, subspace].
"""


_INSPECT_EXAMPLES = """\
examples:
  %(prog)s photo.jpg
  %(prog)s photo.jpg --methods grad_cam integrated_gradients --set integrated_gradients.steps=64
  %(prog)s photo.jpg --report photo.html                     one file to read and to print
  %(prog)s photo.jpg --report photo.zip                      figures as PNG and SVG, NPZ, CSV, BibTeX, for a paper
  %(prog)s photo.jpg --ask ablation shapley --report a.html  with what each subspace's attention does to the answer
  %(prog)s a.jpg b.jpg --report reports                      a file for each
"""
_COMPARE_EXAMPLES = """\
examples:
  %(prog)s photo.jpg
  %(prog)s photo.jpg --variant mobilenet_v1-0.5-after11-g4 --over modules
"""
_APP_EXAMPLES = """\
examples:
  %(prog)s --port 8600
  %(prog)s --table table --server.headless=true

Options of `streamlit run` may follow.
"""
_VARIANTS_EXAMPLES = """\
examples:
  %(prog)s
  %(prog)s --json
"""
_ADD_EXAMPLES = """\
examples:
  %(prog)s mine.pt --classes classes.txt
  %(prog)s mine.safetensors --classes classes.txt --name mine --input-size 128 --layers 11
"""
_REMOVE_EXAMPLES = """\
examples:
  %(prog)s mine
"""


def _add_looks(commands: Any) -> None:
    """Add `inspect` and `compare`."""
    inspect = _add_command(
        commands, "inspect", "look at pictures: their answers, and what each subspace's map is like", _INSPECT_EXAMPLES
    )
    inspect.set_defaults(run=_inspect)
    inspect.late = _add_questions
    inspect.add_argument("pictures", type=Path, nargs="+", metavar="PICTURE")
    inspect.add_argument(
        "--methods",
        nargs="*",
        default=["grad_cam"],
        metavar="METHOD",
        help="attributions to set beside maps (default: grad_cam)",
    )
    inspect.add_argument(
        "--target", help="number or name of the class that they are for (default: each picture's own answer)"
    )
    inspect.add_argument(
        "--save",
        type=Path,
        metavar="DIR",
        help="a folder for each picture: maps as PNG and SVG, numbers as NPZ, settings as JSON",
    )
    inspect.add_argument(
        "--report",
        type=Path,
        metavar="PATH",
        help="a report: FILE.html, or FILE.zip with all its parts; for several pictures a folder",
    )
    inspect.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="METHOD.SETTING=VALUE",
        help="settings of methods other than their defaults",
    )
    inspect.add_argument(
        "--cropped",
        action="store_true",
        help="the pictures are what this network is to see, such as input.png of an archive, and not to be cropped "
        "again",
    )
    inspect.add_argument("--seed", type=int, default=0, help="of methods that draw random numbers (default: 0)")
    compare = _add_command(
        commands, "compare", "set many networks before one picture, a row for each", _COMPARE_EXAMPLES
    )
    compare.set_defaults(run=_compare)
    compare.add_argument("picture", type=Path, metavar="PICTURE")
    compare.add_argument(
        "--over", choices=("groups", "positions", "modules"), default="groups", help="what differs (default: groups)"
    )
    for parser in (inspect, compare):
        parser.add_argument(
            "--variant",
            metavar="NAME",
            help="from `variants` (default: what the app opens on, of those that ship efficientnet_lite0-after12-g4)",
        )
        parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
        parser.add_argument("--json", action="store_true", help="print JSON, and no progress")


def _add_questions(inspect: argparse.ArgumentParser) -> None:
    from ..images.samples import list_samples
    from ..questions.view import QUESTIONS

    inspect.add_argument(
        "--ask",
        nargs="+",
        default=[],
        metavar="QUESTION",
        choices=QUESTIONS,
        help="ask this of every layer, as the page does, for what is printed and for the report: "
        + ", ".join(QUESTIONS)
        + "; ablation also gives the measures the effect if removed",
    )
    inspect.add_argument(
        "--other",
        default="",
        metavar="PICTURE",
        help="picture that `--ask ablation` takes attention from: a file, or a sample: "
        + ", ".join(sample.path.stem for sample in list_samples())
        + " (default: the first of these that is another picture)",
    )


def _inspect(options: argparse.Namespace) -> None:
    from .looks import run_inspect

    run_inspect(
        options.pictures,
        options.variant,
        methods=options.methods,
        target=options.target,
        device=_device(options.device),
        settings=options.set,
        seed=options.seed,
        ask=options.ask,
        other=options.other,
        cropped=options.cropped,
        save=options.save,
        report=options.report,
        as_json=options.json,
    )


def _compare(options: argparse.Namespace) -> None:
    from .looks import run_compare

    run_compare(
        options.picture, options.variant, over=options.over, device=_device(options.device), as_json=options.json
    )


def _add_batch(commands: Any) -> None:
    batch = commands.add_parser(
        "batch",
        help="write a table of the attention in all pictures of a folder; resumes where it was stopped",
        description="Look at every picture of a folder through one variant. DIR/attention.parquet gets a row for "
        "each picture, layer\n"
        "and subspace (counted from 0), DIR/maps the maps in float16, DIR/skipped.csv the files that are no "
        "pictures, and why.",
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
        "--methods",
        nargs="*",
        default=["grad_cam"],
        metavar="METHOD",
        help="attributions to compare maps with (default: grad_cam)",
    )
    batch.add_argument("--target", help="number or name of the class to ask about (default: each picture's own answer)")
    batch.add_argument("--no-maps", action="store_true", help="do not keep the maps")
    batch.add_argument("--no-effects", action="store_true", help="do not remove each subspace to see what that changes")
    batch.add_argument("--batch", type=int, default=16, metavar="N", help="pictures in a pass (default: 16)")
    batch.add_argument(
        "--part", type=int, default=256, metavar="N", help="pictures in a part; a kill loses at most one (default: 256)"
    )
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
        help="compute on Ray Data (requirements-ray.txt): on this machine, or on the cluster at ADDRESS ('auto': the "
        "one this runs in)",
    )
    batch.add_argument(
        "--update",
        action="store_true",
        help="go on with a table whose pictures have changed: look at new and changed ones, forget those that are "
        "gone, keep the rest",
    )
    batch.add_argument("--json", action="store_true", help="print what was done as JSON, and no progress")


def _batch(options: argparse.Namespace) -> None:
    import torch

    from .batch import run_batch

    if not options.ray:
        options.workers = 1 if options.workers is None else options.workers
        # The other cores load pictures
        torch.set_num_threads(max(1, torch.get_num_threads() - max(0, options.workers)))
    print(run_batch(options, device=None if options.ray else _device(options.device)))
