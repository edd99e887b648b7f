"""Crops of pictures -> rows of the table: the one callable that every way of running shares.

Inside a run, a row is a picture, with a list of what there is to say about its layers and subspaces; so whatever stops
a run or deals its work out, a picture is there as a whole or not at all. :func:`explode` makes the table of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from ..analysis import measures
from ..analysis.attribution import attribute_each
from ..analysis.computations import AttributionError
from ..analysis.methods import METHODS
from ..analysis.removal import Pass, remove_each, run_pass
from ..figures.tiles import block_means
from ..models.network import Network
from ..models.optimize import optimize
from ..models.precision import whole_float32
from ..zoo.variants import Variant, load_network
from .pictures import BatchError, Crops

VARIANT = "ulsam_viz.variant"  # where a table's file says which network it was made with


@dataclass(frozen=True)
class Look:
    """The questions of a run about each picture: network, attribution, target and more.

    Attributes:
        variant: The network.
        methods: Attribution methods whose maps the attention is compared with, with their default settings.
        target: Class number; None: each picture's own answer.
        maps: Whether the maps are kept.
        effects: Whether each subspace is removed.

    Raises:
        BatchError: If the variant has no attention.
        AttributionError: For an unknown method.
    """

    variant: Variant
    methods: tuple[str, ...] = ("grad_cam",)
    target: int | None = None
    maps: bool = True
    effects: bool = True

    def __post_init__(self) -> None:
        if self.variant.placement is None:
            raise BatchError(f"'{self.variant.name}' carries no attention module: there is nothing to write rows about")
        if unknown := [name for name in self.methods if name not in METHODS]:
            raise AttributionError(f"unknown method '{unknown[0]}'; there are: {', '.join(METHODS)}")

    @property
    def _of_subspace(self) -> dict[str, pa.DataType]:
        """The columns that differ by layer and subspace."""
        return {
            "layer": pa.int32(),
            "subspace": pa.int32(),
            "area": pa.float32(),
            "peak": pa.float32(),
            "peak_row": pa.int32(),
            "peak_column": pa.int32(),
            "entropy": pa.float32(),
            "dead": pa.bool_(),
            "redundancy": pa.float32(),
            **{f"agreement_{name}": pa.float32() for name in self.methods},
            **({"removed_logit": pa.float32(), "removed_probability": pa.float32()} if self.effects else {}),
            **({"removed_flips": pa.bool_()} if self.effects else {}),
        }

    @property
    def _of_picture(self) -> dict[str, pa.DataType]:
        """The columns that are a picture's."""
        return {
            "class_folder": pa.string(),
            "answer": pa.string(),
            "answer_number": pa.int32(),
            "probability": pa.float32(),
            "second": pa.string(),
            "second_number": pa.int32(),
            "second_probability": pa.float32(),
            "target": pa.string(),
            "target_number": pa.int32(),
            **({"shard": pa.string(), "row": pa.int32()} if self.maps else {}),
        }

    @property
    def subspaces(self) -> pa.StructType:
        """The type of what there is to say about one subspace."""
        return pa.struct(list(self._of_subspace.items()))

    @property
    def of_pictures(self) -> pa.Schema:
        """The columns inside a run: one row a picture, or a file that is none."""
        of_file = {"picture": pa.string(), "reason": pa.string(), "digest": pa.string()}
        return pa.schema(list({**of_file, **self._of_picture, "subspaces": pa.list_(self.subspaces)}.items()))

    @property
    def of_table(self) -> pa.Schema:
        """The columns of the table, one row a picture, layer and subspace; and which network it was made with."""
        columns = {"picture": pa.string(), **self._of_subspace, **self._of_picture}
        return pa.schema(list(columns.items()), {VARIANT: self.variant.name})


