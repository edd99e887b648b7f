"""Training: resuming after a kill, what a run starts from, and figures that evaluation reproduces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from ulsam_viz.analysis.calibration import calibration_error
from ulsam_viz.cli import main
from ulsam_viz.images import Preprocessing, decode_image, prepare
from ulsam_viz.models.mobilenet import MobileNetV1, MobileNetV2
from ulsam_viz.models.network import Placement
from ulsam_viz.training.data import find_pictures
from ulsam_viz.training.evaluate import evaluate
from ulsam_viz.training.folder import InUseError
from ulsam_viz.training.loop import Execution, train
from ulsam_viz.training.recipe import Recipe, one_cycle
from ulsam_viz.training.start import TrainingError, imagenet_weights, start_from
from ulsam_viz.zoo import list_variants, load_network

RECIPE = Recipe(width=0.25, placement=Placement((11,), 4), dataset="imagefolder", stages=((2, 32), (1, 64)), batch=4, seed=3)
QUIET = Execution(workers=0, quiet=True)


def test_the_schedule_rises_and_falls() -> None:
    rates = [one_cycle(t / 100, 1.0) for t in range(101)]
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == pytest.approx(1.0)
    assert rates[100] < 1e-3
    assert rates.index(max(rates)) == 20


SCRIPT = """
import sys, torch
from pathlib import Path
from tests.test_training import RECIPE
from ulsam_viz.training.data import find_pictures
from ulsam_viz.training.loop import Execution, train
torch.set_num_threads(1)
how = Execution(workers=0, save_seconds=0, quiet=True)
train(RECIPE, find_pictures("imagefolder", Path(sys.argv[1]), "train"), Path(sys.argv[2]), execution=how)
"""


def test_kill_9_and_a_restart_give_the_weights_of_an_undisturbed_run(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    root = Path(__file__).parent.parent
    env = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run([*command, str(tmp_path / "calm")], check=True, env=env, cwd=root)
    kills = 0
    while not (tmp_path / "killed" / "weights.safetensors").exists():
        process = subprocess.Popen([*command, str(tmp_path / "killed")], env=env, cwd=root)
        deadline = time.monotonic() + 60
        if kills < 2:
            before = _saved_at(tmp_path / "killed" / "state.pt")
            while _saved_at(tmp_path / "killed" / "state.pt") == before and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        else:
            assert process.wait(60) == 0
    assert kills == 2
    calm, killed = (load_file(tmp_path / run / "weights.safetensors") for run in ("calm", "killed"))
    assert all(torch.equal(calm[k], killed[k]) for k in calm)
    assert (tmp_path / "calm" / "log.csv").read_text() == (tmp_path / "killed" / "log.csv").read_text()
    assert not (tmp_path / "killed" / "state.pt").exists()


def _saved_at(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def test_training_learns_publishes_and_evaluates_to_its_own_figures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command as a user types it, from pictures to a zoo that the program loads, and evaluation against its manifest."""
    zoo = tmp_path / "zoo"
    command = ["train", "--data", str(folder), "--dataset", "imagefolder", "--width", "0.25", "--layers", "11", "--groups", "2"]
    command += [
        "--stages",
        "30x32",
        "--batch",
        "8",
        "--lr",
        "0.05",
        "--workers",
        "0",
        "--runs",
        str(tmp_path),
        "--publish",
        str(zoo),
    ]
    assert main([*command, "--device", "cpu"]) == 0
    (variant,) = list_variants(zoo)
    assert variant.name == "mobilenet_v1-0.25-after11-g2"
    assert variant.metrics["pictures"] == 12
    assert len(variant.metrics["attention"]["11"]["dead_share"]) == 2
    assert variant.made_by["recipe"]["stages"] == [[30, 32]]
    again = evaluate(
        load_network(variant), find_pictures("imagefolder", folder, "test"), variant.preprocessing, batch=5, quiet=True
    )
    for key in ("top1", "top5", "ece"):
        assert again[key] == pytest.approx(variant.metrics[key], abs=0.1)
    losses = [float(line.split(",")[-1]) for line in (tmp_path / f"{variant.name}-seed0" / "log.csv").read_text().splitlines()[1:]]
    assert losses[-1] < losses[0]
    # Done already: the same command trains nothing again; another recipe in the same folder is refused.
    assert main([*command, "--device", "cpu"]) == 0
    assert main([*command, "--device", "cpu", "--lr", "0.01"]) == 2
    assert "another recipe" in capsys.readouterr().err


