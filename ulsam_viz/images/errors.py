"""The one error of decoding."""


class ImageError(ValueError):
    """A file that is not a picture this program can show; the message says why, in one sentence for the visitor."""


DAMAGED = "The picture is damaged or cut short and cannot be decoded."
