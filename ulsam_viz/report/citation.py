"""What to cite: the paper whose module is shown, and this program.

``CITATION.cff`` says the same, which a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import __version__


@dataclass(frozen=True)
class Work:
    """One thing to cite.

    Attributes:
        kind, key: Of its BibTeX entry.
        title, authors, year: As they stand on it; authors as "Family, Given", an organisation in braces.
        fields: What else the entry holds.
    """

    kind: str
    key: str
    title: str
    authors: tuple[str, ...]
    year: int
    fields: tuple[tuple[str, str], ...]

    @property
    def bibtex(self) -> str:
        """Its entry."""
        lines = [
            ("title", f"{{{self.title}}}"),
            ("author", " and ".join(self.authors)),
            *self.fields,
            ("year", str(self.year)),
        ]
        return f"@{self.kind}{{{self.key},\n" + "".join(f"  {name} = {{{value}}},\n" for name, value in lines) + "}\n"


PAPER = Work(
    "inproceedings",
    "saini2020ulsam",
    "ULSAM: Ultra-Lightweight Subspace Attention Module for Compact Convolutional Neural Networks",
    ("Saini, Rajat", "Jha, Nandan Kumar", "Das, Bedanta", "Mittal, Sparsh", "Mohan, C. Krishna"),
    2020,
    (
        ("booktitle", "IEEE Winter Conference on Applications of Computer Vision (WACV)"),
        ("eprint", "2006.15102"),
        ("archiveprefix", "arXiv"),
        ("url", "https://arxiv.org/abs/2006.15102"),
    ),
)
SOFTWARE = Work(
    "software",
    "ulsam_viz",
    "ulsam_viz: see how subspace attention works",
    ("{The ulsam_viz maintainers}",),
    2026,
    (("version", __version__), ("license", "Apache-2.0")),
)


def bibtex() -> str:
    """Return both entries as a BibTeX file."""
    return f"{PAPER.bibtex}\n{SOFTWARE.bibtex}"
