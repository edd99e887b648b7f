"""Several processes at one training: the loss curve of one, and statistics over the whole batch."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from ulsam_viz.training.distributed import SyncBatchNorm, synchronise_norms
from ulsam_viz.zoo.variants import get_variant

EVERY_STEP = """
import sys
from ulsam_viz.cli import main
from ulsam_viz.training import frozen, loop
loop._LOG_EVERY_STEPS = frozen._LOG_EVERY_STEPS = 1
sys.exit(main())
"""


def test_two_processes_follow_the_loss_curve_of_one(folder: Path, tmp_path: Path) -> None:
    """The same command under torchrun: same batches, masks and colours, gradients and statistics of the whole batch.

    It starts from trained weights: a fresh network of this depth amplifies rounding a hundred thousand times a step.
    """
    options = ["--dataset", "imagefolder", "--stages", "2x64,1x96", "--layers", "11"]
    options += ["--init", str(get_variant("mobilenet_v1-0.5-after11-g4").path)]
    one, two = one_and_two(["--data", str(folder), *options], tmp_path)
    assert len(one) == 9
    np.testing.assert_allclose(two, one, rtol=1e-3)


def test_two_processes_train_modules_in_a_frozen_base_as_one_does(folder: Path, tmp_path: Path) -> None:
    """One of them computes the features; each step sees the same rows, and statistics of all of them."""
    options = [
        "--freeze-base",
        "--backbone",
        "efficientnet_lite0",
        "--layers",
        "12",
        "--mixture",
        f"{folder.name}:imagefolder:base:2",
    ]
    one, two = one_and_two(["--data", str(folder.parent), *options], tmp_path)
    assert len(one) == 5  # 44 rows are trained on
    np.testing.assert_allclose(two[:, -2:], one[:, -2:], rtol=1e-3)


def one_and_two(options: list[str], tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Train by one process, and by two; return both logs, after weights and records were compared."""
    (tmp_path / "every_step.py").write_text(EVERY_STEP)
    command = [str(tmp_path / "every_step.py"), "train", *options, "--groups", "4", "--batch", "8"]
    command += ["--lr", "0.005", "--workers", "0"]
    command += ["--device", "cpu", "--threads", "1", "--sync-batchnorm", "--name", "run", "--runs"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    root = Path(__file__).parent.parent

    def run(*options: str, runs: str) -> str:
        env = os.environ | {"PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, *options, *command, str(tmp_path / runs)], check=True, env=env, stdout=subprocess.PIPE
        )
        return done.stdout.decode()

    run(runs="one")
    assert run(*torchrun, runs="two").count("weights:") == 1  # one of them writes
    one, two = (
        np.genfromtxt(tmp_path / n / "run" / "log.csv", delimiter=",", skip_header=1, usecols=(0, 1, 3, 4))
        for n in ("one", "two")
    )
    a, b = (load_file(tmp_path / n / "run" / "weights.safetensors") for n in ("one", "two"))
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(b[key], a[key], rtol=1e-3, atol=2e-3)
    record = json.loads((tmp_path / "two" / "run" / "run.json").read_text())
    assert (record["processes"], record["sync_batchnorm"], record["recipe"]["precision"]) == (2, True, "float32")
    return one, two


def test_synchronised_batchnorm_is_batchnorm() -> None:
    """With one process, the synchronised form gives batch normalisation's outputs, gradients and running statistics."""
    own = nn.BatchNorm2d(6)
    with torch.no_grad():
        own.weight.copy_(torch.rand(6) + 0.5)
        own.bias.copy_(torch.randn(6))
    model = nn.Sequential(copy.deepcopy(own))
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    try:
        synchronise_norms(model)
        assert isinstance(model[0], SyncBatchNorm)
        x, y = (torch.randn(5, 6, 4, 3, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
        out, expected = model(x), own(y)
        torch.testing.assert_close(out, expected)
        weights = torch.randn(5, 6, 4, 3)
        (out * weights).sum().backward()
        (expected * weights).sum().backward()
        torch.testing.assert_close(x.grad, y.grad)
        torch.testing.assert_close(model[0].weight.grad, own.weight.grad)
        half = model.eval().train()(x.detach().bfloat16())
        assert half.dtype == torch.bfloat16
        torch.testing.assert_close(half.float(), expected.detach(), rtol=0.02, atol=0.02)
        own(y)  # the running statistics saw that batch twice
    finally:
        torch.distributed.destroy_process_group()
    assert model.state_dict().keys() == {f"0.{k}" for k in own.state_dict()}
    torch.testing.assert_close(model[0].running_var, own.running_var, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(model[0].running_mean, own.running_mean, rtol=1e-3, atol=1e-3)
