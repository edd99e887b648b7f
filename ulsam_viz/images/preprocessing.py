"""From an uploaded file to an upright sRGB picture, to the network's input, and the very crop that it saw."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from PIL import Image, ImageOps

from . import MAX_BYTES as MAX_BYTES
from . import ImageError as ImageError
from . import decode

if TYPE_CHECKING:  # torch takes seconds to import, and pictures can be shown without it
    from torch import Tensor

Interpolation = Literal["bicubic", "bilinear"]
_FILTERS: dict[str, Image.Resampling] = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input; it belongs to the weights, and training and app both read it.

    Attributes:
        input_size: Side of the square input in pixels: the centre square is cropped and resized to it.
        mean, std: Per channel (RGB), for values in [0, 1].
        crop: Side of the centre square as a share of the shorter side. (Resizing the shorter side to 256 and cropping
            224 is a share of 224 / 256.)
        interpolation: Of the resizing; always antialiased.
    """

    input_size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    crop: float = 1.0
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        if self.input_size < 32 or self.input_size % 32:
            # Elsewhere the last stride meets an odd grid, and accuracy falls by half (measured: 76 % -> 43 % at 176).
            raise ValueError(f"input_size must be a positive multiple of 32, not {self.input_size}")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop is a share of the shorter side, above 0 and at most 1, not {self.crop}")
        if self.interpolation not in _FILTERS:
            raise ValueError(f"interpolation must be one of {', '.join(_FILTERS)}, not '{self.interpolation}'")

    def normalize(self, pixels: Tensor) -> Tensor:
        """Map uint8 pixels, shape (..., 3, H, W), to normalised float32 of the same shape."""
        import torch

        # Their own dtype: a program may have set another default.
        mean = torch.tensor(self.mean, dtype=torch.float32, device=pixels.device).view(3, 1, 1) * 255
        std = torch.tensor(self.std, dtype=torch.float32, device=pixels.device).view(3, 1, 1) * 255
        return pixels.to(torch.float32, copy=True).sub_(mean).div_(std)  # in place: a batch is 10 MB

    def in_grey_levels(self, change: float) -> float:
        """Return how many of 255 grey levels a change in normalised units is, in the channel where it is most."""
        return 255 * max(self.std) * change


@dataclass(frozen=True)
class Square:
    """A square crop of a picture, in hundredths of its size: addresses have two decimals.

    Attributes:
        top, left: Of its upper left corner, in fractions of the picture's height and width.
        side: As a fraction of the picture's shorter side, from ``SMALLEST`` to 1.
    """

    SMALLEST: ClassVar[float] = 0.1

    top: float
    left: float
    side: float

    @classmethod
    def read(cls, values: Sequence[Any], size: tuple[int, int]) -> Square:
        """Return the square that three numbers from an address or a command name.

        Args:
            values: Top, left and side: numbers, or text of them.
            size: Width and height of the picture, in pixels.

        Returns:
            The nearest square in hundredths that lies in the picture.

        Raises:
            ValueError: If these are not three finite numbers, or not a square in the picture. What leaves it by no more
                than a hundredth is only rounded.
        """
        try:
            top, left, side = map(float, values)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError("a crop is three numbers: top, left and side") from error
        high, wide = cls._room(side, size) if math.isfinite(side) else (math.nan, math.nan)
        # NaN is not, either
        if not (cls.SMALLEST <= side <= 1 and 0 <= top <= high + 0.01 and 0 <= left <= wide + 0.01):
            raise ValueError("a crop is a square that lies in the picture")
        return cls(*(round(v, 2) for v in (min(top, high), min(left, wide), side)))

    @classmethod
    def centre(cls, size: tuple[int, int]) -> Square:
        """Return the largest square in the middle of a picture of this width and height."""
        high, wide = cls._room(1, size)
        return cls(round(high / 2, 2), round(wide / 2, 2), 1.0)

    @staticmethod
    def _room(side: float, size: tuple[int, int]) -> tuple[float, float]:
        """Return how far down and to the right the corner may be, in fractions."""
        width, height = size
        pixels = side * min(size)
        return 1 - pixels / height, 1 - pixels / width

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom in pixels of a picture of this width and height; all of it lies inside."""
        width, height = size
        side = max(1, round(self.side * min(size)))
        left, top = min(round(self.left * width), width - side), min(round(self.top * height), height - side)
        return left, top, left + side, top + side

    def __str__(self) -> str:
        """Write it as an address does: ``"0.10,0.25,0.80"``."""
        return f"{self.top:.2f},{self.left:.2f},{self.side:.2f}"


@dataclass(frozen=True)
class Crop:
    """The square of a picture that a network sees.

    Attributes:
        pixels: Shape (S, S, 3), uint8.
        key: Names the crop: equal keys, equal pixels.
    """

    pixels: np.ndarray
    key: str


@dataclass(frozen=True)
class ModelInput(Crop):
    """What a network is given, with the very pixels that it was made from, so that overlays align.

    Attributes:
        tensor: Normalised input, shape (1, 3, S, S), float32.
    """

    tensor: Tensor


def crop_centre(image: Image.Image, preprocessing: Preprocessing) -> Crop:
    """Crop the centre square of an RGB picture of any size, and resize it to the input size (antialiased)."""
    size = preprocessing.input_size
    border = (1 - preprocessing.crop) / 2  # of each side, and so of the centre square's
    crop = ImageOps.fit(image, (size, size), _FILTERS[preprocessing.interpolation], bleed=border)
    pixels = np.asarray(crop, dtype=np.uint8)
    return Crop(pixels, hashlib.sha256(repr(preprocessing).encode() + pixels.tobytes()).hexdigest())


def prepare(image: Image.Image, preprocessing: Preprocessing) -> ModelInput:
    """Crop the centre square, resize it to the input size (antialiased) and normalise.

    Args:
        image: An RGB picture of any size.
        preprocessing: Size and normalisation, from the variant.

    Returns:
        The crop and the tensor. The picture itself is not changed.
    """
    import torch

    crop = crop_centre(image, preprocessing)
    tensor = preprocessing.normalize(torch.from_numpy(crop.pixels.copy()).permute(2, 0, 1))
    return ModelInput(crop.pixels, crop.key, tensor.unsqueeze(0).contiguous(memory_format=torch.channels_last))


def decode_image(data: bytes) -> Image.Image:
    """Decode an uploaded file.

    Colours are converted to sRGB by the file's colour profile, EXIF orientation is applied, transparency is composited
    on white, more than 8 bits are scaled, and of an animation the first frame is taken, of a file with pages the first.

    Args:
        data: The whole file: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.

    Returns:
        An upright RGB picture, fully loaded.

    Raises:
        ImageError: For anything else: no picture, damaged or cut short, too large, an unknown format. The message says
            which.
    """
    return decode(data).image
