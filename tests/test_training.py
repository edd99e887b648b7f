"""Training: resuming after a kill, what a run starts from, and figures that evaluation reproduces."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from ulsam_viz.analysis.calibration import calibration_error
from ulsam_viz.cli.program import main
from ulsam_viz.images.preprocessing import Preprocessing, decode_image, prepare
from ulsam_viz.models.mobilenet import MobileNetV1, MobileNetV2
from ulsam_viz.models.network import Placement
from ulsam_viz.training.data import AugmentedPictures, find_pictures
from ulsam_viz.training.evaluate import evaluate
from ulsam_viz.training.folder import InUseError
from ulsam_viz.training.initialisation import TrainingError, imagenet_weights, start_from
from ulsam_viz.training.loop import Execution, _train_step, train
from ulsam_viz.training.recipe import Recipe, one_cycle
from ulsam_viz.zoo.variants import get_variant, list_variants, load_network

RECIPE = Recipe(
    width=0.25, placement=Placement((11,), 4), dataset="imagefolder", stages=((2, 32), (1, 64)), batch=4, seed=3
)
QUIET = Execution(workers=0, quiet=True)


def test_the_schedule_rises_and_falls() -> None:
    rates = [one_cycle(t / 100, 1.0) for t in range(101)]
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == pytest.approx(1.0)
    assert rates[100] < 1e-3
    assert rates.index(max(rates)) == 20


# Trains, and is killed by a signal of its own where it says: a test that watched from outside would come too late at
# times.
SCRIPT = """
import os, signal, sys, torch
from pathlib import Path
from tests.test_training import RECIPE
from ulsam_viz.training import folder, loop
from ulsam_viz.training.data import find_pictures
torch.set_num_threads(1)

def killed_at(place, name, call):
    real, calls = getattr(place, name), []
    def run(*things, **settings):
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*things, **settings)
    setattr(place, name, run)

if sys.argv[3] == "in a step":
    killed_at(loop.functional, "cross_entropy", 5)
if sys.argv[3] == "in a save":  # when the new state is written, and the old one still stands
    killed_at(folder.os, "replace", 5)
how = loop.Execution(workers=0, save_seconds=0, quiet=True)
loop.train(RECIPE, find_pictures("imagefolder", Path(sys.argv[1]), "train"), Path(sys.argv[2]), execution=how)
"""


def test_kill_9_and_a_restart_give_the_weights_of_an_undisturbed_run(folder: Path, tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    env = os.environ | {"PYTHONPATH": str(root)}

    def run(name: str, killed: str = "") -> int:
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folder), str(tmp_path / name), killed], env=env, cwd=root
        ).returncode

    assert run("calm") == 0
    steps = []
    for place in ("in a step", "in a save"):
        assert run("killed", place) == -signal.SIGKILL
        steps.append(torch.load(tmp_path / "killed" / "state.pt", weights_only=True)["step"])
    assert 0 < steps[0] < steps[1] < 18  # each went on where the one before had been killed
    assert run("killed") == 0
    calm, killed = (load_file(tmp_path / run / "weights.safetensors") for run in ("calm", "killed"))
    assert all(torch.equal(calm[k], killed[k]) for k in calm)
    assert (tmp_path / "calm" / "log.csv").read_text() == (tmp_path / "killed" / "log.csv").read_text()
    assert not (tmp_path / "killed" / "state.pt").exists()


def test_training_learns_publishes_and_evaluates_to_its_own_figures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command as a user types it, from pictures to a zoo that the program loads, and evaluation against its
    manifest.

    It starts from trained weights: what a fresh network learns from so few pictures is decided by rounding.
    """
    zoo = tmp_path / "zoo"
    command = ["train", "--data", str(folder), "--dataset", "imagefolder", "--width", "0.5", "--layers", "11"]
    command += ["--groups", "4"]
    command += ["--init", str(get_variant("mobilenet_v1-0.5-after11-g4").path), "--stages", "8x64"]
    command += ["--batch", "8", "--lr", "0.01", "--workers", "0", "--runs", str(tmp_path)]
    command += ["--publish", str(zoo)]
    assert main([*command, "--device", "cpu"]) == 0
    (variant,) = list_variants(zoo)
    assert variant.name == "mobilenet_v1-0.5-after11-g4"
    assert variant.metrics["pictures"] == 12
    assert len(variant.metrics["attention"]["11"]["dead_share"]) == 4
    assert variant.made_by["recipe"]["stages"] == [[8, 64]]
    assert variant.input_size == 64
    assert "3 classes, 36 pictures: 24 to train on, 12 held out" in capsys.readouterr().out
    again = evaluate(
        load_network(variant), find_pictures("imagefolder", folder, "test"), variant.preprocessing, batch=5, quiet=True
    )
    for key in ("top1", "top5", "ece"):
        assert again[key] == pytest.approx(variant.metrics[key], abs=0.1)
    # Chance is a third; at the size that it was trained at, it is right about all, whatever the seed.
    learnt = evaluate(
        load_network(variant), find_pictures("imagefolder", folder, "train"), Preprocessing(64), quiet=True
    )
    assert learnt["top1"] > 60
    # Done already: the same command trains nothing again; another recipe in the same folder is refused.
    assert main([*command, "--device", "cpu"]) == 0
    assert main([*command, "--device", "cpu", "--lr", "0.02"]) == 2
    assert "another recipe" in capsys.readouterr().err
    assert main([*command, "--device", "cpu", "--input-size", "96"]) == 0
    assert [v.input_size for v in list_variants(zoo)] == [96]
    _other_classes_are_named(folder, tmp_path, zoo, command, capsys)


