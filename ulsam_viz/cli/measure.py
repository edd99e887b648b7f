"""The commands `evaluate` and `calibrate`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..analysis.interventions import INTERVENTIONS
from ..training.calibrate import calibrate_zoo, gather, gather_for_base, outside_imagenet, sharing
from ..training.classes import class_difference
from ..training.data import Pictures, find_pictures, numbered_as
from ..training.evaluate import evaluate, sample_pictures
from ..training.mixture import TestSet, find_numbered, is_numbered, parse_test
from ..training.publish import enter_figures
from ..zoo.variants import CHECKPOINTS, UNKNOWN, Variant, get_variant, list_variants, load_variant, pictures_of


def run_evaluate(options: argparse.Namespace, *, device: str) -> None:
    """Measure variants, and print that beside their manifest, or with ``--enter`` enter it there.

    Args:
        options: As parsed.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: For anything that the user can put right; the message says how.
        KeyError: For an unknown variant.
    """
    variants = [get_variant(name, CHECKPOINTS if options.enter else None) for name in options.variant]
    if options.enter and not (options.data and all(v.base for v in variants)):
        raise ValueError(
            "--enter is for networks on a base that others trained, measured on pictures that --data names"
        )
    for variant in variants:
        if len(variants) > 1 and not options.json:
            print(variant.name)
        _evaluate(variant, options, device=device)


def _find(variant: Variant, options: argparse.Namespace) -> tuple[Pictures, Mapping[str, Any], str]:
    """Return the pictures to measure a variant on, what the manifest holds of such, and what they are."""
    dataset = options.dataset or _dataset_of(variant, options.data)
    if options.data and variant.base:
        pictures = find_numbered(dataset, options.data, "test", variant.classes)
        title = TestSet(str(options.data), dataset).title
        of_these = (m for m in variant.metrics.get("others", ()) if pictures_of(m) == title)
        return pictures, next(of_these, variant.metrics), title
    if options.data:
        found = find_pictures(dataset, options.data, "test")
        pictures = numbered_as(found, variant.classes, f"{variant.name} was trained on")
        return pictures, variant.metrics, pictures_of(variant.metrics)
    recorded = variant.metrics.get("samples", {})
    if not recorded:
        raise ValueError(f"{variant.name} has no figures for the shipped samples; give --data")
    return sample_pictures(variant.classes), recorded, pictures_of(recorded)


def _evaluate(variant: Variant, options: argparse.Namespace, *, device: str) -> None:
    pictures, recorded, title = _find(variant, options)
    measured = evaluate(load_variant(variant.name, device), pictures, variant.preprocessing, quiet=options.json)
    if options.enter:
        enter_figures(CHECKPOINTS / "manifest.json", variant.name, measured, title)
    if options.json:
        print(
            json.dumps(
                {"variant": variant.name, "measured": measured, "manifest": {k: recorded.get(k) for k in measured}},
                indent=1,
            )
        )
        return
    if pictures_of(recorded) != title:
        print(f"The manifest's figures are of {pictures_of(recorded)}, these of {title}.")
    print(f"{'':15} {'measured':>9} {'manifest':>9}")
    for key in ("pictures", "top1", "top5", "ece"):
        print(f"{key:15} {measured[key]:9} {recorded.get(key, UNKNOWN):>9}")
    for name, figures in measured.get("effects", {}).items():
        print(INTERVENTIONS[name])
        for key, value in figures.items():
            print(f"  {key:13} {value:9} {recorded.get('effects', {}).get(name, {}).get(key, '-'):>9}")
    for layer, figures in measured["attention"].items():
        print(f"layer {layer}")
        for key, value in figures.items():
            print(
                f"  {key:15} {value}\n  {'manifest':15} "
                f"{recorded.get('attention', {}).get(layer, {}).get(key, UNKNOWN)}"
            )


def _dataset_of(variant: Variant, data: Path | None) -> str:
    """Return how the pictures that a variant is measured on lie in their folder, where nothing else is said."""
    if variant.base:
        return "numbered" if data and any(is_numbered(path) for path in data.glob("*")) else "imagefolder"
    trained_on: str = variant.made_by.get("recipe", {}).get("dataset", "imagefolder")
    return trained_on


def run_calibrate(options: argparse.Namespace) -> None:
    """Fit temperatures, enter them in the manifest, and print each.

    Raises:
        ValueError: For anything that the user can put right; the message says how.
        KeyError: For an unknown variant.
    """
    train = find_pictures(options.dataset, options.data, "train")
    chosen = [get_variant(n) for n in options.variant or ()] or list_variants(CHECKPOINTS)
    if options.known:
        variants = [v for v in chosen if v.base]
        classes = variants[0].classes if variants else ()
        test = parse_test(str(options.known)).find(Path(), classes)
        held_out = find_pictures(options.dataset, options.data, "test")
        others = {}
        if options.dataset == "caltech101":
            strange, known = outside_imagenet(held_out), sharing(held_out, classes)
            others = {
                f"pictures of {len(set(strange.labels))} classes of Caltech-101 that ImageNet lacks": strange,
                f"pictures of {len(set(known.labels))} classes of Caltech-101 that it knows": known,
            }
        gathered = partial(gather_for_base, sharing(train, classes), test, others=others, count=options.pictures)
    else:
        held_out = find_pictures(options.dataset, options.data, "test")
        foreign = find_pictures("imagefolder", options.foreign, "test") if options.foreign else None
        variants = [v for v in chosen if v.classes == train.classes]
        gathered = partial(gather, train, held_out, foreign, count=options.pictures)
    if (
        not variants
        or any(v.classes != variants[0].classes for v in variants)
        or len(variants) < len(options.variant or ())
    ):
        unlike = [] if options.known else [v for v in chosen if v not in variants]
        difference = class_difference(unlike[0].classes, train.classes) if unlike else ""
        raise ValueError(
            f"these are not trained variants with the classes of '{options.data}' (or, with --known, of one base)"
            + (f"; compared with those of {unlike[0].name}, {difference}" if difference else "")
        )
    for variant, record in calibrate_zoo(variants, gathered):
        print(
            f"{variant.name:42} temperature {record['temperature']:.3f}   ECE {record['ece']:.1f} % (best "
            f"{record['ece_best']:.1f} %)"
        )
