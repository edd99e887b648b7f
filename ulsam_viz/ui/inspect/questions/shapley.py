"""The question of Shapley values: each subspace's share of the attention's effect."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ....figures import comparisons
from ....figures.colours import subspace_colour
from ....questions.view import shapley
from ...run.requests import answer, asked_of, subspace_names
from ...run.scene import Scene

_PLOT = {"displayModeBar": False}


def show_shares(scene: Scene, number: int) -> None:
    """Show the Shapley value of each subspace of a layer."""
    name, work = shapley(asked_of(scene), number)
    result = answer(scene, name, "the answer for every coalition of subspaces", work)
    if result is None:
        return
    g = len(result.values)
    order = np.argsort(-np.abs(result.values))
    names = subspace_names(scene, number)
    st.plotly_chart(
        comparisons.diverging_bars(
            [names[i] for i in order],
            [float(result.values[i]) for i in order],
            spreads=[None if result.exact else float(result.errors[i]) for i in order],
            colours=[subspace_colour(int(i), g) for i in order],
            noise=None,
            unit=f"Shapley value, in logits of “{scene.class_name(scene.target)}”",
        ),
        key="shapley",
        config=_PLOT,
        alt="; ".join(f"{names[i]}: {result.values[i]:+.4f}" for i in order),
    )
    how = (
        f"All {result.coalitions} coalitions were evaluated"
        if result.exact
        else "Sampled orders; lines are one standard error"
    )
    st.caption(
        "Each subspace's fair share of what the whole attention does; a negative one lowers the logit, so taking that "
        f"attention away raises it. They sum to {result.values.sum():+.5f}; the logit with all attention less the "
        f"logit with none is {result.total:+.5f}. {how}."
    )
