"""Pictures drawn to ask one question of the maps, and the regions in which the answer is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 448  # twice the networks' input, so that every edge falls on a cell of their grids


@dataclass(frozen=True)
class Probe:
    """One question.

    Attributes:
        id: Unique and lasting; it is the probe's address.
        title: For people.
        question: What is asked.
        look_for: What an answer would look like, and what it would not prove.
        draw: Makes the picture.
        regions: Named boxes in which maps are averaged: top, left, bottom, right, in fractions of the picture.
        moved: A second picture, the object moved by (rows, columns) in fractions of the picture; or None.
    """

    id: str
    title: str
    question: str
    look_for: str
    draw: Callable[[], Image.Image]
    regions: Mapping[str, tuple[float, float, float, float]]
    moved: tuple[Callable[[], Image.Image], tuple[float, float]] | None = None


def blobs() -> Image.Image:
    """Draw one large and one small soft disc of the same brightness."""
    image = Image.new("L", (SIZE, SIZE), 110)
    draw = ImageDraw.Draw(image)
    draw.ellipse((32, 128, 224, 320), fill=235)
    draw.ellipse((336, 208, 368, 240), fill=235)
    return image.filter(ImageFilter.GaussianBlur(3)).convert("RGB")


def gratings() -> Image.Image:
    """Draw coarse stripes left and fine stripes right, of the same contrast."""
    x = np.arange(SIZE)
    wave = np.where(x < SIZE // 2, np.sin(2 * np.pi * x / 64), np.sin(2 * np.pi * x / 14))
    values = (128 + 90 * wave).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(values, (SIZE, SIZE)).copy()).convert("RGB")


def _ring(left: int) -> Image.Image:
    image = Image.new("RGB", (SIZE, SIZE), (124, 116, 104))
    draw = ImageDraw.Draw(image)
    draw.ellipse((left, 160, left + 128, 288), fill=(200, 60, 50), outline=(245, 245, 245), width=12)
    draw.ellipse((left + 46, 206, left + 82, 242), fill=(245, 245, 245))
    return image.filter(ImageFilter.GaussianBlur(1))


def ring_left() -> Image.Image:
    """Draw a red ring in the left half."""
    return _ring(32)


def ring_right() -> Image.Image:
    """Draw the same ring in the right half."""
    return _ring(288)


def empty() -> Image.Image:
    """Draw nothing: an even grey."""
    return Image.new("RGB", (SIZE, SIZE), (124, 116, 104))


PROBES = (
    Probe(
        "blobs",
        "Two blobs",
        "The same brightness at two sizes: does one subspace answer to the large disc and another to the small one?",
        "Compare each disc with the same box of an empty picture. Subspaces that rise at different discs tell sizes "
        "apart; if all rise at the same one, the maps of this network are not “multi-scale” here.",
        blobs,
        {
            "large disc": (2 / 7, 1 / 14, 5 / 7, 1 / 2),
            "small disc": (3 / 7, 5 / 7, 4 / 7, 6 / 7),
            "top right": (0, 4 / 7, 2 / 7, 1),
        },
    ),
    Probe(
        "gratings",
        "Two gratings",
        "Coarse stripes left, fine stripes right: does a subspace prefer one frequency?",
        "A subspace that prefers a frequency prefers a side. The outermost places also see the border of the picture: "
        "compare with the probe “Nothing”.",
        gratings,
        {"coarse stripes": (1 / 14, 1 / 14, 13 / 14, 3 / 7), "fine stripes": (1 / 14, 4 / 7, 13 / 14, 13 / 14)},
    ),
    Probe(
        "moved",
        "One object in two places",
        "The object moves by four sevenths of the width: do the maps move with it?",
        "A correlation near 1 after moving the map back says that the subspace follows the object. The step is a whole "
        "number of cells on every grid; what differs comes from the borders.",
        ring_left,
        {"object, left": (2 / 7, 0, 5 / 7, 3 / 7), "empty half": (2 / 7, 4 / 7, 5 / 7, 1)},
        moved=(ring_right, (0.0, 4 / 7)),
    ),
    Probe(
        "nothing",
        "Nothing",
        "An even grey: is there anything left to see?",
        "There is nothing to attend to, so every preference comes from the borders of the picture (zeros are put "
        "around it) and from the weights. Remember these maps when you look at a photograph's corners.",
        empty,
        {"border": (0, 0, 1 / 7, 1), "middle": (2 / 7, 2 / 7, 5 / 7, 5 / 7)},
    ),
)


# In multiples of uniform. The scale of colours has a step every 1.6 %: three of them can just be seen.
SMALLEST_RISE = 0.05


def verdict(rises: Mapping[str, np.ndarray], correlations: np.ndarray | None = None) -> str:
    """Say in a sentence what a probe shows.

    Args:
        rises: For each region, the maps' means less those of an empty picture, shape (g,), in multiples of uniform.
        correlations: Of each map with that of the moved object, moved back, shape (g,); or None.
    """
    names = list(rises)
    means = np.stack([rises[n] for n in names])
    most = np.where(means.max(0) >= SMALLEST_RISE, means.argmax(0), -1)
    first = np.sort(means, axis=0)[::-1]
    alike = (most >= 0) & (first[0] - first[1] < SMALLEST_RISE)
    most[alike] = -2
    g = len(most)
    text = (
        "Against an empty picture, "
        + ", ".join(f"{(most == i).sum()} of {g} rise most at “{n}”" for i, n in enumerate(names))
        + (f"; {both} at several alike" if (both := int(alike.sum())) else "")
        + (f"; {still} in none of them" if (still := int((most == -1).sum())) else "")
        + f" (by {SMALLEST_RISE} × uniform or more)."
    )
    if correlations is not None:
        text += (
            f" {int((np.nan_to_num(correlations) > 0.5).sum())} of {g} maps move with the object (a correlation above "
            "0.5)."
        )
    return text


def whole_cells(region: tuple[float, float, float, float], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Widen a box (top, left, bottom, right, in fractions) to whole cells of a grid: the same four, in cells."""
    (top, left, bottom, right), (height, width) = region, shape
    return (
        int(np.floor(top * height + 1e-9)),
        int(np.floor(left * width + 1e-9)),
        int(np.ceil(bottom * height - 1e-9)),
        int(np.ceil(right * width - 1e-9)),
    )


