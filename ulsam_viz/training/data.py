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

from ..decoding import ImageError, decode
from ..images import decode_image

Part = Literal["train", "test"]
#: What a network can be trained on, see :func:`find_pictures`.
DATASETS = ("caltech101", "imagefolder")
_IGNORED_CLASSES = {"BACKGROUND_Google"}  # Caltech-101's clutter folder is no class
_CALTECH_PICTURES = 8677
_HELD_OUT_EVERY = 3
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


def find_pictures(dataset: str, root: Path, part: Part, *, download: bool = False) -> Pictures:
    """List one part of a dataset.

    Caltech-101 and a plain image folder are split by a rule that anyone can repeat: in each class, files sorted by
    name, every third one (the 3rd, 6th, ...) is held out. A folder that holds ``train`` and ``val`` is split by them.

    Args:
        dataset: ``"caltech101"`` (torchvision's layout) or ``"imagefolder"`` (one folder a class).
        root: Folder that holds the dataset.
        part: ``"train"`` or ``"test"`` (held out).
        download: Fetch Caltech-101 through torchvision if it is not there.

    Raises:
        DataError: If the folder does not hold what the name promises.
    """
    if dataset == "caltech101":
        if download:
            from torchvision.datasets import Caltech101

            Caltech101(str(root), download=True)  # which takes any folder of that name for a whole download
        candidates = [root / "caltech101" / "101_ObjectCategories", root / "101_ObjectCategories", root]
        folder = next((c for c in candidates if (c / "accordion").is_dir()), None)
        if folder is None:
            raise DataError(f"no Caltech-101 in '{root}': expected '{candidates[0]}' (or pass --download)")
        if download and (found := len(_list_folder(folder, part=None).files)) != _CALTECH_PICTURES:
            raise DataError(
                f"the download is not whole: {found:,} of {_CALTECH_PICTURES:,} pictures in '{folder}'; delete that folder and try again"
            )
    elif dataset == "imagefolder":
        folder = root
        if (root / "train").is_dir() and (root / "val").is_dir():
            return _list_folder(root / ("train" if part == "train" else "val"), part=None)
    else:
        raise DataError(f"unknown dataset '{dataset}': use {' or '.join(DATASETS)}")
    return _list_folder(folder, part=part)


def _list_folder(folder: Path, *, part: Part | None) -> Pictures:
    if not folder.is_dir():
        raise DataError(f"'{folder}' is not a folder")
    classes = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name not in _IGNORED_CLASSES))
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        suffixes = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".avif"}
        members = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in suffixes)
        if part:
            members = [p for i, p in enumerate(members, start=1) if (i % _HELD_OUT_EVERY == 0) == (part == "test")]
        files += members
        labels += [label] * len(members)
    if not files:
        raise DataError(f"no pictures in '{folder}': expected one folder a class, with JPEG, PNG, WebP, AVIF or BMP files")
    return Pictures(tuple(files), tuple(labels), classes)


def read_rgb(path: Path) -> Image.Image:
    """Open a training picture as the app does, shrunk to a shorter side of at most 256 pixels (to fit a dataset in memory).

    Raises:
        DataError: If it cannot be decoded; the message names the file.
    """
    try:
        rgb = decode(path.read_bytes(), draft=_KEEP_SHORTER_SIDE * 2).image
    except (ImageError, OSError) as error:
        raise DataError(f"'{path}' cannot be used: {error} Take it out of the folder.") from error
    if (shorter := min(rgb.size)) > _KEEP_SHORTER_SIDE:
        scale = _KEEP_SHORTER_SIDE / shorter
        rgb = rgb.resize((round(rgb.width * scale), round(rgb.height * scale)), Image.Resampling.BICUBIC, reducing_gap=3)
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
    yield from DataLoader(data, batch_sampler=addresses(), num_workers=workers, prefetch_factor=prefetch, pin_memory=pinned)


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