@dataclass(frozen=True)
class Rows:
    """The rows and maps of one batch.

    Attributes:
        names: Of the files.
        reasons: Why a file gives nothing; "" where it is a picture.
        answers: The columns of the pictures, without the places of their maps, a list each.
        subspaces: The columns of the subspaces: a flat list each, by picture, layer and subspace.
        maps: By layer, shape (pictures, g, H, W), float16; empty where they are not kept.
        digests: Of the files, if they are files.
    """

    names: list[str]
    reasons: list[str]
    answers: Mapping[str, list[Any]]
    subspaces: Mapping[str, np.ndarray]
    maps: Mapping[int, np.ndarray]
    digests: Sequence[str] = ()

    def table(self, look: Look, *, shard: str = "", first: int = 0) -> pa.Table:
        """Return one row a file, of the schema ``look.of_pictures``.

        Args:
            look: What was asked.
            shard: Name of the file that will hold the maps.
            first: The place of this batch's first picture in it.
        """
        good = np.array([not reason for reason in self.reasons], bool)
        place = np.cumsum(good) - 1
        answers = dict(self.answers)
        if look.maps:
            answers |= {"shard": [shard] * int(good.sum()), "row": list(range(first, first + int(good.sum())))}
        # A file that is no picture takes no answer: index None gives null.
        taken = pa.array([int(i) if ok else None for i, ok in zip(place, good, strict=True)], pa.int64())
        schema = look.of_pictures
        columns = {
            "picture": pa.array(self.names),
            "reason": pa.array([reason or None for reason in self.reasons], pa.string()),
        }
        columns["digest"] = (
            pa.array(self.digests, pa.string()) if self.digests else pa.nulls(len(self.names), pa.string())
        )
        columns |= {key: pa.array(values, schema.field(key).type).take(taken) for key, values in answers.items()}
        each = len(next(iter(self.subspaces.values()))) // good.sum() if good.any() else 0
        offsets = pa.array(np.concatenate([[0], np.cumsum(good) * each]), pa.int32())
        # NaN becomes null
        fields = [pa.array(self.subspaces[f.name], f.type, from_pandas=True) for f in look.subspaces]
        columns["subspaces"] = pa.ListArray.from_arrays(
            offsets, pa.StructArray.from_arrays(fields, fields=list(look.subspaces))
        )
        return pa.table([columns[name] for name in schema.names], schema=schema)


def explode(pictures: pa.Table, look: Look) -> pa.Table:
    """Turn rows of pictures into rows of subspaces, of the schema ``look.of_table``.

    Files that are no pictures give none.
    """
    pictures = pictures.combine_chunks()
    lists = pictures["subspaces"].combine_chunks()
    outer = pictures.drop_columns(["reason", "digest", "subspaces"]).take(pc.list_parent_indices(lists))
    inner = pa.Table.from_struct_array(pc.list_flatten(lists))
    columns = {name: outer[name] if name in outer.column_names else inner[name] for name in look.of_table.names}
    return pa.table(columns, schema=look.of_table)


def implode(rows: pa.Table, look: Look, digests: Mapping[str, str]) -> pa.Table:
    """Turn rows of subspaces, all of each picture, back into rows of pictures: what :func:`explode` made them of."""
    rows = rows.combine_chunks()
    each = rows.num_rows // pc.count_distinct(rows["picture"]).as_py()
    starts = np.arange(0, rows.num_rows + 1, each)
    fields = [rows[field.name].combine_chunks() for field in look.subspaces]
    outer = rows.take(starts[:-1])
    columns = {name: outer[name] for name in look.of_pictures.names if name in outer.column_names}
    columns["reason"] = pa.nulls(len(outer), pa.string())
    columns["digest"] = pa.array([digests.get(name) for name in outer["picture"].to_pylist()], pa.string())
    lists = pa.StructArray.from_arrays(fields, fields=list(look.subspaces))
    columns["subspaces"] = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), lists)
    return pa.table(columns).select(look.of_pictures.names).cast(look.of_pictures)


