"""The test sets of networks on a pretrained base: name of each, and how it was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KnownSet:
    """A folder of labelled pictures that figures of the zoo are of.

    Attributes:
        folder: Its name.
        dataset: How it is read, see :func:`~ulsam_viz.training.mixture.find_numbered`.
        title: What the pictures are, within a sentence; it names the set in records (``measured_on``).
        chosen: How they were chosen, and what follows for their figures; sentences.
    """

    folder: str
    dataset: str
    title: str
    chosen: str


KNOWN_SETS = (
    KnownSet(
        "flickr-photos",
        "numbered",
        "CC BY photographs from Flickr",
        "These photographs have ImageNet's labels and are no part of ImageNet. They were chosen for the NIPS 2017 "
        "competition on adversarial examples (every second picture of its development set), so they are easier than "
        "ImageNet's validation set: no claim about ImageNet.",
    ),
    KnownSet(
        "imagenet-photos",
        "numbered",
        "training photographs of the base",
        "These photographs, one of every second class, are from ImageNet's training part, on which the base was "
        "trained, so their figures are too good for new pictures.",
    ),
)


def set_in(folder: Path) -> KnownSet | None:
    """Return the known set that a folder holds, by its name."""
    return next((known for known in KNOWN_SETS if known.folder == folder.name), None)


def set_called(title: str) -> KnownSet | None:
    """Return the known set of a record's ``measured_on``."""
    return next((known for known in KNOWN_SETS if known.title == title), None)
