"""A finished run -> a float16 checkpoint and its record in the manifest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors.torch import load_file, save
from torch import Tensor

from ..images.preprocessing import Preprocessing
from ..models.backbones import BACKBONES
from ..models.network import Network
from ..models.optimize import optimize
from ..zoo.pretrained import BASES, classes_of, load_base
from ..zoo.test_sets import set_in
from ..zoo.variants import MANIFEST_FORMAT, load_weights, pictures_of, placement_from, precision_of, variant_name
from .classes import class_difference
from .data import Pictures
from .evaluate import accuracy, evaluate, sample_pictures
from .mixture import TestSet


class Role(Enum):
    """What a run is in the zoo."""

    VARIANT = "variant"
    FIGURES = "figures"  # of a study: its weights do not ship
    REPEAT = "repeat"  # another seed of a variant
    CONTROL_OF_INSTEAD = "control of instead"  # the plain network, trained as long as those that lost a layer


def publish(
    run: Path,
    held_out: Pictures,
    checkpoints: Path,
    *,
    input_size: int | None = None,
    role: Role = Role.VARIANT,
    study: str | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> dict[str, Any]:
    """Write a run's weights as a float16 checkpoint, measure exactly those weights, and enter them in the manifest.

    Args:
        run: Folder of a finished run.
        held_out: The part of the data to measure on.
        checkpoints: Folder of the zoo; its manifest is created or updated, a record of the same name replaced.
        input_size: Side in pixels that the variant is used at; None: that of its last stage of training.
        role: Variants enter with their weights, others with their figures alone.
        study: The experiment beside the zoo that the run belongs to, if any.
        device: Where to measure.
        quiet: No progress bar.

    Returns:
        The new record.

    Raises:
        ValueError: If the held-out part is empty or has other classes than the run, or the zoo has others for this
            dataset.
    """
    made_by = json.loads((run / "run.json").read_text(encoding="utf-8"))
    recipe, classes = made_by["recipe"], made_by.pop("classes")
    if not held_out.files:
        raise ValueError("no picture is held out, to measure the network on: of each class every third is")
    if difference := class_difference(classes, held_out.classes):
        raise ValueError(f"the held-out part has other classes than the run was trained on: {difference}")
    check_classes(checkpoints, recipe["dataset"], classes)
    weights = _as_float16(run / "weights.safetensors")
    placement = placement_from(recipe["placement"])
    network = BACKBONES[recipe["backbone"]](recipe["width"], len(classes), placement)
    load_weights(network, weights)
    preprocessing = Preprocessing(input_size or recipe["stages"][-1][1])
    metrics = _measure(optimize(network.eval()).to(device), held_out, preprocessing, quiet=quiet)
    record = _record(recipe, metrics, made_by, preprocessing)
    _enter(record, weights, checkpoints, role=role, study=study, classes=classes, starts=lineage(run))
    return record


def check_classes(checkpoints: Path, dataset: str, classes: Sequence[str]) -> None:
    """Compare a dataset's classes with those that a zoo knows it by.

    Raises:
        ValueError: If they differ; the message names some.
    """
    path = checkpoints / "manifest.json"
    known = json.loads(path.read_text())["classes"].get(dataset, classes) if path.exists() else classes
    if list(known) != list(classes):
        difference = class_difference(known, classes, "there alone", "here alone") or "they have another order"
        raise ValueError(f"'{path}' has other classes for '{dataset}' ({difference}); publish to another folder")


def publish_modules(
    run: Path,
    tests: Sequence[TestSet],
    data_root: Path,
    checkpoints: Path,
    *,
    role: Role = Role.VARIANT,
    study: str | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> dict[str, Any]:
    """Do the same for modules trained in a frozen base: the checkpoint holds them alone and names the base.

    Args:
        run: Folder of a finished run of :func:`~ulsam_viz.training.frozen.train_modules`.
        tests: What to measure on; the first gives the variant's figures, the others stand beside them: whole for the
            sets of :data:`~ulsam_viz.zoo.test_sets.KNOWN_SETS`, accuracy alone for any other.
        data_root: Folder of their data.
        checkpoints: Folder of the zoo.
        role: Variants enter with their weights, repeats with their figures alone.
        study: See :func:`publish`.
        device: Where to measure.
        quiet: No progress bar.

    Returns:
        The new record.
    """
    made_by = json.loads((run / "run.json").read_text(encoding="utf-8"))
    recipe = made_by["recipe"]
    base, placement = BASES[recipe["base"]], placement_from(recipe["placement"])
    classes = classes_of(base.dataset)
    weights = _as_float16(run / "weights.safetensors")
    with torch.device("meta"):
        network = BACKBONES[base.backbone](base.width, len(classes), placement)
    load_weights(network, weights, load_base(base.name))
    network = optimize(network.eval()).to(device)
    main, *others = tests
    metrics = _measure(network, main.find(data_root, classes), base.preprocessing, quiet=quiet) | {
        "measured_on": main.title
    }
    metrics["others"] = [
        {
            "measured_on": t.title,
            **(evaluate if set_in(Path(t.data)) else accuracy)(
                network, t.find(data_root, classes), base.preprocessing, quiet=quiet
            ),
        }
        for t in others
    ]
    record = _record(recipe, metrics, made_by, base.preprocessing) | {"base": base.name, "base_sha256": base.sha256}
    _enter(record, weights, checkpoints, role=role, study=study)
    return record


def _as_float16(path: Path) -> dict[str, Tensor]:
    return {k: v.half().contiguous() for k, v in load_file(path).items() if not k.endswith("num_batches_tracked")}


def _measure(network: Network, pictures: Pictures, preprocessing: Preprocessing, *, quiet: bool) -> dict[str, Any]:
    metrics = evaluate(network, pictures, preprocessing, quiet=quiet)
    samples = sample_pictures(pictures.classes)
    if samples.files:
        metrics["samples"] = evaluate(network, samples, preprocessing, quiet=True)
    return metrics


def _record(
    recipe: Mapping[str, Any], metrics: Mapping[str, Any], made_by: Mapping[str, Any], preprocessing: Preprocessing
) -> dict[str, Any]:
    default = Preprocessing(preprocessing.input_size)
    return {
        "name": variant_name(recipe["backbone"], recipe["width"], placement_from(recipe["placement"])),
        "file": None,
        "sha256": None,
        "backbone": recipe["backbone"],
        "width": recipe["width"],
        "placement": recipe["placement"],
        "classes": recipe["dataset"],
        "preprocessing": {
            key: value
            for key, value in asdict(preprocessing).items()
            if key in ("input_size", "mean", "std") or value != getattr(default, key)
        },
        "metrics": metrics,
        "made_by": made_by,
    }


def _enter(
    record: dict[str, Any],
    weights: Mapping[str, Tensor],
    checkpoints: Path,
    *,
    role: Role,
    study: str | None,
    classes: list[str] | None = None,
    starts: Mapping[str, Any] | None = None,
) -> None:
    """Write the checkpoint where there is one to ship, and the record with what belongs to it."""
    name = record["name"]
    data = save(dict(weights), {"variant": name}) if weights else b""
    ships = bool(weights) and role is not Role.FIGURES
    record["sha256"] = hashlib.sha256(data).hexdigest() if weights else record["base_sha256"]
    record["file"] = f"{name}.safetensors" if ships else None
    checkpoints.mkdir(parents=True, exist_ok=True)
    with FileLock(checkpoints / "lock"):  # several processes may publish to one zoo
        path = checkpoints / "manifest.json"
        manifest: dict[str, Any] = (
            json.loads(path.read_text(encoding="utf-8"))
            if path.exists()
            else {"format": MANIFEST_FORMAT, "classes": {}, "variants": []}
        )
        if classes:
            check_classes(checkpoints, record["classes"], classes)
            manifest["classes"][record["classes"]] = classes
        figures = {key: record[key] for key in ("name", "metrics", "made_by")}
        part = manifest.setdefault("studies", {}).setdefault(study, {"variants": []}) if study else manifest
        if role is Role.REPEAT:
            part["repeats"] = [r for r in part.get("repeats", []) if not _same_run(r, figures)] + [figures]
        elif role is Role.CONTROL_OF_INSTEAD:
            others = [c for c in manifest.get("controls_of_instead", []) if c["name"] != name]
            manifest["controls_of_instead"] = [*others, figures]
        else:
            if record["file"]:
                replace(checkpoints / record["file"], data)
            part["variants"] = [v for v in part["variants"] if v["name"] != name] + [record]
        manifest["starts"] = manifest.get("starts", {}) | (starts or {})
        replace(path, (json.dumps(manifest, indent=1) + "\n").encode())


def enter_figures(manifest: Path, name: str, figures: Mapping[str, Any], title: str) -> None:
    """Enter figures on other test pictures as a variant's own; those it had become the first of its ``others``.

    Its calibration keeps the temperature alone, because all else in it was measured on the pictures before; ``calibrate
    --known`` measures that again.

    Args:
        manifest: The zoo's file; nothing else in it is changed.
        name: Of a variant there.
        figures: From :func:`~ulsam_viz.training.evaluate.evaluate`.
        title: What the pictures are; figures on pictures of the same title are replaced.

    Raises:
        KeyError: If there is no such variant.
    """
    with FileLock(manifest.parent / "lock"):
        content = json.loads(manifest.read_text())
        record = {v["name"]: v for v in content["variants"]}[name]
        before, calibration = record["metrics"], record.get("calibration", {})
        beside = {key: before[key] for key in ("samples", "others") if key in before}
        if pictures_of(before) != title:
            errors = {key: calibration[key] for key in ("ece", "ece_best") if key in calibration}
            kept = {key: value for key, value in before.items() if key not in beside}
            kept |= {"measured_on": pictures_of(before), **({"calibration": errors} if errors else {})}
            beside["others"] = [kept, *(m for m in before.get("others", ()) if m["measured_on"] != title)]
            if calibration:
                record["calibration"] = {"temperature": calibration["temperature"]}
        record["metrics"] = {**figures, **beside, "measured_on": title}
        replace(manifest, (json.dumps(content, indent=1) + "\n").encode())


def lineage(run: Path) -> dict[str, Any]:
    """Return the records of the runs that a run started from, and those started from, as far as they lie beside it.

    Returns:
        Records by the sha256 of the weights, which is what ``made_by["init_sha256"]`` names.
    """
    starts: dict[str, Any] = {}
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    while init := record["recipe"]["init"]:
        parent = run.parent / init
        if not (parent / "run.json").exists():
            break
        record = json.loads((parent / "run.json").read_text(encoding="utf-8"))
        del record["classes"]
        sha256 = hashlib.sha256((parent / "weights.safetensors").read_bytes()).hexdigest()
        starts[sha256] = {"run": parent.name, **record}
    return starts


def _same_run(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Return whether two repeats are of the same variant, seed and precision.

    The later one then replaces the earlier.
    """
    ours, theirs = ((r["name"], r["made_by"]["recipe"]["seed"], precision_of(r["made_by"])) for r in (a, b))
    return ours == theirs


def replace(path: Path, data: bytes) -> None:
    """Write a file so that readers find the old content or the new, never a part."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, path)
