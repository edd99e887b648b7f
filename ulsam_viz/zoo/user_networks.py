"""A user's networks: checkpoints read in memory, and networks entered beside the zoo.

A file may come from anywhere. It is read by :mod:`.files`, recognised by :mod:`.recognition`, and run once before
anybody sees it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

import torch
from filelock import FileLock
from safetensors.torch import save
from torch import Tensor

from ..images.preprocessing import Preprocessing
from ..models.network import Network
from ..models.ulsam import Gain
from .checkpoint_files import MAX_BYTES, read_weights, shortened
from .live_model import ONE_OUTPUT
from .recognition import Recognised, recognise
from .variants import (
    MANIFEST_FORMAT,
    CheckpointError,
    Variant,
    build_network,
    get_variant,
    list_variants,
    load_weights,
    own_folder,
)
from .wrappers import Kind

#: The largest input that is tried: a pass takes a second or two then.
MAX_INPUT = 1024
_LONGEST_NAME = 80


@dataclass(frozen=True)
class OwnNetwork:
    """A network read from somebody's file, verified.

    Attributes:
        variant: Its record; without metrics, and without a path as long as it is in memory alone.
        network: In eval mode, float32, on the CPU, in training form; :func:`~ulsam_viz.models.optimize.optimize` makes
            it fast.
        weights: Our names -> tensors as a checkpoint of ours holds them, float16 or float32.
        layout: Whose names its tensors had, for people.
        notes: What was assumed, a sentence each.
    """

    variant: Variant
    network: Network
    weights: Mapping[str, Tensor]
    layout: str
    notes: tuple[str, ...]


def read_checkpoint(
    data: bytes,
    filename: str,
    *,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    gain: Gain | None = None,
    layers: Sequence[int] | None = None,
    eps: float | None = None,
    kind: Kind | None = None,
    stem_stride: int | None = None,
) -> OwnNetwork:
    """Read a file of weights in memory, whoever wrote it; nothing in it is run, and nothing is written.

    Args:
        data: The whole file, at most :data:`~ulsam_viz.zoo.checkpoint_files.MAX_BYTES`.
        filename: Its name: the end tells its kind, the rest names the network.
        classes: Names by output number; None numbers them.
        preprocessing: How its pictures are prepared; None is 224 px with ImageNet's mean and std.
        gain: Of its ULSAM modules; None takes what the file says, or the published one.
        layers: Layers of its modules, where the file leaves them open.
        eps: Of the norms of other people's files, if not 1e-5.
        kind: Which weights are taken where the file holds raw ones and their average: ``"raw"`` or ``"ema"``, the
            default.
        stem_stride: What its first convolution divides the picture's sides by; a file does not tell, and only 2 can be
            shown.

    Returns:
        The network and its record, after keys, shapes, dtypes and values were checked and one picture of noise went
        through.

    Raises:
        CheckpointError: If the file cannot be used, with the reason in one sentence. Nothing else is raised for what a
            file holds.
    """
    tensors = read_weights(data, filename, kind=kind)
    shown = shortened(PurePath(filename).name)
    preprocessing = preprocessing or Preprocessing()
    try:
        _check_preprocessing(preprocessing, eps)
        found = recognise(
            tensors.tensors,
            tensors.metadata,
            gain=gain,
            layers=layers,
            eps=eps,
            input_size=preprocessing.input_size,
            stem_stride=stem_stride,
        )
        variant = _variant(
            data, filename, found, _class_names(classes, found.classes), preprocessing, eps, tensors.taken
        )
        weights = _as_kept(found.weights)
        network = build_network(variant)
        load_weights(network, weights, dtype=next(iter(weights.values())).dtype)
        network.eval().requires_grad_(False)
        _try_out(network, preprocessing.input_size)
    except CheckpointError as error:
        raise CheckpointError(f"'{shown}' cannot be used: {error}") from error
    except MemoryError as error:
        raise CheckpointError(f"'{shown}' cannot be used: it needs more memory than there is") from error
    except Exception as error:  # shapes of others' making meet code that was not written for them
        raise CheckpointError(
            f"'{shown}' cannot be used: its tensors do not fit together ({type(error).__name__})"
        ) from error
    return OwnNetwork(
        variant, network, weights, found.layout, (*([tensors.note] if tensors.note else []), *found.notes)
    )


def _check_preprocessing(preprocessing: Preprocessing, eps: float | None) -> None:
    if preprocessing.input_size > MAX_INPUT:
        raise CheckpointError(
            f"its input of {preprocessing.input_size} px is too large; at most {MAX_INPUT} px can be shown"
        )
    if not all(map(math.isfinite, (*preprocessing.mean, *preprocessing.std))) or min(preprocessing.std) <= 0:
        raise CheckpointError("its mean and std must be finite numbers, and std above 0")
    if eps is not None and not 0 <= eps < 1:
        raise CheckpointError(f"eps is a small number from 0 on, not {eps}")


def _class_names(classes: Sequence[str] | None, outputs: int) -> tuple[str, ...]:
    if outputs == 1:
        raise CheckpointError(f"it has {ONE_OUTPUT}")
    if classes is None:
        return tuple(f"class {i}" for i in range(outputs))
    if len(classes) != outputs:
        raise CheckpointError(f"it has {outputs:,} outputs, and {len(classes):,} classes are named")
    return tuple(map(str, classes))


def _variant(
    data: bytes,
    filename: str,
    found: Recognised,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    eps: float | None,
    taken: Kind | None,
) -> Variant:
    name, digest = _name_from(filename), hashlib.sha256(data)
    made_by = {"file": PurePath(filename).name, "file_sha256": digest.hexdigest(), "read_as": found.layout}
    chosen: tuple[Any, ...] = (found.placement, eps, classes)
    if taken:
        made_by["weights"], chosen = taken, (*chosen, taken)
    digest.update(repr(chosen).encode())  # results are kept by it: all that changes them goes in
    return Variant(
        name=name,
        backbone=found.backbone,
        width=found.width,
        placement=found.placement,
        classes=classes,
        preprocessing=preprocessing,
        metrics={},
        made_by=made_by,
        dataset=name,
        path=None,
        sha256=digest.hexdigest(),
        own=True,
        dtype=_dtype_of(found.weights),
    )


def _name_from(filename: str) -> str:
    """Name a network by its file."""
    stem = re.sub(r"(\.safetensors|\.pt|\.pth|\.pth\.tar|\.ckpt)$", "", PurePath(filename).name, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9.\-_]+", "-", stem).strip("-.")[:_LONGEST_NAME] or "own"


def _dtype_of(weights: Mapping[str, Tensor]) -> str:
    return "float16" if all(value.dtype == torch.float16 for value in weights.values()) else "float32"


def _as_kept(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of a checkpoint of ours: float16 if all are, else float32, each with bytes of its own."""
    dtype = getattr(torch, _dtype_of(weights))
    return {
        key: value.detach().to(dtype).clone(memory_format=torch.contiguous_format) for key, value in weights.items()
    }


