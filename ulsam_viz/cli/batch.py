"""The command `batch`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from ..batch.output import Summary
from ..batch.pictures import BatchError
from ..batch.rows import Look
from ..explanation import class_number
from ..zoo.variants import get_variant


def run_batch(options: argparse.Namespace, *, device: str | None) -> str:
    """Run the command and return what to print.

    Args:
        options: As parsed.
        device: ``"cpu"`` or ``"cuda"``; None: each machine of a cluster has its own.

    Raises:
        ValueError: For anything that the user can put right; the message says how.
        KeyError: For an unknown variant.
    """
    if options.batch < 1 or (options.workers is not None and options.workers < (1 if options.ray else 0)):
        raise BatchError("--batch is at least 1, and so is --workers with --ray; without, --workers is at least 0")
    if options.part < 1:
        raise BatchError("--part is at least 1")
    variant = get_variant(options.variant)
    look = Look(
        variant,
        tuple(dict.fromkeys(options.methods)),
        None if options.target is None else class_number(_as_number(options.target), variant),
        maps=not options.no_maps,
        effects=not options.no_effects,
    )
    if options.ray:
        from ..batch.cluster import run_on_ray

        summary = run_on_ray(
            options.folder,
            options.out,
            look,
            address=options.ray,
            batch=options.batch,
            workers=options.workers,
            device=options.device,
            part=options.part,
            update=options.update,
            quiet=options.json,
        )
    else:
        from ..batch.local import run
        from ..engine.memory import keep_freed

        keep_freed()
        summary = run(
            options.folder,
            options.out,
            look,
            batch=options.batch,
            workers=options.workers,
            device=device or "cpu",
            part=options.part,
            update=options.update,
            quiet=options.json,
        )
    if not summary.pictures:
        raise BatchError(
            f"none of the files ({summary.skipped:,}) could be used: {options.out / 'skipped.csv'} says why"
        )
    return json.dumps(asdict(summary)) if options.json else _sentences(summary, options)


def _as_number(target: str) -> int | str:
    return int(target) if target.isdecimal() else target


def _sentences(summary: Summary, options: argparse.Namespace) -> str:
    skipped = f"; {summary.skipped:,} files skipped, see {options.out / 'skipped.csv'}" if summary.skipped else ""
    return f"{summary.table}: {summary.rows:,} rows of {summary.pictures:,} pictures{skipped}"
