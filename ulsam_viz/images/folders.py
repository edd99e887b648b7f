"""Folders of pictures: which entries count, which files are pictures, and what their names look like."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from PIL import Image

from .decoding import FORMATS

#: How names of pictures end that can be read, in lower case: what a dialog offers, and what is training data.
ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".mpo"),
    *(".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif", ".avifs"),
)
# What systems and programs leave in folders of pictures, beside names that begin with a dot.
_LEFT_BY_PROGRAMS = {
    "__MACOSX",
    "__pycache__",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
}
_JOINERS = "\u200c\u200d"  # without which words of some scripts are written wrongly


def is_ignored(name: str) -> bool:
    """Return whether a file or folder is hidden (``.git``, ``._1.jpg``) or left by a program (``__MACOSX``)."""
    return name.startswith(".") or name in _LEFT_BY_PROGRAMS


def is_picture(path: Path) -> bool:
    """Return whether a file is a picture: by the ending of its name, and by its content where the name has none."""
    if path.suffix:
        return path.suffix.lower() in ENDINGS
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except Exception:  # Pillow's readers raise nearly every built-in type on what is no picture
        return False


@dataclass
class Walk:
    """The files below a folder, without what :func:`is_ignored` names; links to folders are followed, each folder once.

    Attributes:
        root: The folder.
        closed: Subfolders that could not be listed, by path below the root (``"a/b"``; the root itself is ``"."``),
            with the system's reason; complete when all files have been taken.
    """

    root: Path
    closed: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Path]:
        """Yield each file's path."""
        yield from self._below(self.root, set())

    def _below(self, folder: Path, visited: set[str]) -> Iterator[Path]:
        if (real := os.path.realpath(folder)) in visited:  # a link to a folder above would lead round in circles
            return
        visited.add(real)
        try:
            with os.scandir(folder) as listed:
                entries = [
                    (entry.is_symlink(), entry.name, _is_folder(entry))
                    for entry in listed
                    if not is_ignored(entry.name)
                ]
        except OSError as error:
            self.closed[folder.relative_to(self.root).as_posix()] = error.strerror or str(error)
            return
        for _, name, is_folder in sorted(entries):  # links last: a folder is found where it lies
            if is_folder:
                yield from self._below(folder / name, visited)
            else:
                yield folder / name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to where nobody may look: reading it will say why
        return False


def without_symbols(text: str, *, kept: str) -> str:
    """Replace each run of characters that are no letters (with their marks, ``é``, ``की``) or digits by ``_``.

    Args:
        text: Any text.
        kept: Punctuation that stays.
    """
    found = "_"  # until the end: a mark at the very beginning has no letter
    for character in text:
        of_a_letter = character in _JOINERS or unicodedata.category(character)[0] == "M"
        if character.isalnum() or character in kept or (of_a_letter and not found.endswith("_")):
            found += character
        elif not found.endswith("_") or found == "_":
            found += "_"
    return found[1:]


def not_taken(name: str, taken: Collection[str], *, form: str = "{} ({})", key: Callable[[str], str] = str) -> str:
    """Return a name that nothing has: this one, or with a number, ``"a.jpg (2)"``.

    Args:
        name: The wish.
        taken: Keys of the names that are there.
        form: How name and number are written.
        key: Of a name: equal keys are one name.
    """
    return next(free for i in count(1) if key(free := name if i == 1 else form.format(name, i)) not in taken)


def print_alike(name: str) -> str:
    """Return what is equal for names that look the same, however their accents are stored."""
    return unicodedata.normalize("NFC", name)


def file_key(name: str) -> str:
    """Return a key that is equal for names that some system takes for one file: case, and how accents are stored."""
    return print_alike(print_alike(name).casefold())
