"""Pictures of several datasets, and the answers that a frozen base is to keep giving for them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..images.folders import is_picture
from ..zoo.test_sets import set_in
from .classes import first_names
from .data import DataError, Part, Pictures, find_pictures

Targets = Literal["labels", "base"]
_INDEX = "imagenet_index.tsv"


@dataclass(frozen=True)
class Source:
    """One dataset of a mixture.

    Attributes:
        data: Its folder below the data root.
        dataset: ``"caltech101"`` or ``"imagefolder"``, see :func:`~ulsam_viz.training.data.find_pictures`.
        targets: ``"labels"``, where its classes are among the base's; ``"base"``: what the frozen network itself
            answers for the whole picture.
        copies: Augmented copies of each picture.
    """

    data: str
    dataset: str
    targets: Targets
    copies: int = 1

    def __post_init__(self) -> None:
        if self.targets not in ("labels", "base"):
            raise ValueError(f"targets must be 'labels' or 'base', not '{self.targets}'")
        if self.copies < 1:
            raise ValueError(f"there is at least one copy of each picture, not {self.copies}")


@dataclass(frozen=True)
class TestSet:
    """Pictures to measure a base and its modules on.

    Attributes:
        data: Its folder below the data root.
        dataset: As for :func:`find_numbered`.
        every: Every so many-th picture is taken.
        title: What the pictures are, for people; of a folder of :data:`~ulsam_viz.zoo.test_sets.KNOWN_SETS`, its title.
    """

    __test__ = False  # no test of pytest's

    data: str
    dataset: str
    every: int = 1
    title: str = ""

    def __post_init__(self) -> None:
        if not self.title:
            known = set_in(Path(self.data))
            object.__setattr__(self, "title", known.title if known else f"pictures of {self.data}")

    def find(self, data_root: Path, classes: Sequence[str]) -> Pictures:
        """List the pictures, with the class numbers of a base."""
        found = find_numbered(self.dataset, data_root / self.data, "test", classes)
        return Pictures(found.files[:: self.every], found.labels[:: self.every], found.classes)


def parse_source(text: str) -> Source:
    """Read ``FOLDER:DATASET:TARGETS[:COPIES]``, as on the command line.

    Raises:
        ValueError: With an example.
    """
    parts = text.split(":")
    try:
        data, dataset, targets = parts[:3]
        return Source(data, dataset, targets, *map(int, parts[3:]))  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise ValueError(
            "a part of a mixture is FOLDER:DATASET:TARGETS[:COPIES], for instance caltech101:caltech101:base:4, not "
            f"'{text}'"
        ) from error


def parse_test(text: str) -> TestSet:
    """Read ``FOLDER:DATASET[:EVERY]``, as on the command line.

    Raises:
        ValueError: With an example.
    """
    parts = text.split(":")
    try:
        data, dataset, every = parts if len(parts) == 3 else (*parts, "1")
        return TestSet(data, dataset, int(every))
    except ValueError as error:
        raise ValueError(
            f"what to measure on is FOLDER:DATASET[:EVERY], for instance photos:numbered, not '{text}'"
        ) from error


def is_numbered(path: Path) -> bool:
    """Return whether a file's name begins with a class number: ``007_rooster.jpg``."""
    return bool(re.match(r"\d+_", path.name))


def find_numbered(dataset: str, root: Path, part: Part, classes: Sequence[str]) -> Pictures:
    """List a dataset with the class numbers of a base, wherever its classes are among them.

    Folders are matched by name; folders of synsets by ``imagenet_index.tsv`` beside them (synset, tab, number); and
    where all thousand synsets of ImageNet are there, by their order.

    Args:
        dataset: As for :func:`~ulsam_viz.training.data.find_pictures`; also ``"numbered"``: one folder of files that
            begin with their class number, ``007_rooster.jpg``.
        root: Its folder.
        part: ``"train"`` or ``"test"``.
        classes: The base's class names.

    Raises:
        DataError: If the classes cannot be matched.
    """
    if dataset == "numbered":
        files = sorted(p for p in root.glob("*") if is_numbered(p) and p.is_file() and is_picture(p))
        numbers = [int(p.name.partition("_")[0]) for p in files]
        if not files or max(numbers) >= len(classes):
            raise DataError(f"'{root}' does not hold pictures of {len(classes)} classes named NUMBER_name.jpg")
        return Pictures(tuple(files), tuple(numbers), tuple(classes))
    pictures = find_pictures(dataset, root, part)
    number_of = {name: number for number, name in enumerate(classes)}
    if (index := root / _INDEX).is_file():
        with index.open(newline="", encoding="utf-8") as file:
            number_of |= {synset: int(number) for synset, number in csv.reader(file, delimiter="\t")}
    elif len(pictures.classes) == len(classes) == 1000 and all(
        re.fullmatch(r"n\d{8}", name) for name in pictures.classes
    ):
        number_of = {synset: number for number, synset in enumerate(pictures.classes)}
    if unknown := [name for name in pictures.classes if name not in number_of]:
        raise DataError(
            f"{len(unknown):,} classes of '{root}' are none of the base's: {first_names(unknown)} (no {_INDEX} there)"
        )
    numbers = [number_of[pictures.classes[label]] for label in pictures.labels]
    return Pictures(pictures.files, tuple(numbers), tuple(classes))
