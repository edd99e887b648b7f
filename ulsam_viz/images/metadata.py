"""Separate a file's pixels from its metadata, so that broken metadata never costs the pixels.

Decoders read all of a file's metadata and refuse the file for one bad piece. Here it is taken out before, and of it the
colour profile and the orientation are read alone.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .colour import matrix_profile, profile_of_codes
from .errors import DAMAGED, ImageError
from .tiff import ORIENTATION, PROFILE, XMP, Directory, without_metadata

_MOST_PROFILE = 16_000_000
_JFIF = b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
# Brands of ISO/IEC 23008-12: still pictures and sequences of HEVC, and of what else such a file may hold.
_HEIC_BRANDS = {
    b"heic",
    b"heix",
    b"heim",
    b"heis",
    b"hevc",
    b"hevx",
    b"hevm",
    b"hevs",
    b"heif",
    b"mif1",
    b"mif2",
    b"msf1",
    b"miaf",
}
_HEIC_BRANDS |= {b"avci", b"avcs", b"jpgs", b"vvic", b"vvis", b"evbi", b"evbs", b"j2ki", b"j2is", b"MiHE", b"MiHB"}


@dataclass(frozen=True)
class Parts:
    """A file in parts.

    Attributes:
        pixels: The file without what is not its pixels.
        profile: ICC profile, unchecked; b"" where there is none.
        orientation: As EXIF counts it, 1 (upright) to 8.
        animated: Whether it is known to be an animation.
        directory: Of a TIFF.
    """

    pixels: bytes
    profile: bytes = b""
    orientation: int = 1
    animated: bool = False
    directory: Directory | None = None


def take_apart(data: bytes) -> Parts:
    """Take a file apart; one of an unknown kind has pixels alone.

    Raises:
        ImageError: If it is damaged, or a HEIC picture.
    """
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[4:8] == b"ftyp":
        return _avif(data)
    if data.startswith(b"BM"):
        return Parts(data, profile=_profile_of_bmp(data))
    if directory := Directory.read(data):
        orientation = orientation_of(directory, directory.data(XMP))
        return Parts(without_metadata(data, directory), directory.data(PROFILE), orientation, directory=directory)
    return Parts(data)


def orientation_of(exif: Directory | bytes | None, xmp: bytes = b"") -> int:
    """Read the orientation alone: EXIF's, else XMP's; 1 where neither tells."""
    directory = Directory.read(exif.removeprefix(b"Exif\0\0")) if isinstance(exif, bytes) else exif
    said = directory.number(ORIENTATION, 0) if directory else 0
    if not 1 <= said <= 8 and (found := re.search(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])", xmp)):
        said = int(found[1])
    return said if 1 <= said <= 8 else 1


def _jpeg(data: bytes) -> Parts:
    kept, profile, exif, xmp = [data[:2]], dict[int, bytes](), b"", b""
    for code, start, end in _segments(data):
        body = data[start + 4 : end]
        if code == 0xE0 and body.startswith(b"JFIF\0"):  # colours depend on its being there
            kept.append(_JFIF)
        elif code == 0xE1 and body.startswith(b"Exif\0"):
            exif = exif or body[6:]
        elif code == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = xmp or body
        elif code == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile.setdefault(body[12], body[14:])
        elif code < 0xE0 or (code == 0xEE and body.startswith(b"Adobe") and len(body) >= 12):
            kept.append(data[start:end])
    return Parts(b"".join(kept), b"".join(profile[i] for i in sorted(profile)), orientation_of(exif, xmp))


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield code, start and end of a JPEG's segments.

    The last begins with its first scan, and goes on to the file's end.
    """
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 3:
        code = data[at + 1]
        if code == 0xDA:
            yield code, at, len(data)
            return
        if code == 0xFF:
            at += 1
        elif code < 0xC0 or 0xD0 <= code <= 0xD9:  # of no length, or none at all
            at += 2
        else:
            end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
            yield code, at, end
            at = end
    raise ImageError(DAMAGED)


def _png(data: bytes) -> Parts:
    """Keep header, palette, transparency and pixels; of the other chunks, those whose checksum is right are read."""
    kept, about = [data[:8]], dict[bytes, bytes]()
    for kind, body, whole in _chunks(data):
        if kind in (b"IHDR", b"IDAT", b"PLTE"):
            if not whole:
                raise ImageError(DAMAGED)
            colour_type = about.setdefault(b"IHDR", body)[9:10]
            if kind == b"IDAT" or (kind == b"IHDR" and len(kept) == 1) or (kind == b"PLTE" and colour_type == b"\3"):
                kept.append(_chunk(kind, body))
                about[kind] = body[:26]
        elif kind == b"tRNS" and whole and b"IDAT" not in about:
            sizes: Mapping[bytes, range] = {b"\0": range(2, 3), b"\2": range(6, 7), b"\3": range(1, 257)}
            depth, colour_type = about.get(b"IHDR", b"")[8:9], about.get(b"IHDR", b"")[9:10]
            if len(body) in sizes.get(colour_type, ()):
                # Pillow scales greys to 8 bits, but not the one that is clear
                if colour_type == b"\0" and depth in b"\2\4":
                    body = bytes([0, (body[1] * (85 if depth == b"\2" else 17)) & 255])
                kept.append(_chunk(kind, body))
        elif whole:
            about.setdefault(kind if kind not in _TEXTS else kind + body.split(b"\0", 1)[0], body)
    xmp, old = (_text(about, name) for name in (b"XML:com.adobe.xmp", b"Raw profile type exif"))
    exif = about.get(b"eXIf") or _from_hex(old)
    pixels = b"".join([*kept, _chunk(b"IEND", b"")])
    animated = int.from_bytes(about.get(b"acTL", b"")[:4], "big") > 1
    return Parts(pixels, _profile_of_png(about), orientation_of(exif, xmp), animated)


