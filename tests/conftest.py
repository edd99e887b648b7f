"""Networks with real weights, photographs, and what tests share."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser

from tests.browser import running_app, running_browser
from ulsam_viz.images.preprocessing import ModelInput, Preprocessing, prepare
from ulsam_viz.images.samples import ASSETS
from ulsam_viz.models.backbones import BACKBONES
from ulsam_viz.models.network import Network, Placement

# What a user of this machine has entered is no part of the tests.
os.environ["ULSAM_VIZ_OWN"] = os.path.join(os.sep, "nowhere", "ulsam_viz")

# One thread: the tests compare results bit for bit, and two cores are busy enough with two test threads.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def astronaut() -> Image.Image:
    return Image.open(ASSETS / "astronaut.jpg").convert("RGB")


@pytest.fixture(scope="session")
def picture(astronaut: Image.Image) -> ModelInput:
    return prepare(astronaut, Preprocessing(224))


@pytest.fixture(scope="session")
def lively() -> Callable[..., Network]:
    """Make a seeded network whose activations have the scale of a trained one (BatchNorm statistics from a real
    batch).
    """

    def make(backbone: str, placement: Placement | None, *, width: float = 0.25, classes: int = 7) -> Network:
        torch.manual_seed(11)
        model = BACKBONES[backbone](width if BACKBONES[backbone].has_widths else 1.0, classes, placement).train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
                torch.nn.init.normal_(module.bias, 0.1, 0.3)
        torch.nn.init.normal_(model.classifier.weight, std=0.2)
        with torch.no_grad():
            model(torch.randn(32, 3, 96, 96))
        return model.eval()

    return make


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 12 pictures that a network can tell apart: their colour."""
    root = tmp_path_factory.mktemp("pictures")
    for label, colour in enumerate(((220, 40, 40), (40, 200, 40), (40, 40, 220))):
        (root / f"class{label}").mkdir()
        for i in range(12):
            pixels = (noise((48, 64, 3), seed=100 * label + i) * 0.3 + np.array(colour) * 0.7).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"class{label}" / f"{i:02}.png")
    return root


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app() as app:
        yield app


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as instance:
        yield instance


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """Write a picture to bytes."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