class PictureRows:
    """Computes the rows of batches of pictures; it owns a network, so one thread uses it.

    Args:
        look: What is asked.
        device: ``"cpu"`` or ``"cuda"``.
        network: The variant's optimised network where one is there already; it stays on its device.

    Raises:
        CheckpointError: If the variant's checkpoint is damaged.
    """

    def __init__(self, look: Look, device: str = "cpu", *, network: Network | None = None) -> None:
        self.look = look
        self._network: Network = network or optimize(load_network(look.variant)).to(device)

    @whole_float32()
    def __call__(self, crops: Crops) -> Rows:
        """Return what one batch gives: one pass for all pictures, and one rest of the network a subspace to remove."""
        good = [i for i, reason in enumerate(crops.reasons) if not reason]
        names, reasons = list(crops.names), list(crops.reasons)
        if not good:
            nothing: dict[str, list[Any]] = {key: [] for key in _answers_of(self.look, [], [], [])}
            return Rows(names, reasons, nothing, self._nothing(), {}, crops.digests)
        pixels = torch.as_tensor(crops.pixels[good]).permute(0, 3, 1, 2)
        x = self.look.variant.preprocessing.normalize(pixels).contiguous(memory_format=torch.channels_last)
        x = x.to(self._network.classifier.weight.device)
        done = run_pass(self._network, x, temperature=self.look.variant.calibration.temperature)
        targets = [seen.top(1)[0] if self.look.target is None else self.look.target for seen in done.seen]
        layers = self._of_layers(x, done, targets)
        subspaces = {
            key: np.concatenate([columns[key] for columns in layers.values()], 1).ravel() for key in _first(layers)
        }
        maps = {
            layer: np.stack([seen.maps[layer] for seen in done.seen]).astype(np.float16)
            for layer in (done.entering if self.look.maps else ())
        }
        answers = _answers_of(self.look, [names[i] for i in good], done.seen, targets)
        return Rows(names, reasons, answers, subspaces, maps, crops.digests)

    def _nothing(self) -> dict[str, np.ndarray]:
        return {field.name: np.array([]) for field in self.look.subspaces}

    def _of_layers(self, x: torch.Tensor, done: Pass, targets: list[int]) -> dict[int, dict[str, np.ndarray]]:
        """Return the columns of the subspaces by layer, each (N, g)."""
        variant = self.look.variant
        attributions = {
            method: attribute_each(
                self._network, x, method=method, targets=targets, preprocessing=variant.preprocessing, seen=done.seen
            )
            for method in self.look.methods
        }
        layers = {}
        for layer in done.entering:
            maps = np.stack([seen.maps[layer] for seen in done.seen])
            columns = {"layer": np.full(maps.shape[:2], layer), **_measures(maps)}
            for method, found in attributions.items():
                columns[f"agreement_{method}"] = _agreements(maps, found, columns["dead"])
            if self.look.effects:
                removed = remove_each(
                    self._network, done, layer=layer, targets=targets, temperature=variant.calibration.temperature
                )
                columns |= {
                    "removed_logit": removed.logit,
                    "removed_probability": removed.probability,
                    "removed_flips": removed.flips,
                }
            layers[layer] = columns
        return layers


def _first(layers: Mapping[int, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return next(iter(layers.values()))


def _measures(maps: np.ndarray) -> dict[str, np.ndarray]:
    """Return the measures of maps (N, g, H, W) that need nothing else; each (N, g), NaN where it is not defined."""
    dead = measures.is_dead(maps)
    # A uniform map has its peak nowhere.
    row, column = np.where(dead, np.nan, np.divmod(maps.reshape(*maps.shape[:2], -1).argmax(-1), maps.shape[-1]))
    return {
        "subspace": np.broadcast_to(np.arange(maps.shape[1]), maps.shape[:2]),
        "area": measures.effective_area(maps),
        "peak": measures.peak(maps),
        "peak_row": row,
        "peak_column": column,
        "entropy": measures.entropy(maps),
        "dead": dead,
        "redundancy": measures.redundancy_of_each(maps),
    }


def _agreements(maps: np.ndarray, attributions: list[np.ndarray], dead: np.ndarray) -> np.ndarray:
    """Return the rank correlations of maps (N, g, H, W) with an attribution (S, S) a picture.

    NaN where a map is dead.
    """
    side = maps.shape[-1]
    found = [measures.rank_correlations(own, block_means(a, side)) for own, a in zip(maps, attributions, strict=True)]
    return np.where(dead, np.nan, np.stack(found))


def folder_of(name: str) -> str | None:
    """Return the folder that a picture lies in, which is taken for its class; None where it lies in none."""
    return PurePosixPath(name).parts[0] if "/" in name else None


def _answers_of(look: Look, names: list[str], seen: list[Any], targets: list[int]) -> dict[str, list[Any]]:
    """Return the columns that are a picture's."""
    classes = look.variant.classes
    top = [(s.top(2) * 2)[:2] for s in seen]  # a network may know one class only
    return {
        "class_folder": [folder_of(name) for name in names],
        "answer": [classes[a] for a, _ in top],
        "answer_number": [a for a, _ in top],
        "probability": [float(s.probabilities[a]) for s, (a, _) in zip(seen, top, strict=True)],
        "second": [classes[b] for _, b in top],
        "second_number": [b for _, b in top],
        "second_probability": [float(s.probabilities[b]) for s, (_, b) in zip(seen, top, strict=True)],
        "target": [classes[t] for t in targets],
        "target_number": list(targets),
    }
