"""Make the sample pictures: free photographs out of two wheels, and drawings and probes of our own.

    pip install scikit-image==0.26.0 matplotlib==3.11.2
    python assets/make_assets.py

The result is committed; this script is how it came about.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

HERE = Path(__file__).parent
SIZE = 512


def photographs() -> None:
    """Copy photographs, at most 512 pixels on the shorter side, as JPEG."""
    import matplotlib
    import skimage

    skimage_data = Path(skimage.__file__).parent / "data"
    sample_data = Path(matplotlib.get_data_path()) / "sample_data"
    sources = {
        "astronaut": skimage_data / "astronaut.png",
        "coffee": skimage_data / "coffee.png",
        "camera": skimage_data / "camera.png",
        "chelsea": skimage_data / "chelsea.png",
        "grace_hopper": sample_data / "grace_hopper.jpg",
    }
    for name, path in sources.items():
        image = Image.open(path).convert("RGB")
        scale = min(1.0, SIZE / min(image.size))
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        image.save(HERE / f"{name}.jpg", quality=90)


def stop_sign() -> Image.Image:
    """Draw a red octagon on a pole before a sky and a road."""
    scale = 2
    side = SIZE * scale
    rows = np.linspace(0, 1, side)[:, None, None]
    sky = np.array([120, 165, 215]) * (1 - rows) + np.array([205, 220, 235]) * rows
    image = Image.fromarray(np.broadcast_to(sky, (side, side, 3)).astype(np.uint8).copy())
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, side * 0.86, side, side), fill=(96, 110, 84))
    draw.rectangle((side * 0.485, side * 0.6, side * 0.515, side), fill=(130, 132, 135))

    def octagon(radius: float) -> list[tuple[float, float]]:
        angles = [math.pi / 8 + k * math.pi / 4 for k in range(8)]
        return [(side * 0.5 + radius * side * math.cos(a), side * 0.42 + radius * side * math.sin(a)) for a in angles]

    draw.polygon(octagon(0.365), fill=(245, 245, 245))
    draw.polygon(octagon(0.345), fill=(185, 25, 35))
    font = ImageFont.load_default(size=side * 0.23)
    draw.text(
        (side * 0.5, side * 0.42),
        "STOP",
        font=font,
        fill=(245, 245, 245),
        anchor="mm",
        stroke_width=side // 120,
        stroke_fill=(245, 245, 245),
    )
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def yin_yang() -> Image.Image:
    """Draw the black and white disc."""
    side = SIZE * 2
    image = Image.new("RGB", (side, side), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    c, r = side / 2, side * 0.42

    def disc(x: float, y: float, radius: float, fill: str) -> None:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    disc(c, c, r * 1.02, "black")
    disc(c, c, r, "white")
    draw.pieslice((c - r, c - r, c + r, c + r), 90, 270, fill="black")
    disc(c, c - r / 2, r / 2, "black")
    disc(c, c + r / 2, r / 2, "white")
    disc(c, c - r / 2, r / 7, "white")
    disc(c, c + r / 2, r / 7, "black")
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def blobs() -> Image.Image:
    """Draw one large and one small soft disc: which subspaces answer to which scale?"""
    image = Image.new("L", (SIZE, SIZE), 110)
    draw = ImageDraw.Draw(image)
    draw.ellipse((60, 150, 270, 360), fill=235)
    draw.ellipse((380, 235, 420, 275), fill=235)
    return image.filter(ImageFilter.GaussianBlur(4)).convert("RGB")


def gratings() -> Image.Image:
    """Draw stripes of two frequencies side by side."""
    x = np.arange(SIZE)
    wave = np.where(x < SIZE // 2, np.sin(2 * np.pi * x / 64), np.sin(2 * np.pi * x / 12))
    values = (128 + 90 * wave).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(values, (SIZE, SIZE)).copy()).convert("RGB")


def empty() -> Image.Image:
    """Draw nothing: an even grey. What remains in the maps comes from the borders and the weights."""
    return Image.new("RGB", (SIZE, SIZE), (124, 116, 104))


if __name__ == "__main__":
    photographs()
    for make in (stop_sign, yin_yang, blobs, gratings, empty):
        make().save(HERE / f"{make.__name__}.png", optimize=True)
