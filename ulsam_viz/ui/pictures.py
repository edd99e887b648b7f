"""The picture that is looked at: a sample, or the visitor's own."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

import streamlit as st
from PIL import Image
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ..figures.tiles import data_uri
from ..images import MAX_BYTES, ImageError, ModelInput, Preprocessing, decode_image, is_animated, prepare
from ..samples import Sample, list_samples
from .tiles import Tile, show_tiles

_TYPES = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"]
_THUMBNAIL = Preprocessing(input_size=96)
_KEPT_SIDE = 1024
_UPLOADED = "uploaded"
_DECODING = threading.Lock()  # one at a time, of all visitors: 50 megapixels take up to 0.8 GB while they are decoded


@dataclass(frozen=True)
class Picture:
    """What was chosen: the decoded picture, its name, what identifies it, and the sample's record where it is one."""

    image: Image.Image
    name: str
    key: str
    sample: Sample | None


@st.cache_resource
def sample_image(sample: Sample) -> Image.Image:
    """Return a sample, decoded once for all visitors."""
    return decode_image(sample.path.read_bytes())


@st.cache_resource
def _thumbnail(sample: Sample) -> str:
    return data_uri(prepare(sample_image(sample), _THUMBNAIL).pixels, quality=80)


def choose_picture() -> Picture:
    """Show the samples and the upload; whichever was used last is looked at. A bad file changes nothing else."""
    st.subheader("Picture", help="Pictures stay in this session's memory; nothing is stored.")
    samples = {s.path.stem: s for s in list_samples()}
    upload = st.file_uploader(
        "Upload a photograph",
        type=_TYPES,
        key="upload",
        max_upload_size=MAX_BYTES // 2**20,
        help="JPEG, PNG, WebP, GIF, BMP or TIFF. The network sees the centre square.",
    )
    uploaded = _decode_upload(upload)
    strip_place = st.container()
    stem = st.selectbox(
        "Sample",
        list(samples),
        key="picture",
        bind="query-params",
        format_func=lambda s: samples[s].title,
        on_change=_use_sample,
        label_visibility="collapsed",
    )
    used = uploaded if uploaded and st.session_state.get("picture_source") == "upload" else None
    with strip_place:
        strip = [
            Tile(name, s.title, source=_thumbnail(s), selectable=True, selected=name == stem and not used)
            for name, s in samples.items()
        ]
        if uploaded:  # the way back to it
            thumbnail = data_uri(prepare(uploaded.image, _THUMBNAIL).pixels, quality=80)
            strip.insert(0, Tile(_UPLOADED, uploaded.name, source=thumbnail, selectable=True, selected=bool(used)))
        show_tiles(strip, width=40, key="strip", small=True, on_select=_use_sample_of_strip)
    return used or Picture(sample_image(samples[stem]), samples[stem].title, stem, samples[stem])


def _use_sample() -> None:
    st.session_state["picture_source"] = "sample"


def _use_sample_of_strip() -> None:
    selected = getattr(st.session_state.get("strip"), "selected", None)
    if selected == _UPLOADED:
        st.session_state["picture_source"] = "upload"
    elif selected in {s.path.stem for s in list_samples()}:
        st.session_state["picture"] = selected
        _use_sample()


def forget_uploader() -> None:
    """Say that another page is shown: its uploader is another one, and empty; what was uploaded stays."""
    st.session_state["uploader_holds"] = None


def _decode_upload(upload: UploadedFile | None) -> Picture | None:
    """Decode each file once and look at it; on a bad one, say why and keep everything as it was."""
    state = st.session_state
    if upload is None:
        if state.get("uploader_holds"):
            # Removed, or about to be replaced: then the browser first takes the old file away. A bad file brings it back.
            state["taken_away"] = state.get("uploaded"), state.get("picture_source")
            state["uploaded"] = state["uploader_holds"] = None
            _use_sample()
        return state.get("uploaded")
    if state.get("uploader_holds") != upload.file_id:
        data = upload.getvalue()
        state["upload_error"] = state["upload_note"] = None
        before, source = state.pop("taken_away", None) or (state.get("uploaded"), state.get("picture_source"))
        try:
            with _DECODING:
                image = _shrunk(decode_image(data))
        except ImageError as error:
            state["upload_error"] = str(error)
            state["uploaded"], state["picture_source"] = before, source
        else:
            state["uploaded"] = Picture(image, _plain(upload.name), upload.file_id, None)
            state["picture_source"] = "upload"
            if is_animated(data):
                state["upload_note"] = "The first frame of the animation is shown."
        state["uploader_holds"] = upload.file_id
    if state["upload_error"]:
        st.error(state["upload_error"], icon=":material/error:")
    elif state["upload_note"]:
        st.caption(state["upload_note"])
    return state.get("uploaded")


def _shrunk(image: Image.Image) -> Image.Image:
    """Keep of a large picture what the networks look at, the centre square, at a size a session can hold."""
    shorter = min(image.size)
    if shorter <= _KEPT_SIDE:
        return image
    left, top = (image.width - shorter) // 2, (image.height - shorter) // 2
    square = image.crop((left, top, left + shorter, top + shorter))
    return square.resize((_KEPT_SIDE, _KEPT_SIDE), Image.Resampling.LANCZOS, reducing_gap=3)


def _plain(file_name: str) -> str:
    """Make a file's name safe to show: letters, digits and a little punctuation, at most 60 of them."""
    return re.sub(r"[^\w .()\-]", "_", file_name)[-60:]


def model_input(picture: Picture, preprocessing: Preprocessing) -> ModelInput:
    """Prepare the chosen picture for a variant, once as long as neither changes."""
    state = st.session_state
    key = (picture.key, preprocessing)
    if state.get("input_key") != key:
        state["input_key"], state["input"] = key, prepare(picture.image, preprocessing)
    prepared: ModelInput = state["input"]
    return prepared
