"""The commands `inspect` and `compare`: the page's numbers for a terminal and for other programs."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..analysis import measures
from ..analysis.attribution import AttributionWarning
from ..analysis.computations import AttributionError
from ..analysis.methods import METHODS
from ..batch.pictures import read_file
from ..evidence.experiments import module_title, modules_to_compare
from ..explanation import Explanation, explain
from ..images import Decoded, ImageError, decode
from ..images.folders import file_key, not_taken
from ..questions.view import check_askable, other_picture
from ..report.answers import answered, written
from ..report.archive import KINDS, write_report
from ..report.contact_sheet import flatten, printable
from ..report.measures import measured_in
from ..report.record import Report
from ..zoo.variants import Variant, get_variant, list_variants, position_name, usual_variant


class PictureError(ValueError):
    """Pictures that could not be used; the others were looked at."""


def run_inspect(
    pictures: Sequence[Path],
    variant: str | None = None,
    *,
    methods: Sequence[str] = ("grad_cam",),
    target: str | None = None,
    device: str = "auto",
    settings: Sequence[str] = (),
    seed: int = 0,
    ask: Sequence[str] = (),
    other: str = "",
    cropped: bool = False,
    save: Path | None = None,
    report: Path | None = None,
    as_json: bool = False,
) -> None:
    """Look at pictures through one variant, and print for each its answers and what its maps are like.

    Args:
        pictures: Files.
        variant: Its name; None is :func:`~ulsam_viz.zoo.variants.usual_variant`.
        methods: Attribution methods; each map is set beside each.
        target: Number or name of the class that they are for; None: each picture's own answer.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        settings: Of methods, other than the defaults: ``"integrated_gradients.steps=64"``.
        seed: Of methods that draw random numbers.
        ask: Questions about each picture, see :meth:`~.explanation.Explanation.ask`.
        other: The picture that one of them takes attention from: a sample's name or a file; "" for the first other
            sample.
        cropped: The pictures are crops for this network, which is to see all of each.
        save: Folder that gets a folder of files for each picture. Of pictures with one name, the second's ends in
            ``-2``.
        report: A file that ends in ``.html`` or ``.zip``, for one picture; else a folder that gets an HTML file for
            each.
        as_json: Print one JSON document, and no progress.

    Raises:
        KeyError: For an unknown variant.
        AttributionError: For an unknown method, setting or class.
        ValueError: If several pictures are to be one file, or something is asked that cannot be.
        PictureError: In the end, if files could not be used; the message names them.
    """
    variant = variant or usual_variant().name
    wished = int(target) if target is not None and target.isdecimal() else target
    check_askable(get_variant(variant), ask)  # what is wrong is said before anything is computed
    warnings.simplefilter("ignore", AttributionWarning)  # said beside each picture instead
    chosen, names = parse_settings(settings, methods), names_of(pictures)
    if other:
        other_picture(other, get_variant(variant).preprocessing)
    documents = _documents(report, names) if report else []
    found, bad = [], []
    for i, path in enumerate(tqdm(pictures, unit="picture", disable=as_json or len(pictures) < 2)):
        try:
            decoded = _read(path)
        except ImageError as error:
            bad.append({"picture": str(path), "reason": str(error)})
            continue
        seen = explain(
            decoded.image, variant, methods, wished, device=device, settings=chosen, seed=seed, cropped=cropped
        )
        to = documents[i] if report else Path("report.html")
        own = seen.reported(picture=printable(path.name), file=str(path), asked=seen.ask(*ask, other=other), to=to.name)
        notes = {"notes": list(decoded.notes)} if decoded.notes else {}
        record = {"picture": str(path), **notes, **describe(own)}
        if save:
            record["files"] = [str(file) for file in seen.save(save / names[i])]
        if report:
            record["report"] = str(write_report(own, to))
        found.append(record)
        if not as_json:
            tqdm.write(_as_text(record))  # beside a bar, which print would tear
    if as_json:
        print(json.dumps({"variant": variant, "pictures": found, "skipped": bad}, indent=1))
    if bad:
        raise PictureError("; ".join(f"'{one['picture']}': {one['reason']}" for one in bad))


def parse_settings(texts: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read settings of methods: ``"integrated_gradients.steps=64"``.

    Raises:
        AttributionError: For what is no setting of one of these methods, or a value that it does not offer.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        method, _, setting = name.partition(".")
        if method not in METHODS or method not in methods:
            raise AttributionError(
                f"--set takes METHOD.SETTING=VALUE of one of the methods ({', '.join(methods)}), not '{text}'"
            )
        # What is wrong is said before anything is computed
        found.setdefault(method, {})[setting] = METHODS[method].read(setting, value)
    return found


def names_of(pictures: Sequence[Path]) -> list[str]:
    """Name each picture's own file or folder: as the picture is, and so that no two are one, on any system."""
    names: list[str] = []
    taken: set[str] = set()
    for path in pictures:
        stem = path.stem if path.stem.strip(".") else "picture"  # a name of dots is another folder's
        name = not_taken(stem, taken, form="{}-{}", key=file_key)
        taken.add(file_key(name))
        names.append(name)
    return names


