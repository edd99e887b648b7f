"""Files that others wrote.

Read as what they are, whatever their names, and refused in one sentence where they are not.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tests.oracle import ReferenceLoop, trained_looking
from ulsam_viz import CheckpointError, list_variants, load_variant
from ulsam_viz.cli.program import main
from ulsam_viz.evidence.statistics import (
    accuracy_of,
    conclusions,
    control_of,
    findings,
    noise_of_differences,
    seed_spread,
)
from ulsam_viz.evidence.tables import accuracy_tables, map_table
from ulsam_viz.images.preprocessing import Preprocessing
from ulsam_viz.models.adapter import insert_ulsam
from ulsam_viz.models.backbones import BACKBONES
from ulsam_viz.models.blocks import ConvNorm
from ulsam_viz.models.mobilenet import MobileNetV1
from ulsam_viz.models.network import Network, Parts, Placement
from ulsam_viz.models.ulsam import ULSAM
from ulsam_viz.zoo.user_networks import OwnNetwork, add_network, read_checkpoint, remove_network
from ulsam_viz.zoo.variants import CHECKPOINTS, Variant, get_variant, load_network, problems

CLASSES = tuple("abcde")


class Attended(ReferenceLoop):
    """The reference module, as a step of an ``nn.Sequential``: it keeps its last maps."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        out, self.maps = super().forward(x)
        return out


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


def separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(*conv_norm(inputs, inputs, 3, stride, inputs), *conv_norm(inputs, outputs, 1))


def mobilenet_v1(width: float = 0.25) -> nn.Sequential:
    """The stem and the 13 blocks of MobileNet-V1, written out as stand-alone implementations do."""
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    inputs = int(32 * width)
    steps: list[nn.Module] = [nn.Sequential(*conv_norm(3, inputs, 3, 2))]
    for channels, stride in plan:
        steps.append(separable(inputs, int(channels * width), stride))
        inputs = int(channels * width)
    return nn.Sequential(*steps)


class StandAlone(nn.Module):
    """A network of others: blocks under one name, the classifier under another."""

    def __init__(self, blocks: nn.Sequential, body: str, head: str, features: int = 256, **extra: nn.Module) -> None:
        super().__init__()
        self.add_module(body, blocks)
        for name, module in extra.items():
            self.add_module(name, module)
        linear = nn.Linear(features, len(CLASSES))
        self.add_module(head, nn.Sequential(nn.Dropout(), linear) if head == "classifier" else linear)
        self.body, self.head, self.after = body, head, dict.fromkeys(extra.values(), 11)

    def forward(self, x: Tensor) -> Tensor:
        for i, step in enumerate(getattr(self, self.body)):
            x = step(x)
            for module, layer in self.after.items():
                x = module(x) if layer == i + 1 else x
        return getattr(self, self.head)(x.mean((2, 3)))


def lively(model: nn.Module, size: int = 64) -> nn.Module:
    """Give a network activations of a trained one's scale."""
    torch.manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.normal_(module.bias, 0.1, 0.3)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    with torch.no_grad():
        model.train()(torch.randn(8, 3, size, size))
    return model.eval()


def with_modules(
    blocks: nn.Sequential, after: tuple[int, ...] = (), instead: tuple[int, ...] = (), groups: int = 4
) -> nn.Sequential:
    """Put reference modules behind layers, or in their places; layer n is step n - 1."""
    steps: list[nn.Module] = []
    for number, step in enumerate(blocks, start=1):
        channels = [m.out_channels for m in step.modules() if isinstance(m, nn.Conv2d)][-1]
        steps.append(Attended(channels, groups) if number in instead else step)
        if number in after:
            steps.append(Attended(channels, groups))
    return nn.Sequential(*steps)


