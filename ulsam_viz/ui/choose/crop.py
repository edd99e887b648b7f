"""The crop: which square of the picture is looked at. It is the picture's own, and in the address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from ...figures.tiles import data_uri
from ...images.preprocessing import Square
from ...images.samples import Sample
from ..run import address

_HERE = Path(__file__).parent
_SHOWN = 280  # longest side of the preview, CSS pixels


@st.cache_resource
def _component() -> Any:
    corners = "".join(f'<div class="corner" data-corner="{name}"></div>' for name in ("nw", "ne", "sw", "se"))
    return st.components.v2.component(
        "ulsam_viz_crop",
        html=f'<div class="crop"><img alt=""><div class="square" role="application" tabindex="0">{corners}</div></div>',
        css=(_HERE / "crop.css").read_text(encoding="utf-8"),
        js=(_HERE / "crop.js").read_text(encoding="utf-8"),
    )


def choose_crop(key: str, whole: Image.Image) -> Square | None:
    """Show the crop's button; return the square that is chosen of a picture, None for the centre.

    Args:
        key: Identifies the picture: each has its own crop.
        whole: All of it.
    """
    crops: dict[str, Square] = st.session_state.setdefault("crops", {})
    wrong = _take_address(crops, key, whole.size) if _is_new_address() else False
    square = crops.get(key)
    if str(square or "") != st.query_params.get("crop", ""):
        if square:
            st.query_params["crop"] = str(square)
        else:
            del st.query_params["crop"]
    with st.popover("Crop", icon=":material/crop:", key="crop-open", on_change="rerun") as popover:
        if popover.open:
            _show(key, whole, square)
    if wrong:
        address.say_missing("The address asks for a crop that is no square of this picture; the centre is shown")
    return square


def _is_new_address() -> bool:
    """Return whether the visitor opened the address, or went back or forward to it, so that it must be read."""
    first = not st.session_state.get("crop-read")
    st.session_state["crop-read"] = True
    return first or address.has_walked()


def _take_address(crops: dict[str, Square], key: str, size: tuple[int, int]) -> bool:
    """Set a picture's crop from the address; return whether the address names one that is not valid."""
    crops.pop(key, None)
    try:
        if wish := st.query_params.get("crop"):
            _choose(crops, key, wish.split(","), size)
    except ValueError:
        return True
    return False


def _choose(crops: dict[str, Square], key: str, values: Sequence[Any], size: tuple[int, int]) -> None:
    """Make a square a picture's crop, or none where it is the centre.

    Raise ValueError where it is no square of the picture.
    """
    square = Square.read(values, size)
    crops.pop(key, None)
    if square != Square.centre(size):
        crops[key] = square


def _show(key: str, whole: Image.Image, square: Square | None) -> None:
    shown = whole.copy()
    shown.thumbnail((2 * _SHOWN, 2 * _SHOWN))
    width, height = whole.size
    middle = Square((1 - min(whole.size) / height) / 2, (1 - min(whole.size) / width) / 2, 1.0)  # not rounded
    chosen = square or middle
    _component()(
        data={
            "of": key,
            "src": data_uri(np.asarray(shown), quality=80),
            "width": width,
            "height": height,
            "shown": round(_SHOWN * width / max(width, height)),
            "square": [chosen.top, chosen.left, chosen.side],
            "smallest": Square.SMALLEST,
        },
        key="cropper",
        on_square_change=_taker(key, whole.size),
    )
    st.caption("Drag the square or its corners; or use the arrow keys, + and −.")
    st.button("Back to the centre", disabled=square is None, on_click=lambda: st.session_state["crops"].pop(key, None))


def _taker(key: str, size: tuple[int, int]) -> Callable[[], None]:
    def take() -> None:
        """Take a square that was dragged over into the address; what is none changes nothing."""
        report = getattr(st.session_state.get("cropper"), "square", None)
        if not isinstance(report, dict) or report.get("of") != key or not isinstance(report.get("values"), list):
            return
        with suppress(ValueError):
            _choose(st.session_state["crops"], key, report["values"], size)

    return take


def cut(sample: Sample, size: tuple[int, int], square: Square) -> Sample:
    """Return a sample's record for a square of its picture: the box moves along; without its subject no class is right.

    Args:
        sample: The record; its box is in fractions of the centre square.
        size: Width and height of the picture, in pixels.
        square: The chosen one.
    """
    if not sample.box:
        return sample
    width, height = size
    left, top, right, _ = square.box(size)

    def moved(fraction: float, length: int, start: int) -> float:
        pixel = (length - min(size)) / 2 + fraction * min(size)
        return min(max((pixel - start) / (right - left), 0.0), 1.0)

    rows, columns = sample.box[::2], sample.box[1::2]
    (upper, lower), (first, last) = (moved(v, height, top) for v in rows), (moved(v, width, left) for v in columns)
    if upper < lower and first < last:
        return replace(sample, box=(upper, first, lower, last))
    return replace(sample, box=None, shows=())
