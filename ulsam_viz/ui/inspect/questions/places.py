"""Whether marked places matter: every map's scores beside those of maps that know nothing, with a box that the visitor draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from ....analysis import faithfulness, measures
from ....analysis.attribution import Attribution
from ....analysis.faithfulness import Box, Faithfulness
from ....analysis.methods import METHODS
from ....analysis.verdicts import SMALLEST_PROBABILITY, better_than_blind
from ....answers import who_is_better
from ....figures.tiles import block_means
from ....questions import places
from ...choose.box import choose_box
from ...run.asking import answer, asked_of, examined, subspace_names
from ...run.kept import keep
from ...run.scene import Scene
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
    return "" if scene.picture.sample and scene.picture.sample.box else "; it begins in the middle, so draw it around your subject"


def _scores(
    scene: Scene, number: int, attributions: Mapping[str, Attribution], maps: Mapping[str, np.ndarray]
) -> dict[str, Faithfulness] | None:
    count = len(maps) + len(faithfulness.BASELINES)
    name, work = places(asked_of(scene, attributions), number)
    return answer(
        scene,
        name,
        f"inserting and deleting pixels for {count} maps",
        work,
        passes=(count + faithfulness.RANDOM_MAPS - 1) * 2 * (faithfulness.STEPS + 1),
    )


def _show_scores(
    scene: Scene,
    number: int,
    attributions: Mapping[str, Attribution],
    maps: Mapping[str, np.ndarray],
    scores: Mapping[str, Faithfulness],
    box: Box,
) -> None:
    side, grid = scene.variant.input_size, scene.attention.maps[number].shape[-1]
    knowing_nothing = faithfulness.baseline_maps(side)
    reference = next(iter(attributions.values()), None)
    label = METHODS[reference.method].label if reference else ""
    table = []
    for name, score in scores.items():
        values = faithfulness.to_side(maps[name] if name in maps else knowing_nothing[name], side)
        hit, inside = faithfulness.pointing(values, box)
        row: dict[str, Any] = {
            "map": name if name in maps else f"{name} (knows nothing)",
            "insertion": score.insertion,
            "deletion": score.deletion,
            "points into the box": hit,
            "mass in the box": 100 * inside,
        }
        if reference is not None and name != label:  # beside itself it would only be 1
            coarse = block_means(reference.values, grid)
            own = maps[name] if name in maps and maps[name].shape == coarse.shape else block_means(values, grid)
            row["ρ"] = float(measures.agreement(own, coarse).correlation)
            row["top 20 % shared"] = 100 * faithfulness.overlap(own, coarse)
        table.append(row)
    examined(scene)[f"marked-places_layer_{number}"] = {"box": box, "compared with": label, "table": table}
    st.dataframe(
        table,
        hide_index=True,
        placeholder="",
        height="content",  # the maps that know nothing stand last, and must be seen
        column_config={
            "insertion": st.column_config.NumberColumn(format="%.3f", help="Area under the curve: more is better."),
            "deletion": st.column_config.NumberColumn(format="%.3f", help="Area under the curve: less is better."),
            "mass in the box": st.column_config.NumberColumn(format="%.0f %%"),
            "ρ": st.column_config.NumberColumn(
                format="%+.2f", help=f"Spearman's rank correlation with {label}, on the map's grid."
            ),
            "top 20 % shared": st.column_config.NumberColumn(format="%.0f %%", help=f"With {label}; 20 % by chance."),
        },
    )
    random = scores["random"]
    st.markdown(who_is_better([name for name in maps if better_than_blind(scores[name], scores)]))
    share = (box.bottom - box.top) * (box.right - box.left) / side**2
    st.caption(
        f"ρ and top 20 %: with {label}. By area the box holds {share:.0%} of the picture{_whose(scene)}. Random: mean of {faithfulness.RANDOM_MAPS} maps, ± "
        f"{random.spread[0]:.3f} and {random.spread[1]:.3f} (standard deviations of insertion and deletion); its other columns are the first one's. The uniform map has no order: its pixels come and go all together. "
        f"Better means by more than two of them, and by {SMALLEST_PROBABILITY:g} or more. "
        f"Attention was not trained to explain: a low score is no fault of it. {sum(s.passes for s in scores.values())} passes of one picture."
    )
