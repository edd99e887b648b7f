"""Sentences that judge what a table shows; each has its border, which is tested from both sides."""

from __future__ import annotations

import numpy as np

from ..text.escaping import escape_markdown
from .views import MeanMaps, Selectivity

MOSTLY = 0.5  # share of the maps' variation: above it, a map is more like its mean than unlike it
CENTRED = 0.7  # correlation with nearness to the centre
LEAST = 0.05  # share of the variance that lies between classes: below it, no difference that one would notice


def said_of_mean_maps(means: MeanMaps) -> str:
    """Say whether subspaces look at the same place in every picture, and whether that is the centre."""
    known = np.flatnonzero(~np.isnan(means.same))
    if not len(known):
        return "All maps of this layer are uniform."
    fixed = [int(k) for k in known if means.same[k] > MOSTLY]
    low, high = 100 * means.same[known].min(), 100 * means.same[known].max()
    much = f"{low:.0f} %" if f"{low:.0f}" == f"{high:.0f}" else f"{low:.0f} to {high:.0f} %"
    shared = f"The mean map explains {much} of what single maps prefer"
    if not fixed:
        return f"{shared}: every subspace follows the picture more than a fixed place."
    central = [k for k in fixed if means.centre[k] > CENTRED]
    said = f"{shared}: {_subspaces(fixed)} mostly the same place in every picture"
    if not central:
        return f"{said}, which is not the centre."
    return f"{said}, which is the centre{'' if central == fixed else f' for {_list(central)}'}."


def said_of_classes(found: Selectivity) -> str:
    """Say whether a measure depends on the class of the picture, in Markdown."""
    able = ~np.isnan(found.explained)
    if not able.any():
        return "The measure is the same in all pictures."
    beyond = able & (found.explained > found.chance) & (found.explained > LEAST)
    if not beyond.any():
        return "No subspace depends on the class beyond chance and by more than 5 % of the variance."
    most = int(np.nanargmax(np.where(beyond, found.explained, np.nan)))
    how = f"{100 * found.explained[most]:.0f} % of the variance, by chance up to {100 * found.chance:.0f} %"
    count = int(beyond.sum())
    many = "One subspace depends" if count == 1 else f"{count} of {len(able)} subspaces depend"
    return (
        f"{many} on the class beyond chance; most of all subspace {most + 1} ({how}), which is strongest for "
        f"“{escape_markdown(found.classes[int(found.best[most])].replace('_', ' '))}”."
    )


def _subspaces(numbers: list[int]) -> str:
    return f"subspace {_list(numbers)} prefers" if len(numbers) == 1 else f"subspaces {_list(numbers)} prefer"


def _list(numbers: list[int]) -> str:
    *first, last = [str(k + 1) for k in numbers]
    return f"{', '.join(first)} and {last}" if first else last
