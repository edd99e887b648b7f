"""Crops on their way to the browser: each is sent once in a run of the page, whatever is drawn over it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import streamlit as st

from ...figures.tiles import data_uri
from ...images.preprocessing import Crop

_SENT = "pictures_sent"


def picture_key(picture: Crop) -> str:
    """Name a crop's pixels for the browser, which keeps them."""
    return hashlib.sha256(picture.key.encode()).hexdigest()[:16]


def pictures_to_send(pictures: Sequence[Crop]) -> dict[str, str]:
    """Return the crops, as data URIs by key, that this run of the page has not sent yet."""
    sent: set[str] = st.session_state.setdefault(_SENT, set())
    fresh = {key: p for p in pictures if (key := picture_key(p)) not in sent}
    sent.update(fresh)
    return {key: _picture_uri(key, picture.pixels) for key, picture in fresh.items()}


def send_pictures_again() -> None:
    """Begin a run of the page: a browser that was reloaded has none."""
    st.session_state[_SENT] = set()


@st.cache_data(max_entries=256, ttl=600, show_spinner=False)  # seconds: no longer than an upload outlives its visitor
def _picture_uri(key: str, _pixels: np.ndarray) -> str:
    return data_uri(_pixels, quality=92)
