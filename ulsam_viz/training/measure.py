"""What ``python -m ulsam_viz evaluate`` and ``calibrate`` do with what was typed."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

from ..analysis.interventions import INTERVENTIONS
from ..zoo import CHECKPOINTS, UNKNOWN, Variant, get_variant, list_variants, load_variant
from .calibrate import calibrate_zoo, gather, gather_for_base, sharing
from .data import find_pictures
from .evaluate import evaluate, sample_pictures
from .mixture import find_numbered, is_numbered, parse_test


def run_evaluate(options: argparse.Namespace, *, device: str) -> None:
    """Measure a variant, and print that beside its manifest.

    Args:
        options: As parsed.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: For anything that the user can put right; the message says how.
        KeyError: For an unknown variant.
    """
    variant = get_variant(options.variant)
    dataset = options.dataset or _dataset_of(variant, options.data)
    if options.data and variant.base:
        pictures, recorded = find_numbered(dataset, options.data, "test", variant.classes), variant.metrics
    elif options.data:
        pictures, recorded = find_pictures(dataset, options.data, "test"), variant.metrics
        if pictures.classes != variant.classes:
            raise ValueError(f"'{options.data}' has other classes than {variant.name} was trained on")
    else:
        pictures, recorded = sample_pictures(variant.classes), variant.metrics.get("samples", {})
        if not recorded:
            raise ValueError(f"{variant.name} has no figures for the shipped samples; give --data")
    measured = evaluate(load_variant(variant.name, device), pictures, variant.preprocessing, quiet=options.json)
    if options.json:
        print(
            json.dumps(
                {"variant": variant.name, "measured": measured, "manifest": {k: recorded.get(k) for k in measured}}, indent=1
            )
        )
        return
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
            print(f"  {key:15} {value}\n  {'manifest':15} {recorded.get('attention', {}).get(layer, {}).get(key, UNKNOWN)}")


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
        gathered = partial(gather_for_base, sharing(train, classes), test, count=options.pictures)
    else:
        held_out = find_pictures(options.dataset, options.data, "test")
        foreign = find_pictures("imagefolder", options.foreign, "test") if options.foreign else None
        variants = [v for v in chosen if v.classes == train.classes]
        gathered = partial(gather, train, held_out, foreign, count=options.pictures)
    if not variants or any(v.classes != variants[0].classes for v in variants) or len(variants) < len(options.variant or ()):
        raise ValueError(f"these are not trained variants with the classes of '{options.data}' (or, with --known, of one base)")
    for variant, record in calibrate_zoo(variants, gathered):
        print(
            f"{variant.name:42} temperature {record['temperature']:.3f}   ECE {record['ece']:.1f} % (best {record['ece_best']:.1f} %)"
        )
