"""Files as cameras, scanners and other programs write them.

Colours as they are meant, and no metadata that costs the pixels.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.conftest import encode, noise
from ulsam_viz import ImageError, decode_image
from ulsam_viz.images import decode
from ulsam_viz.images.colour import matrix_profile

D65, D50 = (0.3127, 0.3290), (0.3457, 0.3585)
P3 = matrix_profile(None, (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060))
ADOBE = matrix_profile(563 / 256, (*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06))
PROPHOTO = matrix_profile(1.8, (*D50, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "TIFF": {},
    "JPEG": {"quality": 95},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95},
}


def same(a: Any, b: Any) -> bool:
    """Tell whether two pictures have the same pixels."""
    return np.array_equal(np.asarray(a), np.asarray(b))


def profile(space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", between: bytes = b"XYZ ") -> bytes:
    """Write an ICC profile of version 2."""
    table, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = (
        struct.pack(">III", 132 + 12 * len(tags) + len(body), 0, 0x02400000)
        + kind
        + space
        + between
        + bytes(12)
        + b"acsp"
    )
    return head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061).ljust(60, b"\0") + table + body


GREY = profile(
    b"GRAY",
    {
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, 256),
    },
)


def cmyk() -> bytes:
    """Write a profile whose inks are milder than full ones: a table of the 16 corners, in Lab."""
    line, corners = bytes(range(256)), b""
    for ink in np.ndindex(2, 2, 2, 2):
        c, m, y, k = ink
        corners += bytes(
            [max(0, 255 - 90 * c - 100 * m - 15 * y - 200 * k), 128 - 35 * c + 60 * m, 128 - 40 * c + 70 * y]
        )
    identity = struct.pack(">9i", *(65536 * int(i % 4 == 0) for i in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + line * 4 + corners + line * 3
    return profile(b"CMYK", {b"A2B0": table}, b"prtr", b"Lab ")


def by_littlecms(image: Image.Image, icc: bytes) -> np.ndarray:
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    converted = ImageCms.profileToProfile(image, source, target, renderingIntent=intent, outputMode="RGB")
    assert converted is not None
    return np.asarray(converted, int)


@pytest.fixture(scope="module")
def colours() -> Image.Image:
    """Colours all over the cube, in areas that compression keeps apart."""
    steps = np.linspace(0, 255, 6).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(12, 18, 3)
    return Image.fromarray(cube.repeat(8, 0).repeat(8, 1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("icc", [P3, ADOBE, PROPHOTO], ids=["p3", "adobe", "prophoto"])
def test_colours_are_converted_as_their_profile_means_them(form: str, icc: bytes, colours: Image.Image) -> None:
    data = encode(colours, form, icc_profile=icc, **FORMS[form])
    raw = Image.open(io.BytesIO(data)).convert("RGB")
    found, wanted = np.asarray(decode_image(data), int), by_littlecms(raw, icc)
    assert np.abs(found - wanted).max() <= 2
    assert np.abs(found - np.asarray(raw)).mean() > 3


def test_the_red_of_srgb_is_found_in_display_p3() -> None:
    data = encode(Image.new("RGB", (16, 16), (234, 51, 35)), icc_profile=P3)
    assert np.abs(np.asarray(decode_image(data), int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("form", FORMS)
def test_a_profile_of_srgb_changes_no_pixel(form: str, colours: Image.Image) -> None:
    for icc in (SRGB, matrix_profile()):
        data = encode(colours, form, icc_profile=icc, **FORMS[form])
        assert same(decode_image(data), Image.open(io.BytesIO(data)).convert("RGB"))


def test_profiles_of_grey_transparent_and_palette_pictures_apply(colours: Image.Image) -> None:
    grey = colours.convert("L")
    linear = by_littlecms(grey, GREY)
    assert np.abs(linear - np.asarray(grey.convert("RGB"), int)).mean() > 20  # light itself, not sRGB's curve
    for image in (
        grey,
        Image.merge("LA", [grey, Image.new("L", grey.size, 255)]),
        Image.fromarray(np.asarray(grey, np.uint16) * 257),
    ):
        assert np.abs(np.asarray(decode_image(encode(image, icc_profile=GREY)), int) - linear).max() <= 2
    assert same(
        decode_image(encode(grey, icc_profile=ADOBE)), decode_image(encode(grey.convert("RGB"), icc_profile=ADOBE))
    )
    palette = colours.quantize(64)
    wanted = by_littlecms(palette.convert("RGB"), ADOBE)
    assert same(decode_image(encode(palette, icc_profile=ADOBE)), wanted)
    clear = colours.convert("RGBA")
    clear.paste((255, 0, 0, 0), (0, 0, 20, 20))
    shown = np.asarray(decode_image(encode(clear, icc_profile=ADOBE)), int)
    assert (shown[:20, :20] == 255).all()
    assert same(shown[30:], by_littlecms(colours, ADOBE)[30:])


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_inks_are_converted_as_their_profile_means_them(form: str, colours: Image.Image) -> None:
    inks, icc = colours.convert("CMYK"), cmyk()
    data = encode(inks, form, icc_profile=icc)
    raw = Image.open(io.BytesIO(data))
    assert raw.mode == "CMYK"
    found = np.asarray(decode_image(data), int)
    assert np.abs(found - by_littlecms(raw, icc)).max() <= 2
    assert np.abs(found - np.asarray(raw.convert("RGB"))).mean() > 10


@pytest.mark.parametrize("form", FORMS)
def test_a_broken_or_foreign_profile_costs_nothing(form: str, colours: Image.Image) -> None:
    for icc in (P3[:60], P3[:200], P3[:131] + b"\xff" * 300, b"no profile" * 20, GREY, cmyk()):
        data = encode(colours, form, icc_profile=icc, **FORMS[form])
        assert same(decode_image(data), Image.open(io.BytesIO(data)).convert("RGB"))


def chunk(kind: bytes, body: bytes, *, wrong: bool = False) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ wrong)


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """Put chunks behind a PNG's header."""
    return png[:33] + b"".join(chunks) + png[33:]


