"""Pictures of a table on the page: small, and read once as long as they are looked at."""

from __future__ import annotations

import hashlib

import numpy as np
import streamlit as st
from PIL import Image

from ...dataset.table import Table
from ...images import Crop

_SIDE = 112  # pixels


def small_crop(table: Table, picture: int, *, side: int = _SIDE) -> Crop | None:
    """Return a picture of a table as the network saw it, drawn small; None if it is not there."""
    pixels = _pixels(table.key, picture, side, table)
    if pixels is None:
        return None
    return Crop(pixels, hashlib.sha256(f"{table.key} {picture} {side}".encode()).hexdigest())


@st.cache_data(max_entries=2000, ttl=600, show_spinner=False)  # seconds: no picture outlives its visitor by much
def _pixels(key: str, picture: int, side: int, _table: Table) -> np.ndarray | None:
    pixels = _table.looks.crop(picture) if _table.looks else None
    return None if pixels is None else np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX))
