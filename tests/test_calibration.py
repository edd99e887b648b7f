"""Calibrated answers.

Temperatures that are found again, one place where logits become probabilities, and unknown subjects.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from ulsam_viz import explain, list_variants
from ulsam_viz.analysis.attention import attend
from ulsam_viz.analysis.calibration import (
    FALSE_ALARMS,
    calibration_error,
    deciles,
    familiarity,
    fit_temperature,
    probabilities_of,
    spread_of,
)
from ulsam_viz.analysis.effects import ablate, with_strength
from ulsam_viz.analysis.faithfulness import insertion_and_deletion
from ulsam_viz.cli.program import main
from ulsam_viz.engine.engine import Engine
from ulsam_viz.images.preprocessing import ModelInput, Preprocessing, decode_image, prepare
from ulsam_viz.models.network import Network, Placement
from ulsam_viz.models.optimize import optimize
from ulsam_viz.training.calibrate import calibrate_zoo, gather, gather_for_base, measure, outside_imagenet, sharing
from ulsam_viz.training.data import DataError, Pictures, find_pictures
from ulsam_viz.training.subjects import OUTSIDE_IMAGENET
from ulsam_viz.ui.inspect.summary import how_familiar, how_often_warned
from ulsam_viz.zoo.pretrained import classes_of
from ulsam_viz.zoo.variants import CHECKPOINTS, Calibration, Variant, get_variant

G4 = "mobilenet_v1-0.5-after11-g4"


def answers(temperature: float, count: int = 6000, classes: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn with the probabilities that they give at a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(count, classes)).astype(np.float32) * 2
    chances = np.exp(logits / temperature)
    chances /= chances.sum(1, keepdims=True)
    labels = (chances.cumsum(1) < rng.random((count, 1))).sum(1).clip(max=classes - 1)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature: float) -> None:
    logits, labels = answers(temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    calibrated, raw = probabilities_of(logits, found), probabilities_of(logits)

    def error(probabilities: np.ndarray) -> float:
        return calibration_error(probabilities.max(1), probabilities.argmax(1) == labels)

    assert error(calibrated) < 0.03
    if temperature != 1:
        assert error(raw) > 2 * error(calibrated)


def test_the_likelihood_is_highest_at_the_fitted_temperature() -> None:
    logits, labels = answers(0.8, count=200)
    found = fit_temperature(logits, labels)

    def likelihood(temperature: float) -> float:
        return float(np.log(probabilities_of(logits, temperature)[np.arange(len(labels)), labels]).mean())

    assert likelihood(found) > max(likelihood(0.98 * found), likelihood(1.02 * found))


def test_answers_that_are_all_right_or_all_wrong_have_a_temperature_too() -> None:
    logits = np.eye(4) * 3
    assert 0.05 <= fit_temperature(logits, np.arange(4)) < 0.1  # as sure as float64 can tell
    assert fit_temperature(logits, (np.arange(4) + 1) % 4) == pytest.approx(20)


def test_a_temperature_of_one_leaves_the_softmax() -> None:
    logits = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(probabilities_of(logits.numpy()), logits.softmax(1).numpy(), rtol=1e-5)
    assert probabilities_of(np.array([1e4, 0.0])).tolist() == [1, 0]
    assert spread_of(np.array([[1.0, 0, 0, 0], [0.25] * 4])) == pytest.approx([0, np.log(4)])


def test_what_the_engine_and_explain_return_is_calibrated(picture: ModelInput, astronaut: Image.Image) -> None:
    variant = replace(get_variant(G4), calibration=Calibration(0.5))
    seen = Engine(workers=1).attend(picture, variant).result()
    np.testing.assert_allclose(seen.probabilities, probabilities_of(seen.logits, 0.5), rtol=1e-4, atol=1e-7)
    found = explain(astronaut, variant, methods=())
    np.testing.assert_allclose(found.probabilities, probabilities_of(found.logits, 0.5), rtol=1e-4, atol=1e-7)


def test_two_temperatures_of_one_network_are_two_results(picture: ModelInput) -> None:
    engine = Engine(workers=1)
    variants = [replace(get_variant(G4), calibration=Calibration(t)) for t in (0.5, 1.0)]
    sharp, plain = (engine.attend(picture, v).result() for v in variants)
    assert np.array_equal(sharp.logits, plain.logits)
    assert sharp.probabilities.max() > plain.probabilities.max()


def test_effects_and_inserted_pixels_are_told_in_calibrated_probabilities(
    lively: Callable[..., Network], picture: ModelInput
) -> None:
    model = optimize(lively("mobilenet_v1", Placement((11,), 1)))
    x, target = picture.tensor, attend(model, picture.tensor).top(1)[0]
    off = next(e for e in ablate(model, x, layer=11, target=target, temperature=0.5) if e.change == "off")
    before, after = probabilities_of(with_strength(model, x, layer=11, subspace=0, strengths=[1.0, 0.0]), 0.5)[
        :, target
    ]
    assert off.probability == pytest.approx(after - before, abs=1e-6)

    class Halved(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return model(x) / 0.5

    zero, values = torch.zeros_like(x), np.random.default_rng(0).random((224, 224))
    calibrated = insertion_and_deletion(
        model, x, values, target=target, blank=zero, blurred=zero, temperature=0.5, steps=2
    )
    assert calibrated == pytest.approx(
        insertion_and_deletion(Halved(), x, values, target=target, blank=zero, blurred=zero, steps=2), abs=1e-6
    )


def with_spread(wanted: float, classes: int = 50) -> np.ndarray:
    """Return an answer of a wanted entropy: the logits 0 to -49 at the temperature that gives it."""
    low, high = 0.01, 1000.0
    for _ in range(80):
        middle = (low * high) ** 0.5
        spread = float(spread_of(probabilities_of(-np.arange(classes), middle)))
        low, high = (middle, high) if spread < wanted else (low, middle)
    return probabilities_of(-np.arange(classes), low)


def test_an_answer_less_sure_than_four_of_five_is_doubted_and_no_other() -> None:
    known, foreign = deciles(np.linspace(0, 2, 101)), deciles(np.linspace(1, 3, 101))
    calibration = Calibration(0.7, 2.0, known, foreign)
    border = 2 * (1 - FALSE_ALARMS)
    unsure, sure = (familiarity(with_spread(border + d), calibration) for d in (0.02, -0.02))
    assert unsure and sure
    assert unsure.doubtful and not sure.doubtful
    assert unsure.less_sure == pytest.approx(0.19, abs=1e-3)
    assert unsure.as_sure == pytest.approx(0.31, abs=1e-3)
    assert how_familiar(unsure).startswith("**None of the network's classes may fit.** Only 19% of test pictures")
    assert "classes may fit" not in how_familiar(sure)
    assert how_familiar(unsure, fits=True).startswith("Only 19% of test pictures")  # a sample whose class is known
    assert "29% of pictures of other subjects one at least this sure" in how_familiar(sure)


def test_without_foreign_pictures_nothing_is_said_of_them_and_without_any_nothing_at_all() -> None:
    alone = familiarity(with_spread(1.9), Calibration(1.0, None, deciles(np.linspace(0, 2, 101))))
    assert alone
    assert alone.as_sure is None
    assert "other subjects" not in how_familiar(alone)
    assert familiarity(with_spread(1.9), Calibration()) is None


def test_every_shipped_network_is_calibrated_and_surer_of_what_it_knows() -> None:
    for variant in list_variants():
        calibration = variant.calibration
        assert 0.5 < calibration.temperature < 1, variant.name  # label smoothing made all of them under-confident
        assert calibration.ece is not None
        assert calibration.ece < variant.metrics["ece"] * (0.7 if variant.base else 0.5)
        # The last is one picture's
        assert all(f > k for f, k in zip(calibration.foreign[:-1], calibration.known[:-1], strict=True))
        # Where the warning begins for one in five known pictures, it begins for more than half of the foreign ones.
        foreign = familiarity(with_spread(calibration.known[8] + 0.01), calibration)
        assert foreign and foreign.doubtful and foreign.as_sure is not None
        assert foreign.as_sure < 0.5


@pytest.fixture
def own_zoo(tmp_path: Path, lively: Callable[..., Network], folder: Path) -> Path:
    """A zoo of two networks for the three classes of ``folder``, with a field that nobody knows."""
    manifest = json.loads((CHECKPOINTS / "manifest.json").read_text())
    classes = list(find_pictures("imagefolder", folder, "train").classes)
    records = []
    for record in manifest["variants"][:2]:
        placement = record["placement"]
        network = lively(
            "mobilenet_v1", Placement((11,), placement["groups"]) if placement else None, classes=len(classes)
        )
        data = save({k: v.half() for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")})
        (tmp_path / record["file"]).write_bytes(data)
        own = {"width": 0.25, "classes": "colours", "sha256": hashlib.sha256(data).hexdigest(), "unknown": [0.1, 1e-9]}
        own["preprocessing"] = {**record["preprocessing"], "input_size": 64}
        if placement:
            own["placement"] = {**placement, "layers": [11], "mode": "after"}
        records.append({k: v for k, v in record.items() if k != "calibration"} | own)
    manifest |= {"classes": {"colours": classes}, "variants": records}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return tmp_path


def calibrated(zoo: Path, folder: Path, foreign: Path | None, variants: list[Variant]) -> None:
    train, held_out = (find_pictures("imagefolder", folder, part) for part in ("train", "test"))  # type: ignore[arg-type]
    others = find_pictures("imagefolder", foreign, "test") if foreign else None
    for _ in calibrate_zoo(variants, partial(gather, train, held_out, others, count=20), zoo):
        pass


def test_calibrating_adds_its_record_and_touches_nothing_else(own_zoo: Path, folder: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(folder / "class0", foreign / "something else")
    shutil.copytree(folder / "class1", foreign / "class1")  # named like a class: no foreign subject
    before = json.loads((own_zoo / "manifest.json").read_text())
    calibrated(own_zoo, folder, foreign, list_variants(own_zoo))
    after = json.loads((own_zoo / "manifest.json").read_text())
    records = [v.pop("calibration") for v in after["variants"]]
    assert after == before
    assert [r["pictures"] for r in records] == [[10, 12, 4]] * 2
    for variant, record in zip(list_variants(own_zoo), records, strict=True):
        assert variant.calibration.temperature == record["temperature"] > 0
        assert len(variant.calibration.known) == len(variant.calibration.foreign) == 11
    calibrated(own_zoo, folder, foreign, list_variants(own_zoo))
    assert [v.pop("calibration") for v in json.loads((own_zoo / "manifest.json").read_text())["variants"]] == records


@pytest.mark.parametrize("where", ["own folder", "another zoo"])
def test_a_network_is_calibrated_where_it_is_kept(
    where: str, own_zoo: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the name that `variants` shows, which is another where two zoos use one name."""
    if where == "own folder":
        monkeypatch.setenv("ULSAM_VIZ_OWN", str(own_zoo))
    else:
        monkeypatch.setattr("ulsam_viz.zoo.variants._MORE", [own_zoo])
    there = {v.path for v in list_variants(own_zoo)}
    shown = next(v for v in list_variants() if v.path in there and v.placement)
    before = (CHECKPOINTS / "manifest.json").read_bytes()
    command = ["calibrate", "--data", str(folder), "--dataset", "imagefolder", "--pictures", "6"]
    assert main([*command, "--variant", shown.name]) == 0, capsys.readouterr().err
    entered = [v for v in json.loads((own_zoo / "manifest.json").read_text())["variants"] if "calibration" in v]
    assert [own_zoo / v["file"] for v in entered] == [shown.path]
    assert (CHECKPOINTS / "manifest.json").read_bytes() == before