def test_a_png_that_states_its_colours_without_a_profile_is_converted(colours: Image.Image) -> None:
    png, plain = encode(colours), np.asarray(colours, int)
    primaries = struct.pack(">8I", *(round(v * 100_000) for v in (*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)))
    adobe = decode_image(with_chunks(png, chunk(b"gAMA", struct.pack(">I", 45471)), chunk(b"cHRM", primaries)))
    green = decode_image(
        with_chunks(
            encode(Image.new("RGB", (9, 9), (144, 255, 60))),
            chunk(b"cHRM", primaries),
            chunk(b"gAMA", struct.pack(">I", 45471)),
        )
    )
    assert (
        np.abs(
            np.asarray(adobe, int)
            - by_littlecms(colours, matrix_profile(None, (*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)))
        ).max()
        <= 2
    )
    assert np.asarray(green)[0, 0, 0] <= 5  # sRGB's own green
    light = np.asarray(decode_image(with_chunks(png, chunk(b"gAMA", struct.pack(">I", 100_000)))), int)
    assert light.mean() > plain.mean() + 20
    p3 = decode_image(with_chunks(png, chunk(b"cICP", bytes([12, 13, 0, 1]))))
    assert same(p3, by_littlecms(colours, P3))
    for chunks in (
        [chunk(b"gAMA", struct.pack(">I", 45455))],
        [chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 100_000))],
        [chunk(b"cHRM", b"no"), chunk(b"gAMA", b"")],
    ):
        assert same(decode_image(with_chunks(png, *chunks)), plain)


