"""Effect if removed: what a subspace's attention does to the answer."""

from __future__ import annotations

import streamlit as st

from ....analysis import effects, measures
from ....analysis.verdicts import smallest_logit
from ....figures import comparisons
from ....figures.colours import subspace_colour
from ....images.preprocessing import prepare
from ....images.samples import list_samples
from ....questions.describe import chance_of, effect_rows, what_it_does
from ....questions.view import OtherPicture, ablation
from ...choose.picture import sample_image
from ...run.requests import answer, asked_of
from ...run.scene import Scene

_PLOT = {"displayModeBar": False}


def show_ablation(scene: Scene, number: int, k: int) -> None:
    """Change subspace k's attention in every way, and say whether its places matter."""
    other = next(s for s in list_samples() if s.path.stem not in (scene.picture.key, "blank"))
    taken = OtherPicture(other.path.stem, prepare(sample_image(other), scene.variant.preprocessing))
    temperature = scene.variant.calibration.temperature
    question, work = ablation(asked_of(scene), number, taken)
    results = answer(scene, question, "changing each subspace's attention in every way", work)
    if not results:
        return
    g = len(scene.attention.maps[number])
    of_mine = {e.change: e for e in results if e.subspace == k}
    shuffled, off = of_mine["shuffled"], of_mine["off"]
    spread = chance_of(shuffled)
    name = scene.class_name(scene.target)
    mine = sorted((e for e in of_mine.values() if e.change != "features_off"), key=lambda e: -abs(e.logit))
    st.plotly_chart(
        comparisons.diverging_bars(
            [effects.CHANGES[e.change] for e in mine],
            [e.logit for e in mine],
            spreads=[e.deviation and 2 * e.deviation for e in mine],
            colours=[subspace_colour(k, g)] * len(mine),
            noise=(shuffled.logit - spread, shuffled.logit + spread),
            unit=f"change of the logit of “{name}”",
        ),
        key="ablation",
        config=_PLOT,
        alt="; ".join(f"{effects.CHANGES[e.change]}: {e.logit:+.4f}" for e in mine),
    )
    dead = bool(measures.is_dead(scene.attention.maps[number][k]))
    st.markdown(
        what_it_does(k, name, off.logit, (shuffled.logit, spread), smallest=smallest_logit(temperature), dead=dead)
    )
    st.caption(
        "Band: where one more shuffle of the same attention's places would fall in 95 of 100 cases, from "
        f"{shuffled.ways} shuffles; lines are ± 2 standard deviations where a change can be made in several ways. 0 is "
        "the network as trained: where the band holds 0, it makes no difference that can be seen *where* the subspace "
        f"looks. Changes below {smallest_logit(temperature):.3f} are called too small to matter: no logit that moves "
        "by less moves a probability by a point."
    )
    with st.expander("All changes, of every subspace"):
        st.dataframe(
            effect_rows(results),
            hide_index=True,
            height=260,
            column_config={
                "Δ logit": st.column_config.NumberColumn(format="%+.4f"),
                "Δ probability": st.column_config.NumberColumn(format="%+.3f pt"),
                "top-1 flips": st.column_config.NumberColumn(format="%.0f %%"),
                "KL (nats)": st.column_config.NumberColumn(format="%.2e"),
            },
        )
        st.caption(
            f"“Taken from another picture” uses “{other.title}”. Setting a group's *features* to zero is another "
            "matter than its attention: it removes what the channels carry, and stands here for comparison."
        )
