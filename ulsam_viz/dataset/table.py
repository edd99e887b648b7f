"""The rows of a table -> one array a measure and layer, checked once, from which every view is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..paths import program
from .measures import Measure, in_order, measure_of

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROWS = 2_000_000  # of a table that is opened: 100,000 pictures with 16 subspaces in one layer, about 100 MB here
_LONGEST = 1000  # bytes of a name
_NEEDED = ("picture", "layer", "subspace", "area", "peak")
TEXTS = ("picture", "class_folder", "answer", "target")  # columns of text


class TableError(ValueError):
    """A file that is no table of attention; the message says why, and what to do."""


class Looks(Protocol):
    """Access to a table's pictures and maps by the picture's number, from 0 in the table's order."""

    @property
    def are_here(self) -> bool:
        """Whether pictures that were seen before may still be looked at."""

    def crop(self, picture: int) -> np.ndarray | None:
        """Return the pixels that the network saw, (S, S, 3), uint8; None if the file is gone."""

    def maps(self, picture: int, layer: int) -> np.ndarray | None:
        """Return a layer's maps, (g, H, W), float32; None where maps were not kept."""

    def all_maps(self, layer: int) -> Iterator[np.ndarray]:
        """Return all pictures' maps of a layer, some at a time, (n, g, H, W), float16.

        Nothing where they were not kept.
        """

    @property
    def with_maps(self) -> int:
        """How many of the pictures' maps were kept."""


@dataclass(frozen=True)
class Table:
    """What many pictures showed through one network.

    Attributes:
        title: For people: where it is from.
        key: Names what is in it: equal keys, equal tables.
        variant: Name of the network; "" if it is not known.
        pictures: Their names, N.
        answers, targets: Class names, N.
        folders: The folder that each picture lies in, which is taken for its class; None for one that lies in none.
        probability: Of the answer, shape (N,).
        values: By layer and column, shape (N, g), float32; NaN where a measure means nothing.
        looks: Pictures and maps; None for numbers alone.
    """

    title: str
    key: str
    variant: str
    pictures: Sequence[str]
    answers: Sequence[str]
    targets: Sequence[str]
    folders: Sequence[str | None]
    probability: np.ndarray
    values: Mapping[int, Mapping[str, np.ndarray]]
    looks: Looks | None = None

    @property
    def layers(self) -> list[int]:
        """The layers that carry a module."""
        return sorted(self.values)

    @property
    def measures(self) -> list[Measure]:
        """What is measured, in the order in which it is offered."""
        return in_order(list(self.values[self.layers[0]]))

    def groups(self, layer: int) -> int:
        """Return the number of subspaces of a layer."""
        return int(next(iter(self.values[layer].values())).shape[1])

    def of(self, measure: Measure, layer: int) -> np.ndarray:
        """Return a measure's values in its unit, shape (N, g)."""
        return self.values[layer][measure.name] * np.float32(measure.factor)


def read_table(rows: pa.Table, *, title: str, key: str, variant: str = "", looks: Looks | None = None) -> Table:
    """Turn rows, one a picture, layer and subspace, into a :class:`Table`.

    Args:
        rows: As ``batch`` writes them; columns that are not known are left out.
        title, key, variant, looks: See :class:`Table`.

    Raises:
        TableError: If these are not such rows.
    """
    if missing := [name for name in _NEEDED if name not in rows.column_names]:
        raise TableError(
            f"this is not a table of attention: it has no column '{missing[0]}' (`{program()} batch` writes such "
            "tables)"
        )
    if not rows.num_rows:
        raise TableError("the table is empty")
    texts = {name: as_text(name, rows[name]) for name in TEXTS if name in rows.column_names}
    numbers = {name: _as_numbers(name, rows[name]) for name in wanted_columns(rows.column_names) if name not in texts}
    each = _rows_of_a_picture(texts["picture"], rows.num_rows)
    count = rows.num_rows // each
    places = [
        (int(layer), int(k)) for layer, k in zip(numbers["layer"][:each], numbers["subspace"][:each], strict=True)
    ]
    for name, found in (("layer", [p[0] for p in places]), ("subspace", [p[1] for p in places])):
        if not np.array_equal(numbers[name].reshape(count, each), np.broadcast_to(found, (count, each))):
            raise TableError("its pictures do not all have the same layers and subspaces, in the same order")
    layers = _columns_of_layers(places)
    words: dict[str, list[Any]] = {
        name: texts[name][::each].to_pylist() if name in texts else [None] * count for name in TEXTS
    }
    wanted = [name for name in numbers if measure_of(name)]
    known = numbers.get("probability")
    return Table(
        title,
        key,
        variant,
        words["picture"],
        [str(word or "") for word in words["answer"]],
        [str(word or "") for word in words["target"]],
        words["class_folder"],
        np.full(count, np.nan, np.float32) if known is None else known.reshape(count, each)[:, 0],
        {
            layer: {name: np.ascontiguousarray(numbers[name].reshape(count, each)[:, taken]) for name in wanted}
            for layer, taken in layers.items()
        },
        looks,
    )


def wanted_columns(names: Sequence[str]) -> list[str]:
    """Return which columns of a file :func:`read_table` reads."""
    return [name for name in names if name in TEXTS or _is_wanted(name)]


def _is_wanted(name: str) -> bool:
    return name in ("layer", "subspace", "probability") or measure_of(name) is not None


def as_text(name: str, column: Any) -> Any:
    """Return a column of text as numbers of a dictionary: a file may repeat one long text a million times."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise TableError(f"the column '{name}' holds no text")
    encoded = column if pa.types.is_dictionary(column.type) else column.cast(pa.string()).dictionary_encode()
    encoded = encoded.unify_dictionaries().combine_chunks()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    try:
        encoded.validate(full=True)
    except pa.ArrowInvalid as error:
        raise TableError(f"the column '{name}' is damaged") from error
    longest = pc.max(pc.binary_length(encoded.dictionary)).as_py()
    if (longest or 0) > _LONGEST:
        raise TableError(f"the column '{name}' holds a text of {longest:,} bytes; at most {_LONGEST:,} are read")
    return encoded


def _as_numbers(name: str, column: Any) -> np.ndarray:
    """Return a column as float32, with NaN for what is not there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise TableError(f"the column '{name}' holds no numbers")
    if pa.types.is_boolean(kind):
        column = pc.cast(column, pa.int8())
    return np.asarray(column.to_numpy(), np.float32)


def _rows_of_a_picture(pictures: Any, count: int) -> int:
    """Return how many rows each picture has."""
    if not pictures.null_count:
        numbers = pictures.indices.to_numpy(zero_copy_only=False)
        lengths = np.diff(np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1, [count]]))
        if (lengths == lengths[0]).all():
            return int(lengths[0])
    raise TableError("its pictures have different numbers of rows: it is cut short, or was sorted anew")


def _columns_of_layers(places: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
    """Return where each layer's subspaces stand among a picture's rows, the subspaces in order."""
    layers: dict[int, dict[int, int]] = {}
    for position, (layer, subspace) in enumerate(places):
        layers.setdefault(layer, {})[subspace] = position
    if sum(map(len, layers.values())) != len(places) or any(
        sorted(own) != list(range(len(own))) for own in layers.values()
    ):
        raise TableError("a picture has a subspace twice, or lacks one")
    return {layer: [own[k] for k in range(len(own))] for layer, own in sorted(layers.items())}