def test_a_run_that_another_process_is_at_is_left_alone(folder: Path, tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from ulsam_viz.training.folder import exclusive\n"
    code += "with exclusive(Path(sys.argv[1])): print('mine', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(InUseError, match="another process"):
            train(RECIPE, find_pictures("imagefolder", folder, "train"), tmp_path, execution=QUIET)
    finally:
        other.kill()
        other.wait()
    assert train(RECIPE, find_pictures("imagefolder", folder, "train"), tmp_path, execution=QUIET).exists()  # it died: free again


def test_training_from_torchvisions_imagenet_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A weights file where torchvision keeps its downloads: the network that starts from it computes what torchvision's does."""
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
    command = ["train", "--data", str(folder), "--dataset", "imagefolder", "--init", "imagenet", "--stages", "1x32", "--batch", "8"]
    command += ["--workers", "0", "--runs", str(tmp_path / "runs"), "--lr", "1e-9", "--device", "cpu"]
    assert main([*command, "--backbone", "mobilenet_v2", "--width", "1.0", "--layers", "17", "--name", "net"]) == 0
    trained = load_file(tmp_path / "runs" / "net" / "weights.safetensors")
    torch.testing.assert_close(trained["layers.5.filter.0.weight"], theirs.state_dict()["features.4.conv.1.0.weight"])
    assert trained["classifier.weight"].shape == (3, 1280)
    assert main([*command, "--width", "0.5"]) == 2
    assert "at width 1.0 only" in capsys.readouterr().err


def test_a_folder_belongs_to_one_start_and_one_dataset(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_what_the_command_line_started_from_is_recorded(folder: Path, tmp_path: Path) -> None:
    command = ["train", "--data", str(folder), "--dataset", "imagefolder", "--width", "0.25", "--stages", "1x32", "--batch", "8"]
    command += ["--workers", "0", "--runs", str(tmp_path / "runs")]
    assert main([*command, "--name", "base"]) == 0
    base = tmp_path / "runs" / "base" / "weights.safetensors"
    assert main([*command, "--name", "next", "--layers", "11", "--init", str(base), "--publish", str(tmp_path / "zoo")]) == 0
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


def test_bfloat16_autocast_learns_too(folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(width=0.25, dataset="imagefolder", stages=((10, 32),), batch=8, peak_lr=0.05)
    execution = Execution(precision="bfloat16", workers=0, quiet=True)
    train(recipe, find_pictures("imagefolder", folder, "train"), tmp_path, execution=execution)
    losses = np.loadtxt(tmp_path / "log.csv", delimiter=",", skiprows=1)[:, -1]
    assert losses[-1] < losses[0] < 2
    assert json.loads((tmp_path / "run.json").read_text())["precision"] == "bfloat16"
    assert all(v.dtype in (torch.float32, torch.int64) for v in load_file(tmp_path / "weights.safetensors").values())


def test_evaluation_counts_right_answers(folder: Path) -> None:
    """On a network that answers by the colour's channel, every figure is known."""

    class ByColour(MobileNetV1):
        def forward_with_attention(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
            return x.mean((2, 3)) * 10, {11: torch.full((len(x), 2, 4, 4), 1 / 16)}

    figures = evaluate(ByColour(0.25, 3).eval(), find_pictures("imagefolder", folder, "test"), Preprocessing(32), quiet=True)
    assert (figures["top1"], figures["top5"]) == (100, 100)
    # Sure and right: the calibration error is what is missing from certainty.
    pictures = find_pictures("imagefolder", folder, "test").files
    x = torch.cat([prepare(decode_image(f.read_bytes()), Preprocessing(32)).tensor for f in pictures])
    sure = (x.mean((2, 3)) * 10).softmax(1).amax(1)
    assert figures["ece"] == pytest.approx(100 * float(1 - sure.mean()), abs=0.006)
    assert figures["attention"]["11"] == {"dead_share": [1, 1], "effective_area": [1, 1], "peak": [1, 1], "redundancy": None}


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
    ):
        with pytest.raises(ValueError, match=reason):
            Recipe(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="fewer than one batch"):
        train(Recipe(batch=1000), find_pictures("imagefolder", folder, "train"), tmp_path, execution=QUIET)
    bad = Recipe(width=0.25, dataset="imagefolder", stages=((20, 32),), batch=4, peak_lr=1e12)
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(bad, find_pictures("imagefolder", folder, "train"), tmp_path / "bad", execution=QUIET)


def test_the_command_line_lists_variants_and_says_what_is_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["variants"]) == 0
    assert list_variants()[0].name in capsys.readouterr().out
    assert main(["evaluate", "--variant", "nothing", "--data", str(tmp_path)]) == 2
    assert "no trained variant 'nothing'" in capsys.readouterr().err
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
