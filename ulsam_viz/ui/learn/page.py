"""The page "Learn": a guided lesson on the visitor's own picture, and places to try things out."""

from __future__ import annotations

import streamlit as st

from ...engine.engine import default_engine
from ...text.escaping import escape_markdown
from ...zoo.variants import CheckpointError
from ..choose.display import current_view, show_view
from ..choose.ids import choose_by_id
from ..choose.methods import target_of
from ..choose.picture import model_input
from ..choose.place import say_missing_subspace
from ..choose.sidebar import choose
from ..run.interrupt import result_of
from ..run.page import open_page
from ..run.scene import Scene
from ..run.session import visitor
from .handout import offer_handout
from .present import offer_presentation, style_presentation
from .probes import show_probes
from .quiz import show_quiz
from .sandbox import show_sandbox
from .steps import show_lesson
from .trained import show_experiments

_PARTS = {"lesson": "Lesson", "sandbox": "Sandbox", "experiments": "Experiments", "probes": "Probes", "quiz": "Quiz"}


def show() -> None:
    """Draw the page."""
    variants = open_page("learn")
    style_presentation()
    with st.container(horizontal=True, vertical_alignment="center", key="learn-head"):
        part = choose_by_id(st.segmented_control, "Part", _PARTS, key="part", required=True)
        with st.container(width="content"):
            show_view()
        offer_presentation()
    if part in ("sandbox", "quiz"):
        st.sidebar.caption(f"The {_PARTS[part].lower()} needs no picture and no network.")
        if part == "sandbox":
            show_sandbox(current_view())
        else:
            show_quiz()
        return
    choices = choose(variants)
    variant, device = choices.variant, choices.device
    crop = model_input(choices.picture, variant.preprocessing)
    try:
        seen = default_engine().attend(crop, variant, device.device, visitor=visitor())
        attention = result_of(seen)
    except CheckpointError as error:
        st.error(f"{escape_markdown(str(error))}. The other variants still work: choose another position or g.")
        return
    target = target_of(choices.target, attention)
    device = default_engine().really(seen, device)  # where the pass was made, the rest is
    scene = Scene(choices.picture, crop, variant, device, {}, choices.view, attention, target)
    say_missing_subspace(scene)
    if part == "probes":
        show_probes(scene)
    elif part == "experiments":
        show_experiments(scene)
    elif walk := show_lesson(scene, variants):
        offer_handout(walk, variants)