def _try_out(network: Network, size: int) -> None:
    """Raise CheckpointError unless a picture of noise gives finite logits and maps."""
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    with torch.inference_mode():
        logits, maps = network.forward_with_attention(noise)
    if not all(bool(values.isfinite().all()) for values in (logits, *maps.values())):
        raise CheckpointError("a picture of noise comes out of it as numbers that are not finite")


def read_classes(file: Path) -> tuple[str, ...]:
    """Read class names, one a line.

    Raises:
        CheckpointError: If there are none, an empty one between others, or the file cannot be read.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the class names '{file}' cannot be read: {error}") from error
    while lines and not lines[-1]:
        lines.pop()
    if not lines or not all(lines):
        raise CheckpointError(
            f"'{file}' must hold one class name a line, by output number; "
            f"{'line ' + str(lines.index('') + 1) + ' is empty' if lines else 'it holds none'}"
        )
    return tuple(lines)


def add_network(
    file: Path,
    *,
    classes: Sequence[str],
    preprocessing: Preprocessing | None = None,
    gain: Gain | None = None,
    layers: Sequence[int] | None = None,
    eps: float | None = None,
    kind: Kind | None = None,
    stem_stride: int | None = None,
    name: str | None = None,
    folder: Path | None = None,
) -> OwnNetwork:
    """Enter a file in a folder of the user's: as a checkpoint of ours, with a record in that folder's manifest.

    Args:
        file: The file; it is read, never changed.
        classes, preprocessing, gain, layers, eps, kind, stem_stride: See :func:`read_checkpoint`.
        name: Name of the network; None takes the file's, with a number behind it where that is taken.
        folder: Where to; None is :func:`~ulsam_viz.zoo.variants.own_folder`.

    Returns:
        The network as it was entered.

    Raises:
        CheckpointError: If the file or the folder's manifest cannot be used, or the name is taken or no plain name.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"'{file}' has more than {MAX_BYTES // 10**6} MB")
        data = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"'{file}' cannot be read ({error.strerror or error})") from error
    read = read_checkpoint(
        data,
        file.name,
        classes=classes,
        preprocessing=preprocessing,
        gain=gain,
        layers=layers,
        eps=eps,
        kind=kind,
        stem_stride=stem_stride,
    )
    if name is not None and not re.fullmatch(rf"[A-Za-z0-9_][A-Za-z0-9_.\-]{{0,{_LONGEST_NAME - 1}}}", name):
        raise CheckpointError(f"'{shortened(name)}' is no plain name: use letters, digits, '.', '-' and '_'")
    return _enter(read, name, folder or own_folder())


