"""Every command that the program prints runs as printed.

In help, on pages, in reports, in the model card and the guides.
"""

from __future__ import annotations

import re
import shlex
import shutil
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from tests.conftest import noise
from ulsam_viz import Preprocessing, explain, insert_ulsam
from ulsam_viz.cli.program import _parser, main
from ulsam_viz.images.preprocessing import decode_image
from ulsam_viz.models.mobilenet import MobileNetV1
from ulsam_viz.models.network import Placement
from ulsam_viz.report.record import entering
from ulsam_viz.training.zoo_file import read_zoo_file
from ulsam_viz.ui.evidence.tables import command as evaluate_line
from ulsam_viz.zoo.user_networks import read_checkpoint
from ulsam_viz.zoo.variants import get_variant, list_variants

ROOT = Path(__file__).parent.parent
SMALL, CALTECH = "mobilenet_v1-0.25-after6_11-g4", "mobilenet_v1-0.5-after11-g4"
_CALLED = r"(?:(?:\S*python -m ulsam_viz)|(?:\S*torchrun --nproc-per-node 2 -m ulsam_viz)|ulsam-viz|\{[a-z_.]+\(\)\})"
_STOPS = r"[^`\n\"”#<]*"  # a command ends where its quotation, its line or its comment begins
_OTHERS = ("s3://", "--ray", "...", "|")  # clusters, what is left out, alternatives
PLACEHOLDERS = {"PICTURES": "photos", "FILE": "mine.pt", "NAME": SMALL, "IMAGENET": "synsets"}


def examples_of_help(parser: ArgumentParser) -> Iterator[str]:
    """Yield the lines that stand below "examples:" in each command's help."""
    (subparsers,) = [a for a in parser._actions if hasattr(a, "choices") and isinstance(a.choices, dict)]
    for name, command in subparsers.choices.items():  # type: ignore[union-attr]
        lines = (command.epilog or "").splitlines()
        yield from (re.sub(r"^  %\(prog\)s", name, line) for line in lines if line.startswith("  %(prog)s"))


def written_in(text: str) -> Iterator[str]:
    """Yield the commands of this program that stand in a text, without what calls it."""
    text = re.sub(r"\\\n\s+", "", text)
    for match in re.finditer(rf"{_CALLED} ([a-z]+\b{_STOPS})", text):
        if match[1].split()[0] in COMMANDS and len(match[1].split()) > 1:
            yield match[1].strip()


COMMANDS = ("app", "inspect", "compare", "batch", "variants", "add", "remove", "train", "evaluate", "calibrate")
_GUIDES = [*ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]
SOURCES = [*(ROOT / "ulsam_viz").rglob("*.py"), ROOT / "README.md", ROOT / "checkpoints" / "README.md", *_GUIDES]


def collected() -> list[str]:
    found = [*examples_of_help(_parser())]
    for source in SOURCES:
        found += written_in(source.read_text(encoding="utf-8"))
    lines = (re.sub(r" {2,}.*", "", line).rstrip(" .;:)") for line in found)  # what an example shows stands behind it
    # Of which a text speaks
    return sorted(
        {line for line in lines if not any(other in line for other in _OTHERS) and "{" not in line} - {"add", "batch"}
    )