def pt(found: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(found, buffer, **options)
    return buffer.getvalue()


def safe(model: nn.Module) -> bytes:
    return save({k: v.contiguous().clone() for k, v in model.state_dict().items()})


def read(data: bytes, filename: str = "theirs.pth", **options: Any) -> OwnNetwork:
    return read_checkpoint(data, filename, classes=CLASSES, preprocessing=Preprocessing(64), **options)


def assert_same(model: nn.Module, network: Network) -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, (logits, maps) = model(x), network.forward_with_attention(x)
    assert expected.std() > 0.01
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    theirs = [module for module in model.modules() if isinstance(module, Attended)]
    for module, attention in zip(theirs, maps.values(), strict=True):
        torch.testing.assert_close(attention, module.maps, atol=1e-5, rtol=1e-5)


WRITINGS: dict[str, Callable[[nn.Module], tuple[bytes, str]]] = {
    "state dict": lambda m: (pt(m.state_dict()), "a.pth"),
    "before 1.6": lambda m: (pt(m.state_dict(), _use_new_zipfile_serialization=False), "a.pth.tar"),
    "safetensors": lambda m: (safe(m), "a.safetensors"),
    "DataParallel": lambda m: (
        pt({"state_dict": {f"module.{k}": v for k, v in m.state_dict().items()}, "epoch": 3}),
        "a.pt",
    ),
    "with its optimizer": lambda m: (
        pt(
            {
                "model": m.state_dict(),
                "optimizer": torch.optim.Adam(m.parameters()).state_dict(),
                "best": torch.tensor(70.1),
            }
        ),
        "a.pt",
    ),
    "no counters": lambda m: (pt({"net": {k: v for k, v in m.state_dict().items() if "num_batches" not in k}}), "a.pt"),
}


@pytest.mark.parametrize("writing", WRITINGS)
@pytest.mark.parametrize(("body", "head"), [("model", "fc"), ("features", "classifier"), ("layers", "linear")])
def test_a_reference_module_in_a_stand_alone_v1_is_read_exactly(writing: str, body: str, head: str) -> None:
    model = lively(StandAlone(with_modules(mobilenet_v1(), after=(11,)), body, head))
    data, filename = WRITINGS[writing](model)
    found = read(data, filename)
    assert found.variant.placement == Placement((11,), 4)
    assert (found.variant.backbone, found.variant.width, len(found.variant.classes)) == ("mobilenet_v1", 0.25, 5)
    assert_same(model, found.network)


@pytest.mark.parametrize(
    ("after", "instead", "groups"),
    [((2,), (), 1), ((6, 8, 11, 13), (), 8), ((), (8, 10), 2), ((), (14,), 16), ((), (), 4)],
)
def test_places_and_groups_are_inferred(after: tuple[int, ...], instead: tuple[int, ...], groups: int) -> None:
    model = lively(StandAlone(with_modules(mobilenet_v1(), after, instead, groups), "model", "fc"))
    for data, filename in ((pt(model.state_dict()), "a.pt"), (safe(model), "a.safetensors")):
        found = read(data, filename)
        expected = Placement(after or instead, groups, "after" if after else "instead") if after or instead else None
        assert found.variant.placement == expected
        assert_same(model, found.network)


def test_an_attribute_is_placed_by_its_channels_or_by_the_layers_named() -> None:
    model = lively(StandAlone(mobilenet_v1(), "model", "fc", ulsam1=Attended(128, 4)))
    with pytest.raises(CheckpointError, match=r"'ulsam1'.*7, 8, 9, 10, 11, 12.*--layers"):
        read(pt(model.state_dict()))
    found = read(pt(model.state_dict()), layers=(11,))
    assert found.variant.placement == Placement((11,), 4)
    assert_same(model, found.network)
    with pytest.raises(CheckpointError, match="128 channels, and layer 13 has not"):
        read(pt(model.state_dict()), layers=(13,))
    with pytest.raises(CheckpointError, match="2 layers are named"):
        read(pt(model.state_dict()), layers=(10, 11))
    only = StandAlone(mobilenet_v1(), "model", "fc", att=Attended(16, 2))  # one layer has 16 channels
    assert read(pt(only.state_dict())).variant.placement == Placement((2,), 2)


def test_a_module_within_a_block_follows_it_and_one_between_its_convolutions_is_refused() -> None:
    blocks = mobilenet_v1()
    blocks[10].add_module("attention", Attended(128, 4))
    model = lively(StandAlone(blocks, "model", "fc"))
    found = read(pt(model.state_dict()))
    assert found.variant.placement == Placement((11,), 4)
    assert_same(model, found.network)
    assert any("model.10.attention" in note for note in found.notes)
    blocks = mobilenet_v1()
    blocks[10] = nn.Sequential(*[*blocks[10].children()][:3], Attended(128, 4), *[*blocks[10].children()][3:])
    with pytest.raises(CheckpointError, match=r"model\.10\.3.*inside a layer"):
        read(pt(StandAlone(blocks, "model", "fc").state_dict()))


@pytest.mark.parametrize("width", [0.35, 1.0])
@pytest.mark.parametrize("layers", [(14,), (11, 17), ()])
def test_a_torchvision_v2_is_read_exactly(width: float, layers: tuple[int, ...]) -> None:
    """As an entry of ``features``, as our adapter writes it, and without modules."""
    for adapter in (False, True):
        model = torchvision.models.mobilenet_v2(num_classes=5, width_mult=width)
        for shift, layer in enumerate(layers):
            at = layer - 1 + (0 if adapter else shift)
            channels = model.features[at].out_channels
            module = ULSAM(channels, 4) if adapter else Attended(channels, 4)
            steps = list(model.features)
            if adapter:
                steps[at] = nn.Sequential(OrderedDict(layer=steps[at], attention=module))
            else:
                steps.insert(at + 1, module)
            model.features = nn.Sequential(*steps)
        found = read(pt(lively(model).state_dict()))
        assert found.variant.placement == (Placement(layers, 4) if layers else None)
        assert (found.variant.backbone, found.variant.width) == ("mobilenet_v2", width)
        x = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(found.network(x), model(x), atol=1e-5, rtol=1e-5)


def test_a_module_instead_of_a_block_of_v2_is_found() -> None:
    model = torchvision.models.mobilenet_v2(num_classes=5, width_mult=0.5)
    model.features[13] = Attended(48, 4)
    found = read(pt(lively(model).state_dict()))
    assert found.variant.placement == Placement((14,), 4, "instead")
    assert_same(model, found.network)


@pytest.mark.parametrize(
    ("backbone", "width", "placement"),
    [
        ("mobilenet_v1", 0.5, Placement((11,), 4)),
        ("mobilenet_v1", 0.6, Placement((8, 10), 2, "instead")),
        ("mobilenet_v2", 0.35, Placement((7, 17), 8, gain="normalised")),
        ("efficientnet_lite0", 1.0, Placement((12,), 16)),
        ("mobilenet_v1", 0.25, Placement((11,), 1, module="se")),
        ("mobilenet_v2", 1.4, None),
    ],
)
@pytest.mark.parametrize("half", [False, True])
def test_our_own_checkpoints_are_read(backbone: str, width: float, placement: Placement | None, half: bool) -> None:
    model = lively(BACKBONES[backbone](width, 5, placement))
    gain = placement.gain if placement else "published"
    tensors = {k: v.half() if half else v for k, v in model.state_dict().items() if not (half and v.ndim == 0)}
    for data, filename, option in (
        (save(tensors, {"variant": "x", "gain": gain}), "ours.safetensors", None),
        (pt(tensors), "ours.pt", gain),
    ):
        found = read(data, filename, gain=option)
        variant = found.variant
        assert (variant.backbone, variant.width, variant.placement) == (backbone, width, placement)
        assert variant.dtype == ("float16" if half else "float32")
        assert variant.own and variant.dataset == variant.name == "ours" and variant.metrics == {}
        if not half:
            x = torch.randn(1, 3, 64, 64)
            with torch.no_grad():
                assert torch.equal(found.network(x), model(x))


@pytest.mark.parametrize("prefix", ["_orig_mod.", "model.", "module.", "model._orig_mod.", "_orig_mod.module.model."])
@pytest.mark.parametrize("host", ["torchvision", "ours"])
def test_wrappers_before_the_keys_of_the_adapter_change_nothing(prefix: str, host: str) -> None:
    """Compiled, parallel, in a Lightning module, and any of these in another; in a Lightning checkpoint."""
    if host == "ours":
        model = lively(insert_ulsam(MobileNetV1(0.25, 5), {"layers.11": 4}))
    else:
        model = lively(
            insert_ulsam(torchvision.models.mobilenet_v2(num_classes=5, width_mult=0.35), {"features.13": 4})
        )
    found = {
        "state_dict": {prefix + k: v for k, v in model.state_dict().items()},
        "pytorch-lightning_version": "2.5.0",
        "callbacks": {
            "ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(1.0), "best_model_path": ""}
        },
    }
    read_back = read(pt(found), "last.ckpt")
    assert (
        read_back.variant.placement == Placement((11 if host == "ours" else 14,), 4)
        and read_back.variant.name == "last"
    )
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(read_back.network(x), model(x), atol=1e-5, rtol=1e-5)


def averaged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v * 0.5 if v.is_floating_point() else v for k, v in state.items()}


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{k}": v for k, v in state.items()}


