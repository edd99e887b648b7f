"""Pictures on disk -> one fixed split -> augmented batches that are the same in every run.

Every random choice is drawn from (seed, epoch, picture), never from a running generator: a run that was killed and
resumed, or that loads with another number of workers, sees exactly the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as transforms

from ..images import ImageError, decode
from ..images.folders import ENDINGS, Walk, is_ignored, is_picture
from ..images.preprocessing import decode_image
from .classes import class_difference, first_names

Part = Literal["train", "test"]
#: What a network can be trained on, see :func:`find_pictures`.
DATASETS = ("caltech101", "imagefolder")
_IGNORED_CLASSES = {"BACKGROUND_Google"}  # Caltech-101's clutter folder is no class
_CALTECH_PICTURES = 8677
_HELD_OUT_EVERY = 3
_PARTS = {"train", "training", "val", "valid", "validation", "test"}  # folders of parts, not of classes
_KEEP_SHORTER_SIDE = 256


class DataError(ValueError):
    """A data folder that cannot be used; the message says what was expected where."""


@dataclass(frozen=True)
class Pictures:
    """A part of a dataset.

    Attributes:
        files: Paths, in a fixed order.
        labels: Class number of each file.
        classes: Class names by number.
    """

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """A dataset's two parts, of the same classes.

    Attributes:
        train: What is trained on.
        held_out: What is measured on.
        rule: How they were told apart, for people.
    """

    train: Pictures
    held_out: Pictures
    rule: str

    def __str__(self) -> str:
        """Return a summary: ``"101 classes, 8,677 pictures: 5,818 to train on, 2,859 held out (...)"``."""
        count, held_out = len(self.train.files), len(self.held_out.files)
        return (
            f"{len(self.train.classes):,} classes, {count + held_out:,} pictures: {count:,} to train on, {held_out:,} "
            f"held out ({self.rule})"
        )


def find_split(dataset: str, root: Path, *, download: bool = False) -> Split:
    """List a dataset that is to be trained on; see :func:`find_pictures`.

    Raises:
        DataError: If the folder does not hold what the name promises, its parts have different classes, or there is one
            class alone.
    """
    folder = _folder_of(dataset, root, download=download)
    if _has_parts(dataset, root):
        train, held_out, rule = _list_folder(root / "train"), _list_folder(root / "val"), "train and val"
        if difference := class_difference(train.classes, held_out.classes, "in train alone", "in val alone"):
            raise DataError(f"'{root}' has different classes in train and val: {difference}; make them the same")
    else:
        every = _list_folder(folder)
        train, held_out, rule = _part(every, "train"), _part(every, "test"), "every third of each class"
    if len(train.classes) < 2:
        raise DataError(
            f"'{folder}' has one class alone, '{train.classes[0]}': name the folder that holds the folders of all "
            "classes"
        )
    return Split(train, held_out, rule)


def numbered_as(pictures: Pictures, classes: Sequence[str], whose: str) -> Pictures:
    """Return pictures with the numbers that a network gives their classes.

    Args:
        pictures: Of a dataset.
        classes: The network's, by number.
        whose: What has these classes, for a message.

    Raises:
        DataError: If the dataset has other classes; the message names some.
    """
    if difference := class_difference(classes, pictures.classes):
        raise DataError(f"the data has other classes than {whose}: {difference}")
    number_of = {name: number for number, name in enumerate(classes)}
    labels = tuple(number_of[pictures.classes[label]] for label in pictures.labels)
    return Pictures(pictures.files, labels, tuple(classes))


def find_pictures(dataset: str, root: Path, part: Part, *, download: bool = False) -> Pictures:
    """List one part of a dataset.

    Caltech-101 and a plain image folder are split by a rule that anyone can repeat: in each class, files sorted by
    name, every third one (the 3rd, 6th, ...) is held out. A folder that holds ``train`` and ``val`` is split by them.
    Pictures are told by their ending, or by their content where they have none (:func:`~..picture_files.is_picture`);
    what is hidden or left by programs counts for nothing.

    Args:
        dataset: ``"caltech101"`` (torchvision's layout) or ``"imagefolder"`` (one folder a class).
        root: Folder that holds the dataset.
        part: ``"train"`` or ``"test"`` (held out).
        download: Fetch Caltech-101 through torchvision if it is not there.

    Raises:
        DataError: If the folder does not hold what the name promises, or a class has no picture.
    """
    folder = _folder_of(dataset, root, download=download)
    if _has_parts(dataset, root):
        return _list_folder(root / ("train" if part == "train" else "val"))
    found = _part(_list_folder(folder), part)
    if not found.files:
        raise DataError(
            f"no class in '{folder}' has {_HELD_OUT_EVERY} pictures, of which one would be held out: put more into each"
        )
    return found


def _folder_of(dataset: str, root: Path, *, download: bool) -> Path:
    """Return the folder that holds the classes, or the parts."""
    if dataset == "caltech101":
        if download:
            from torchvision.datasets import Caltech101

            Caltech101(str(root), download=True)  # which takes any folder of that name for a whole download
        candidates = [root / "caltech101" / "101_ObjectCategories", root / "101_ObjectCategories", root]
        folder = next((c for c in candidates if (c / "accordion").is_dir()), None)
        if folder is None:
            raise DataError(
                f"no Caltech-101 in '{root}': expected '{candidates[0]}', which `train --download` fetches; for a "
                "dataset of your own, a folder a class, pass --dataset imagefolder"
            )
        if download and (found := len(_list_folder(folder).files)) != _CALTECH_PICTURES:
            raise DataError(
                f"the download is not whole: {found:,} of {_CALTECH_PICTURES:,} pictures in '{folder}'; delete that "
                "folder and try again"
            )
        return folder
    if dataset == "imagefolder":
        return root
    raise DataError(f"unknown dataset '{dataset}': use {' or '.join(DATASETS)}")


def _has_parts(dataset: str, root: Path) -> bool:
    return dataset == "imagefolder" and (root / "train").is_dir() and (root / "val").is_dir()


def _list_folder(folder: Path) -> Pictures:
    """List all pictures of a folder of classes, sorted by class and name."""
    classes = _classes_in(folder)
    if classes and {*classes} <= _PARTS:
        raise DataError(f"'{folder}' holds {' and '.join(classes)}, which are no classes: name its parts train and val")
    of_class = [_pictures_below(folder / name) for name in classes]
    if not any(of_class):
        raise DataError(
            f"no pictures in '{folder}': expected one folder a class, with files that end in {', '.join(ENDINGS)}"
        )
    if empty := [name for name, files in zip(classes, of_class, strict=True) if not files]:
        raise DataError(
            f"classes without a picture in '{folder}': {first_names(empty)}; put pictures there "
            f"({', '.join(ENDINGS)}), or remove {'these folders' if len(empty) > 1 else 'this folder'}"
        )
    labels = [label for label, files in enumerate(of_class) for _ in files]
    return Pictures(tuple(path for files in of_class for path in files), tuple(labels), classes)


def _classes_in(folder: Path) -> tuple[str, ...]:
    """Return the names of a folder's subfolders that are classes."""
    try:
        names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not is_ignored(p.name))
    except (NotADirectoryError, FileNotFoundError) as error:
        raise DataError(f"'{folder}' is not a folder") from error
    except OSError as error:
        raise DataError(f"'{folder}' cannot be listed ({error.strerror or error})") from error
    return tuple(name for name in names if name not in _IGNORED_CLASSES)


