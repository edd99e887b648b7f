"""What an upload could leave behind, and where a server could have left it.

On the disk, in open files, in what it prints.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from tests.browser import ROOT

_RUN = 60  # bytes that nothing else holds by chance, of a file or of pixels
#: In the repository: the history, and an environment that the tests run in.
_NOT_READ = {".git", ".venv"}


def traces(mark: str, data: bytes, pixels: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Return what to look for after a picture was brought.

    Args:
        mark: A word that is in its name and in its data.
        data: The encoded file.
        pixels: Pictures (H, W, 3) that were made of it, uint8, by what they are.

    Returns:
        Runs of bytes, none of which is anywhere by chance, by what they are.
    """
    found = {"its name or its comment": mark.encode(), "the same in UTF-16": mark.encode("utf-16-le")}
    for where in (0.3, 0.6, 0.9):
        run = data[int(len(data) * where) :][:_RUN]
        found[f"its bytes at {where:.0%}"] = run
        for shift in range(3):  # where the file begins in what was encoded is not known
            found[f"its bytes at {where:.0%} in base64, {shift}"] = base64.b64encode(run[shift : shift + _RUN - 3])
    for name, picture in pixels.items():
        rows = picture[picture.shape[0] // 3], picture[picture.shape[0] // 2]
        found |= {f"pixels of {name}, {i}": row[:_RUN].tobytes() for i, row in enumerate(rows)}
        found |= {
            f"numbers of {name}, {i}": np.float32(row[:_RUN] / np.float32(255)).tobytes() for i, row in enumerate(rows)
        }
    assert all(len(set(run)) > 5 for run in found.values())  # nothing flat, which could be anywhere
    return found


def find(looked_for: Mapping[str, bytes], places: Iterable[Path]) -> list[str]:
    """Return what is in a file, its name included: ``"its name or its comment in /tmp/x"``."""
    found = []
    for path in places:
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # it went meanwhile
            continue
        where = os.fsencode(path) + b"\0" + content
        found += [f"{what} in {path}" for what, run in looked_for.items() if run in where]
    return found


def files_below(folder: Path, *, since: int = 0) -> Iterator[Path]:
    """Return the files in a folder that were written since a time (ns of the file system's clock)."""
    for at, folders, names in os.walk(folder):  # which follows no links
        folders[:] = [name for name in folders if not (Path(at) == ROOT and name in _NOT_READ)]
        for name in names:
            path = Path(at, name)
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode) and max(status.st_mtime_ns, status.st_ctime_ns) >= since:
                yield path


def open_files(process: int) -> list[Path]:
    """Return the files that a process has open, those that were removed too; none where the system does not tell."""
    folder = Path("/proc", str(process), "fd")
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.exists() and path.is_file()]