def region_means(relative: np.ndarray, region: tuple[float, float, float, float]) -> np.ndarray:
    """Average maps over a box.

    Args:
        relative: Maps in multiples of uniform, shape (g, H, W).
        region: Top, left, bottom, right, in fractions; widened to whole cells.

    Returns:
        Shape (g,), in multiples of uniform.
    """
    top, left, bottom, right = whole_cells(region, relative.shape[1:])
    return relative[:, top:bottom, left:right].mean((1, 2))


def correlation_after_moving(before: np.ndarray, after: np.ndarray, move: tuple[float, float]) -> np.ndarray:
    """Correlate maps of a picture with those of the moved one, moved back; only places that both show are compared.

    Args:
        before: Maps, shape (g, H, W).
        after: Maps of the picture whose object was moved, same shape.
        move: By how much, down and to the right, in fractions of the picture.

    Returns:
        Pearson's r of each map, shape (g,); NaN where one of them is constant.
    """
    height, width = before.shape[1:]
    down, right = round(move[0] * height), round(move[1] * width)
    first = before[:, : height - down, : width - right].reshape(len(before), -1)
    second = after[:, down:, right:].reshape(len(after), -1)
    first, second = first - first.mean(1, keepdims=True), second - second.mean(1, keepdims=True)
    norm = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return np.where(norm > 1e-12, (first * second).sum(1) / np.where(norm > 1e-12, norm, 1), np.nan)