def _pictures_below(folder: Path) -> list[Path]:
    walk = Walk(folder)
    files = sorted(path for path in walk if is_picture(path))
    for name, reason in walk.closed.items():
        raise DataError(f"'{folder / name}' cannot be listed ({reason}): allow it, or take it out of the folder")
    return files


def _part(pictures: Pictures, part: Part) -> Pictures:
    """Return the pictures of one part: of each class, every third is held out."""
    chosen, of_class = [], dict[int, int]()
    for i, label in enumerate(pictures.labels):
        of_class[label] = of_class.get(label, 0) + 1
        if (of_class[label] % _HELD_OUT_EVERY == 0) == (part == "test"):
            chosen.append(i)
    return Pictures(
        tuple(pictures.files[i] for i in chosen), tuple(pictures.labels[i] for i in chosen), pictures.classes
    )


def read_rgb(path: Path) -> Image.Image:
    """Open a training picture as the app does, shrunk to a shorter side of at most 256 pixels to save memory.

    Raises:
        DataError: If it cannot be decoded; the message names the file.
    """
    try:
        rgb = decode(path.read_bytes(), draft=_KEEP_SHORTER_SIDE * 2).image
    except (ImageError, OSError) as error:
        raise DataError(f"'{path}' cannot be used: {error} Take it out of the folder.") from error
    if (shorter := min(rgb.size)) > _KEEP_SHORTER_SIDE:
        scale = _KEEP_SHORTER_SIDE / shorter
        rgb = rgb.resize(
            (round(rgb.width * scale), round(rgb.height * scale)), Image.Resampling.BICUBIC, reducing_gap=3
        )
    return rgb