def test_commands_are_found_where_they_are_printed() -> None:
    commands = {line.split()[0] for line in collected()}
    assert commands == {*COMMANDS}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that printed commands name: pictures, datasets, a network with its classes."""
    root = tmp_path_factory.mktemp("sandbox")
    (root / "photos").mkdir()
    picture = root / "photo.jpg"
    Image.fromarray(noise((48, 64, 3))).save(picture)
    for name in ("a.jpg", "b.jpg", "photos/007_rooster.jpg", "input.png", "PICTURE"):
        shutil.copy(picture, root / name)
    classes = get_variant(CALTECH).classes
    for name in ("DIR", "DIR/caltech101/101_ObjectCategories"):
        for label in classes:
            (root / name / label).mkdir(parents=True)
            for i in range(3):
                (root / name / label / f"{i}.jpg").symlink_to(picture)
    for name in ("numbered/flickr-photos", "DIR/flickr-photos", "DIR/imagenet-photos", "DIR/photos"):
        (root / name).mkdir(parents=True)
        (root / name / "007_rooster.jpg").symlink_to(picture)
    (root / "synsets" / "n01514668").mkdir(parents=True)
    (root / "synsets" / "imagenet_index.tsv").write_text("n01514668\t7\n")
    for i in range(3):
        (root / "synsets" / "n01514668" / f"{i}.jpg").symlink_to(picture)
    (root / "table").mkdir()
    for file in ("README.md", "docs/results.md", "checkpoints/README.md"):
        (root / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, root / file)
    (root / "classes.txt").write_text("\n".join("abc"))
    torch.manual_seed(0)
    network = MobileNetV1(0.25, 3, Placement((11,), 4))
    save_file(network.state_dict(), root / "mine.safetensors")
    torch.save(network.state_dict(), root / "mine.pt")
    return root


@pytest.fixture
def there(sandbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sandbox, for one command.

    What takes long is left out behind the point where arguments, files and names are found.
    """
    folder = tmp_path / "there"
    shutil.copytree(sandbox, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ULSAM_VIZ_OWN", str(folder / "own"))
    monkeypatch.setattr("ulsam_viz.cli.looks.usual_variant", lambda: get_variant(SMALL))
    figures = {"pictures": 1, "top1": 1.0, "top5": 1.0, "ece": 1.0, "attention": {}}
    monkeypatch.setattr("ulsam_viz.cli.measure.evaluate", lambda *_, **__: figures)
    monkeypatch.setattr("ulsam_viz.cli.measure.calibrate_zoo", lambda *_: iter(()))
    monkeypatch.setattr("ulsam_viz.cli.train.train_zoo", lambda path, *_: read_zoo_file(path))
    for name in ("train", "train_modules", "imagenet_weights"):
        monkeypatch.setattr(f"ulsam_viz.cli.train.{name}", lambda *_, **__: Path("weights"))
    for name in ("publish", "publish_modules"):
        monkeypatch.setattr(f"ulsam_viz.cli.train.{name}", lambda *_, **__: {"name": "x", "metrics": figures})
    monkeypatch.setattr("ulsam_viz.training.data._CALTECH_PICTURES", 3 * len(get_variant(CALTECH).classes))
    monkeypatch.setattr("torchvision.datasets.Caltech101", lambda *_, **__: None)
    monkeypatch.setattr("streamlit.web.cli.main", lambda *_, **__: None)
    monkeypatch.setattr("ulsam_viz.engine.memory.use_few_arenas", lambda: None)
    for name in ("ULSAM_VIZ_OWN_NETWORKS", "ULSAM_VIZ_TABLES"):  # `app` sets them
        monkeypatch.setenv(name, "")
    return folder


def words_of(line: str) -> list[str]:
    """Put files of the sandbox in the place of names that stand for any."""
    words = shlex.split(line)
    own = {"FOLDER": "photos", "DIR": "new", "table": "new"} if words[0] == "batch" else {}  # a table's folder is new
    if "PICTURES" in words:
        own["FOLDER"] = "new"
    if words[0] == "variants":
        own["FILE"] = "README.md"
    return [own.get(word, PLACEHOLDERS.get(word, word)) for word in words]


@pytest.mark.parametrize("line", collected())
def test_a_printed_command_runs_as_printed(line: str, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = words_of(line)
    if words[0] == "remove":
        assert main(["add", "mine.pt", "--classes", "classes.txt", "--name", words[1]]) == 0
    assert main(words) == 0, capsys.readouterr().err


@pytest.mark.parametrize("backbone", ["mobilenet_v1", "mobilenet_v2", "efficientnet_lite0", "own"])
def test_the_line_below_figures_measures_any_network(
    backbone: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = "numbered" if backbone == "efficientnet_lite0" else "DIR/caltech101"
    if backbone == "own":
        assert main(["add", "mine.pt", "--classes", "classes.txt"]) == 0
        variant, data = get_variant("mine"), "colours"
        for label in variant.classes:
            (there / data / label).mkdir(parents=True)
            for i in range(3):
                shutil.copy("photo.jpg", there / data / label / f"{i}.jpg")
    else:
        variant = next(v for v in list_variants() if v.backbone == backbone and v.placement)
    (line,) = written_in(evaluate_line(variant).replace("DIR", data))
    assert main(shlex.split(line)) == 0, capsys.readouterr().err


@pytest.mark.parametrize("backbone", ["mobilenet_v1", "mobilenet_v2", "efficientnet_lite0", "own"])
def test_the_command_of_a_report_gives_its_numbers(
    backbone: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if backbone == "own":
        assert main(["add", "mine.pt", "--classes", "classes.txt"]) == 0
    variant = (
        get_variant("mine")
        if backbone == "own"
        else next(v for v in list_variants() if v.backbone == backbone and v.placement)
    )
    seen = explain(decode_image(Path("photo.jpg").read_bytes()), variant, ("saliency",), len(variant.classes) - 1)
    report = seen.reported(file="photo.jpg", to="again.html")
    words = shlex.split(report.command)
    start = next(i for i, word in enumerate(words) if word in COMMANDS)
    assert main(words[start:]) == 0, capsys.readouterr().err
    assert (there / "again.html").exists()


@pytest.mark.parametrize("kind", ["plain", "averaged, small"])
def test_the_command_that_enters_an_upload_enters_what_was_shown(
    kind: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pre = Preprocessing(224)
    if kind != "plain":
        weights = torch.load("mine.pt", weights_only=True)
        half = {k: v / 2 if v.is_floating_point() else v for k, v in weights.items()}
        torch.save({"model": weights, "model_ema": half}, "mine.pt")
        pre = Preprocessing(32)
    shown = read_checkpoint(
        Path("mine.pt").read_bytes(),
        "mine.pt",
        classes=("a", "b", "c"),
        preprocessing=pre,
        gain="normalised",
        stem_stride=2,
    ).variant
    words = shlex.split(entering(shown))
    assert main(words[words.index("add") :]) == 0, capsys.readouterr().err
    entered = get_variant(shown.name)
    assert (entered.placement, entered.preprocessing, entered.classes) == (
        shown.placement,
        shown.preprocessing,
        shown.classes,
    )
    assert entered.made_by.get("weights") == shown.made_by.get("weights")


def test_a_report_of_a_live_network_prints_python_that_gives_its_numbers(there: Path) -> None:
    torch.manual_seed(0)
    host = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    network, classes = insert_ulsam(host.eval(), {"1": 2}, example=torch.zeros(1, 3, 32, 32)), ("it's", "b", "c")
    seen = explain(
        decode_image(Path("photo.jpg").read_bytes()),
        network,
        ("integrated_gradients", "saliency"),
        settings={"integrated_gradients": {"steps": 64}},
        seed=3,
        classes=classes,
        preprocessing=Preprocessing(32),
    )
    report = seen.reported(file="photo.jpg", asked=seen.ask("ablation"), to="again.zip")
    assert "ulsam-viz" not in report.command and "live" in report.command_note
    own: dict[str, Any] = {"network": network, "classes": classes}
    exec(report.command, own)
    assert (there / "again.zip").exists()
    again = own["seen"]
    assert (again.logits == seen.logits).all() and again.made_with == seen.made_with and again.classes == classes
    for name, values in seen.attributions.items():
        assert (again.attributions[name] == values).all()


def test_a_class_that_looks_like_an_option_is_named_by_its_number() -> None:
    from ulsam_viz.report.record import command_of

    variant = replace(get_variant(SMALL), classes=("--json", "b"))
    assert "--target 0" in command_of("x.jpg", variant, {}, 0)