def _documents(report: Path, names: Sequence[str]) -> list[Path]:
    """Return each picture's report.

    Raises:
        ValueError: If the path is one file's and there are several pictures, or neither a report's nor a folder's.
    """
    if report.suffix.lower() not in KINDS:
        if re.fullmatch(r"\.[A-Za-z]{3,4}", report.suffix) and not report.is_dir():
            raise ValueError(
                f"a report ends in {' or '.join(KINDS)}, and a folder of reports in nothing, not '{report.name}'; the "
                "HTML prints to PDF"
            )
        return [report / f"{name}.html" for name in names]
    if len(names) > 1:
        raise ValueError(
            f"'{report}' is one file and there are {len(names)} pictures: name a folder, which gets a file for each"
        )
    return [report]


def _read(path: Path) -> Decoded:
    try:
        return decode(read_file(str(path.parent), path.name))
    except OSError as error:
        raise ImageError(f"it cannot be read ({error.strerror or error})") from error


def describe(report: Report) -> dict[str, Any]:
    """Say what one look shows, as plain values.

    Returns:
        Answers, for each subspace its measures, and what was asked with its answers; subspaces count from 1.
    """
    sheet = report.sheet
    top = np.argsort(-sheet.probabilities, kind="stable")[:5]
    asked = [
        {
            "question": one.title,
            "about": one.about,
            "words": list(one.words),
            "tables": [{"caption": caption, "rows": flatten(rows, "", {})} for caption, rows in one.tables],
        }
        for one in answered(report)
    ]
    return {
        "answers": [{"class": report.classes[n], "probability": round(float(sheet.probabilities[n]), 6)} for n in top],
        "target": report.classes[sheet.target],
        "subspaces": measured_in(report),
        "warnings": [a.warning for a in sheet.attributions.values() if a.warning],
        **({"asked": asked} if asked else {}),
    }


def _as_text(record: dict[str, Any]) -> str:
    said = ", ".join(f"{a['class'].replace('_', ' ')} {a['probability']:.1%}" for a in record["answers"][:3])
    lines = [f"{record['picture']}: {said}", *(f"  {note}" for note in record.get("notes", ()))]
    for s in record["subspaces"]:
        agreement = "".join(f", {name} ρ {written('ρ', rho)}" for name, rho in s["agreement"].items())
        like = (
            "uniform"
            if s["dead"]
            else f"area {s['area']:.0%}, peak {s['peak']:.1f}x at row {s['row']}, column {s['column']}"
        )
        lines.append(f"  layer {s['layer']}, subspace {s['subspace']}: {like}{agreement}")
    lines += [f"  warning: {text}" for text in record["warnings"]]
    for one in record.get("asked", ()):
        lines.append(f"  {one['question']} ({one['about']})")
        lines += ["    " + text.replace("*", "") for text in one["words"]]  # emphasis is for pages
        for table in one["tables"]:
            lines += [f"    {table['caption']}:"] if table["caption"] else []
            lines += [
                "    " + ", ".join(f"{key} {written(key, value)}" for key, value in row.items())
                for row in table["rows"]
            ]
    return "\n".join(lines)


