"""The question "Do marked positions matter?": scores of maps and baselines, and a box that the visitor draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from ....analysis import faithfulness, measures
from ....analysis.attribution import Attribution
from ....analysis.faithfulness import Baselines, Box, Faithfulness, passes_of
from ....analysis.methods import METHODS
from ....analysis.verdicts import SMALLEST_PROBABILITY
from ....figures.tiles import block_means
from ....questions.describe import AGAINST_WHAT, baseline_rows, faithful_rows, who_is_better
from ....questions.view import baselines, places, topic_of
from ...choose.box import choose_box
from ...run.requests import answer, asked_of, examined, subspace_names
from ...run.scene import Scene
from ...run.state import keep
from .robust import show_robustness


def show_faithfulness(scene: Scene, number: int, attributions: Mapping[str, Attribution]) -> None:
    """Ask whether the places that maps mark matter for the answer, beside baselines."""
    attention = scene.attention.maps[number]
    maps = {name: attention[i] for i, name in enumerate(subspace_names(scene, number))}
    if len(attention) > 1:
        maps["mean of the subspaces"] = attention.mean(0)
    maps |= {METHODS[name].label: a.values for name, a in attributions.items()}
    left, right = st.columns([1, 1.4], gap="medium")
    with left:
        box = choose_box(scene, "box", "Box around the subject", _subject(scene), of_picture=True)
    with right:
        if scores := _scores(scene, number, attributions, maps):
            _show_scores(scene, number, attributions, maps, scores, box)
    if st.toggle(
        "Infidelity and max-sensitivity",
        key=keep("robust"),
        bind="query-params",
        help="Two more measures, by Captum. They cost many passes, so they are computed only when asked for.",
    ):
        show_robustness(scene, number, attributions, maps)


def _subject(scene: Scene) -> Box:
    """Return where the subject is: known for some samples, else the middle."""
    side = scene.variant.input_size
    known = scene.picture.sample.box if scene.picture.sample else None
    top, left, bottom, right = (round(side * v) for v in known or (0.2, 0.2, 0.8, 0.8))
    return Box(top, left, bottom, right)


def _whose(scene: Scene) -> str:
    return (
        ""
        if scene.picture.sample and scene.picture.sample.box
        else "; it begins in the middle, so draw it around your subject"
    )


def _scores(
    scene: Scene, number: int, attributions: Mapping[str, Attribution], maps: Mapping[str, np.ndarray]
) -> tuple[Mapping[str, Faithfulness], Baselines] | None:
    """Measure maps, and what ignores the network, which is the same for all maps of this picture and target."""
    view = asked_of(scene, attributions)
    name, work = baselines(view)
    count = faithfulness.BASELINE_MAPS
    beside = answer(
        scene,
        name,
        f"inserting and deleting pixels in {count} orders that ignore the network",
        work,
        passes=passes_of(count),
    )
    if beside is None:
        return None
    name, measuring = places(view, number)
    scores = answer(
        scene, name, f"inserting and deleting pixels for {len(maps)} maps", measuring, passes=passes_of(len(maps))
    )
    return None if scores is None else (scores, beside)


def _show_scores(
    scene: Scene,
    number: int,
    attributions: Mapping[str, Attribution],
    maps: Mapping[str, np.ndarray],
    found: tuple[Mapping[str, Faithfulness], Baselines],
    box: Box,
) -> None:
    scores, beside = found
    side, grid = scene.variant.input_size, scene.attention.maps[number].shape[-1]
    centre = faithfulness.baseline_maps(side)["centre"]
    reference = next(iter(attributions.values()), None)
    label = METHODS[reference.method].label if reference else ""
    table: list[dict[str, Any]] = []
    of_baselines = baseline_rows(beside)
    for row, own in zip([*faithful_rows(scores, beside), of_baselines[0]], [*maps.values(), centre], strict=True):
        values, name = faithfulness.to_side(own, side), row["map"]
        hit, inside = faithfulness.pointing(values, box)
        row |= {"points into the box": hit, "mass in the box": 100 * inside}
        if reference is not None and name != label:  # beside itself it would only be 1
            coarse = block_means(reference.values, grid)
            own = own if own.shape == coarse.shape else block_means(values, grid)
            row["ρ"] = float(measures.agreement(own, coarse).correlation)
            row["top 20 % shared"] = 100 * faithfulness.overlap(own, coarse)
        table.append(row)
    table += of_baselines[1:]
    examined(scene)[topic_of(("marked-places", number), scene.variant.classes)] = {
        "box": box,
        "compared with": label,
        "table": table,
    }
    st.dataframe(
        table,
        hide_index=True,
        placeholder="",
        height="content",  # the baselines stand last, and must be seen
        column_config={
            "insertion": st.column_config.NumberColumn(format="%.3f", help="Area under the curve: more is better."),
            "insertion's rank": st.column_config.TextColumn("rank", help="Among random maps: 1 is the best."),
            "deletion": st.column_config.NumberColumn(format="%.3f", help="Area under the curve: less is better."),
            "deletion's rank": st.column_config.TextColumn("rank ", help="Among random maps: 1 is the best."),
            "mass in the box": st.column_config.NumberColumn(format="%.0f %%"),
            "ρ": st.column_config.NumberColumn(
                format="%+.2f", help=f"Spearman's rank correlation with {label}, on the map's grid."
            ),
            "top 20 % shared": st.column_config.NumberColumn(format="%.0f %%", help=f"With {label}; 20 % by chance."),
        },
    )
    st.markdown(who_is_better(scores, beside))
    share = (box.bottom - box.top) * (box.right - box.left) / side**2
    passes = passes_of(len(maps)) + passes_of(faithfulness.BASELINE_MAPS)
    st.caption(
        f"ρ and top 20 %: with {label}. By area the box holds {share:.0%} of the picture{_whose(scene)}. "
        f"{AGAINST_WHAT} A lead below {SMALLEST_PROBABILITY:g} does not count. Attention was not trained to explain: a "
        f"low score is no fault of it. {passes} passes of one picture."
    )
