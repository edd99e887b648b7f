"""Attention modules of other papers, to stand where ULSAM stands: one file each, written from its paper's equations."""

from __future__ import annotations

from .bam import BAM
from .cbam import CBAM
from .eca import ECA
from .gate import Gate
from .se import SE
from .simam import SimAM

#: By the name that placements and records use: the kind of module; each is built from its number of channels.
OTHERS: dict[str, type[Gate]] = {"se": SE, "cbam": CBAM, "bam": BAM, "eca": ECA, "simam": SimAM}
#: Those whose gain differs from place to place.
SPATIAL = ("cbam", "bam", "simam")