RGB = Image.fromarray(noise((40, 60, 3)))
LARGE_TEXT = b"comment\0\0" + zlib.compress(bytes(4_000_000))
DAMAGE_OF_A_PNG: dict[str, Callable[[bytes], bytes]] = {
    "compressed text of 4 MB": lambda png: with_chunks(png, chunk(b"zTXt", LARGE_TEXT)),
    "international text of 4 MB": lambda png: with_chunks(
        png, chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(4_000_000)))
    ),
    "text of 4 MB behind the pixels": lambda png: png[:-12] + chunk(b"zTXt", LARGE_TEXT) + png[-12:],
    "a text's checksum": lambda png: with_chunks(png, chunk(b"tEXt", b"a\0b", wrong=True)),
    "a text without end": lambda png: with_chunks(png, chunk(b"zTXt", b"a\0\7xyz")),
    "garbage for EXIF": lambda png: with_chunks(png, chunk(b"eXIf", b"garbage" * 20)),
    "EXIF that points nowhere": lambda png: with_chunks(png, chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff")),
    "chunks that are too short": lambda png: with_chunks(
        png, *(chunk(k, b"") for k in (b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"tRNS", b"acTL"))
    ),
    "a profile of 3 MB": lambda png: with_chunks(
        png, chunk(b"iCCP", b"a\0\0" + zlib.compress(noise((3_000_000,)).tobytes()))
    ),
    "a profile of no method": lambda png: with_chunks(png, chunk(b"iCCP", b"a\0\9" + zlib.compress(P3))),
    "transparency with a wrong checksum": lambda png: with_chunks(png, chunk(b"tRNS", bytes(6), wrong=True)),
    "frames out of order": lambda png: with_chunks(
        png, chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", bytes([9] * 26))
    ),
    "no end": lambda png: png[:-12],
    "an end that is cut short": lambda png: png[:-5],
    "garbage behind the end": lambda png: png + b"garbage" * 99,
}


@pytest.mark.parametrize("damage", DAMAGE_OF_A_PNG)
def test_what_is_no_pixel_costs_no_pixel_of_a_png(damage: str) -> None:
    assert same(decode_image(DAMAGE_OF_A_PNG[damage](encode(RGB))), RGB)


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"PLTE"])
def test_pixels_with_a_wrong_checksum_are_refused(kind: bytes) -> None:
    png = bytearray(encode(RGB.quantize(16) if kind == b"PLTE" else RGB))
    at = png.index(kind)
    png[at + 4 + struct.unpack(">I", png[at - 4 : at])[0]] ^= 1
    with pytest.raises(ImageError, match="damaged"):
        decode_image(bytes(png))


def exif(orientation: int, *, wrong: bytes = b"") -> bytes:
    """Write EXIF with a resolution of the wrong type, and an orientation."""
    entries = struct.pack(">HHIH2x", 0x0112, 3, 1, orientation) + struct.pack(">HHI4s", 0x011A, 2, 4, b"abc\0")
    return b"MM\0*\0\0\0\x08\0\x02" + entries + bytes(4) + wrong


def segment(code: int, body: bytes) -> bytes:
    return bytes([0xFF, code]) + struct.pack(">H", len(body) + 2) + body


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