def run_compare(
    picture: Path, variant: str | None = None, *, over: str = "groups", device: str = "auto", as_json: bool = False
) -> None:
    """Set networks before one picture, and print a row for each; the one that was asked for is always among them.

    Args:
        picture: A file.
        variant: Name of one of them; None is :func:`~ulsam_viz.zoo.variants.usual_variant`.
        over: ``"groups"``: all at its position; ``"positions"``: all with its g; ``"modules"``: other papers' modules
            beside ULSAM.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        as_json: Print one JSON document.

    Raises:
        KeyError: For an unknown variant.
        ImageError: If the picture cannot be used.
    """
    chosen, decoded = get_variant(variant) if variant else usual_variant(), _read(picture)
    compared = _alike(chosen, over)
    if len(compared) < 2:
        print(f"ulsam_viz: nothing compares with {chosen.name} over {over}", file=sys.stderr)
    for note in decoded.notes:
        print(f"ulsam_viz: {note}", file=sys.stderr)
    rows = [
        _compared(explain(decoded.image, v, (), device=device), v)
        for v in tqdm(compared, unit="network", disable=as_json)
    ]
    if as_json:
        print(json.dumps({"picture": str(picture), "over": over, "networks": rows}, indent=1))
        return
    print(f"{'position':32} {'g':>3}  {'answer':24} {'':>6} {'area':>6} {'peak':>7} {'alike':>6}  gain / its mean")
    for row in rows:
        area, peak, alike = (
            ("" if row[key] is None else format(row[key], form))
            for key, form in (("area", ".0%"), ("peak", ".1f"), ("redundancy", "+.2f"))
        )
        gain = f"{row['gain'][0]:.3f} to {row['gain'][1]:.3f}" if row["gain"] else ""
        answer = row["answer"].replace("_", " ")[:24]
        line = (
            f"{row['position']:32} {row['g'] or '':>3}  {answer:24} {row['probability']:6.1%} {area:>6} {peak:>7} "
            f"{alike:>6}  {gain}"
        )
        print(line.rstrip())


def _alike(chosen: Variant, over: str) -> list[Variant]:
    """Return what is compared with a variant, and the variant itself."""
    own = [v for v in list_variants() if v.family == chosen.family]
    if over == "modules":
        groups = chosen.groups if _is_ulsam(chosen) else 0
        found = [v for v in modules_to_compare(own, groups) if v.family == chosen.family]
    else:
        found = [v for v in own if v.placement is None or _differs_in(chosen, v, over)]
    return found if chosen in found else [*found, chosen]


def _differs_in(chosen: Variant, other: Variant, over: str) -> bool:
    """Return whether a variant differs from the chosen one in its g alone, or in its position alone."""
    if over == "groups":
        return position_name(other) == position_name(chosen)
    return (other.groups, other.gain) == (chosen.groups, chosen.gain)


def _is_ulsam(variant: Variant) -> bool:
    return variant.placement is not None and variant.placement.module == "ulsam"


def _place_of(variant: Variant) -> str:
    where = position_name(variant)
    return where if variant.placement is None or _is_ulsam(variant) else f"{where}, {module_title(variant)}"


def _gain_of(maps: np.ndarray, variant: Variant) -> np.ndarray:
    """Return the gain over its mean, the one thing that compares between modules.

    Of another paper's the map is just that.
    """
    if not _is_ulsam(variant):
        return measures.relative_attention(maps)
    gain = measures.gain_of(maps, variant.gain)
    return gain / gain.mean((-2, -1), keepdims=True)


def _compared(seen: Explanation, variant: Variant) -> dict[str, Any]:
    every = list(seen.attention.values())
    correlations = [float(measures.mean_redundancy(maps[None])[0]) for maps in every if len(maps) > 1]
    known = [value for value in correlations if not np.isnan(value)]
    gains = [_gain_of(maps, variant) for maps in every]
    return {
        "network": variant.name,
        "position": _place_of(variant),
        "g": variant.groups,
        "answer": seen.classes[seen.target],
        "probability": round(float(seen.probabilities[seen.target]), 6),
        "area": round(float(np.mean([measures.effective_area(maps).mean() for maps in every])), 6) if every else None,
        "peak": round(float(max(measures.peak(maps).max() for maps in every)), 6) if every else None,
        "redundancy": round(float(np.mean(known)), 6) if known else None,
        "gain": [round(float(end([end(g) for g in gains])), 6) for end in (np.min, np.max)] if every else None,
    }
