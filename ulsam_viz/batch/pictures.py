"""From a folder of files to crops for a network, with a reason for each file that is no picture."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..images import MAX_BYTES, ImageError, too_large
from ..images.folders import Walk, is_ignored, not_taken
from ..images.preprocessing import Preprocessing, crop_centre, decode_image


class BatchError(ValueError):
    """A run that cannot start or go on; the message says what to do."""


class Stamp(NamedTuple):
    """A file's size and time of change.

    Attributes:
        size: In bytes; -1 where it cannot be told.
        modified: When, in nanoseconds since 1970; 0 where it cannot be told.
    """

    size: int
    modified: int


_CLOSED = Stamp(-1, 0)


@dataclass(frozen=True)
class Folder:
    """Files below a folder, wherever it lies.

    Attributes:
        root: A path, or an address such as ``s3://bucket/photos``.
        files: By path below it with ``/``, sorted. Every file is one, whatever its ending: what is no picture is said
            to be none. So is a folder that cannot be listed; its name ends in ``/``.
    """

    root: str
    files: Mapping[str, Stamp]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The paths alone."""
        return tuple(self.files)

    @classmethod
    def at(cls, root: str) -> Folder:
        """List a folder, its subfolders too.

        What is hidden or left by programs (:func:`~..picture_files.is_ignored`) is left out.

        Raises:
            BatchError: If it is no folder, cannot be listed, or is empty.
        """
        files = _list_address(root) if "://" in root else _list_path(Path(root))
        if not files:
            raise BatchError(f"no files in '{root}'")
        return cls(root if "://" in root else str(Path(root).resolve()), dict(sorted(files.items())))

    def with_unseen(self, known: Mapping[str, Stamp]) -> Folder:
        """Return this folder with the files that an earlier run saw in subfolders that cannot be listed now."""
        closed = tuple(name for name in self.files if name.endswith("/"))
        unseen = {name: stamp for name, stamp in known.items() if name.startswith(closed) and name not in self.files}
        return replace(self, files=dict(sorted({**self.files, **unseen}.items())))


def _list_path(root: Path) -> dict[str, Stamp]:
    walk = Walk(root)
    stamps = {path.relative_to(root).as_posix(): _stamp(path) for path in walk}
    if not _is_folder(root):
        raise BatchError(f"'{root}' is not a folder")
    if reason := walk.closed.get("."):
        raise BatchError(f"'{root}' cannot be listed ({reason}): allow it, or name another folder")
    stamps |= {f"{name}/": _CLOSED for name in walk.closed}
    return {shown: stamps[name] for name, shown in _printable(stamps).items()}


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder, or where nobody can tell."""
    try:
        return path.is_dir()
    except OSError:
        return True


def _printable(names: Iterable[str]) -> dict[str, str]:
    """Return names as they can stand in a table, each once.

    Bytes that are not UTF-8 are written ``\\xff``; :func:`read_file` refuses such a file. Where a file has just that
    name, a number follows.
    """
    written = {name: os.fsencode(name).decode("utf-8", "backslashreplace") for name in sorted(names)}
    taken = {name for name, text in written.items() if name == text}
    for name, text in written.items():
        if name != text:
            written[name] = not_taken(text, taken)
            taken.add(written[name])
    return written


def _stamp(path: Path) -> Stamp:
    try:
        about = path.stat()
    except OSError:  # reading will say why
        return _CLOSED
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
        if info.type == fs.FileType.File and not any(map(is_ignored, name.parts)):
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


def _why_closed(root: str, name: str) -> str:
    """Say why a subfolder could not be listed."""
    try:
        with os.scandir(Path(root) / name):
            return "The folder could not be listed a moment ago; an update will look into it."
    except OSError as error:
        return f"The folder cannot be listed ({error.strerror or error})."


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
    """Crops of files, ready for a network.

    Attributes:
        names: Of the files.
        reasons: Why a file cannot be used; "" where it can.
        pixels: Shape (N, S, S, 3), uint8; zeros where there is no picture. A NumPy array, or a tensor between
            processes.
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
        if name.endswith("/"):
            reasons[i] = _why_closed(root, name)
            continue
        try:
            data = read_file(root, name)
            digests[i] = _digest(data)
            pixels[i] = crop_centre(decode_image(data), preprocessing).pixels
        except ImageError as error:
            reasons[i] = str(error)
        except OSError as error:
            reasons[i] = f"The file cannot be read ({error.strerror or error})."
    return Crops(names, reasons, pixels, digests)