def _other_classes_are_named(
    folder: Path, tmp_path: Path, zoo: Path, train: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """By each command that compares a dataset with what a network, a run or a zoo knows."""
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "class1").rename(other / "sheep")
    elsewhere = ["--data", str(other), "--device", "cpu"]
    (variant,) = list_variants(zoo)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ulsam_viz.cli.measure.get_variant", lambda *_: variant)
        patched.setattr("ulsam_viz.cli.measure.CHECKPOINTS", zoo)
        for command in (
            ["evaluate", "--variant", variant.name, "--dataset", "imagefolder", *elsewhere],
            ["calibrate", "--variant", variant.name, "--dataset", "imagefolder", "--data", str(other)],
        ):
            assert main(command) == 2
            assert "missing: class1; not expected: sheep" in capsys.readouterr().err
    assert main([*train, *elsewhere, "--name", "new"]) == 2
    assert "there alone: class1; here alone: sheep" in capsys.readouterr().err
    assert not (tmp_path / "new" / "weights.safetensors").exists()  # before it was trained
    assert main([*train, *elsewhere, "--publish", str(tmp_path / "own")]) == 2
    assert "of another data (missing: class1; not expected: sheep)" in capsys.readouterr().err


def test_a_run_that_another_process_is_at_is_left_alone(folder: Path, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from ulsam_viz.training.folder import exclusive\n"
    code += "with exclusive(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(InUseError, match="another process"):
            train(RECIPE, find_pictures("imagefolder", folder, "train"), tmp_path, execution=QUIET)
    finally:
        other.kill()
        other.wait()
    assert train(
        RECIPE, find_pictures("imagefolder", folder, "train"), tmp_path, execution=QUIET
    ).exists()  # it died: free again


def test_training_from_torchvisions_imagenet_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A weights file where torchvision keeps its downloads.

    The network that starts from it computes what torchvision's does.
    """
    theirs = mobilenet_v2()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(theirs.state_dict(), cache / MobileNet_V2_Weights.IMAGENET1K_V2.url.rpartition("/")[2])
    path = imagenet_weights("mobilenet_v2", 1.0, tmp_path)
    model = MobileNetV2(1.0)
    start_from(model, path)
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(model.eval()(x), theirs.eval()(x))
    command = ["train", "--data", str(folder), "--dataset", "imagefolder", "--init", "imagenet"]
    command += ["--stages", "1x32", "--batch", "8"]
    command += ["--workers", "0", "--runs", str(tmp_path / "runs"), "--lr", "1e-9", "--device", "cpu"]
    assert main([*command, "--backbone", "mobilenet_v2", "--width", "1.0", "--layers", "17", "--name", "net"]) == 0
    trained = load_file(tmp_path / "runs" / "net" / "weights.safetensors")
    torch.testing.assert_close(trained["layers.5.filter.0.weight"], theirs.state_dict()["features.4.conv.1.0.weight"])
    assert trained["classifier.weight"].shape == (3, 1280)
    assert main([*command, "--width", "0.5"]) == 2
    assert "at width 1.0 only" in capsys.readouterr().err


def test_a_folder_belongs_to_one_start_and_one_dataset(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only to one recipe: other weights to start from, or other pictures, are another run, finished or not."""
    recipe = Recipe(width=0.25, dataset="imagefolder", stages=((1, 32),), batch=8, init="base")
    pictures = find_pictures("imagefolder", folder, "train")
    fewer = replace(pictures, files=pictures.files[:-1], labels=pictures.labels[:-1])
    for name, seed in (("a", 0), ("b", 1)):
        torch.manual_seed(seed)
        save_file(MobileNetV1(0.25, 3).state_dict(), tmp_path / f"{name}.safetensors")
    start, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    weights = train(recipe, pictures, tmp_path / "run", init=start, execution=QUIET).read_bytes()
    for init, data, reason in (
        (other, pictures, "another start weights"),
        (start, fewer, "another data"),
        (None, pictures, "start"),
    ):
        with pytest.raises(TrainingError, match=f"finished run of .*{reason}"):
            train(recipe, data, tmp_path / "run", init=init, execution=QUIET)
    assert train(recipe, pictures, tmp_path / "run", init=start, execution=QUIET).read_bytes() == weights

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ulsam_viz.training.folder.RunFolder.finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, pictures, tmp_path / "cut", init=start, execution=replace(QUIET, save_seconds=0))
    with pytest.raises(TrainingError, match="unfinished run of another start weights"):
        train(recipe, pictures, tmp_path / "cut", init=other, execution=QUIET)
    assert train(recipe, pictures, tmp_path / "cut", init=start, execution=QUIET).read_bytes() == weights
    with pytest.raises(TrainingError, match="no weights to start from"):
        train(recipe, pictures, tmp_path / "new", init=tmp_path / "nothing", execution=QUIET)


