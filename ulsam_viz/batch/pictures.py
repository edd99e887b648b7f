"""A folder of whatever files -> crops that a network can be given, and for the other files the reason why not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..decoding import MAX_BYTES, ImageError, too_large
from ..images import Preprocessing, crop_centre, decode_image


class BatchError(ValueError):
    """A run that cannot be; the message says what to do."""


class Stamp(NamedTuple):
    """What a file shows of itself without being read.

    Attributes:
        size: In bytes; -1 where it cannot be told.
        modified: When, in nanoseconds since 1970; 0 where it cannot be told.
    """

    size: int
    modified: int


@dataclass(frozen=True)
class Folder:
    """Files below a folder, wherever it lies.

    Attributes:
        root: A path, or an address such as ``s3://bucket/photos``.
        files: By path below it with ``/``, sorted. Every file is one, whatever its ending: what is no picture is said to be none.
    """

    root: str
    files: Mapping[str, Stamp]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The paths alone."""
        return tuple(self.files)

    @classmethod
    def at(cls, root: str) -> Folder:
        """List a folder, its subfolders too; hidden files and folders are left out.

        Raises:
            BatchError: If it is no folder, or empty.
        """
        files = _list_address(root) if "://" in root else _list_path(Path(root))
        if not files:
            raise BatchError(f"no files in '{root}'")
        return cls(root if "://" in root else str(Path(root).resolve()), dict(sorted(files.items())))


def _list_path(root: Path) -> dict[str, Stamp]:
    if not root.is_dir():
        raise BatchError(f"'{root}' is not a folder")
    found: dict[str, Stamp] = {}
    visited = set()
    for folder, inside, files in os.walk(root, followlinks=True):
        inside[:] = [name for name in inside if not name.startswith(".")]
        if (real := os.path.realpath(folder)) in visited:  # a link to a folder above would lead round in circles
            inside.clear()
            continue
        visited.add(real)
        for name in files:
            if not name.startswith("."):
                path = Path(folder) / name
                found[_printable(path.relative_to(root).as_posix())] = _stamp(path)
    return found


def _printable(name: str) -> str:
    """Return a name as it can stand in a table: bytes that are not UTF-8 as ``\\xff``; :func:`read_file` refuses the file."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _stamp(path: Path) -> Stamp:
    try:
        about = path.stat()
    except OSError:  # reading will say why
        return Stamp(-1, 0)
    return Stamp(about.st_size, about.st_mtime_ns)


def _list_address(root: str) -> dict[str, Stamp]:
    from pyarrow import fs

    try:
        system, base = fs.FileSystem.from_uri(root)
        listed = system.get_file_info(fs.FileSelector(base, recursive=True))
    except (OSError, ValueError) as error:
        raise BatchError(f"'{root}' cannot be listed: {error}") from error
    found = {}
    for info in listed:
        name = PurePosixPath(info.path).relative_to(base)
        if info.type == fs.FileType.File and not any(part.startswith(".") for part in name.parts):
            found[str(name)] = Stamp(-1 if info.size is None else info.size, info.mtime_ns or 0)
    return found


def read_file(root: str, name: str) -> bytes:
    """Read a file of a folder, but for one that is too large.

    Raises:
        ImageError: If it is too large for a picture.
        OSError: If it cannot be read.
    """
    if "://" not in root:
        path = Path(root) / name
        if "\\x" in name and not os.path.lexists(path):
            raise OSError("its name is not UTF-8: rename it")
        if path.exists() and not path.is_file():
            raise OSError("it is no ordinary file")  # a pipe would be waited for
        with path.open("rb") as file:
            return _read_opened(file, os.fstat(file.fileno()).st_size)
    from pyarrow import fs

    system, base = fs.FileSystem.from_uri(root)
    with system.open_input_file(f"{base}/{name}") as opened:
        return _read_opened(opened, opened.size())


def _read_opened(file: BinaryIO, size: int) -> bytes:
    if size > MAX_BYTES:
        raise ImageError(too_large(size))
    return bytes(file.read(MAX_BYTES + 1))  # it may have grown


def digest_of(root: str, name: str) -> str:
    """Return the SHA-256 of a file of a folder; "" where it cannot be read."""
    try:
        return _digest(read_file(root, name))
    except (OSError, ImageError):
        return ""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Crops:
    """Files as a network sees them.

    Attributes:
        names: Of the files.
        reasons: Why a file cannot be used; "" where it can.
        pixels: Shape (N, S, S, 3), uint8; zeros where there is no picture. A NumPy array, or a tensor between processes.
        digests: SHA-256 of the files, "" of what cannot be read; none where the pictures are no files.
    """

    names: Sequence[str]
    reasons: Sequence[str]
    pixels: Any
    digests: Sequence[str] = ()


def read_crops(root: str, names: Sequence[str], preprocessing: Preprocessing) -> Crops:
    """Read files, decode them as the page does, and crop them as the network wants them."""
    size = preprocessing.input_size
    pixels = np.zeros((len(names), size, size, 3), np.uint8)
    reasons, digests = [""] * len(names), [""] * len(names)
    for i, name in enumerate(names):
        try:
            data = read_file(root, name)
            digests[i] = _digest(data)
            pixels[i] = crop_centre(decode_image(data), preprocessing).pixels
        except ImageError as error:
            reasons[i] = str(error)
        except OSError as error:
            reasons[i] = f"The file cannot be read ({error.strerror or error})."
    return Crops(names, reasons, pixels, digests)
