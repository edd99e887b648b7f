"""The head of a page: the picture, what it shows, the network, and its answer with small bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from ...images.preprocessing import Crop
from ..run.pictures import picture_key, pictures_to_send
from .script import script

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Answer:
    """One class of the answer: its number, its name, its probability, that in words, and whether it is the target."""

    number: int
    name: str
    share: float
    written: str
    target: bool


@st.cache_resource
def _component() -> Any:
    return st.components.v2.component(
        "ulsam_viz_strip",
        html='<div class="strip"></div>',
        css=(_HERE / "strip.css").read_text(encoding="utf-8"),
        js=script("strip.js"),
    )


def show_strip(
    title: str,
    picture: Crop,
    network: str,
    about: str,
    answers: Sequence[Answer],
    *,
    key: str,
    on_target: Callable[[], None],
) -> None:
    """Mount the head; after a click on a class ``st.session_state[key].target`` is its number.

    Args:
        title: What is on the picture.
        picture: The crop, drawn small.
        network: Short.
        about: Its help text.
        answers: The most probable first.
        key: Identity.
        on_target: Called after a click, before the page runs again.
    """
    data = {
        "title": title,
        "picture": picture_key(picture),
        "pictures": pictures_to_send([picture]),
        "network": network,
        "about": about,
        "answers": [asdict(answer) for answer in answers],
    }
    _component()(data=data, key=key, on_target_change=on_target)
