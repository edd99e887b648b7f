"""A report's numbers as CSV files: every one, exactly as the NPZ holds it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..text.spreadsheets import write_csv
from .measures import measured_in
from .record import Report

#: Larger arrays among what was asked, such as a layer's features, are in the NPZ alone.
LARGEST = 100_000


def as_csv(report: Report) -> dict[str, bytes]:
    """Return the files, by name."""
    sheet = report.sheet
    methods = list(sheet.attributions)
    classes = zip(report.classes, _texts(sheet.logits), _texts(sheet.probabilities), strict=True)
    found = measured_in(report)
    plain = [name for name in found[0] if name != "agreement"] if found else []
    return {
        "answers.csv": _file(
            ("class_number", "class", "logit", "probability"), ((n, *c) for n, c in enumerate(classes))
        ),
        "measures.csv": _file(
            (*plain, *(f"agreement_{m}" for m in methods)),
            ((*(m[name] for name in plain), *(m["agreement"][n] for n in methods)) for m in found),
        ),
        "maps.csv": _file(
            ("layer", "subspace", "row", "column", "attention"),
            (
                (layer, k + 1, row, column, text)
                for layer, maps in sheet.attention.items()
                for (k, row, column), text in _cells(maps)
            ),
        ),
        "attributions.csv": _file(
            ("method", "row", "column", "attribution"),
            ((name, *place, text) for name, a in sheet.attributions.items() for place, text in _cells(a.values)),
        ),
        "asked.csv": _file(("what", "place", "value"), _asked(report)),
    }


def _file(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    write_csv(text, head, rows)
    return text.getvalue().encode()


def _texts(values: np.ndarray) -> list[str]:
    """Write values with as many digits as tell them apart, no more."""
    flat: list[str] = values.ravel().astype(str).tolist()
    return flat


def _cells(values: np.ndarray) -> Iterable[tuple[tuple[int, ...], str]]:
    return zip(np.ndindex(values.shape), _texts(values), strict=True)


def _asked(report: Report) -> Iterable[tuple[str, str, Any]]:
    """Yield every number of the answers, with its key in the NPZ or settings and its place in an array (from 0)."""
    arrays: dict[str, np.ndarray] = {}
    found = report.found(arrays)
    for name, value in found.items():
        yield from ((key, "", leaf) for key, leaf in _leaves(name, value))
    for name, values in arrays.items():
        if values.size <= LARGEST:
            yield from ((name, " ".join(map(str, place)), text) for place, text in _cells(values))


def _leaves(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        if set(value) != {"array"}:
            for key, item in value.items():
                yield from _leaves(f"{name}.{key}", item)
    elif isinstance(value, list):
        for i, item in enumerate(value, 1):
            yield from _leaves(f"{name}.{i}", item)
    else:
        yield name, value
