"""Effect if removed: what a subspace's attention does to the answer."""

from __future__ import annotations

import streamlit as st

from ....analysis import effects, measures
from ....analysis.verdicts import judge, smallest_logit
from ....figures import comparisons
from ....figures.colours import subspace_colour
from ....images import prepare
from ....samples import list_samples
from ...choose.picture import sample_image
from ...run.asking import answer
from ...run.scene import Scene

_FLOAT_NOISE = 5e-5  # logits; less than that is neither shown nor told from the order of float32 sums
# Half the width, in standard deviations of eight shuffles, of where a ninth falls in 95 of 100 cases:
# Student's t with 7 degrees of freedom, 2.365, times sqrt(1 + 1/8).
_NINTH = 2.51
_PLOT = {"displayModeBar": False}


def show_ablation(scene: Scene, number: int, k: int) -> None:
    """Change subspace k's attention in every way, and say whether its places matter."""
    other = next(s for s in list_samples() if s.path.stem not in (scene.picture.key, "blank"))
    crop = prepare(sample_image(other), scene.variant.preprocessing)
    temperature = scene.variant.calibration.temperature
    results = answer(
        scene,
        ("ablate", number, scene.target, crop.key),
        "changing each subspace's attention in every way",
        lambda model, pause: effects.ablate(
            model, scene.crop.tensor, layer=number, target=scene.target, other=crop.tensor, temperature=temperature, pause=pause
        ),
    )
    if not results:
        return
    g = len(scene.attention.maps[number])
    of_mine = {e.change: e for e in results if e.subspace == k}
    shuffled, off = of_mine["shuffled"], of_mine["off"]
    spread = max(_NINTH * (shuffled.deviation or 0), _FLOAT_NOISE)
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
    st.markdown(_what_it_does(k, name, off.logit, (shuffled.logit, spread), smallest=smallest_logit(temperature), dead=dead))
    st.caption(
        f"Band: where one more shuffle of the same attention's places would fall in 95 of 100 cases, from {shuffled.ways} shuffles; lines are ± 2 standard deviations "
        "where a change can be made in several ways. 0 is the network as trained: where the band holds 0, it makes no difference that can be seen "
        f"*where* the subspace looks. Changes below {smallest_logit(temperature):.3f} are called too small to matter: no logit that moves by less moves a probability by a point."
    )
    with st.expander("All changes, of every subspace"):
        st.dataframe(
            [
                {
                    "subspace": "all" if e.subspace is None else str(e.subspace + 1),
                    "change": effects.CHANGES[e.change],
                    "Δ logit": e.logit,
                    "Δ probability": 100 * e.probability,
                    "top-1 flips": 100 * e.flips,
                    "KL (nats)": e.divergence,
                }
                for e in results
            ],
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
            f"“Taken from another picture” uses “{other.title}”. Setting a group's *features* to zero is another matter than its attention: "
            "it removes what the channels carry, and stands here for comparison."
        )


def _what_it_does(k: int, name: str, off: float, shuffled: tuple[float, float], *, smallest: float, dead: bool) -> str:
    """Say in words what subspace k's attention does to the logit, and whether its places matter.

    Args:
        k: Number of the subspace, from 0.
        name: The target class.
        off: Change of the logit without the attention; like all of them against the network as trained.
        shuffled: Its change with the places shuffled: the mean, and how far from it one more shuffle may fall by chance.
        smallest: Change of a logit below which none matters.
        dead: The map is uniform.
    """
    if abs(off) < _FLOAT_NOISE:
        return f"Subspace {k + 1}'s attention does not move the logit of “{name}”."
    little = f", less than the {smallest:.3f} that could matter" if abs(off) < smallest else ""
    does = f"Without subspace {k + 1}'s attention the logit of “{name}” moves by {off:+.4f}{little}"
    if dead:
        return f"{does}. It is uniform for this picture: there are no places to shuffle, the gain is the same everywhere."
    mean, spread = shuffled
    elsewhere = f"{does}; with its places shuffled, by {mean - spread:+.4f} to {mean + spread:+.4f}"
    verdict = judge(mean, chance=spread, smallest=smallest)
    if verdict == "within chance":
        return f"{elsewhere}: *where* it looks makes no difference that can be seen."
    if verdict == "too small":
        return f"{elsewhere}: more than chance, but with {mean:+.4f} in the mean too little to matter *where* it looks."
    return f"{elsewhere}: it matters *where* it looks."
