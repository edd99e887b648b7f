"""A finished run -> a float16 checkpoint and its record in the manifest."""

from __future__ import annotations

import hashlib
import json
import os
from enum import Enum
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors.torch import load_file, save

from ..images import Preprocessing
from ..models.backbones import BACKBONES
from ..models.optimize import optimize
from ..zoo import MANIFEST_FORMAT, load_weights, placement_from, variant_name
from .data import Pictures
from .evaluate import evaluate, sample_pictures


class Role(Enum):
    """What a run is in the zoo."""

    VARIANT = "variant"
    REPEAT = "repeat"  # another seed of a variant
    CONTROL_OF_INSTEAD = "control of instead"  # the plain network, trained as long as those that lost a layer


def publish(
    run: Path, held_out: Pictures, checkpoints: Path, *, input_size: int = 224, role: Role = Role.VARIANT, quiet: bool = False
) -> dict[str, Any]:
    """Write a run's weights as a float16 checkpoint, measure exactly those weights, and enter them in the manifest.

    Args:
        run: Folder of a finished run.
        held_out: The part of the data to measure on.
        checkpoints: Folder of the zoo; its manifest is created or updated, a record of the same name replaced.
        input_size: Side in pixels that the variant is used at.
        role: Variants enter with their weights, others with their figures alone.
        quiet: No progress bar.

    Returns:
        The new record.
    """
    made_by = json.loads((run / "run.json").read_text())
    recipe, classes = made_by["recipe"], made_by.pop("classes")
    if list(held_out.classes) != classes:
        raise ValueError("the held-out part has other classes than the run was trained on")
    weights = {
        key: value.half().contiguous()
        for key, value in load_file(run / "weights.safetensors").items()
        if not key.endswith("num_batches_tracked")
    }
    placement = placement_from(recipe["placement"])
    network = BACKBONES[recipe["backbone"]](recipe["width"], len(classes), placement)
    load_weights(network, weights)
    preprocessing = Preprocessing(input_size)
    network = optimize(network.eval())
    metrics = evaluate(network, held_out, preprocessing, quiet=quiet)
    samples = sample_pictures(classes)
    if samples.files:
        metrics["samples"] = evaluate(network, samples, preprocessing, quiet=True)

    name = variant_name(recipe["backbone"], recipe["width"], placement)
    record = {"name": name, "metrics": metrics, "made_by": made_by}
    checkpoints.mkdir(parents=True, exist_ok=True)
    if role is Role.VARIANT:
        data = save(weights, {"variant": name})
        record = {
            "name": name,
            "file": f"{name}.safetensors",
            "sha256": hashlib.sha256(data).hexdigest(),
            "backbone": recipe["backbone"],
            "width": recipe["width"],
            "placement": recipe["placement"],
            "classes": recipe["dataset"],
            "preprocessing": {"input_size": input_size, "mean": preprocessing.mean, "std": preprocessing.std},
            "metrics": metrics,
            "made_by": made_by,
        }
    with FileLock(checkpoints / "lock"):  # several processes may publish to one zoo
        path = checkpoints / "manifest.json"
        manifest: dict[str, Any] = (
            json.loads(path.read_text()) if path.exists() else {"format": MANIFEST_FORMAT, "classes": {}, "variants": []}
        )
        if manifest["classes"].setdefault(recipe["dataset"], classes) != classes:
            raise ValueError(f"'{path}' has other classes for '{recipe['dataset']}'; publish to another folder")
        if role is Role.REPEAT:
            manifest["repeats"] = [r for r in manifest.get("repeats", []) if not _same_run(r, record)] + [record]
        elif role is Role.CONTROL_OF_INSTEAD:
            others = [c for c in manifest.get("controls_of_instead", []) if c["name"] != name]
            manifest["controls_of_instead"] = [*others, record]
        else:
            replace(checkpoints / f"{name}.safetensors", data)
            manifest["variants"] = [v for v in manifest["variants"] if v["name"] != name] + [record]
        manifest["starts"] = manifest.get("starts", {}) | lineage(run)
        replace(path, (json.dumps(manifest, indent=1) + "\n").encode())
    return record


def lineage(run: Path) -> dict[str, Any]:
    """Return the records of the runs that a run started from, and those started from, as far as they lie beside it.

    Returns:
        Records by the sha256 of the weights, which is what ``made_by["init_sha256"]`` names.
    """
    starts: dict[str, Any] = {}
    record = json.loads((run / "run.json").read_text())
    while init := record["recipe"]["init"]:
        parent = run.parent / init
        if not (parent / "run.json").exists():
            break
        record = json.loads((parent / "run.json").read_text())
        del record["classes"]
        sha256 = hashlib.sha256((parent / "weights.safetensors").read_bytes()).hexdigest()
        starts[sha256] = {"run": parent.name, **record}
    return starts


def _same_run(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Tell whether two repeats are of the same variant and seed; the later one then replaces the earlier."""
    return a["name"] == b["name"] and a["made_by"]["recipe"]["seed"] == b["made_by"]["recipe"]["seed"]


def replace(path: Path, data: bytes) -> None:
    """Write a file so that readers find the old content or the new, never a part."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, path)
