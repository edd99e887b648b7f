"""From a picture of a table to the page Inspect, with its network and its subspace."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import streamlit as st
from PIL import Image

from ...dataset.made import Photographs
from ...dataset.opened import FolderLooks
from ...images.preprocessing import Preprocessing, crop_centre
from ...images.samples import list_samples
from ...report.address import backbone_label, network_query, position_label
from ...zoo.variants import Variant
from ..choose.picture import DECODING, lend, plain, shrunk
from ..choose.place import subspace_name
from ..navigation import go_to
from ..run.session import visitor
from ..run.table_pictures import Way
from ..run.uploads import Upload, albums
from .photographs import album_key
from .source import Shown

_ASKED = "inspect-asked"


def can_inspect(one: Shown) -> bool:
    """Return whether the pictures of a table can be looked at through the network that it was made with."""
    return one.table.looks is not None and one.variant is not None


def ask_for(one: Shown, picture: int, layer: int | None = None, k: int | None = None) -> None:
    """Ask for a picture of a table on the page Inspect; call it before the page runs again, which then goes there."""
    table = one.table
    sample = next(
        (s for s in list_samples() if s.title == table.pictures[picture] and table.title == "The samples"), None
    )
    pixels = table.looks.crop(picture) if table.looks and can_inspect(one) else None
    if sample:
        address = {"picture": sample.title}
    elif pixels is not None:
        name = plain(table.pictures[picture].replace("/", " "))
        address = {"picture": lend(name, pixels.tobytes(), _way_to(one, picture, name))}
    else:
        st.session_state[_ASKED] = None
        return
    if one.variant and one.variant.placement:
        address |= _network(one.variant, on_the_page=one.rows is not None)
    if layer is not None and k is not None:
        address["subspace"] = subspace_name(layer, k)
    st.session_state[_ASKED] = address


def _way_to(one: Shown, picture: int, name: str) -> Way:
    if isinstance(one.table.looks, FolderLooks):
        return Way(partial(_of_folder, one.table.looks.only(picture), name))
    key, preprocessing = album_key(), one.variant.preprocessing if one.variant else Preprocessing()
    return Way(partial(_of_album, key, picture, name, preprocessing), lambda: albums().get(key, visitor()) is not None)


def _of_folder(looks: FolderLooks, name: str) -> Upload | None:
    """Read a picture of a folder: the very pixels that the network saw, and the whole to choose another crop from."""
    with DECODING:
        whole = looks.image(0)
    if whole is None:
        return None
    return replace(
        shrunk(whole, name), image=_framed(crop_centre(whole, looks.preprocessing).pixels, looks.preprocessing)
    )


def _of_album(key: str, picture: int, name: str, preprocessing: Preprocessing) -> Upload | None:
    """Read a photograph of an album: what the network sees of it, which is all that is kept."""
    album: Photographs | None = albums().get(key, visitor())
    if album is None or not album.is_cut_for(preprocessing):
        return None
    image = _framed(album.crops(preprocessing)[picture], preprocessing)
    return Upload(name, image, image)


def _framed(pixels: np.ndarray, preprocessing: Preprocessing) -> Image.Image:
    """Return a picture of which a network sees these pixels: where it crops, their edge goes on around them."""
    border = round(len(pixels) * (1 / preprocessing.crop - 1) / 2)
    return Image.fromarray(np.pad(pixels, ((border, border), (border, border), (0, 0)), mode="edge"))


def _network(variant: Variant, *, on_the_page: bool) -> dict[str, str]:
    """Choose a network: by its controls where they are on the page, for Streamlit then lets nobody write their address.

    Else by that.
    """
    if not on_the_page:
        return network_query(variant)
    states = {
        "net": backbone_label(variant),
        "position": position_label(variant),
        "g": variant.groups,
        "gain": variant.gain,
    }
    st.session_state.update(states)
    return {}


def go_where_asked() -> None:
    """Go to Inspect where a click asked for it; say so where the picture is no longer there."""
    if _ASKED not in st.session_state:
        return
    address = st.session_state.pop(_ASKED)
    if address is None:
        st.toast("The picture's file is not where it was when the table was made.", icon=":material/info:")
        return
    go_to("Inspect", address)
