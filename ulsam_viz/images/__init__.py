"""A file's bytes -> an upright sRGB picture: the one way that uploads, the command line, ``batch`` and training share.

:mod:`.metadata` takes a file apart: its pixels, and what is known about them. Pillow unpacks the pixels, and
:mod:`.tiff` those of TIFFs that Pillow cannot. :mod:`.levels` brings values of more than 8 bits to 8, and
:mod:`.colour` colours to sRGB.
"""

from .decoding import MAX_BYTES, Decoded, decode, too_large
from .errors import ImageError

__all__ = ["MAX_BYTES", "Decoded", "ImageError", "decode", "too_large"]