def _enter(read: OwnNetwork, wish: str | None, folder: Path) -> OwnNetwork:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            manifest = _manifest(folder)
            name = _free_name(wish, read.variant.name, folder)
            data = save(dict(read.weights), {"variant": name, "gain": read.variant.gain})
            path = folder / f"{name}.safetensors"
            made_by = {**read.variant.made_by, "added": datetime.now(UTC).isoformat(timespec="seconds")}
            variant = replace(
                read.variant,
                name=name,
                dataset=name,
                path=path,
                sha256=hashlib.sha256(data).hexdigest(),
                made_by=made_by,
            )
            manifest["classes"][name] = list(variant.classes)
            manifest["variants"].append(_record(variant))
            _write(path, data)
            _write(folder / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())
    except OSError as error:
        raise CheckpointError(f"nothing can be kept in '{folder}' ({error.strerror or error})") from error
    return replace(read, variant=variant)


def _free_name(wish: str | None, usual: str, folder: Path) -> str:
    """Return a name that no network has, neither of those that are shown nor of this folder's."""
    shown = list_variants() + (list_variants(folder) if (folder / "manifest.json").exists() else [])
    taken = {v.name.casefold() for v in shown} | {p.stem.casefold() for p in folder.glob("*.safetensors")}
    if wish is not None and wish.casefold() in taken:
        raise CheckpointError(f"there is a network '{wish}' already; choose another --name, or remove that one first")
    name, number = wish or usual, 1
    while name.casefold() in taken:
        number += 1
        name = f"{usual}-{number}"
    return name


def _record(variant: Variant) -> dict[str, Any]:
    assert variant.path is not None
    return {
        "name": variant.name,
        "file": variant.path.name,
        "sha256": variant.sha256,
        "backbone": variant.backbone,
        "width": variant.width,
        "placement": variant.placement.as_record() if variant.placement else None,
        "classes": variant.dataset,
        "preprocessing": asdict(variant.preprocessing),
        "metrics": {},
        "made_by": variant.made_by,
        "own": True,
        "dtype": variant.dtype,
    }


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.exists():
        return {"format": MANIFEST_FORMAT, "classes": {}, "variants": []}
    list_variants(folder)  # says what is wrong with it before anything is added to it
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def remove_network(name: str, folder: Path | None = None) -> Path:
    """Remove a network that was entered: its record and its file.

    Args:
        name: As :func:`~ulsam_viz.zoo.variants.list_variants` shows it.
        folder: That it is kept in; None looks through all that are shown.

    Returns:
        The file that is gone.

    Raises:
        CheckpointError: If there is none of that name, or it is part of a zoo that was trained here.
    """
    try:
        variant = get_variant(name, folder)
    except KeyError as error:
        raise CheckpointError(str(error.args[0])) from error
    if not variant.own or variant.path is None:
        raise CheckpointError(f"'{name}' is part of the zoo; only networks that were entered with `add` can be removed")
    place = variant.path.parent
    try:
        with FileLock(place / "lock"):
            manifest = _manifest(place)
            gone = [r for r in manifest["variants"] if r["file"] == variant.path.name]
            manifest["variants"] = [r for r in manifest["variants"] if r not in gone]
            for record in gone:
                manifest["classes"].pop(record["classes"], None)
            _write(place / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())
            variant.path.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(f"'{name}' cannot be removed ({error.strerror or error})") from error
    return variant.path


def _write(path: Path, data: bytes) -> None:
    """Write a file so that readers find the old content or the new, never a part."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, path)
