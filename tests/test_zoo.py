"""The manifest and the checkpoints: what ships is whole, and what is damaged is refused by name."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from ulsam_viz import CheckpointError, list_variants, load_variant
from ulsam_viz.models.ulsam import FastULSAM
from ulsam_viz.zoo import CHECKPOINTS, Variant, get_variant, load_network, top1_standard_error, variant_name

NAME = "mobilenet_v1-0.5-after11-g4"


@pytest.mark.parametrize("variant", list_variants(), ids=lambda v: v.name)
def test_every_shipped_variant_loads_and_knows_what_made_it(variant: Variant) -> None:
    network = load_network(variant)
    assert not network.training
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert variant.name == variant_name(variant.backbone, variant.width, variant.placement)
    assert len(variant.classes) == 101
    assert variant.metrics["pictures"] > 2800
    assert variant.metrics["top1"] <= variant.metrics["top5"] <= 100
    assert 0.5 < top1_standard_error(variant) < 1
    recipe = variant.made_by["recipe"]
    assert {"seed", "stages", "dataset", "peak_lr"} <= recipe.keys()
    assert "dirty" not in variant.made_by["code"]
    assert len(variant.metrics["attention"]) == (len(variant.placement.layers) if variant.placement else 0)


def test_the_shipped_zoo_is_what_is_promised() -> None:
    """V1 0.5: the control reaches the floor, every g is there, within 1.5 points of it, and alive."""
    variants = {
        v.groups: v for v in list_variants() if v.backbone == "mobilenet_v1" and (not v.placement or v.placement.layers == (11,))
    }
    assert set(variants) == {0, 1, 2, 4, 8, 16}
    control = variants.pop(0).metrics["top1"]
    assert control >= 76
    for variant in variants.values():
        assert variant.metrics["top1"] >= control - 1.5
        dead = sorted(variant.metrics["attention"]["11"]["dead_share"])
        assert dead[len(dead) // 2] < 0.2


def test_loading_gives_an_inference_model_of_ones_own() -> None:
    a, b = load_variant(NAME), load_variant(NAME)
    assert isinstance(a.attention["11"], FastULSAM)
    x = torch.randn(1, 3, 224, 224)
    assert torch.equal(a(x), b(x))
    with torch.no_grad():
        a.classifier.bias.add_(1)
    assert not torch.equal(a(x), b(x))


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(KeyError, match=NAME):
        load_variant("resnet50")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A zoo with one variant, to damage."""
    record = next(r for r in json.loads((CHECKPOINTS / "manifest.json").read_text())["variants"] if r["name"] == NAME)
    manifest = json.loads((CHECKPOINTS / "manifest.json").read_text()) | {"variants": [record]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    shutil.copy(CHECKPOINTS / record["file"], tmp_path)
    return tmp_path


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the weights and make the manifest's sha256 fit, as a careless or hostile author would."""
    weights = load_file(folder / f"{NAME}.safetensors")
    change(weights)
    replace_by(folder, save(weights))


def edit(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest["variants"][0])
    (folder / "manifest.json").write_text(json.dumps(manifest))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def checkpoint(folder: Path) -> Path:
    return folder / f"{NAME}.safetensors"


def replace_by(folder: Path, data: bytes) -> None:
    """Put another file in its place and make the manifest's sha256 fit."""
    checkpoint(folder).write_bytes(data)
    edit(folder, lambda r: r.update(sha256=hashlib.sha256(data).hexdigest()))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda f: checkpoint(f).unlink(), "cannot be read"),
    "one bit": (lambda f: flip(checkpoint(f), 500_000), "sha256"),
    "cut short": (lambda f: checkpoint(f).write_bytes(checkpoint(f).read_bytes()[:-100]), "sha256"),
    "another file": (lambda f: shutil.copy(CHECKPOINTS / "mobilenet_v1-0.5-plain.safetensors", checkpoint(f)), "sha256"),
    "a pickle": (lambda f: replace_by(f, b"\x80\x04cos\nsystem\n"), "no readable safetensors"),
    "a tensor less": (lambda f: rewrite(f, lambda w: w.pop("classifier.bias")), "lacks 1 tensors"),
    "a tensor more": (lambda f: rewrite(f, lambda w: w.update(extra=torch.zeros(1))), "unknown tensors, 'extra'"),
    "a shape": (lambda f: rewrite(f, lambda w: w.update({"classifier.bias": torch.zeros(5).half()})), "shape"),
    "a dtype": (lambda f: rewrite(f, lambda w: w.update({"classifier.bias": torch.zeros(101)})), "dtype"),
    "not finite": (lambda f: rewrite(f, lambda w: w["classifier.bias"].fill_(float("nan"))), "not finite"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_refused_by_name(copied: Path, kind: str) -> None:
    load_network(get_variant(NAME, copied))
    damage, reason = DAMAGE[kind]
    damage(copied)
    with pytest.raises(CheckpointError, match=f"variant '{NAME}' cannot be used.*{reason}"):
        load_network(get_variant(NAME, copied))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file", "../../etc/passwd"),
        ("file", "/etc/passwd"),
        ("file", "weights.pt"),
        ("backbone", "os.system"),
        ("placement", {"layers": [11], "groups": 0, "mode": "after"}),
        ("preprocessing", {"input_size": 225, "mean": [0, 0, 0], "std": [1, 1, 1]}),
        ("classes", "imagenet"),
        ("width", None),
    ],
)
def test_a_hostile_or_broken_record_is_refused(copied: Path, field: str, value: object) -> None:
    edit(copied, lambda r: r.update({field: value}))
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        list_variants(copied)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 99}', "\0"])
def test_a_broken_manifest_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(CheckpointError, match="no manifest"):
        list_variants(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        list_variants(tmp_path)