def test_runs_from_before_recipes_named_their_precision_are_known_or_refused(folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(width=0.25, dataset="imagefolder", stages=((1, 32),), batch=8)
    pictures = find_pictures("imagefolder", folder, "train")
    train(recipe, pictures, tmp_path, execution=QUIET)
    record = json.loads((tmp_path / "run.json").read_text())
    del record["recipe"]["precision"]
    (tmp_path / "run.json").write_text(json.dumps(record | {"precision": "float32"}))
    assert train(recipe, pictures, tmp_path, execution=QUIET).exists()
    (tmp_path / "run.json").write_text(json.dumps(record | {"precision": "bfloat16"}))
    with pytest.raises(TrainingError, match="finished run of another recipe"):
        train(recipe, pictures, tmp_path, execution=QUIET)
    (tmp_path / "weights.safetensors").unlink()
    torch.save({"run": json.dumps(record)}, tmp_path / "state.pt")
    with pytest.raises(TrainingError, match="does not say its precision: choose another folder"):
        train(recipe, pictures, tmp_path, execution=QUIET)


def test_a_run_on_a_gpu_is_exact_and_repeats_itself_and_leaves_the_programs_settings(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Played on the CPU: a device of its own name, where the network and the batches stay."""
    to, seen = torch.Tensor.to, []

    def settings() -> tuple[object, ...]:
        cudnn: Any = torch.backends.cudnn
        precisions = cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
        workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
        return torch.are_deterministic_algorithms_enabled(), cudnn.benchmark, *precisions, workspace

    def stays(self: torch.Tensor, target: object, *args: object, **options: object) -> torch.Tensor:
        if target != "cuda":
            return to(self, target, *args, **options)  # type: ignore[call-overload, no-any-return]
        seen.append((*settings(), options["non_blocking"]))
        return self

    def loads(*_: object, pin_memory: bool, batch_sampler: object, **__: object) -> object:
        assert pin_memory
        return DataLoader(AugmentedPictures(pictures, seed=0, min_area=0.4), batch_sampler=batch_sampler)  # type: ignore[arg-type]

    monkeypatch.setattr("torch.Tensor.to", stays)
    monkeypatch.setattr("ulsam_viz.models.network.Network.to", lambda self, *_, **__: self)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "a GPU")
    monkeypatch.setattr("ulsam_viz.training.data.DataLoader", loads)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr("torch.backends.cudnn.benchmark", True)
    before = settings()
    pictures = find_pictures("imagefolder", folder, "train")
    recipe = Recipe(width=0.25, placement=Placement((11,), 4), dataset="imagefolder", stages=((1, 32),), batch=8)
    train(recipe, pictures, tmp_path, execution=replace(QUIET, device="cuda"))
    assert set(seen) == {(True, False, "ieee", "ieee", ":4096:8", True)}
    assert settings() == before
    assert before[:2] == (False, True) and before[-1] is None
    assert json.loads((tmp_path / "run.json").read_text())["device"] == "a GPU"


def test_the_command_line_trains_in_float32_unless_told_and_measures_where_it_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    devices: list[str] = []

    def recorded(
        run: Path, held_out: object, checkpoints: Path, *, input_size: int | None, device: str
    ) -> dict[str, object]:
        devices.append(device)
        return {"name": run.name, "metrics": {"top1": 0.0, "top5": 0.0}}

    monkeypatch.setattr("ulsam_viz.cli.train.publish", recorded)
    command = ["train", "--data", str(folder), "--dataset", "imagefolder", "--width", "0.25"]
    command += ["--stages", "1x32", "--batch", "8"]
    command += ["--workers", "0", "--runs", str(tmp_path), "--device", "cpu", "--publish", str(tmp_path / "zoo")]
    for precision in ("float32", "bfloat16"):
        assert main([*command, "--name", precision, "--precision", precision]) == 0
    recipes = [json.loads((tmp_path / name / "run.json").read_text())["recipe"] for name in ("float32", "bfloat16")]
    assert [recipe["precision"] for recipe in recipes] == ["float32", "bfloat16"]
    assert devices == ["cpu", "cpu"]
    assert (
        main(["train", "--zoo", "zoo.toml", "--data", str(tmp_path), "--precision", "bfloat16", "--device", "cpu"]) == 2
    )
    assert "say their own settings" in capsys.readouterr().err

    def load(name: str, device: str) -> None:
        raise ValueError(f"{name} on {device}")

    monkeypatch.setattr("ulsam_viz.cli.measure.load_variant", load)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for wish, place in (("cpu", "cpu"), ("cuda", "cuda"), ("auto", "cuda")):
        assert main(["evaluate", "--variant", "mobilenet_v1-0.5-plain", "--device", wish]) == 2
        assert f"mobilenet_v1-0.5-plain on {place}" in capsys.readouterr().err


def test_what_the_command_line_started_from_is_recorded(folder: Path, tmp_path: Path) -> None:
    command = ["train", "--data", str(folder), "--dataset", "imagefolder", "--width", "0.25"]
    command += ["--stages", "1x32", "--batch", "8"]
    command += ["--workers", "0", "--runs", str(tmp_path / "runs")]
    assert main([*command, "--name", "base"]) == 0
    base = tmp_path / "runs" / "base" / "weights.safetensors"
    assert (
        main([*command, "--name", "next", "--layers", "11", "--init", str(base), "--publish", str(tmp_path / "zoo")])
        == 0
    )
    (variant,) = list_variants(tmp_path / "zoo")
    starts = json.loads((tmp_path / "zoo" / "manifest.json").read_text())["starts"]
    assert starts[variant.made_by["init_sha256"]]["run"] == variant.made_by["recipe"]["init"] == "base"


def test_torchvisions_weights_that_cannot_be_had_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(TrainingError, match=r"could not be had: .*no network"):
        imagenet_weights("mobilenet_v2", 1.0, tmp_path)


def test_bfloat16_autocast_takes_the_steps_of_float32() -> None:
    """On one batch and trained weights, its gradients point the same way.

    A fresh network's depend on rounding alone.
    """
    pixels = torch.rand(8, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    trained, gradients = get_variant("mobilenet_v1-0.5-after11-g4").path, []
    assert trained
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        model = MobileNetV1(0.5, 3, Placement((11,), 4)).train()
        start_from(model, trained)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        loss = _train_step(
            model, optimizer, Recipe(batch=8, precision=precision), pixels, torch.arange(8) % 3, 1, slice(8)
        )
        assert math.isfinite(loss)
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    exact, rounded = gradients
    assert rounded.dtype == torch.float32 and not torch.equal(exact, rounded)
    # 0.85 on CPUs with bfloat16 of their own and without; of a million numbers, two directions by chance are at 0.001.
    assert torch.cosine_similarity(exact, rounded, 0) > 0.6
    assert 0.7 < rounded.norm() / exact.norm() < 1.4


def test_a_run_in_bfloat16_keeps_float32_weights_and_says_so(folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(width=0.25, dataset="imagefolder", stages=((1, 32),), batch=8, precision="bfloat16")
    train(recipe, find_pictures("imagefolder", folder, "train"), tmp_path, execution=QUIET)
    assert json.loads((tmp_path / "run.json").read_text())["recipe"]["precision"] == "bfloat16"
    assert all(v.dtype in (torch.float32, torch.int64) for v in load_file(tmp_path / "weights.safetensors").values())


def test_evaluation_counts_right_answers(folder: Path) -> None:
    """On a network that answers by the colour's channel, every figure is known."""

    class ByColour(MobileNetV1):
        def forward_with_attention(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
            return x.mean((2, 3)) * 10, {11: torch.full((len(x), 2, 4, 4), 1 / 16)}

    figures = evaluate(
        ByColour(0.25, 3).eval(), find_pictures("imagefolder", folder, "test"), Preprocessing(32), quiet=True
    )
    assert (figures["top1"], figures["top5"]) == (100, 100)
    # Sure and right: the calibration error is what is missing from certainty.
    pictures = find_pictures("imagefolder", folder, "test").files
    x = torch.cat([prepare(decode_image(f.read_bytes()), Preprocessing(32)).tensor for f in pictures])
    sure = (x.mean((2, 3)) * 10).softmax(1).amax(1)
    assert figures["ece"] == pytest.approx(100 * float(1 - sure.mean()), abs=0.006)
    assert figures["attention"]["11"] == {
        "dead_share": [1, 1],
        "effective_area": [1, 1],
        "peak": [1, 1],
        "redundancy": None,
    }


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    """By hand: of 4 answers at 0.9 three are right, of 2 at 0.5 none; the bins weigh 4 and 2 of 6."""
    confidence, correct = np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5]), np.array([True, True, True, False, False, False])
    assert calibration_error(confidence, correct) == pytest.approx((4 * 0.15 + 2 * 0.5) / 6)
    assert calibration_error(np.array([1.0]), np.array([True])) == 0


def test_a_module_of_another_g_starts_fresh() -> None:
    """Its shapes agree in part; a half copied module would start "instead" networks of one g ahead of the others."""
    torch.manual_seed(1)
    base = MobileNetV1(0.25, 3, Placement((11,), 4))
    with tempfile.TemporaryDirectory() as folder:
        save_file(base.state_dict(), Path(folder) / "base.safetensors")
        for g in (2, 4):
            torch.manual_seed(2)
            model = MobileNetV1(0.25, 3, Placement((11,), g))
            fresh = {k: v.clone() for k, v in model.state_dict().items() if k.startswith("attention.")}
            start_from(model, Path(folder) / "base.safetensors")
            after, ours = model.state_dict(), base.state_dict()
            expected = ours if g == 4 else fresh
            assert fresh and all(torch.equal(after[k], expected[k]) for k in fresh)
            assert torch.equal(after["layers.5.0.0.weight"], ours["layers.5.0.0.weight"])


def test_start_from_takes_what_fits_and_refuses_what_does_not(tmp_path: Path) -> None:
    base = MobileNetV1(0.25, 10)
    save_file(base.state_dict(), tmp_path / "base.safetensors")
    model = MobileNetV1(0.25, 3, Placement((11,), 2))
    start_from(model, tmp_path / "base.safetensors")
    assert torch.equal(model.layers["5"][0][0].weight, base.layers["5"][0][0].weight)  # type: ignore[index]
    save_file({"fc.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(TrainingError, match="fits in no layer"):
        start_from(model, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(TrainingError, match="cannot be read"):
        start_from(model, tmp_path / "text.safetensors")


def test_wrong_recipes_are_refused(folder: Path, tmp_path: Path) -> None:
    for wrong, reason in (
        ({"backbone": "resnet"}, "unknown backbone"),
        ({"stages": ((1, 33),)}, "multiple of 32"),
        ({"batch": 1}, "batch"),
        ({"precision": "float16"}, "unknown precision"),
    ):
        with pytest.raises(ValueError, match=reason):
            Recipe(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="fewer than one batch"):
        train(Recipe(batch=1000), find_pictures("imagefolder", folder, "train"), tmp_path, execution=QUIET)
    bad = Recipe(width=0.25, dataset="imagefolder", stages=((20, 32),), batch=4, peak_lr=1e12)
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(bad, find_pictures("imagefolder", folder, "train"), tmp_path / "bad", execution=QUIET)


def test_the_command_line_lists_variants_and_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["variants"]) == 0
    assert list_variants()[0].name in capsys.readouterr().out
    assert main(["evaluate", "--variant", "nothing", "--data", str(tmp_path)]) == 2
    assert "no trained variant 'nothing'" in capsys.readouterr().err
    for size, said in (
        (["--input-size", "96"], "give --publish too"),
        (["--input-size", "90", "--publish", "x"], "multiple of 32"),
    ):
        assert main(["train", "--data", str(tmp_path), *size]) == 2
        assert said in capsys.readouterr().err
    assert main(["train", "--data", str(tmp_path), "--stages", "many"]) == 2
    assert "--stages is EPOCHSxSIDE" in capsys.readouterr().err


def test_run_records_are_json(folder: Path, tmp_path: Path) -> None:
    train(
        Recipe(width=0.25, dataset="imagefolder", stages=((1, 32),), batch=8),
        find_pictures("imagefolder", folder, "train"),
        tmp_path,
        execution=QUIET,
    )
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["pictures"] == 24
    assert {"code", "seconds", "torch", "device", "finished"} <= record.keys()
