"""Any file at all: an upright RGB picture or one clear sentence."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import encode, noise
from ulsam_viz import ImageError, decode_image
from ulsam_viz.images import decode
from ulsam_viz.images.preprocessing import MAX_BYTES, Preprocessing, prepare

RGB = Image.fromarray(noise((40, 60, 3)))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP", "JPEG", "GIF", "AVIF"])
def test_each_format_is_decoded(form: str) -> None:
    image = decode_image(encode(RGB, form))
    assert (image.mode, image.size) == ("RGB", (60, 40))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK"])
def test_each_mode_becomes_rgb(mode: str) -> None:
    form = "TIFF" if mode in {"CMYK", "F", "I"} else "PNG"
    image = decode_image(
        encode(RGB.convert("L").convert(mode) if mode in {"I;16", "I", "F"} else RGB.convert(mode), form)
    )
    assert image.mode == "RGB"


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to show
    image = decode_image(encode(RGB, "JPEG", exif=exif))
    assert image.size == (40, 60)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    values = np.asarray(decode_image(encode(Image.fromarray(ramp))))[..., 0]
    assert values.min() == 0
    assert values.max() == 255
    assert 120 < values.mean() < 135


def test_transparency_shows_white_not_hidden_colours() -> None:
    hidden = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    assert np.asarray(decode_image(encode(hidden))).min() == 255
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    assert np.asarray(decode_image(encode(palette, transparency=0))).min() == 255


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (20, 20), c) for c in ("red", "blue")]
    for form in ("GIF", "PNG", "WEBP", "AVIF"):
        shown = decode(encode(frames[0], form, save_all=True, append_images=frames[1:]))
        assert shown.notes == ("The first frame of the animation is shown.",), form
        assert np.abs(np.asarray(shown.image, int)[0, 0] - (255, 0, 0)).max() <= 3
        assert not decode(encode(RGB, form)).notes
    pages = decode(encode(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    assert pages.notes == ("The first of the file's pages is shown.",)


def _claims(width: int, height: int) -> bytes:
    """Write a tiny PNG whose header claims a large size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello, I am a text file", "not a picture"),
        (b"%PDF-1.7 ...", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99, "HEIC"),
        (encode(RGB, "JPEG")[:400], "damaged"),
        (encode(RGB)[:-30], "damaged"),
        (_claims(20_000, 20_000), "million"),
        (_claims(9_000, 9_000), "million"),
        (encode(Image.new("RGB", (4, 4))), "at least 8"),
        (encode(Image.new("RGB", (9000, 10))), "strip"),
        (b"\xff" * (MAX_BYTES + 1), r"has 20\.1 MB; at most 20 MB"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(data: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says) as caught:
        decode_image(data)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_damaged_bytes_never_raise_anything_else() -> None:
    """Flip bytes and cut files of every format: a picture or an ImageError, nothing else."""
    rng = random.Random(5)
    refused = 0
    for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        whole = encode(RGB, form)
        for _ in range(80):
            data = bytearray(whole[: rng.randint(1, len(whole))] if rng.random() < 0.3 else whole)
            for _ in range(rng.randint(1, 20)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                assert decode_image(bytes(data)).mode == "RGB"
            except ImageError:
                refused += 1
    assert refused > 50  # the damage was real


def test_the_crop_that_is_shown_is_the_crop_that_the_network_sees() -> None:
    preprocessing = Preprocessing(96)
    seen = prepare(Image.fromarray(noise((150, 300, 3), seed=2)), preprocessing)
    assert seen.pixels.shape == (96, 96, 3)
    mean, std = torch.tensor(preprocessing.mean).view(3, 1, 1), torch.tensor(preprocessing.std).view(3, 1, 1)
    back = (seen.tensor[0] * std + mean) * 255
    torch.testing.assert_close(back.permute(1, 2, 0), torch.tensor(seen.pixels).float(), atol=1e-3, rtol=0)


def test_the_centre_is_cropped() -> None:
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste(Image.new("RGB", (100, 100), "blue"), (100, 0))
    pixels = prepare(wide, Preprocessing(96)).pixels
    assert pixels[48, 48].tolist() == [0, 0, 255]
    assert (pixels[:, 4:-4] == [0, 0, 255]).all()


def test_keys_tell_crops_apart() -> None:
    pixels = noise((512, 512, 3))
    other = pixels.copy()
    other[300, 300, 1] ^= 255
    keys = {prepare(Image.fromarray(p), Preprocessing(s)).key for p in (pixels, other) for s in (224, 192)}
    assert len(keys) == 4


@pytest.mark.parametrize("size", [0, 31, 100, 225])
def test_sizes_that_break_the_strides_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        Preprocessing(size)
