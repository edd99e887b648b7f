"""What `inspect` and `compare` print: the page's functions and numbers, for a terminal and for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from .analysis import measures
from .explanation import Explanation, explain
from .figures.tiles import block_means
from .images import ImageError, decode_image
from .zoo import Variant, get_variant, list_variants, position_name

#: What is looked through where nothing else is said: the network that the app opens on.
USUAL = "efficientnet_lite0-after12-g4"


class PictureError(ValueError):
    """Pictures that could not be used; the others were looked at."""


def run_inspect(
    pictures: Sequence[Path],
    variant: str = USUAL,
    *,
    methods: Sequence[str] = ("grad_cam",),
    target: str | None = None,
    device: str = "auto",
    save: Path | None = None,
    as_json: bool = False,
) -> None:
    """Look at pictures through one variant, and print for each its answers and what its maps are like.

    Args:
        pictures: Files.
        variant: Its name.
        methods: Attribution methods; each map is set beside each.
        target: Number or name of the class that they are for; None: each picture's own answer.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        save: Folder that gets a folder of files for each picture.
        as_json: Print one JSON document, and no progress.

    Raises:
        KeyError: For an unknown variant.
        AttributionError: For an unknown method or class.
        PictureError: In the end, if files could not be used; the message names them.
    """
    wished = int(target) if target is not None and target.isdigit() else target
    get_variant(variant)  # a wrong name is said before anything is computed
    found, bad = [], []
    for path in tqdm(pictures, unit="picture", disable=as_json or len(pictures) < 2):
        try:
            image = _read(path)
        except ImageError as error:
            bad.append(f"'{path}': {error}")
            continue
        seen = explain(image, variant, methods, wished, device=device)
        record = {"picture": str(path), **describe(seen)}
        if save:
            record["files"] = [str(file) for file in seen.save(save / path.stem)]
        found.append(record)
        if not as_json:
            print(_as_text(record))
    if as_json:
        print(json.dumps({"variant": variant, "pictures": found, "skipped": bad}, indent=1))
    if bad:
        raise PictureError("; ".join(bad))


def _read(path: Path) -> Image.Image:
    try:
        return decode_image(path.read_bytes())
    except OSError as error:
        raise ImageError(f"it cannot be read ({error.strerror or error})") from error


def describe(seen: Explanation) -> dict[str, Any]:
    """Say what one look shows, as plain values: answers, and for each subspace its measures; subspaces count from 1."""
    top = np.argsort(-seen.probabilities, kind="stable")[:5]
    return {
        "answers": [{"class": seen.classes[n], "probability": round(float(seen.probabilities[n]), 6)} for n in top],
        "target": seen.classes[seen.target],
        "subspaces": [_measured(seen, layer, k) for layer, maps in seen.attention.items() for k in range(len(maps))],
    }


def _measured(seen: Explanation, layer: Any, k: int) -> dict[str, Any]:
    own = seen.attention[layer][k]
    row, column = (int(i) for i in np.unravel_index(int(own.argmax()), own.shape))
    return {
        "layer": layer,
        "subspace": k + 1,
        "area": round(float(measures.effective_area(own)), 6),
        "peak": round(float(measures.peak(own)), 6),
        "row": row,
        "column": column,
        "entropy": round(float(measures.entropy(own)), 6),
        "dead": bool(measures.is_dead(own)),
        "agreement": {name: _agreement(own, values) for name, values in seen.attributions.items()},
    }


def _agreement(own: np.ndarray, values: np.ndarray) -> float | None:
    found = measures.agreement(own, block_means(values, own.shape[-1])).correlation
    return None if np.isnan(found) else round(float(found), 6)


def _as_text(record: dict[str, Any]) -> str:
    said = ", ".join(f"{a['class'].replace('_', ' ')} {a['probability']:.1%}" for a in record["answers"][:3])
    lines = [f"{record['picture']}: {said}"]
    for s in record["subspaces"]:
        agreement = "".join(f", {name} ρ {'–' if rho is None else f'{rho:+.2f}'}" for name, rho in s["agreement"].items())
        like = "uniform" if s["dead"] else f"area {s['area']:.0%}, peak {s['peak']:.1f}x at row {s['row']}, column {s['column']}"
        lines.append(f"  layer {s['layer']}, subspace {s['subspace']}: {like}{agreement}")
    return "\n".join(lines)


def run_compare(picture: Path, variant: str = USUAL, *, over: str = "groups", device: str = "auto", as_json: bool = False) -> None:
    """Set networks before one picture, and print a row for each: all group counts at a variant's position, or all positions at its g.

    Args:
        picture: A file.
        variant: Name of one of them.
        over: ``"groups"`` or ``"positions"``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        as_json: Print one JSON document.

    Raises:
        KeyError: For an unknown variant.
        ImageError: If the picture cannot be used.
    """
    chosen, image = get_variant(variant), _read(picture)
    rows = [
        _compared(explain(image, v, (), device=device), v)
        for v in tqdm(list(_alike(chosen, over)), unit="network", disable=as_json)
    ]
    if as_json:
        print(json.dumps({"picture": str(picture), "over": over, "networks": rows}, indent=1))
        return
    print(f"{'position':32} {'g':>3}  {'answer':24} {'':>6} {'area':>6} {'peak':>7} {'alike':>6}")
    for row in rows:
        area, peak, alike = (
            ("" if row[key] is None else format(row[key], form))
            for key, form in (("area", ".0%"), ("peak", ".1f"), ("redundancy", "+.2f"))
        )
        answer = row["answer"].replace("_", " ")[:24]
        print(f"{row['position']:32} {row['g'] or '':>3}  {answer:24} {row['probability']:6.1%} {area:>6} {peak:>7} {alike:>6}")


def _alike(chosen: Variant, over: str) -> Iterable[Variant]:
    """Return the control, and what differs from a variant in its g alone, or in its position alone."""
    for other in list_variants():
        if other.family != chosen.family:
            continue
        same = (
            position_name(other) == position_name(chosen)
            if over == "groups"
            else (other.groups, other.gain) == (chosen.groups, chosen.gain)
        )
        if other.placement is None or same:
            yield other


def _compared(seen: Explanation, variant: Variant) -> dict[str, Any]:
    every = list(seen.attention.values())
    correlations = [float(measures.mean_redundancy(maps[None])[0]) for maps in every if len(maps) > 1]
    known = [value for value in correlations if not np.isnan(value)]
    return {
        "network": variant.name,
        "position": position_name(variant),
        "g": variant.groups,
        "answer": seen.classes[seen.target],
        "probability": round(float(seen.probabilities[seen.target]), 6),
        "area": round(float(np.mean([measures.effective_area(maps).mean() for maps in every])), 6) if every else None,
        "peak": round(float(max(measures.peak(maps).max() for maps in every)), 6) if every else None,
        "redundancy": round(float(np.mean(known)), 6) if known else None,
    }