def read_whole(path: Path) -> Image.Image:
    """Open a held-out picture exactly as the app does, at its full size.

    Raises:
        DataError: If the app would refuse it; the message names the file.
    """
    try:
        return decode_image(path.read_bytes())
    except (ImageError, OSError) as error:
        raise DataError(f"'{path}' cannot be used: {error} Take it out of the folder.") from error


def check_pictures(pictures: Pictures) -> None:
    """Open every held-out picture once.

    Raises:
        DataError: Naming the first that cannot be used.
    """
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda path: read_whole(path).close(), pictures.files):
            pass


class AugmentedPictures(Dataset[tuple[Tensor, int]]):
    """A dataset held in memory as uint8; an item is addressed by (epoch, index, size) and augmented accordingly."""

    def __init__(self, pictures: Pictures, *, seed: int, min_area: float) -> None:
        self.labels, self.seed, self.min_area = pictures.labels, seed, min_area
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter lock
            self.pixels = list(pool.map(lambda p: torch.from_numpy(np.array(read_rgb(p))), pictures.files))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, address: tuple[int, int, int]) -> tuple[Tensor, int]:
        """Return a random resized crop, flipped half of the time, shape (3, S, S) uint8, and its label."""
        epoch, index, size = address
        rng = np.random.default_rng((self.seed, epoch, index))
        pixels = self.pixels[index]
        height, width = pixels.shape[:2]
        for _ in range(10):
            area = height * width * rng.uniform(self.min_area, 1)
            ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
            w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if w <= width and h <= height:
                break
        else:
            w = h = min(width, height)
        top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        crop = pixels[top : top + h, left : left + w].permute(2, 0, 1)
        if rng.random() < 0.5:
            crop = crop.flip(-1)
        crop = transforms.resize(crop, [size, size], antialias=True)
        return crop.contiguous(memory_format=torch.contiguous_format), self.labels[index]


def all_batches(
    data: AugmentedPictures,
    *,
    sizes: Sequence[int],
    batch: int,
    workers: int,
    part: slice = slice(None),
    start: int = 0,
    pinned: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of a whole run, shuffled anew in each epoch, by workers that live as long as the run.

    Args:
        data: The pictures.
        sizes: Side of the input in each epoch.
        batch: Pictures in a batch; a last one of an epoch that is not full is dropped.
        workers: Processes that load; 0 loads in this one.
        part: One process's part of each batch, when several train together.
        start: Batches to leave out, which an earlier process has had.
        pinned: Put batches where a GPU can fetch them while something else runs.

    Yields:
        uint8 pictures (batch, 3, S, S) and labels (batch,); fewer of both with a ``part``.
    """
    count = len(data) // batch

    def addresses() -> Iterator[list[tuple[int, int, int]]]:
        for epoch, size in enumerate(sizes):
            order = np.random.default_rng((data.seed, epoch)).permutation(len(data))
            for b in range(max(0, start - epoch * count), count):
                yield [(epoch, int(i), size) for i in order[b * batch : (b + 1) * batch][part]]

    prefetch = 4 if workers else None
    yield from DataLoader(
        data, batch_sampler=addresses(), num_workers=workers, prefetch_factor=prefetch, pin_memory=pinned
    )


def jitter(pixels: Tensor, rng: torch.Generator, *, strength: float, batch: int, part: slice = slice(None)) -> Tensor:
    """Vary brightness, contrast and saturation of each picture of a normalised batch by up to ``strength``.

    Args:
        pixels: Shape (N, 3, H, W), normalised; changed in place, since it is the batch's own copy.
        rng: Source of the factors.
        strength: Largest relative change; 0 changes nothing.
        batch: Pictures of the whole batch, for which factors are drawn.
        part: Which of them these are.
    """
    if not strength:
        return pixels
    brightness, contrast, saturation = (
        (torch.rand(3, batch, 1, 1, 1, generator=rng) * 2 - 1).mul_(strength)[:, part].to(pixels.device)
    )
    # One affine map a picture: saturation about the grey of each pixel, contrast about the picture's mean.
    grey = pixels.mean(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    pixels.mul_((1 + contrast) * (1 + saturation)).sub_(grey.mul_(saturation * (1 + contrast)))
    return pixels.add_(brightness - contrast * mean)