XMP_6 = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize(
    ("segments", "turned"),
    [
        ([segment(0xE1, b"Exif\0\0" + exif(6))], True),
        ([segment(0xE1, b"Exif\0\0" + exif(6)), segment(0xE1, b"Exif\0\0garbage")], True),
        ([segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP_6)], True),
        ([segment(0xE1, b"Exif\0\0" + exif(77)), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP_6)], True),
        ([segment(0xE1, b"Exif\0\0garbage" * 9)], False),
        ([segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff")], False),
        ([segment(0xE2, b"MPF\0" + b"\xee" * 30)], False),
        ([segment(0xE2, b"ICC_PROFILE\0\7\1abc"), segment(0xE2, b"ICC_PROFILE\0")], False),
        ([segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\x7f" * 9)], False),
        ([segment(0xE0, b"JFIF\0\1")], False),
        ([segment(0xEE, b"Adobe")], False),
        ([segment(0xFE, b""), b"\xff\xff\xff\xec\0\2", b"lost bytes"], False),
        ([b"\xff\xe5\0\0"], False),
    ],
    ids=range(13),
)
def test_segments_of_a_jpeg_cost_no_pixel(segments: list[bytes], turned: bool) -> None:
    jpeg = encode(RGB, "JPEG")
    wanted = Image.open(io.BytesIO(jpeg))
    found = decode_image(with_segments(jpeg, *segments))
    assert same(found, wanted.transpose(Image.Transpose.ROTATE_270) if turned else wanted)


def test_pictures_are_turned_upright_in_every_format() -> None:
    for way in range(1, 9):
        turns = Image.Exif()
        turns[0x0112] = way
        for form in FORMS:
            data = encode(RGB, form, **FORMS[form], exif=turns)
            size = (40, 60) if way > 4 else (60, 40)
            assert decode_image(data).size == size, (way, form)
        upright = np.asarray(decode_image(encode(RGB, "TIFF", exif=turns)))
        assert same(upright, decode_image(encode(RGB, "PNG", exif=turns)))


def test_metadata_of_webp_and_avif_costs_no_pixel() -> None:
    webp = encode(RGB, "WEBP", lossless=True, exif=b"Exif\0\0garbage", xmp=b"<not/xml" * 99)
    for data in (webp, webp[:-40], webp + b"garbage"):
        assert same(decode_image(data), RGB)
    avif = encode(RGB, "AVIF", quality=100, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    broken = avif.replace(b"MM\0*\0\0\0\x08", b"garbage!")
    assert broken != avif
    assert same(decode_image(broken), decode_image(avif))


@pytest.mark.parametrize(
    "brand", [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"avci"]
)
def test_every_brand_of_heic_gets_the_hint(brand: bytes) -> None:
    for data in (b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0miafMiHB", b"\0\0\0\x18ftypmiaf\0\0\0\0" + brand + b"MiHB"):
        with pytest.raises(ImageError, match="HEIC"):
            decode_image(data + bytes(99))
    with pytest.raises(ImageError, match="not a picture"):
        decode_image(b"\0\0\0\x14ftypisom\0\0\0\0mp42" + bytes(99))  # a film


TYPES = {"u": 1, "i": 2, "f": 3}
CODES = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B"}


def tiff(
    values: np.ndarray,
    *,
    order: Literal["<", ">"] = "<",
    photometric: int | None = None,
    extra: int | None = None,
    deflate: bool = False,
    bits: int = 0,
    more: dict[int, tuple[int, bytes]] | None = None,
    pages: int = 1,
) -> bytes:
    """Write a TIFF of one strip, shape (H, W) or (H, W, channels); ``more`` are tags: type and bytes."""
    channels = values.shape[2] if values.ndim == 3 else 1
    raw = values.astype(values.dtype.newbyteorder(order)).tobytes()
    raw = zlib.compress(raw) if deflate else raw
    raw += bytes(len(raw) % 2)

    def short(*numbers: int) -> tuple[int, bytes]:
        return 3, struct.pack(f"{order}{len(numbers)}H", *numbers)

    tags = {
        256: short(values.shape[1]),
        257: short(values.shape[0]),
        258: short(*[bits or values.itemsize * 8] * channels),
    }
    tags |= {
        259: short(8 if deflate else 1),
        262: short((2 if channels > 2 else 1) if photometric is None else photometric),
    }
    tags |= {273: (4, struct.pack(order + "I", 8)), 277: short(channels), 278: short(values.shape[0])}
    tags |= {279: (4, struct.pack(order + "I", len(raw))), 339: short(*[TYPES[values.dtype.kind]] * channels)}
    tags |= ({338: short(extra)} if extra is not None else {}) | (more or {})
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(raw)) + raw
    for page in range(pages):
        after = len(out) + 2 + 12 * len(tags) + 4
        table, outside = struct.pack(order + "H", len(tags)), b""
        for tag, (kind, value) in sorted(tags.items()):
            count = len(value) // struct.calcsize(CODES[kind])
            if len(value) > 4:
                value, outside = struct.pack(order + "I", after + len(outside)), outside + value + bytes(len(value) % 2)
            table += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
        out += table + struct.pack(order + "I", after + len(outside) if page + 1 < pages else 0) + outside
    return out


RAMP = np.tile(np.linspace(0, 1, 64), (16, 1))
WINDOW = "are shown over that range"


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image, int)[0, :, 0]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize(
    ("values", "windowed"),
    [
        (RAMP * 255, False),
        (RAMP * 65535, False),
        (RAMP * 30_000, False),  # a dark photograph of 16 bits stays dark
        (RAMP * 4095, True),
        (RAMP * 1023, True),
        (500 + RAMP * 400, True),
        (RAMP * 4e9, True),
        (RAMP * 2**63, True),
        (RAMP * 4000 - 1000, True),
    ],
    ids=["8", "16", "dark", "12in16", "10in16", "narrow", "32", "64", "signed"],
)
def test_whole_numbers_are_shown_so_that_they_can_be_seen(
    order: Literal["<", ">"], deflate: bool, values: np.ndarray, windowed: bool
) -> None:
    top = values.max()
    kind = "i2" if values.min() < 0 else "u1" if top <= 255 else "u2" if top <= 65535 else "u4" if top < 2**32 else "u8"
    image, notes = (shown := decode(tiff(values.astype(kind), order=order, deflate=deflate))).image, shown.notes
    wanted = RAMP[0] * (30_000 / 65535 if top == 30_000 else 1) * 255
    assert np.abs(grey(image) - wanted).max() <= 1
    assert (WINDOW in " ".join(notes)) == windowed
    turned_bits = {266: (3, struct.pack(order + "H", 2))}  # each byte's lowest bit first
    if not deflate:
        flipped = np.packbits(np.unpackbits(values.astype(f"{order}{kind}").view(np.uint8), bitorder="little"))
        lines = flipped.view(f"{order}{kind}").reshape(values.shape)
        assert same(decode_image(tiff(lines, order=order, more=turned_bits)), image)
    white_is_0 = decode(tiff(values.astype(kind), order=order, deflate=deflate, photometric=0)).image
    assert same(grey(white_is_0), 255 - grey(image))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_floats_are_shown_grey_and_in_colour(order: Literal["<", ">"], kind: str) -> None:
    for scale, shift, windowed in ((1, 0, False), (255, 0, False), (1000, -300, True), (0.01, 0, True)):
        values = (RAMP * scale + shift).astype(kind)
        values[8:12] = np.nan
        values[12:] = np.inf
        shown = decode(tiff(values, order=order))
        assert np.abs(grey(shown.image) - RAMP[0] * 255).max() <= 1
        assert np.asarray(shown.image)[8:12].max() == 0 and np.asarray(shown.image)[12:].min() == 255
        assert (WINDOW in " ".join(shown.notes)) == windowed
    colour = np.stack([RAMP, RAMP[:, ::-1], RAMP * 0.5], -1)
    found = np.asarray(decode_image(tiff(colour.astype(kind), order=order)), float)
    assert np.abs(found - colour * 255).max() <= 1


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_of_deep_pictures_shows_white(channels: int) -> None:
    values = np.zeros((16, 32, channels), np.uint16)
    values[..., 0] = 60_000
    values[:, 16:, -1] = 65535
    multiplied = values * (values[..., -1:] > 0)
    for data in (tiff(values, extra=2), tiff(multiplied, extra=1), tiff((values / 65535).astype("f4"), extra=2)):
        shown = np.asarray(decode_image(data))
        assert (shown[:, :16] == 255).all()
        assert shown[0, 20].tolist() == ([233] * 3 if channels == 2 else [233, 0, 0])


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_numbers_without_gaps_are_read(bits: int) -> None:
    values = (RAMP * (2**bits - 1)).round().astype(np.uint16)
    packed = np.packbits((values[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(16, -1), axis=1)
    data = tiff(packed, more={256: (3, struct.pack("<H", 64)), 258: (3, struct.pack("<H", bits))})
    assert np.abs(grey(decode_image(data)) - RAMP[0] * 255).max() <= 1


def test_differences_that_stand_for_values_are_summed() -> None:
    """Predictor 2 keeps differences of whole numbers, predictor 3 those of the bytes of floats."""
    ramp = (RAMP * 65535).astype("<u2")
    data = tiff(np.diff(ramp, axis=1, prepend=np.uint16(0)), deflate=True, more={317: (3, b"\2\0")})
    assert np.abs(grey(decode_image(data)) - RAMP[0] * 255).max() <= 1
    planes = np.concatenate([RAMP.astype(">f4").view(np.uint8).reshape(16, 64, 4)[..., i] for i in range(4)], 1)
    lines = np.diff(planes, axis=1, prepend=np.uint8(0)).view("<f4")
    assert np.abs(grey(decode_image(tiff(lines, deflate=True, more={317: (3, b"\3\0")}))) - RAMP[0] * 255).max() <= 1


def test_tags_of_a_tiff_cost_no_pixel_and_its_first_page_is_shown() -> None:
    values = np.asarray(RGB)
    odd = {
        282: (2, b"fast\0"),
        283: (7, b"\1\2\3"),
        270: (2, b"\xff\xfe" * 9),
        296: (3, b"\3\0"),
        700: (7, b"\0garbage" * 9),
        34665: (4, b"\xff" * 4),
        34853: (2, b"x"),
        33723: (2, b"iptc" * 9),
    }
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    for order in orders:
        shown = decode(tiff(values, order=order, more=odd if order == "<" else {282: (2, b"fast\0")}))
        assert same(shown.image, RGB) and not shown.notes
    paged = decode(tiff(values, pages=2))
    assert same(paged.image, RGB) and paged.notes == ("The first of the file's pages is shown.",)


def test_tiffs_that_no_decoder_here_reads_are_refused_with_the_reason() -> None:
    complex_values = tiff(np.zeros((16, 16), "u4"), more={339: (3, b"\6\0")})
    for data in (
        complex_values,
        tiff(np.zeros((16, 16), "u4"), bits=24),
        tiff(np.zeros((16, 16), "u2"), more={259: (3, b"\7\0")}),
    ):
        with pytest.raises(ImageError, match="TIFF holds values of a kind"):
            decode_image(data)
    with pytest.raises(ImageError, match="damaged"):
        decode_image(tiff(np.zeros((16, 16), "f8"), more={279: (4, struct.pack("<I", 99)), 259: (3, b"\x08\0")}))


def png16(values: np.ndarray, colour_type: int, *chunks: bytes) -> bytes:
    """Write a PNG of 16 bits."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    body = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_pngs_of_16_bits_keep_transparency_and_what_lies_below_8_bits() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (16, 24, 4), dtype=np.uint16)
    for colour_type, channels in ((0, 1), (2, 3), (4, 2), (6, 4)):
        own = values[..., :channels] / 65535
        alpha = own[..., -1:] if channels % 2 == 0 else 1
        wanted = (own[..., : channels - 1 if channels % 2 == 0 else channels] * alpha + 1 - alpha) * 255
        assert np.abs(np.asarray(decode_image(png16(values[..., :channels], colour_type)), float) - wanted).max() < 2
    values[0, :2, :3] = (5, 6, 7), (5, 6, 8)
    clear = chunk(b"tRNS", struct.pack(">3H", 5, 6, 7))
    assert np.asarray(decode_image(png16(values[..., :3], 2, clear)))[0, :2].tolist() == [[255] * 3, [0] * 3]
    ramp = (np.arange(64, dtype=np.uint16) * 1000)[None].repeat(16, 0)
    shown = grey(decode_image(png16(ramp, 0, chunk(b"tRNS", b"\0\0"))))
    assert shown[0] == 255 and np.abs(shown[1:] - np.arange(1, 64) * 1000 / 257).max() <= 1
    four = np.full((8, 8), 0x5A, np.uint8)  # grey of 4 bits: 5 and 10, of which 5 is transparent
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 8, 4, 0, 0, 0, 0)) + chunk(b"tRNS", b"\0\5")
    png += chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in four))) + chunk(b"IEND", b"")
    assert grey(decode_image(png))[:2].tolist() == [255, 170]
    twelve = decode(png16(np.stack([(RAMP * 4095).astype(np.uint16)] * 3, -1), 2))
    assert np.abs(grey(twelve.image) - RAMP[0] * 255).max() <= 1 and WINDOW in twelve.notes[0]
