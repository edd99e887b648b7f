"""The page "Evidence": what can be concluded, and what not; then charts, and closed tables."""

from __future__ import annotations

import streamlit as st

from ...evidence.statistics import SMALLEST_TOP1, conclusions
from ..choose.network import choose_device, choose_variant
from ..choose.own import show_own_network
from ..run.page import open_page
from .accuracy import show_accuracies, show_charts
from .cost import show_cost
from .experiments import show_experiments
from .tables import show_effects, show_maps, show_paper


def show() -> None:
    """Draw the page."""
    zoo = open_page("evidence")
    with st.sidebar:
        chosen = choose_variant(zoo)
        show_own_network()
        device = choose_device()
    # What others' chance does, those of other data do not tell
    everything = [v for v in zoo if v.dataset == chosen.dataset]
    variants = [v for v in everything if v.family == chosen.family]
    st.markdown("### What can be concluded, and what not")
    st.html("<style>.st-key-conclusions p { font-size: 1.2rem; }</style>")
    with st.container(key="conclusions", gap="small"):
        for sentence, explained in zip(conclusions(variants, everything, chosen), _EXPLAINED, strict=True):
            st.markdown(sentence, help=explained)
    show_charts([v for v in variants if v.placement is None or v.gain == chosen.gain], everything, chosen)
    with st.expander("Accuracy"):
        show_accuracies(variants, everything, chosen)
    with st.expander("Effects"):
        show_effects(variants, chosen)
    with st.expander("Maps"):
        show_maps(variants, chosen)
    # To count it takes seconds: only for those who look
    cost = st.expander("Cost", key="evidence-cost", on_change="rerun")
    if cost.open:
        with cost:
            show_cost(variants, chosen, device)
    with st.expander("Paper"):
        show_paper(chosen)
    experiments = st.expander("Experiments", key="evidence-experiments", on_change="rerun")
    if experiments.open:
        with experiments:
            show_experiments(zoo)


_EXPLAINED = (
    "The largest difference between two means. In brackets: what networks of equal worth, trained from the same "
    f"seeds, stay below in 95 of 100 cases (Tukey's studentized range). It matters from {SMALLEST_TOP1} points on: the "
    "paper's own gains are 0.4 at most. The test set's own error is no part of it. Instead of a layer: the "
    "differences to a control trained as long, from another base.",
    "Alive: uniform for less than a fifth of the pictures. Without attention: the gain is 1 at every place of every "
    "module. A map multiplies features by 1 + A, whose mean is only 1 + 1/(H·W); with the normalised gain, ours, by (1 "
    "+ H·W·A) / 2, whose mean is 1.",
    "What is not seen may be there: differences smaller than chance stay hidden, and the paper's scale, ImageNet at "
    "full width, was not trained here. A peaked map is not yet one that the network decides by.",
)
