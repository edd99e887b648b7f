"""Modules trained in a frozen base.

Features on disk, runs that go on after a kill, files that hold the modules alone.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import noise
from ulsam_viz.cli.program import main
from ulsam_viz.images.preprocessing import Preprocessing
from ulsam_viz.models.backbones import BACKBONES
from ulsam_viz.models.network import Network, Placement
from ulsam_viz.training import features as features_module
from ulsam_viz.training import frozen as frozen_module
from ulsam_viz.training.data import DataError, find_pictures
from ulsam_viz.training.features import Features, make_features, outputs_of, plain_base
from ulsam_viz.training.folder import RunFolder
from ulsam_viz.training.frozen import ModuleRecipe, frozen_network, train_modules
from ulsam_viz.training.loop import Execution
from ulsam_viz.training.mixture import Source, TestSet, find_numbered, parse_source, parse_test
from ulsam_viz.training.publish import enter_figures, publish_modules
from ulsam_viz.training.zoo_file import read_zoo_file
from ulsam_viz.zoo import pretrained as bases
from ulsam_viz.zoo.pretrained import BASES, Base, load_base
from ulsam_viz.zoo.variants import CheckpointError, get_variant, list_variants, load_network

QUIET = Execution(workers=0, quiet=True)
CLASSES = ("class0", "class1", "class2")
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def small_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Base]:
    """A base of three classes: MobileNet-V1 at 0.25, its weights drawn here, in a file as packages hold them."""
    torch.manual_seed(5)
    network = BACKBONES["mobilenet_v1"](0.25, 3)
    with torch.no_grad():
        network.train()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        network(torch.randn(16, 3, 64, 64))
    torch.nn.init.normal_(network.classifier.weight, std=0.3)
    path = tmp_path / "base.pth"
    torch.save(network.state_dict(), path)
    base = Base(
        "small",
        "mobilenet_v1",
        0.25,
        "colours",
        Preprocessing(64),
        hashlib.sha256(path.read_bytes()).hexdigest(),
        lambda: path,
        lambda key: "" if key.endswith("num_batches_tracked") else key,
        "drawn at random",
        "none",
    )
    monkeypatch.setitem(BASES, "small", base)
    for user in (bases, features_module, frozen_module):
        monkeypatch.setattr(user, "classes_of", lambda dataset: CLASSES)
    monkeypatch.setattr("ulsam_viz.training.publish.classes_of", lambda dataset: CLASSES)
    monkeypatch.setattr("ulsam_viz.zoo.variants.classes_of", lambda dataset: CLASSES)
    load_base.cache_clear()
    yield base
    load_base.cache_clear()


@pytest.fixture
def data(folder: Path, tmp_path: Path) -> Path:
    root = tmp_path / "data"
    shutil.copytree(folder, root / "pictures")
    shutil.copytree(folder, root / "unnamed")
    return root


def recipe(**changes: Any) -> ModuleRecipe:
    sources = (Source("pictures", "imagefolder", "labels"), Source("unnamed", "imagefolder", "base", 2))
    settings: dict[str, Any] = {"placement": Placement((11,), 4), "feature_layers": (8, 11), "batch": 8, "epochs": 2}
    return ModuleRecipe("small", sources=sources, **{**settings, **changes})


def test_features_are_those_of_the_base_and_lie_on_disk(data: Path, tmp_path: Path) -> None:
    made = make_features(recipe().features, data, tmp_path / "runs", execution=QUIET)
    assert len(made.labels) == 24 + 2 * 24  # 12 pictures a class, a third of them held out of training altogether
    assert len(made.trained) + len(made.held_out) == 72
    assert not set(made.pictures[made.trained]) & set(made.pictures[made.held_out])  # every copy on one side
    plain = plain_base("small")
    rows = np.array([3, 30])
    at_8, at_11 = made.read(8, rows), made.read(11, rows)
    with torch.inference_mode():
        again = at_8
        for number in (9, 10, 11):
            again = plain.layers[str(number)](again)
    assert torch.allclose(again, at_11, atol=0.05)  # float16 in between
    assert at_11.is_contiguous(memory_format=torch.channels_last)
    assert isinstance(made._of_layer[8], np.memmap)
    label, soft = made.targets(rows, smoothing=0.1)
    assert torch.allclose(label.sort().values, torch.tensor([0.1 / 3, 0.1 / 3, 0.9 + 0.1 / 3]))
    assert label.argmax() == made.labels[3]
    assert soft.sum() == pytest.approx(1, abs=1e-5) and made.soft[30] >= 0 and made.labels[30] == -1


def test_soft_targets_are_the_bases_answers_for_whole_pictures(data: Path, tmp_path: Path) -> None:
    from ulsam_viz.images.preprocessing import prepare
    from ulsam_viz.training.data import read_whole

    made = make_features(recipe().features, data, tmp_path / "runs", execution=QUIET)
    files = find_pictures("imagefolder", data / "unnamed", "train").files
    plain = plain_base("small")
    with torch.inference_mode():
        answer = plain(prepare(read_whole(files[6]), Preprocessing(64)).tensor).softmax(1)[0]
    for row in np.flatnonzero(made.soft == 6):  # both copies
        assert torch.allclose(made.targets(np.array([row]), smoothing=0.1)[0], answer, atol=2e-3)
    assert (made.soft == 6).sum() == 2


def test_features_go_on_where_a_kill_left_them(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_module, "_BATCH", 8)
    whole = make_features(recipe().features, data, tmp_path / "whole", execution=QUIET)
    calls = 0

    def killed(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return outputs_of(*arguments)

    monkeypatch.setattr(features_module, "_SAVE_EVERY", 2)
    monkeypatch.setattr(features_module, "outputs_of", killed)
    with pytest.raises(KeyboardInterrupt):
        make_features(recipe().features, data, tmp_path / "again", execution=QUIET)
    monkeypatch.setattr(features_module, "outputs_of", outputs_of)
    again = make_features(recipe().features, data, tmp_path / "again", execution=QUIET)
    rows = np.arange(72)
    assert torch.equal(whole.read(11, rows), again.read(11, rows))


def test_the_base_stays_as_it_is_and_the_modules_learn(data: Path, tmp_path: Path) -> None:
    run = recipe(epochs=6, peak_lr=0.03)
    before = {key: value.clone() for key, value in load_base("small").items()}
    torch.manual_seed(run.seed)
    start = frozen_network(run).attention.state_dict()
    weights = load_file(train_modules(run, data, tmp_path / "run", features_folder=tmp_path, execution=QUIET))
    assert all(torch.equal(value, before[key]) for key, value in load_base("small").items())
    assert weights.keys() == {f"attention.{key}" for key in start}
    moved = [
        key
        for key, value in start.items()
        if value.is_floating_point() and not torch.equal(value, weights[f"attention.{key}"])
    ]
    assert {key.split(".", 1)[1] for key in moved} >= {
        "depthwise.weight",
        "pointwise.weight",
        "pointwise_norm.running_mean",
    }
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["init_sha256"] == BASES["small"].sha256
    assert record["held_out"]["rows"] > 0 and record["held_out"]["loss_of_base"] > 0


def test_gradients_are_those_of_the_network_as_a_whole(data: Path, tmp_path: Path) -> None:
    """From kept features with a folded base, and from pictures with the base as published: the same gradients."""
    run = recipe()
    made = make_features(run.features, data, tmp_path, execution=QUIET)
    torch.manual_seed(0)
    folded = frozen_network(run)
    whole = BACKBONES["mobilenet_v1"](0.25, 3, run.placement)
    whole.load_state_dict(
        load_base("small") | {f"attention.{k}": v for k, v in folded.attention.state_dict().items()}, strict=False
    )
    whole.eval().attention.train()
    rows = made.trained[:6]
    features, targets = made.read(11, rows).double(), made.targets(rows, smoothing=0.1).double()
    for network in (folded.double(), whole.double()):  # in float32 a ReLU at 0 may fall to either side
        logits, _ = network.from_attention(features, 11)
        torch.nn.functional.cross_entropy(logits, targets).backward()
    for (name, a), (_, b) in zip(folded.attention.named_parameters(), whole.attention.named_parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-9, msg=name)
    assert all(p.grad is None for p in folded.layers.parameters())


def test_a_killed_run_ends_with_the_same_weights(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_file(train_modules(recipe(), data, tmp_path / "whole", features_folder=tmp_path, execution=QUIET))
    often = dataclasses.replace(QUIET, save_seconds=0.0)
    save, saved = RunFolder.save_state, 0

    def save_and_die(self: RunFolder, **state: Any) -> None:
        nonlocal saved
        save(self, **state)
        saved += 1
        if saved == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "save_state", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train_modules(recipe(), data, tmp_path / "killed", features_folder=tmp_path, execution=often)
    resumed = load_file(train_modules(recipe(), data, tmp_path / "killed", features_folder=tmp_path, execution=often))
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
    logs = [list(csv.DictReader((tmp_path / name / "log.csv").open())) for name in ("whole", "killed")]
    assert logs[0] == logs[1]


def test_what_ships_is_the_modules_and_names_its_base(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = tmp_path / "zoo"
    for number, placement in enumerate((None, Placement((8, 11), 2))):
        run = tmp_path / f"run{number}"
        train_modules(recipe(placement=placement), data, run, features_folder=tmp_path, execution=QUIET)
        tests = [
            TestSet("pictures", "imagefolder", title="coloured squares"),
            TestSet("unnamed", "imagefolder", every=3),
        ]
        record = publish_modules(run, tests, data, zoo, quiet=True)
        assert record["metrics"]["measured_on"] == "coloured squares"
        assert record["metrics"]["others"][0]["pictures"] == 4
    plain, placed = list_variants(zoo)
    assert plain.path is None and plain.placement is None and plain.base == "small"
    assert placed.path is not None and placed.path.stat().st_size < 10_000
    assert load_file(placed.path).keys() == {
        key for key in load_network(placed).state_dict() if key.startswith("attention.") and "tracked" not in key
    }
    assert placed.metrics["effects"]["off"]["top1"] == plain.metrics["top1"]  # without attention it is its base
    network: Network = load_network(placed)
    assert torch.equal(network.state_dict()["classifier.weight"], load_base("small")["classifier.weight"])
    # The base is missing, or another: its variants say so, and the rest of the zoo is read.
    monkeypatch.setitem(BASES, "small", dataclasses.replace(BASES["small"], find=lambda: tmp_path / "none.pth"))
    load_base.cache_clear()
    with pytest.raises(
        CheckpointError, match=rf"variant '{placed.name}' cannot be used: its base's weights .* install it again"
    ):
        load_network(get_variant(placed.name, zoo))
    monkeypatch.setitem(BASES, "small", dataclasses.replace(BASES["small"], sha256="0" * 64))
    with pytest.raises(CheckpointError, match="other weights of small"):
        load_network(get_variant(placed.name, zoo))


def test_figures_on_other_pictures_are_entered_and_those_before_are_kept(tmp_path: Path) -> None:
    before = {"pictures": 5, "top1": 80.0, "attention": {}, "samples": {"top1": 1.0}, "measured_on": "old pictures"}
    beside = {"measured_on": "small ones", "top1": 20.0}
    record = {
        "name": "a",
        "metrics": before | {"others": [beside]},
        "calibration": {"temperature": 0.8, "ece": 4.0, "known": [0.1]},
    }
    untouched = {"name": "b", "metrics": {"top1": 1.0}}
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"variants": [record, untouched], "other": 1}))
    for top1 in (92.0, 92.2):  # measured again, they are replaced
        enter_figures(manifest, "a", {"pictures": 7, "top1": top1, "attention": {}}, "new pictures")
        content = json.loads(manifest.read_text())
        a, b = content["variants"]
        assert b == untouched and content["other"] == 1
        assert (a["metrics"]["top1"], a["metrics"]["measured_on"], a["metrics"]["samples"]) == (
            top1,
            "new pictures",
            {"top1": 1.0},
        )
        old, small = a["metrics"]["others"]
        assert (old["top1"], old["measured_on"], old["calibration"]) == (
            80.0,
            "old pictures",
            {"ece": 4.0},
        ) and small == beside
        assert a["calibration"] == {"temperature": 0.8}  # all else was measured on the pictures before


def test_only_networks_on_a_base_are_measured_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--variant", "mobilenet_v1-0.5-plain", "--data", str(tmp_path), "--enter"]) == 2
    assert "--enter is for networks on a base that others trained" in capsys.readouterr().err


def test_known_pictures_are_called_by_what_they_are() -> None:
    flickr, training = (parse_test(f"{folder}:numbered").title for folder in ("flickr-photos", "data/imagenet-photos"))
    assert (flickr, training) == ("CC BY photographs from Flickr", "training photographs of the base")
    assert parse_test("photos:numbered").title == "pictures of photos"
    measured = [
        test.title for run in read_zoo_file(ROOT / "ulsam_viz/training/zoo_imagenet.toml") for test in run.tests[:2]
    ]
    assert set(measured) == {flickr, training} and measured[0] == flickr


def test_pictures_get_the_class_numbers_of_the_base(tmp_path: Path) -> None:
    from PIL import Image

    classes = tuple(f"name{i}" for i in range(1000))
    square = Image.fromarray(noise((16, 16, 3)))
    for file in ("a/n00000005/1.png", "a/n00000009/1.png", "b/012_x.png", "b/003_y.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        square.save(tmp_path / file)
    with pytest.raises(DataError, match=r"2 classes of .* are none of the base's: n00000005"):
        find_numbered("imagefolder", tmp_path / "a", "train", classes)
    (tmp_path / "a" / "imagenet_index.tsv").write_text("n00000005\t700\nn00000009\t20\n")
    assert find_numbered("imagefolder", tmp_path / "a", "train", classes).labels == (700, 20)
    assert find_numbered("numbered", tmp_path / "b", "test", classes).labels == (3, 12)
    with pytest.raises(DataError, match="10 classes named NUMBER_name"):
        find_numbered("numbered", tmp_path / "b", "test", classes[:10])
    for i in range(1000):  # the real validation set: all synsets, in their order
        path = tmp_path / "val" / "val" / f"n{7 * i:08}" / "1.png"
        path.parent.mkdir(parents=True)
        path.touch()
    (tmp_path / "val" / "train").mkdir()
    assert find_numbered("imagefolder", tmp_path / "val", "test", classes).labels == tuple(range(1000))


def test_mixtures_are_read_from_the_command_line() -> None:
    assert parse_source("a/b:imagefolder:labels") == Source("a/b", "imagefolder", "labels", 1)
    assert parse_source("c:caltech101:base:4") == Source("c", "caltech101", "base", 4)
    assert parse_test("photos:numbered:5") == TestSet("photos", "numbered", 5, "pictures of photos")
    for wrong in ("a", "a:b", "a:b:guess", "a:b:labels:0", "a:b:labels:x", "a:b:labels:1:2"):
        with pytest.raises(ValueError, match=r"FOLDER:DATASET:TARGETS\[:COPIES\]"):
            parse_source(wrong)
    for wrong in ("a", "a:b:c", "a:b:1:2"):
        with pytest.raises(ValueError, match=r"FOLDER:DATASET\[:EVERY\]"):
            parse_test(wrong)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"placement": Placement((11,), 4, "instead")}, "keeps all its layers"),
        ({"placement": Placement((6,), 4)}, "layer 6 not among them"),
        ({"epochs": 0}, "at least one epoch"),
    ],
)
def test_recipes_that_cannot_be_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        recipe(**changes)


def test_the_command_trains_measures_and_enters_modules(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ulsam_viz.cli.train.base_for", lambda *_, **__: BASES["small"])
    command = ["train", "--freeze-base", "--data", str(data), "--runs", str(tmp_path / "runs")]
    command += ["--workers", "0", "--batch", "8"]
    command += [
        "--mixture",
        "pictures:imagefolder:labels",
        "unnamed:imagefolder:base:2",
        "--publish",
        str(tmp_path / "zoo"),
    ]
    assert main([*command, "--layers", "11", "--measure", "pictures:imagefolder"]) == 0
    assert "mobilenet_v1-0.25-after11-g4: top-1" in capsys.readouterr().out
    assert [v.name for v in list_variants(tmp_path / "zoo")] == ["mobilenet_v1-0.25-after11-g4"]
    assert main([*command, "--layers", "11"]) == 2
    assert "what is published is measured" in capsys.readouterr().err
    assert main([*command, "--measure", "pictures:imagefolder"]) == 2
    assert "name their --layers" in capsys.readouterr().err


def test_features_of_one_recipe_are_computed_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_features(recipe().features, data, tmp_path, execution=QUIET)
    monkeypatch.setattr(features_module, "_make", lambda *_: pytest.fail("computed again"))
    again = make_features(recipe(seed=1, placement=Placement((8,), 2)).features, data, tmp_path, execution=QUIET)
    assert isinstance(again, Features) and np.array_equal(first.pictures, again.pictures)
