"""From a picture of a table to the page Inspect, with its network and its subspace."""

from __future__ import annotations

import streamlit as st
from PIL import Image

from ...samples import list_samples
from ...zoo import Variant
from ..choose.network import backbone_label, position_label, position_words
from ..choose.picture import offer, own_key, plain
from ..choose.place import subspace_name
from ..run.uploads import Upload
from ..titles import go_to
from .source import Shown

_ASKED = "inspect-asked"


def ask_for(one: Shown, picture: int, layer: int | None = None, k: int | None = None) -> None:
    """Ask for a picture of a table on the page Inspect; call it before the page runs again, which then goes there."""
    table = one.table
    pixels = table.looks.crop(picture) if table.looks else None
    sample = next((s for s in list_samples() if s.title == table.pictures[picture] and table.title == "The samples"), None)
    if sample:
        address = {"picture": sample.title}
    elif pixels is None:
        st.session_state[_ASKED] = None
        return
    else:
        image = Image.fromarray(pixels)
        name = plain(table.pictures[picture].replace("/", " "))
        # The very pixels that the network saw: cut to a square and resized already, they stay what they are.
        key = own_key(name, pixels.tobytes())
        offer(key, Upload(name, image, image))
        address = {"picture": f"{name} ({key})"}
    if one.variant and one.variant.placement:
        address |= _network(one.variant, on_the_page=one.rows is not None)
    if layer is not None and k is not None:
        address["subspace"] = subspace_name(layer, k)
    st.session_state[_ASKED] = address


def _network(variant: Variant, *, on_the_page: bool) -> dict[str, str]:
    """Choose a network: by its controls where they are on the page, for Streamlit then lets nobody write their address; else by that."""
    position = position_label(variant)
    if on_the_page:
        states = {"net": backbone_label(variant), "position": position, "g": variant.groups, "gain": variant.gain}
        st.session_state.update(states)
        return {}
    address = {"net": backbone_label(variant), "position": position_words(position), "g": str(variant.groups)}
    return address | ({} if variant.gain == "published" else {"gain": variant.gain})


def go_where_asked() -> None:
    """Go to Inspect where a click asked for it; say so where the picture is no longer there."""
    if _ASKED not in st.session_state:
        return
    address = st.session_state.pop(_ASKED)
    if address is None:
        st.toast("The picture's file is not where it was when the table was made.", icon=":material/info:")
        return
    go_to("Inspect", address)