def test_networks_of_other_classes_are_refused(own_zoo: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["calibrate", "--data", str(folder), "--dataset", "imagefolder"]
    for more in ([], ["--variant", G4]):
        assert main([*command, *more]) == 2
        assert "these are not trained variants with the classes of" in capsys.readouterr().err


def test_pictures_whose_class_has_a_name_of_the_bases_get_its_number(folder: Path) -> None:
    """Names are compared without regard to case, an underscore is a space; other classes are left out."""
    pictures = find_pictures("imagefolder", folder, "train")
    pictures = replace(pictures, classes=("sea_horse", "class1", "class2"))
    shared = sharing(pictures, ("other", "Class2", "Sea horse"))
    assert {f.parent.name: label for f, label in zip(shared.files, shared.labels, strict=True)} == {
        "class0": 2,
        "class2": 1,
    }
    with pytest.raises(DataError, match="has the name of one of the base's"):
        sharing(pictures, ("something", "else"))


def test_what_is_warned_of_is_counted_for_each_kind_of_pictures(folder: Path) -> None:
    """Of the known ones a fifth, by the border; the first of the others are the foreign ones."""
    pictures = find_pictures("imagefolder", folder, "train")
    material = gather_for_base(
        pictures, pictures, Preprocessing(32), others={"others": pictures, "none": Pictures((), (), ())}, count=20
    )

    class Sure(torch.nn.Module):
        device = torch.device("cpu")
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            sure = torch.arange(len(x)) * (0.1 if self.calls < 3 else 0.05)  # fitted, known; then others, less sure
            return torch.stack([sure, torch.zeros(len(x)), torch.zeros(len(x))], 1)

    record = measure(Sure(), material)  # type: ignore[arg-type]
    assert [which for which, _ in record["warned"]] == ["10 others"]
    assert record["warned"][0][1] == 80.0 and record["pictures"] == [10, 20, 10]
    said = how_often_warned(
        replace(get_variant(G4), calibration=Calibration(1.0, warned=(("300 others", 72.6), ("300 of its own", 34.6))))
    )
    assert (
        said
        == "The warning comes for 20% of 2,859 held-out pictures, for 73 % of 300 others, for 35 % of 300 of its own."
    )
    assert how_often_warned(get_variant(G4)) == ""


def test_subjects_outside_imagenet_are_no_class_of_it(folder: Path) -> None:
    names = {name.lower() for name in classes_of("imagenet1k")}
    assert len(OUTSIDE_IMAGENET) == 42
    assert not {name.replace("_", " ").lower() for name in OUTSIDE_IMAGENET} & names
    pictures = replace(find_pictures("imagefolder", folder, "train"), classes=("pigeon", "pizza", "bonsai"))
    assert {f.parent.name for f in outside_imagenet(pictures).files} == {"class0"}


def test_the_frozen_bases_warning_is_told_for_foreign_and_for_known_subjects() -> None:
    for variant in (v for v in list_variants() if v.base):
        (foreign, share), (known, also) = variant.calibration.warned
        assert (
            "42 classes of Caltech-101 that ImageNet lacks" in foreign
            and "25 classes of Caltech-101 that it knows" in known
        )
        # It doubts what it knows too: Caltech's pictures are no photographs of Flickr's
        assert 60 < share < 95 and 20 < also < 60


def test_a_base_is_calibrated_on_whole_pictures_that_it_has_not_seen(folder: Path) -> None:
    pictures = find_pictures("imagefolder", folder, "train")
    material = gather_for_base(pictures, pictures, Preprocessing(64), count=20)
    assert [sum(map(len, part)) for part in (material.fitted, material.known, material.foreign)] == [10, 20, 0]
    first = prepare(decode_image(pictures.files[0].read_bytes()), Preprocessing(64)).tensor
    assert torch.equal(material.fitted[0][:1], first) and torch.equal(material.known[0][:1], first)
