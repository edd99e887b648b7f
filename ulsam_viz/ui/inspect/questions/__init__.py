"""What can be asked of the chosen subspace: each answer is computed when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import streamlit as st

from ....analysis.attribution import Attribution
from ...choose.ids import choose_by_id
from ...run.scene import Scene
from ...run.words import of_gain
from .ablation import show_ablation
from .places import show_faithfulness
from .sanity import show_sanity
from .shapley import show_shares
from .sources import show_sources
from .through import show_through
from .what_if import show_what_if


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        id: In the address.
        name: On the page.
        show: Answers it for subspace k (from 0) of a layer.
    """

    id: str
    name: str
    show: Callable[[Scene, Mapping[str, Attribution], int, int], None]


QUESTIONS = (
    Question("ablation", "Effect if removed", lambda scene, _, number, k: show_ablation(scene, number, k)),
    Question("shapley", "Shapley share", lambda scene, _, number, k: show_shares(scene, number)),
    Question("sources", "Why there?", lambda scene, _, number, k: show_sources(scene, number, k)),
    Question("through", "Contribution through it", lambda scene, _, number, k: show_through(scene, number)),
    Question(
        "places",
        "Is it faithful?",
        lambda scene, attributions, number, k: show_faithfulness(scene, number, attributions),
    ),
    Question("sanity", "Random-weight check", lambda scene, _, number, k: show_sanity(scene, number)),
    Question("what-if", "Cover a part", lambda scene, _, number, k: show_what_if(scene, number, k)),
)


def show_questions(scene: Scene, attributions: Mapping[str, Attribution], number: int, k: int) -> None:
    """Offer the questions, and answer the chosen one for subspace k (from 0) of a layer."""
    st.markdown(
        "**What attention does here**",
        help=f"{of_gain(scene.variant)} Here it is measured, for this picture and target.",
    )
    names = {question.id: question.name for question in QUESTIONS}
    asked = choose_by_id(st.segmented_control, "Question", names, key="question", required=True)
    next(question for question in QUESTIONS if question.id == asked).show(scene, attributions, number, k)
