"""Figures of the ULSAM paper, to stand beside the project's own.

Source of all: Saini et al., "ULSAM: Ultra-Lightweight Subspace Attention Module for Compact Convolutional Neural
Networks", WACV 2020, arXiv:2006.15102. Accuracies are top-1 / top-5 on ImageNet-1K at full width, in %.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

GROUPS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class PaperRow:
    """One network of the paper: position, millions of MACs if known, and accuracies, plain and by :data:`GROUPS`."""

    backbone: str
    position: str
    macs: float | None
    vanilla: tuple[float, float]
    by_groups: tuple[tuple[float, float], ...]


_V1, _V2 = (70.65, 89.76), (71.25, 90.19)
ACCURACY = (
    PaperRow(
        "MobileNet-V1",
        "after 11",
        569.2,
        _V1,
        ((70.69, 89.85), (70.84, 89.87), (70.77, 89.91), (70.59, 89.83), (70.89, 89.74)),
    ),
    PaperRow(
        "MobileNet-V1",
        "after 12",
        569.2,
        _V1,
        ((70.62, 89.86), (70.88, 89.88), (70.61, 89.79), (70.92, 89.98), (70.73, 89.78)),
    ),
    PaperRow(
        "MobileNet-V1",
        "after 13",
        569.1,
        _V1,
        ((70.63, 89.60), (70.85, 89.97), (70.86, 89.85), (70.74, 89.81), (70.82, 90.05)),
    ),
    PaperRow(
        "MobileNet-V1",
        "instead of a layer",
        517,
        _V1,
        ((69.92, 89.25), (70.14, 89.67), (70.43, 89.92), (70.29, 89.96), (70.04, 89.98)),
    ),
    PaperRow(
        "MobileNet-V2",
        "after 17",
        None,
        _V2,
        ((71.31, 90.28), (71.39, 90.34), (71.64, 90.27), (71.35, 90.36), (71.42, 90.43)),
    ),
)


@dataclass(frozen=True)
class ModuleCost:
    """An attention module's cost for m channels on an h x w grid.

    Attributes:
        name: The module and where it was published.
        params: (m) -> parameters.
        macs: (m, h, w) -> multiply-accumulates.
    """

    name: str
    params: Callable[[int], float]
    macs: Callable[[int, int, int], float]


# With t = 8 and r = 16, as in the paper's table.
MODULES = (
    ModuleCost("Non-local (CVPR 2018)", lambda m: 2 * m**2, lambda m, h, w: 2 * m**2 * h * w),
    ModuleCost("A²-Net (NeurIPS 2018)", lambda m: 2 * m**2 / 8, lambda m, h, w: 2 * m**2 * h * w / 8),
    ModuleCost("SE-Net (CVPR 2018)", lambda m: 2 * m**2 / 16, lambda m, h, w: 2 * m**2 / 16),
    ModuleCost(
        "BAM (BMVC 2018)",
        lambda m: 4 * m**2 / 16 + 18 * m**2 / 16**2,
        lambda m, h, w: 2 * m**2 / 16 + (4 * m**2 / 16 + 18 * m**2 / 16**2) * h * w,
    ),
    ModuleCost("CBAM (ECCV 2018)", lambda m: 2 * m**2 / 16 + 98, lambda m, h, w: 2 * m**2 / 16 + 98 * h * w),
    ModuleCost("ULSAM (WACV 2020)", lambda m: 2 * m, lambda m, h, w: 2 * m * h * w),
)
