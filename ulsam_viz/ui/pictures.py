"""The picture that is looked at: a sample, or the visitor's own."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from PIL import Image

from ..figures.tiles import data_uri
from ..images import MAX_BYTES, ImageError, ModelInput, Preprocessing, decode_image, is_animated, prepare
from ..samples import Sample, list_samples
from .tiles import Tile, show_tiles

_TYPES = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"]
_THUMBNAIL = Preprocessing(input_size=96)


@dataclass(frozen=True)
class Picture:
    """What was chosen: the decoded picture, its name, and the sample's record where it is one."""

    image: Image.Image
    name: str
    sample: Sample | None


@st.cache_resource
def _sample_image(sample: Sample) -> Image.Image:
    return decode_image(sample.path.read_bytes())


@st.cache_resource
def _thumbnail(sample: Sample) -> str:
    return data_uri(prepare(_sample_image(sample), _THUMBNAIL).pixels, quality=80)


def choose_picture() -> Picture:
    """Show the samples and the upload; whichever was used last is looked at. A bad file changes nothing else."""
    st.subheader("Picture", help="Pictures stay in this session's memory; nothing is stored.")
    samples = {s.path.stem: s for s in list_samples()}
    upload = st.file_uploader(
        "Upload a photograph",
        type=_TYPES,
        key="upload",
        max_upload_size=MAX_BYTES // 2**20,
        on_change=_use_upload,
        help="JPEG, PNG, WebP, GIF, BMP or TIFF. The network sees the centre square.",
    )
    uploaded = _decode_upload(upload)
    chosen = st.session_state.get("picture", next(iter(samples)))
    strip = [
        Tile(
            stem,
            s.title,
            source=_thumbnail(s),
            selectable=True,
            selected=stem == chosen and not _upload_is_used(uploaded),
            title=s.title,
        )
        for stem, s in samples.items()
    ]
    show_tiles(strip, width=40, key="strip", small=True, on_select=_use_sample_of_strip)
    stem = st.selectbox(
        "Sample",
        list(samples),
        key="picture",
        bind="query-params",
        format_func=lambda s: samples[s].title,
        on_change=_use_sample,
        label_visibility="collapsed",
    )
    if uploaded and _upload_is_used(uploaded):
        return uploaded
    sample = samples[stem]
    return Picture(_sample_image(sample), sample.title, sample)


def _upload_is_used(uploaded: Picture | None) -> bool:
    return uploaded is not None and st.session_state.get("picture_source") == "upload"


def _use_upload() -> None:
    st.session_state["picture_source"] = "upload" if st.session_state.get("upload") else "sample"


def _use_sample() -> None:
    st.session_state["picture_source"] = "sample"


def _use_sample_of_strip() -> None:
    selected = getattr(st.session_state.get("strip"), "selected", None)
    if selected in {s.path.stem for s in list_samples()}:
        st.session_state["picture"] = selected
        _use_sample()


def _decode_upload(upload: object) -> Picture | None:
    """Decode once a file; on a bad one, say why and keep the last good picture."""
    state = st.session_state
    if upload is None:
        state.pop("decoded", None)
        return None
    file_id = upload.file_id  # type: ignore[attr-defined]
    if state.get("decoded_id") != file_id:
        data = upload.getvalue()  # type: ignore[attr-defined]
        try:
            image = decode_image(data)
        except ImageError as error:
            state["upload_error"] = str(error)
        else:
            state["upload_error"] = None
            # A square crop of at most 512 px is all that any variant looks at; sessions keep no more than that.
            image.thumbnail((1600, 1600), Image.Resampling.LANCZOS, reducing_gap=3)
            note = "The first frame of the animation is shown." if is_animated(data) else None
            state["decoded"], state["upload_note"] = Picture(image, upload.name, None), note  # type: ignore[attr-defined]
        state["decoded_id"] = file_id
    if state.get("upload_error"):
        st.error(state["upload_error"], icon=":material/error:")
    elif state.get("upload_note"):
        st.caption(state["upload_note"])
    return state.get("decoded")


def model_input(picture: Picture, preprocessing: Preprocessing) -> ModelInput:
    """Prepare the chosen picture for a variant, once as long as neither changes."""
    state = st.session_state
    key = (id(picture.image), preprocessing)
    if state.get("input_key") != key:
        state["input_key"], state["input"] = key, prepare(picture.image, preprocessing)
    prepared: ModelInput = state["input"]
    return prepared
