"""A folder of whatever files -> crops that a network can be given, and for the other files the reason why not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..images import MAX_BYTES, ImageError, Preprocessing, crop_centre, decode_image


class BatchError(ValueError):
    """A run that cannot be; the message says what to do."""


@dataclass(frozen=True)
class Folder:
    """Files below a folder, wherever it lies.

    Attributes:
        root: A path, or an address such as ``s3://bucket/photos``.
        names: Paths below it with ``/``, sorted. Every file is one, whatever its ending: what is no picture is said to be none.
    """

    root: str
    names: tuple[str, ...]

    @classmethod
    def at(cls, root: str) -> Folder:
        """List a folder, its subfolders too; hidden files and folders are left out.

        Raises:
            BatchError: If it is no folder, or empty.
        """
        names = _list_address(root) if "://" in root else _list_path(Path(root))
        if not names:
            raise BatchError(f"no files in '{root}'")
        return cls(root if "://" in root else str(Path(root).resolve()), tuple(sorted(names)))


def _list_path(root: Path) -> list[str]:
    if not root.is_dir():
        raise BatchError(f"'{root}' is not a folder")
    names, visited = [], set()
    for folder, inside, files in os.walk(root, followlinks=True):
        inside[:] = [name for name in inside if not name.startswith(".")]
        if (real := os.path.realpath(folder)) in visited:  # a link to a folder above would lead round in circles
            inside.clear()
            continue
        visited.add(real)
        below = Path(folder).relative_to(root)
        names += [(below / name).as_posix() for name in files if not name.startswith(".")]
    if odd := [name for name in names if name.encode("utf-8", "replace").decode() != name]:
        raise BatchError(f"the name of {odd[0]!r} is no text, and cannot stand in a table: rename the file")
    return names


def _list_address(root: str) -> list[str]:
    from pyarrow import fs

    try:
        system, base = fs.FileSystem.from_uri(root)
        found = system.get_file_info(fs.FileSelector(base, recursive=True))
    except (OSError, ValueError) as error:
        raise BatchError(f"'{root}' cannot be listed: {error}") from error
    below = [PurePosixPath(info.path).relative_to(base) for info in found if info.type == fs.FileType.File]
    return [str(name) for name in below if not any(part.startswith(".") for part in name.parts)]


def read_file(root: str, name: str) -> bytes:
    """Read a file of a folder, of one that is too large only enough to see that.

    Raises:
        OSError: If it cannot be read.
    """
    if "://" not in root:
        path = Path(root) / name
        if path.exists() and not path.is_file():
            raise OSError("it is no ordinary file")  # a pipe would be waited for
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    from pyarrow import fs

    system, base = fs.FileSystem.from_uri(root)
    with system.open_input_stream(f"{base}/{name}") as stream:
        return bytes(stream.read(MAX_BYTES + 1))


@dataclass(frozen=True)
class Crops:
    """Files as a network sees them.

    Attributes:
        names: Of the files.
        reasons: Why a file cannot be used; "" where it can.
        pixels: Shape (N, S, S, 3), uint8; zeros where there is no picture. A NumPy array, or a tensor between processes.
    """

    names: Sequence[str]
    reasons: Sequence[str]
    pixels: Any


def read_crops(root: str, names: Sequence[str], preprocessing: Preprocessing) -> Crops:
    """Read files, decode them as the page does, and crop them as the network wants them."""
    size = preprocessing.input_size
    pixels = np.zeros((len(names), size, size, 3), np.uint8)
    reasons = []
    for place, name in zip(pixels, names, strict=True):
        try:
            place[:] = crop_centre(decode_image(read_file(root, name)), preprocessing).pixels
            reasons.append("")
        except ImageError as error:
            reasons.append(str(error))
        except OSError as error:
            reasons.append(f"The file cannot be read ({error.strerror or error}).")
    return Crops(names, reasons, pixels)
