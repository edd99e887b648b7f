"""The picture that is looked at: a sample, or the visitor's own."""

from __future__ import annotations

import hashlib
import re
import threading

import streamlit as st
from PIL import Image

from ...figures.tiles import data_uri
from ...images import MAX_BYTES, ImageError, ModelInput, Preprocessing, decode_image, is_animated, prepare
from ...samples import Sample, list_samples
from ..run import address
from ..run.kept import keep
from ..run.scene import Picture
from ..run.session import visitor
from ..run.uploads import uploads
from ..widgets.tiles import Tile, show_tiles

_TYPES = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"]
_THUMBNAIL = Preprocessing(input_size=96)
_KEPT_SIDE = 1024
_OWN = re.compile(r"\((own-[0-9a-f]{16})\)$")  # at the end of an own picture's name in the address
_OWN_LIMIT = 3  # own pictures that are offered
_DECODING = threading.Lock()  # one at a time, of all visitors: 50 megapixels take up to 0.8 GB while they are decoded


@st.cache_resource
def sample_image(sample: Sample) -> Image.Image:
    """Return a sample, decoded once for all visitors."""
    return decode_image(sample.path.read_bytes())


@st.cache_resource
def _thumbnail(sample: Sample) -> str:
    return _thumbnail_of(sample_image(sample))


def _thumbnail_of(image: Image.Image) -> str:
    return data_uri(prepare(image, _THUMBNAIL).pixels, quality=80)


def choose_picture() -> Picture:
    """Show the samples and the upload; whichever was chosen last is looked at. A bad file changes nothing else."""
    st.subheader("Picture", help="Your pictures stay in memory while you are here and ten minutes more, never on a disk.")
    st.file_uploader(
        "Upload a photograph",
        type=_TYPES,
        key="upload",
        max_upload_size=MAX_BYTES // 2**20,
        help="JPEG, PNG, WebP, GIF, BMP or TIFF. The network sees the centre square.",
        on_change=_take_upload,
    )
    if error := st.session_state.get("upload_error"):
        st.error(error, icon=":material/error:")
    elif note := st.session_state.get("upload_note"):
        st.caption(note)
    samples = {s.path.stem: s for s in list_samples()}
    own = _own_pictures()
    names = {key: f"{picture.name} ({key})" for key, picture in own.items()} | {key: s.title for key, s in samples.items()}
    strip_place = st.container()
    default = next(iter(samples))
    missing = address.take_missing("picture", list(names), lambda key: names.get(key, f"({key})"), default)
    chosen = st.selectbox(
        "Picture",
        list(names),
        index=list(names).index(default),
        key=keep("picture"),
        bind="query-params",
        format_func=names.__getitem__,
        label_visibility="collapsed",
    )
    if missing:
        lost = (
            "The uploaded picture is no longer here: upload it again"
            if _OWN.search(missing)
            else f"There is no picture “{missing}”"
        )
        address.say_missing(f"{lost}; {samples[chosen].title} is shown")
    with strip_place:
        strip = [Tile(k, p.name, source=_thumbnail_of(p.image), selectable=True, selected=k == chosen) for k, p in own.items()]
        strip += [Tile(k, s.title, source=_thumbnail(s), selectable=True, selected=k == chosen) for k, s in samples.items()]
        show_tiles(strip, width=40, key="strip", small=True, on_select=_choose_of_strip)
    return own.get(chosen) or Picture(sample_image(samples[chosen]), samples[chosen].title, chosen, samples[chosen])


def _choose_of_strip() -> None:
    selected = getattr(st.session_state.get("strip"), "selected", None)
    if selected in {*st.session_state["own"], *(s.path.stem for s in list_samples())}:
        st.session_state["picture"] = selected


def _own_pictures() -> dict[str, Picture]:
    """Return the visitor's own pictures that are still kept, the one that the address names among them."""
    named = _OWN.search(st.query_params.get("picture", ""))
    keys: list[str] = st.session_state.setdefault("own", [])
    if named and named[1] not in keys and uploads().get(named[1], visitor()):
        st.session_state["own"] = keys = [*keys, named[1]][-_OWN_LIMIT:]
    return {key: Picture(found[1], found[0], key, None) for key in keys if (found := uploads().get(key, visitor()))}


def _take_upload() -> None:
    """Take what the uploader holds now: a picture to look at, nothing, or a bad file."""
    state, upload = st.session_state, st.session_state["upload"]
    state["upload_error"] = state["upload_note"] = ""
    if upload is None:
        # Removed, or about to be replaced: then the browser first takes the old file away. A bad file brings it back.
        key = state.pop("uploaded", "")
        state["taken_away"] = key, uploads().get(key, visitor()), state.get("picture") == key
        uploads().remove(key)
        state["own"] = [k for k in state["own"] if k != key]
        if state.get("picture") == key:
            state["picture"] = list_samples()[0].path.stem
        return
    key, before, looked_at = state.pop("taken_away", ("", None, False))
    data, name = upload.getvalue(), _plain(upload.name)
    try:
        with _DECODING:
            image = _shrunk(decode_image(data))
    except ImageError as error:
        state["upload_error"] = str(error)
        if not before:
            return
        name, image = before
    else:
        # Of the name, too: two visitors who bring the same picture do not learn what the other calls it.
        key, looked_at = "own-" + hashlib.sha256(name.encode() + b"\0" + data).hexdigest()[:16], True
        state["uploaded"] = key
        if is_animated(data):
            state["upload_note"] = "The first frame of the animation is shown."
    uploads().put(key, name, image, visitor())
    state["own"] = [*(k for k in state["own"] if k != key), key][-_OWN_LIMIT:]
    if looked_at:
        state["picture"] = key


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
