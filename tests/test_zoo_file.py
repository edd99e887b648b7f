"""The zoo file: a list of runs, shared by several processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from ulsam_viz.models.network import Placement
from ulsam_viz.models.others import OTHERS
from ulsam_viz.models.ulsam import GAINS
from ulsam_viz.training.frozen import ModuleRecipe
from ulsam_viz.training.initialisation import TrainingError
from ulsam_viz.training.publish import Role
from ulsam_viz.training.recipe import Recipe
from ulsam_viz.training.zoo_file import read_zoo_file
from ulsam_viz.zoo.variants import CHECKPOINTS, STUDIES, list_variants, load_network, variant_name

SHIPPED_ZOO = Path(__file__).parent.parent / "ulsam_viz" / "training" / "zoo.toml"
IMAGENET_ZOO, GAIN_ZOO, START_ZOO = (
    SHIPPED_ZOO.with_name(f"zoo_{name}.toml") for name in ("imagenet", "gain", "start")
)


def test_the_shipped_zoo_file_names_every_run_once_and_in_order(tmp_path: Path) -> None:
    runs = read_zoo_file(SHIPPED_ZOO)
    shown = [r.recipe for r in runs if r.role in (Role.VARIANT, Role.REPEAT) and isinstance(r.recipe, Recipe)]
    promised: dict[tuple[str, Placement | None], int] = {("mobilenet_v1", None): 3, ("mobilenet_v2", None): 1}
    for g in (1, 2, 4, 8, 16):
        promised |= {
            ("mobilenet_v1", Placement(layers, g)): 1 for layers in ((4,), (6,), (8,), (12,), (13,), (6, 8, 11, 13))
        }
        promised |= {("mobilenet_v1", Placement((11,), g)): 3, ("mobilenet_v1", Placement((10,), g, "instead")): 1}
        promised |= {
            ("mobilenet_v2", Placement(layers, g)): 1 for layers in ((7,), (11,), (14,), (17,), (7, 11, 14, 17))
        }
    assert Counter((r.backbone, r.placement) for r in shown) == promised  # how many seeds of each
    # One budget for all of them, and one base a backbone; only modules that replace a layer start from a base
    # without it.
    assert len({replace(r, backbone="mobilenet_v1", placement=None, seed=0, init=None) for r in shown}) == 1
    starts = {(r.backbone, r.placement.mode if r.placement else "after", r.init) for r in shown}
    assert starts == {
        ("mobilenet_v1", "after", "v1-base"),
        ("mobilenet_v1", "instead", "v1-base-without10"),
        ("mobilenet_v2", "after", "v2-base"),
    }
    # What stands instead of a layer, and its control, were trained equally long before.
    of_name = {r.name: r.recipe for r in runs if isinstance(r.recipe, Recipe)}
    (control,) = (r for r in runs if r.role is Role.CONTROL_OF_INSTEAD)
    bases = [replace(of_name[name], placement=None) for name in ("v1-base-without10", control.init or "")]
    assert bases[0] == bases[1]
    for text, reason in (
        ("nonsense", "cannot be read"),
        ('[[run]]\nname="a"\ndata="d"\nstages=[[1,32]]\ninit="b"', "not an earlier run"),
        ('[[run]]\nname="a"\ndata="d"\nstages=[[1,32]]\nwrong=1', "cannot be used"),
        ('[[run]]\nname="a"\ndata="d"\nstages=[[1,32]]\n[[run]]\nname="a"\ndata="d"\nstages=[[1,32]]', "twice"),
    ):
        (tmp_path / "zoo.toml").write_text(text)
        with pytest.raises(TrainingError, match=reason):
            read_zoo_file(tmp_path / "zoo.toml")


def test_the_zoo_file_of_imagenets_classes_has_one_recipe_for_all() -> None:
    runs = read_zoo_file(IMAGENET_ZOO)
    frozen = [r.recipe for r in runs if isinstance(r.recipe, ModuleRecipe)]
    assert len(frozen) == len(runs) and all(r.role for r in runs)
    modules: dict[Placement | None, int] = {None: 1}
    for g in (1, 2, 4, 8, 16):
        modules[Placement((12,), g)] = 3
        modules |= {Placement(layers, g): 1 for layers in ((9,), (16,), (9, 12, 16))}
    modules |= {Placement((6,), g): 1 for g in (1, 2, 4, 8)}
    assert Counter(r.placement for r in frozen) == modules
    assert {r.base for r in frozen} == {"efficientnet_lite0"}
    assert len({replace(r, placement=None, seed=0) for r in frozen}) == 1  # one recipe for all
    freed = [r.recipe for r in read_zoo_file(GAIN_ZOO) if isinstance(r.recipe, ModuleRecipe)]
    assert Counter(r.placement for r in freed) == {Placement((12,), g, gain="normalised"): 1 for g in (1, 2, 4, 8, 16)}
    # And for both gains
    assert len({replace(r, placement=None, seed=0, feature_layers=()) for r in [*frozen, *freed]}) == 1
    for variant in (v for v in list_variants() if v.base):  # no network ships that the files do not make
        (recipe,) = (r for r in [*frozen, *freed] if r.placement == variant.placement and r.seed == 0)
        assert variant.made_by["recipe"] == json.loads(json.dumps(recipe.as_dict()))


def test_every_run_of_the_shipped_zoo_file_is_in_the_manifest() -> None:
    """Nothing promised is missing, and nothing ships that the file does not make."""
    planned = [
        r
        for f in (SHIPPED_ZOO, GAIN_ZOO, START_ZOO)
        for r in read_zoo_file(f)
        if isinstance(r.recipe, Recipe) and r.role
    ]
    for study in (None, *STUDIES):
        own = [r for r in planned if r.study == study and r.role is not Role.CONTROL_OF_INSTEAD]
        names = Counter(variant_name(r.recipe.backbone, r.recipe.width, r.recipe.placement) for r in own)
        variants = {v.name: v for v in list_variants(study=study) if not v.base}
        assert {v.name: 1 + len(v.repeats) for v in variants.values()} == names
        for r in (r for r in own if isinstance(r.recipe, Recipe)):
            name = variant_name(r.recipe.backbone, r.recipe.width, r.recipe.placement)
            assert variants[name].input_size == r.input_size, name
    assert all(v.control for v in list_variants() if v.placement and v.placement.mode == "instead")
    assert all(len(v.control) == 3 for v in list_variants() if v.gain == "normalised" and not v.base)
    assert sum(path.stat().st_size for path in CHECKPOINTS.glob("*.safetensors")) < 145e6
    every = [v for study in (None, *STUDIES) for v in list_variants(study=study)]
    assert {path.stem for path in CHECKPOINTS.glob("*.safetensors")} == {v.path.stem for v in every if v.path}


def test_what_the_gain_is_compared_by_has_one_start_and_one_budget() -> None:
    runs = [r for r in read_zoo_file(GAIN_ZOO) if isinstance(r.recipe, Recipe)]
    recipes = [r.recipe for r in runs if isinstance(r.recipe, Recipe)]
    budget = next(r.recipe for r in read_zoo_file(SHIPPED_ZOO) if r.name == "v1-after11-g4-seed0")
    assert isinstance(budget, Recipe)
    assert {replace(r, placement=None, seed=0, init=None) for r in recipes} == {
        replace(budget, placement=None, init=None)
    }
    assert {r.init for r in runs} == {"mobilenet_v1-0.5-plain.safetensors"}
    promised: dict[Placement | None, int] = {None: 3, Placement((11,), 4): 3}
    promised |= {Placement((11,), 1, module=name): 3 for name in OTHERS}
    for g in (1, 2, 4, 8, 16):
        promised |= {Placement((11,), g, gain="normalised"): 3, Placement((6, 8, 11, 13), g, gain="normalised"): 1}
    assert Counter(r.placement for r in recipes) == promised


def test_from_the_start_means_from_random_weights() -> None:
    runs = read_zoo_file(START_ZOO)
    assert {r.init for r in runs} == {None}
    promised: dict[Placement | None, int] = {None: 3}
    promised |= {Placement((6, 11), g, gain=gain): 3 for g in (1, 4, 16) for gain in GAINS}
    assert Counter(r.recipe.placement for r in runs) == promised
    assert len({replace(r.recipe, placement=None, seed=0) for r in runs}) == 1


ZOO = """
[defaults]
backbone = "mobilenet_v1"
width = 0.25
dataset = "imagefolder"
data = "pictures"
batch = 8
[[run]]
name = "base"
stages = [[1, 32]]
[[run]]
name = "g{g}-seed{seed}-after{layers}"
init = "base"
layers = [[11], [8, 12]]
groups = [1, 2]
seed = [0, 1]
stages = [[1, 32]]
publish = true
"""


def test_two_processes_share_a_zoo_file_and_what_is_done_is_skipped(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "zoo.toml").write_text(ZOO)
    (tmp_path / "pictures").symlink_to(folder)
    command = [sys.executable, "-m", "ulsam_viz", "train", "--zoo", str(tmp_path / "zoo.toml"), "--data", str(tmp_path)]
    command += ["--runs", str(tmp_path / "runs"), "--publish", str(tmp_path / "zoo"), "--workers", "0"]
    command += ["--threads", "1"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent) for _ in range(2)]
    lines = [line for process in both for line in process.communicate(timeout=PATIENCE)[0].decode().splitlines()]
    assert [process.returncode for process in both] == [0, 0]
    assert len(lines) == len(set(lines)) == 8  # each run was measured once
    variants = list_variants(tmp_path / "zoo")
    assert [(v.placement.layers, v.groups) for v in variants if v.placement] == [
        ((11,), 1),
        ((11,), 2),
        ((8, 12), 1),
        ((8, 12), 2),
    ]
    manifest = json.loads((tmp_path / "zoo" / "manifest.json").read_text())
    for variant in variants:
        (repeat,) = variant.repeats
        assert (variant.made_by["recipe"]["seed"], repeat["made_by"]["recipe"]["seed"]) == (0, 1)
        assert manifest["starts"][variant.made_by["init_sha256"]]["run"] == "base"
        assert load_network(variant)
    before = (tmp_path / "zoo" / "manifest.json").read_bytes()
    again = subprocess.run(command, capture_output=True, check=True, cwd=Path(__file__).parent.parent)
    assert again.stdout == b""
    assert (tmp_path / "zoo" / "manifest.json").read_bytes() == before