BOTH: dict[str, Callable[[Mapping[str, Tensor]], dict[str, Any]]] = {
    "timm": lambda s: {"state_dict": s, "state_dict_ema": averaged(s)},
    "torchvision": lambda s: {
        "model": s,
        "model_ema": {"n_averaged": torch.tensor(3), **prefixed("module", averaged(s))},
    },
    "Lightning": lambda s: {"state_dict": prefixed("model", s) | prefixed("ema_model.module", averaged(s))},
    "a tracker": lambda s: {"net": s, "ema": {"decay": 0.999, "shadow": averaged(s)}},
}


@pytest.mark.parametrize("kind", BOTH)
def test_of_raw_and_averaged_weights_one_is_taken_and_named(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = state()
    data = pt(BOTH[kind](weights))
    by_choice = {choice: read(data, "both.ckpt", kind=choice) for choice in (None, "ema", "raw")}
    for choice, found in by_choice.items():
        taken = weights if choice == "raw" else averaged(weights)
        assert torch.equal(found.weights["classifier.weight"], taken["fc.weight"])
        assert any(f"{'raw' if choice == 'raw' else 'averaged'} ones" in note for note in found.notes)
    assert by_choice["raw"].variant.key != by_choice["ema"].variant.key == by_choice[None].variant.key
    with pytest.raises(CheckpointError, match="no averaged"):
        read(pt(weights), kind="ema")
    if kind == "timm":
        (tmp_path / "both.ckpt").write_bytes(data)
        (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
        command = [
            "add",
            str(tmp_path / "both.ckpt"),
            "--classes",
            str(tmp_path / "classes.txt"),
            "--to",
            str(tmp_path / "own"),
        ]
        assert main([*command, "--weights", "raw"]) == 0
        assert "the raw ones were taken" in capsys.readouterr().out


@pytest.mark.parametrize("zipped", [True, False])
def test_options_and_figures_beside_weights_are_not_made(zipped: bool) -> None:
    """What `argparse` and NumPy leave in a file stands for nothing: nothing of it is imported or built."""
    options = argparse.Namespace(
        lr=0.1, sizes=[96, 192], device=torch.device("cpu"), inner=argparse.Namespace(seed=None)
    )
    found = {
        "state_dict": state(),
        "args": options,
        "best": np.float64(71.2),
        "epoch": np.int64(3),
        "losses": np.arange(3.0),
    }
    read_back = read(pt(found, _use_new_zipfile_serialization=zipped), "a.ckpt")
    assert torch.equal(read_back.weights["classifier.weight"], state_of(found)["fc.weight"])


def state_of(found: Mapping[str, Any]) -> Mapping[str, Tensor]:
    weights: Mapping[str, Tensor] = found["state_dict"]
    return weights


def test_a_stem_whose_stride_cannot_be_seen_is_asked_for() -> None:
    """At 32 px a network with a stem of stride 1 would show maps half as fine as they are."""
    data = pt(state())
    with pytest.raises(CheckpointError, match=r"does not tell strides.*--stem-stride"):
        read_checkpoint(data, "cifar.pt", classes=CLASSES, preprocessing=Preprocessing(32))
    with pytest.raises(CheckpointError, match=r"stride 1, as for CIFAR.*insert_ulsam"):
        read_checkpoint(data, "cifar.pt", classes=CLASSES, preprocessing=Preprocessing(32), stem_stride=1)
    assert read_checkpoint(data, "cifar.pt", preprocessing=Preprocessing(32), stem_stride=2).variant.input_size == 32
    assert any("keeps its size (stride 1" in note for note in read(data).notes)
    known = pt(torchvision.models.mobilenet_v2(num_classes=5, width_mult=0.35).state_dict())
    assert not any("stride 1" in n for n in read_checkpoint(known, "a.pt", preprocessing=Preprocessing(32)).notes)


class Wider(MobileNetV1):
    """A backbone that somebody adds: other channels, one block less, a head."""

    backbone = "wider"
    title = "Wider"
    BLOCKS = ((48, 1), (96, 2), (96, 1), (192, 2), (192, 1), (384, 2), *[(384, 1)] * 5, (768, 2))

    @classmethod
    def build(cls, width: float) -> Parts:
        parts = super().build(width)
        return Parts(parts.layers, parts.shapes, ConvNorm(parts.features, 512, activation=nn.ReLU), 512)


@pytest.mark.parametrize("placement", [None, Placement((8, 10), 4, "instead"), Placement((11,), 1, module="se")])
def test_a_new_backbone_is_recognised_by_its_line_in_the_table(
    placement: Placement | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONES, Wider.backbone, Wider)
    model = lively(Wider(0.5, 5, placement))
    found = read(pt(model.state_dict()), "mine.pt").variant
    assert (found.backbone, found.width, found.placement) == ("wider", 0.5, placement)
    for own, width in ((MobileNetV1(0.5, 5), 0.5), (BACKBONES["efficientnet_lite0"](1.0, 5), 1.0)):  # as before
        variant = read(pt(own.state_dict()), "mine.pt").variant
        assert (variant.backbone, variant.width) == (own.backbone, width)


def test_every_shipped_checkpoint_is_recognised() -> None:
    kinds = {
        (v.backbone, v.placement and (v.placement.mode, v.gain, v.placement.module)): v
        for v in list_variants()
        if not v.base
    }
    for variant in kinds.values():
        assert variant.path
        found = read_checkpoint(variant.path.read_bytes(), variant.path.name, classes=variant.classes)
        assert (found.variant.backbone, found.variant.width, found.variant.placement) == (
            variant.backbone,
            variant.width,
            variant.placement,
        )
    (modules,) = [v for v in list_variants() if v.base and v.placement][:1]
    assert modules.path
    with pytest.raises(CheckpointError, match="modules alone"):
        read(modules.path.read_bytes(), modules.path.name)


def test_another_eps_gives_the_same_answers() -> None:
    model = StandAlone(with_modules(mobilenet_v1(), after=(11,)), "model", "fc")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    lively(model)
    assert_same(model, read(pt(model.state_dict()), eps=1e-3).network)


def test_the_gain_is_an_option_and_results_are_kept_apart_by_it() -> None:
    data = pt(lively(StandAlone(with_modules(mobilenet_v1(), after=(11,)), "model", "fc")).state_dict())
    published, normalised = read(data), read(data, gain="normalised")
    assert (published.variant.gain, normalised.variant.gain) == ("published", "normalised")
    assert published.variant.key != normalised.variant.key


def test_double_precision_and_views_become_tensors_of_their_own() -> None:
    model = lively(StandAlone(mobilenet_v1(), "model", "fc"))
    found = read(pt({k: v.double() if v.is_floating_point() else v for k, v in model.state_dict().items()}))
    assert all(v.dtype == torch.float32 and v.is_contiguous() for v in found.weights.values())
    assert_same(model, found.network)


def state(**changes: Tensor) -> dict[str, Tensor]:
    return dict(StandAlone(with_modules(mobilenet_v1(), after=(11,)), "model", "fc").state_dict()) | changes


def without(key: str) -> dict[str, Tensor]:
    return {k: v for k, v in state().items() if k != key}


STRANGE: dict[str, tuple[Callable[[], Mapping[str, Tensor]], str]] = {
    "another network": (
        lambda: torchvision.models.resnet18().state_dict(),
        "no MobileNet's but a ResNet's.*insert_ulsam",
    ),
    "grey pictures": (
        lambda: state(**{"model.0.0.weight": torch.zeros(8, 1, 3, 3)}),
        r"'model\.0\.0\.weight' takes pictures of 1 channel, and networks here take three",
    ),
    "grey pictures, ours": (
        lambda: MobileNetV1(0.25, 5).state_dict() | {"layers.1.0.weight": torch.zeros(8, 1, 3, 3)},
        "takes pictures of 1 channel",
    ),
    "pictures of four channels": (
        lambda: state(**{"model.0.0.weight": torch.zeros(8, 4, 3, 3)}),
        "pictures of 4 channels",
    ),
    "a MobileNet-V3": (
        lambda: torchvision.models.mobilenet_v3_small().state_dict(),
        r"20 of its \d+ tensors were not understood: .*'features\.1\.block\.1\.fc1\.weight', .*\.\.\.",
    ),
    "a tensor more": (lambda: state(extra=torch.zeros(3)), r"1 of its \d+ tensors were not understood: 'extra'"),
    "a tensor less": (
        lambda: without("model.3.1.running_var"),
        r"3 of its \d+ tensors were not understood: .*'model\.3\.1\.weight'",
    ),
    "no classifier": (lambda: {k: v for k, v in state().items() if not k.startswith("fc.")}, "0 classifiers"),
    "part of a module": (lambda: without("model.11.subspaces.1.conv_dws.bias"), r"module 'model\.11'.*subspace 1"),
    "not finite": (lambda: state(**{"fc.bias": torch.full((5,), float("nan"))}), "not finite in 'classifier.bias'"),
    "another width": (lambda: state(**{"model.0.0.weight": torch.zeros(9, 3, 3, 3)}), "no width|not in the order"),
    "a shape": (lambda: state(**{"fc.bias": torch.zeros(7)}), r"shape \(7,\) for 'classifier\.bias'"),
    "whole numbers": (lambda: {k: v.int() for k, v in state().items()}, "not understood"),
    "long names": (lambda: state(**{"x" * 5000: torch.zeros(1)}), "not understood: 'xxx"),
    "nothing": (lambda: {}, "no state dict"),
    "a scalar": (
        lambda: {"layers.1.0.weight": torch.tensor(1.0), "classifier.weight": torch.tensor(1.0)},
        "cannot be used",
    ),
    "a few of ours": (
        lambda: {"layers.1.0.weight": torch.zeros(8, 3, 3, 3), "classifier.weight": torch.zeros(5, 9)},
        "lacks 245 tensors",
    ),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("form", ["pt", "safetensors"])
def test_what_is_not_understood_is_said(kind: str, form: str) -> None:
    make, reason = STRANGE[kind]
    if form == "safetensors" and kind == "nothing":
        reason = "no MobileNet"
    data = pt(dict(make())) if form == "pt" else save(dict(make()))
    with pytest.raises(CheckpointError, match=reason) as caught:
        read(data, f"theirs.{form}")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_wrong_options_are_said() -> None:
    data = pt(state())
    with pytest.raises(CheckpointError, match="5 outputs, and 3 classes"):
        read_checkpoint(data, "a.pt", classes=("a", "b", "c"))
    with pytest.raises(CheckpointError, match="too large"):
        read_checkpoint(data, "a.pt", preprocessing=Preprocessing(2048))
    with pytest.raises(CheckpointError, match="std above 0"):
        read_checkpoint(data, "a.pt", preprocessing=Preprocessing(64, std=(1.0, 0.0, 1.0)))
    with pytest.raises(CheckpointError, match="eps"):
        read(data, eps=float("nan"))
    with pytest.raises(CheckpointError, match="kind that can be read"):
        read(data, "theirs.bin")
    assert read_checkpoint(data, "a.pt").variant.classes[4] == "class 4"


# The user's folder


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "own"
    monkeypatch.setenv("ULSAM_VIZ_OWN", str(folder))
    return folder


@pytest.fixture
def theirs(tmp_path: Path) -> tuple[Path, Path, nn.Module]:
    """A file of others, the names of its classes, and its network."""
    model = lively(StandAlone(with_modules(mobilenet_v1(), after=(11,)), "model", "fc"))
    (tmp_path / "my net.pth").write_bytes(pt(model.state_dict()))
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return tmp_path / "my net.pth", tmp_path / "classes.txt", model


def test_a_file_is_entered_shown_and_removed(
    own: Path, theirs: tuple[Path, Path, nn.Module], capsys: pytest.CaptureFixture[str]
) -> None:
    file, classes, model = theirs
    shipped = list_variants()
    assert all(not v.own for v in shipped) and not own.exists()
    assert main(["add", str(file), "--classes", str(classes), "--input-size", "64", "--mean", "0.5", "0.5", "0.5"]) == 0
    said = capsys.readouterr().out
    assert "my-net: MobileNet-V1 0.25, 5 classes, modules after 11, g = 4" in said
    *before, added = list_variants()
    assert before == shipped
    assert (added.name, added.own, added.classes, added.placement) == ("my-net", True, CLASSES, Placement((11,), 4))
    assert added.preprocessing == Preprocessing(64, mean=(0.5, 0.5, 0.5))
    assert added.knows == "5 classes of its own" and added.figure("top1") == "unknown"
    assert_same(model, load_network(added))
    assert load_variant("my-net")(torch.zeros(1, 3, 64, 64)).shape == (1, 5)
    assert main(["add", str(file), "--classes", str(classes)]) == 0
    assert [v.name for v in list_variants()[len(shipped) :]] == ["my-net", "my-net-2"]
    capsys.readouterr()
    assert main(["variants"]) == 0
    assert f"{'my-net-2':42} {'unknown':>8} {'unknown':>8}" in capsys.readouterr().out
    assert main(["add", str(file), "--classes", str(classes), "--name", "MY-net"]) == 2
    assert main(["add", str(file), "--classes", str(classes), "--name", "../x"]) == 2
    assert main(["remove", "my-net"]) == 0 and main(["remove", "my-net"]) == 2
    assert main(["remove", shipped[0].name]) == 2 and get_variant(shipped[0].name) == shipped[0]
    assert main(["remove", "my-net-2"]) == 0
    assert list_variants() == shipped and not list(own.glob("*.safetensors"))


def test_an_own_folder_elsewhere(tmp_path: Path, own: Path, theirs: tuple[Path, Path, nn.Module]) -> None:
    file, _, _ = theirs
    add_network(file, classes=CLASSES, preprocessing=Preprocessing(64), folder=tmp_path / "there", name="x")
    assert [v.name for v in list_variants(tmp_path / "there")] == ["x"]
    assert "x" not in {v.name for v in list_variants()}
    assert main(["remove", "x", "--from", str(tmp_path / "there")]) == 0
    assert list_variants(tmp_path / "there") == []


def test_a_name_of_the_zoo_is_made_unique(own: Path, theirs: tuple[Path, Path, nn.Module]) -> None:
    shipped = list_variants()[0].name
    variant = add_network(theirs[0], classes=CLASSES, preprocessing=Preprocessing(64), name="x").variant
    manifest = json.loads((own / "manifest.json").read_text())
    manifest["variants"][0]["name"] = shipped
    (own / "manifest.json").write_text(json.dumps(manifest))
    last = list_variants()[-1]
    assert (last.name, last.dataset, last.path) == (f"{shipped}-2", f"{shipped}-2", variant.path)
    assert get_variant(shipped).own is False
    remove_network(f"{shipped}-2")
    assert not any(v.own for v in list_variants())


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1, "classes": {}, "variants": [{}]}'])
def test_a_damaged_own_manifest_leaves_the_zoo_alone(
    own: Path, text: str, capsys: pytest.CaptureFixture[str], theirs: tuple[Path, Path, nn.Module]
) -> None:
    shipped = list_variants()
    assert problems() == []
    own.mkdir()
    (own / "manifest.json").write_text(text)
    assert list_variants() == shipped
    (problem,) = problems()
    assert str(own) in problem and "left out" in problem
    assert main(["variants"]) == 0
    assert problem in capsys.readouterr().err
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        add_network(theirs[0], classes=CLASSES)
    assert (own / "manifest.json").read_text() == text


def test_a_damaged_own_checkpoint_is_refused(own: Path, theirs: tuple[Path, Path, nn.Module]) -> None:
    variant = add_network(theirs[0], classes=CLASSES, preprocessing=Preprocessing(64)).variant
    assert variant.path
    weights = load_file(variant.path)
    variant.path.write_bytes(save(weights | {"classifier.bias": torch.ones(5)}))
    with pytest.raises(CheckpointError, match="sha256"):
        load_network(variant)


def test_own_networks_stay_out_of_the_zoos_statistics(own: Path, theirs: tuple[Path, Path, nn.Module]) -> None:
    shipped = list_variants()
    own_variants = [
        add_network(theirs[0], classes=CLASSES, preprocessing=Preprocessing(64)).variant,
        add_network(theirs[0], classes=CLASSES, preprocessing=Preprocessing(64)).variant,
    ]
    everything = [*shipped, *own_variants]
    assert all(v.family != s.family for v in own_variants for s in shipped)
    assert seed_spread(everything) == seed_spread(shipped)
    assert noise_of_differences(everything) == noise_of_differences(shipped)
    for variant in own_variants:
        assert not accuracy_of(variant) and str(accuracy_of(variant)) == "unknown"
        assert control_of(variant, everything) is None
        assert findings([variant], everything) == []
        assert conclusions([variant], everything, variant)[0] == "Nothing here compares with a plain control."
    assert "unknown" in accuracy_tables(own_variants) and "unknown" in map_table(own_variants)
    assert accuracy_tables(everything).startswith(accuracy_tables(shipped)[:200])


def test_only_own_records_may_lack_figures_or_have_other_precision(tmp_path: Path) -> None:
    manifest = json.loads((CHECKPOINTS / "manifest.json").read_text())
    record: dict[str, Any] = manifest["variants"][0]
    changes: list[dict[str, Any]] = [{"metrics": {}}, {"dtype": "float32"}, {"own": True, "dtype": "float64"}]
    for change in changes:
        (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"variants": [record | change]}))
        with pytest.raises(CheckpointError, match=r"manifest\.json"):
            list_variants(tmp_path)
    (tmp_path / "manifest.json").write_text(
        json.dumps(manifest | {"variants": [record | {"own": True, "metrics": {}}]})
    )
    (variant,) = list_variants(tmp_path)
    assert isinstance(variant, Variant) and variant.own