_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield a PNG's chunks up to its end: kind, content, and whether that is whole and its checksum right."""
    at = 8
    while len(data) >= at + 8:
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        sum_ = data[at + 8 + length : at + 12 + length]
        if kind == b"IEND" or not kind.isalpha():
            return
        yield kind, body, sum_ == struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
        at += 12 + length


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _inflate(packed: bytes) -> bytes:
    """Unpack up to the size of a large profile; b"" where it is broken or larger."""
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(packed, _MOST_PROFILE)
    except zlib.error:
        return b""
    return b"" if unpacking.unconsumed_tail else found


def _text(about: Mapping[bytes, bytes], name: bytes) -> bytes:
    """Return what a text chunk of a name says, b"" where there is none."""
    if body := about.get(b"iTXt" + name):
        value = body[len(name) + 3 :].split(b"\0", 2)[-1]  # after a language, and the name in it
        return _inflate(value) if body[len(name) + 1 :].startswith(b"\1") else value
    if body := about.get(b"zTXt" + name):
        return _inflate(body[len(name) + 2 :])
    return about.get(b"tEXt" + name, b"")[len(name) + 1 :]


def _from_hex(text: bytes) -> bytes:
    """Return the EXIF that ImageMagick once wrote as text: a name, a length, and hexadecimal lines."""
    try:
        return bytes.fromhex("".join(text.decode("ascii").split()[2:]))
    except ValueError:
        return b""


def _profile_of_png(about: Mapping[bytes, bytes]) -> bytes:
    """Return the profile that a PNG's chunks mean; of several the one that the specification puts first."""
    if len(codes := about.get(b"cICP", b"")) >= 2 and (found := profile_of_codes(codes[0], codes[1])):
        return found
    if packed := about.get(b"iCCP"):
        return _inflate(packed.partition(b"\0")[2][1:])
    gamma, primaries = int.from_bytes(about.get(b"gAMA", b"")[:4], "big") / 100_000, about.get(b"cHRM", b"")
    if b"sRGB" in about or not gamma:
        return b""
    # Nearly every file that says 1 / 2.2 is sRGB, which the specification tells writers to describe so.
    curve = None if abs(gamma * 2.2 - 1) < 0.05 else 1 / gamma
    if len(primaries) != 32:
        return matrix_profile(curve)
    return matrix_profile(curve, [v / 100_000 for v in struct.unpack(">8I", primaries)])


def _webp(data: bytes) -> Parts:
    kept, about, frames, at = [], dict[bytes, bytes](), 0, 12
    while len(data) >= at + 8:
        kind, length = struct.unpack_from("<4sI", data, at)
        chunk = data[at : at + 8 + length + length % 2]
        if kind == b"VP8X":  # which says what else is there
            chunk = chunk[:8] + bytes(b & ~0b101100 for b in chunk[8:9]) + chunk[9:]
        if kind in (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"):
            kept.append(chunk)
            frames += kind == b"ANMF"
        else:
            about.setdefault(kind, chunk[8 : 8 + length])
        at += 8 + length + length % 2
    body = b"WEBP" + b"".join(kept)
    pixels = b"RIFF" + struct.pack("<I", len(body)) + body
    return Parts(
        pixels, about.get(b"ICCP", b""), orientation_of(about.get(b"EXIF"), about.get(b"XMP ", b"")), frames > 1
    )


def _avif(data: bytes) -> Parts:
    """Take what begins as an AVIF does.

    Its orientation is a property of the picture, which EXIF's copy never overrules.
    """
    size = min(max(int.from_bytes(data[:4], "big"), 12), 256)
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, size, 4))}
    if not brands & {b"avif", b"avis"}:
        if brands & _HEIC_BRANDS:
            raise ImageError("HEIC pictures cannot be read here; save the picture as JPEG or PNG and try again.")
        return Parts(data)
    codes = re.search(rb"colrnclx(..)(..)", data[:1_000_000], re.DOTALL)
    profile = profile_of_codes(*(int.from_bytes(code, "big") for code in codes.groups())) if codes else b""
    # Pillow would read EXIF, and refuse the picture for what is wrong in it: an item of another name it leaves alone.
    return Parts(re.sub(rb"(infe[\2\3]...(?:..){2,3})Exif", rb"\1none", data, flags=re.DOTALL), profile)


def _profile_of_bmp(data: bytes) -> bytes:
    """Return the profile inside a BMP with the fifth version of its header."""
    if data[14:18] != b"\x7c\0\0\0" or data[70:74] != b"DEBM":
        return b""
    start, size = struct.unpack_from("<II", data.ljust(138, b"\0"), 126)
    return data[14 + start : 14 + start + size]
