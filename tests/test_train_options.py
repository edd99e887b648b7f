"""The options of `train`: each is a field of a record, and its default stands there alone."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pytest

from ulsam_viz.cli.program import _parser, main
from ulsam_viz.cli.train import _recipe
from ulsam_viz.cli.training_options import add_settings, chosen, settings_of
from ulsam_viz.models.network import Placement
from ulsam_viz.training.frozen import ModuleRecipe
from ulsam_viz.training.loop import Execution
from ulsam_viz.training.mixture import Source
from ulsam_viz.training.recipe import Recipe, parse_stages, stages_text

#: A value for each field that is not its default, as typed and as it stands in the record.
OTHER: dict[str, tuple[str, Any]] = {
    "backbone": ("mobilenet_v2", "mobilenet_v2"),
    "width": ("1.0", 1.0),
    "layers": ("14 17", (14, 17)),
    "groups": ("8", 8),
    "mode": ("instead", "instead"),
    "gain": ("normalised", "normalised"),
    "module": ("ulsam", "ulsam"),
    "dataset": ("imagefolder", "imagefolder"),
    "stages": ("2x64,1x96", ((2, 64), (1, 96))),
    "batch": ("32", 32),
    "peak_lr": ("0.5", 0.5),
    "weight_decay": ("1e-4", 1e-4),
    "label_smoothing": ("0.2", 0.2),
    "dropout": ("0.5", 0.5),
    "min_area": ("0.1", 0.1),
    "jitter": ("0.7", 0.7),
    "seed": ("9", 9),
    "init": ("runs/base/weights.safetensors", "base"),
    "precision": ("bfloat16", "bfloat16"),
}


def parsed(*typed: str) -> argparse.Namespace:
    return _parser().parse_args(["train", "--data", "data", *typed])


def own_fields(*records: type) -> set[str]:
    return {f.name for record in records for f in fields(record)}


def test_a_recipe_of_no_options_is_the_record() -> None:
    assert _recipe(parsed()) == Recipe()
    assert _recipe(parsed("--layers", "11")) == Recipe(placement=Placement((11,)))
    assert chosen(parsed(), Execution) == chosen(parsed(), ModuleRecipe) == {}


def test_every_field_of_a_recipe_is_one_option() -> None:
    names = Counter(s.name for s in settings_of(Recipe))
    assert names == Counter((own_fields(Recipe) - {"placement"}) | own_fields(Placement))
    assert names.keys() == OTHER.keys()  # a new field is an option by itself: say here what else it may be
    typed = [part for name, (text, _) in OTHER.items() for part in (f"--{name.replace('_', '-')}", *text.split())]
    recipe = _recipe(parsed(*typed))
    assert recipe.placement
    for name, (_, value) in OTHER.items():
        assert getattr(recipe.placement if name in own_fields(Placement) else recipe, name) == value


def test_help_shows_every_setting_once_with_its_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # an option's help is on its line, or on the next
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    lines = [" ".join(entry.split()) for entry in re.split(r"\n  (?=-)", capsys.readouterr().out)]
    of_recipe = settings_of(Recipe)
    others = [
        s for s in (*settings_of(ModuleRecipe), *settings_of(Execution)) if s.name not in {r.name for r in of_recipe}
    ]
    for setting in (*of_recipe, *others):
        (line,) = (line for line in lines if re.match(rf"{setting.flags[0]}[ ,]", line))
        assert setting.text and setting.text in line
        assert f"(default: {setting.said_default}" in line if setting.said_default else "(default" not in line
    assert any("0.06; 0.01 with --freeze-base" in line for line in lines)


def test_the_defaults_of_the_help_are_the_records() -> None:
    by_name = {s.name: s for s in settings_of(Recipe)}
    for name in own_fields(Recipe) - {"placement"}:
        assert by_name[name].default == getattr(Recipe(), name)
    for name in own_fields(Placement) - {"layers"}:
        assert by_name[name].default == getattr(Placement(), name)
    assert by_name["layers"].default is None  # a plain network, unless layers are named
    assert parse_stages(by_name["stages"].said_default) == Recipe().stages
    assert stages_text(((20, 128), (6, 192))) == "20x128,6x192"


def test_a_new_field_becomes_an_option_by_itself() -> None:
    @dataclass(frozen=True)
    class Later(Recipe):
        """A recipe of tomorrow.

        Attributes:
            decay, warm_up: A share of 5 %,
                in ``steps``; see :func:`~ulsam_viz.training.recipe.one_cycle`.
            nesterov: Whether to look ahead.
            order: Of the pictures.
            sizes: Of something.
        """

        decay: float = 0.99
        warm_up: int | None = None
        nesterov: bool = True
        order: Literal["shuffled", "sorted"] = "shuffled"
        sizes: tuple[int, ...] = (1, 2)

    parser = argparse.ArgumentParser()
    add_settings(parser, "settings", {Later: ""})
    text = " ".join(parser.format_help().split())
    assert "a share of 5 %, in steps; see one_cycle (default: 0.99)" in text and "{shuffled,sorted}" in text
    assert "width multiplier" in text and "of something (default: 1 2)" in text
    assert chosen(parser.parse_args([]), Later) == {}
    typed = parser.parse_args(["--warm-up", "3", "--no-nesterov", "--sizes", "4", "5", "--order", "sorted"])
    assert chosen(typed, Later) == {"warm_up": 3, "nesterov": False, "sizes": (4, 5), "order": "sorted"}


def test_a_type_without_a_notation_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd:
        """Odd."""

        thing: dict[str, int] = field(default_factory=dict)

    with pytest.raises(TypeError, match="no option is known for 'thing'"):
        add_settings(argparse.ArgumentParser(), "settings", {Odd: ""})


def test_short_spellings_and_other_papers_modules() -> None:
    recipe = _recipe(parsed("--lr", "0.1", "--layers", "11", "--module", "cbam"))
    assert (recipe.peak_lr, recipe.placement) == (0.1, Placement((11,), 1, module="cbam"))
    said = chosen(parsed("--mixture", "a:imagefolder:labels", "b:caltech101:base:4"), ModuleRecipe)
    assert said == {"sources": (Source("a", "imagefolder", "labels"), Source("b", "caltech101", "base", 4))}


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (["--groups", "8"], "--groups: this is for modules alone, with --freeze-base; modules have their --layers"),
        (["--epochs", "2"], "--epochs: this is for modules alone"),
        (["--measure", "a:numbered"], "--measure: this is for modules alone"),
        (
            ["--zoo", "z.toml", "--lr", "0.1", "--name", "a"],
            "--peak-lr, --name: the runs of a list say their own settings",
        ),
        (
            ["--freeze-base", "--layers", "11", "--stages", "1x32"],
            "--stages: modules in a frozen base are trained without",
        ),
        (["--stages", "many"], "--stages is EPOCHSxSIDE"),
        (["--layers", "11", "--module", "cbam", "--groups", "4"], "has no groups"),
    ],
)
def test_what_would_be_ignored_is_refused(
    typed: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", str(tmp_path), *typed]) == 2
    assert reason in capsys.readouterr().err