def test_class_names_are_checked(
    tmp_path: Path, theirs: tuple[Path, Path, nn.Module], capsys: pytest.CaptureFixture[str]
) -> None:
    for text, reason in (("", "none"), ("a\n\nb", "line 2 is empty")):
        (tmp_path / "few.txt").write_text(text)
        assert main(["add", str(theirs[0]), "--classes", str(tmp_path / "few.txt")]) == 2
        assert reason in capsys.readouterr().err


def test_several_folders_are_named_by_the_environment(
    theirs: tuple[Path, Path, nn.Module], own: Path, tmp_path: Path
) -> None:
    add_network(theirs[0], classes=CLASSES, preprocessing=Preprocessing(64), folder=tmp_path / "more")
    named = os.pathsep.join([str(CHECKPOINTS), str(tmp_path / "more")])
    look = "from ulsam_viz import list_variants; print([v.name for v in list_variants()][-1], len(list_variants()))"
    found = subprocess.run(
        [sys.executable, "-c", look],
        env=os.environ | {"ULSAM_VIZ_CHECKPOINTS": named},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["my-net", str(len(list_variants()) + 1)]


def test_trained_looking_modules_are_read_too() -> None:
    model = StandAlone(with_modules(mobilenet_v1(), after=(11,)), "model", "fc")
    lively(model)
    trained_looking(model.get_submodule("model.11"))
    assert_same(model, read(pt(model.state_dict())).network)
