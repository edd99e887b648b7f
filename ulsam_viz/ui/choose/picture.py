"""The picture that is looked at: a sample, or the visitor's own."""

from __future__ import annotations

import hashlib
import re
import threading
import unicodedata
from dataclasses import dataclass, replace

import streamlit as st
from PIL import Image
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ...figures.tiles import data_uri
from ...images import decode
from ...images.folders import without_symbols
from ...images.preprocessing import MAX_BYTES, ImageError, ModelInput, Preprocessing, decode_image, prepare
from ...images.samples import Sample, list_samples
from ...text.escaping import escape_markdown
from ..run import address
from ..run.scene import Picture
from ..run.session import is_there, visitor
from ..run.state import keep
from ..run.table_pictures import Way, lent
from ..run.uploads import OWN_PICTURES, Upload, uploads
from ..widgets.tiles import Tile, show_tiles
from .crop import choose_crop, cut
from .paste import pasted, show_paste

_THUMBNAIL = Preprocessing(input_size=96)
_KEPT_SIDE = 1024  # pixels, of the shorter side
_KEPT_LONGER = 3072
# At the end of a name in the address: uploaded, or from a table
_NAMED = re.compile(r"\(((own|table)-[0-9a-f]{16})\)$")
_LOST = {
    "own": "The uploaded picture is no longer here: upload it again",
    "table": "The table's picture is no longer here: open it on Dataset again",
}
DECODING = threading.Lock()  # one at a time, of all visitors: 50 megapixels take up to 0.8 GB while they are decoded


@dataclass(frozen=True)
class _TakenAway:
    """The picture that the uploader held: its key, itself if it was still kept, and whether it was looked at."""

    key: str
    upload: Upload | None
    looked_at: bool


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
    """Show the samples and the ways to upload a picture; the one chosen last is shown.

    A bad file changes nothing else.
    """
    st.subheader("Picture")
    held = st.file_uploader(
        "Upload a photograph",
        key="upload",
        max_upload_size=MAX_BYTES // 10**6,
        help="JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF, whatever its name ends in. The network sees one square of it: "
        "the centre, or your crop. Your pictures stay in memory "
        "while you are here and ten minutes more, never on a disk.",
        on_change=_take_upload,
    )
    if held is None:  # another page had none, and this one is new: earlier uploads stay beside the next one
        st.session_state.pop("uploaded", None)
    ways = st.container(horizontal=True, vertical_alignment="center", gap="small")
    with ways:
        with st.popover("Camera", icon=":material/photo_camera:", key="camera-open", on_change="rerun") as camera:
            if camera.open:  # only now does the browser ask for the camera
                st.camera_input("Camera", key="camera", on_change=_take_shot, label_visibility="collapsed")
        show_paste(_take_paste)
    if error := st.session_state.get("upload_error"):
        st.error(escape_markdown(error), icon=":material/error:")
    elif note := st.session_state.get("upload_note"):
        st.caption(note)
    samples = {s.path.stem: s for s in list_samples()}
    own = _own_pictures()
    names = {key: f"{picture.name} ({key})" for key, picture in own.items()} | {
        key: s.title for key, s in samples.items()
    }
    strip_place = st.container()
    default = next(iter(samples))
    missing = address.take_missing(
        "picture", list(names), lambda key: names.get(key, key if _NAMED.search(key) else f"({key})"), default
    )
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
        named = _NAMED.search(missing)
        lost = _LOST[named[2]] if named else f"There is no picture “{missing}”"
        title = own[chosen].name if chosen in own else samples[chosen].title  # a picture may have come at the same time
        address.say_missing(f"{lost}; {title} is shown")
        st.query_params.pop("crop", None)  # it was the other picture's
    with strip_place:
        strip = [
            Tile(k, p.name, source=_thumbnail_of(p.image), selectable=True, selected=k == chosen)
            for k, p in own.items()
        ]
        strip += [
            Tile(k, s.title, source=_thumbnail(s), selectable=True, selected=k == chosen) for k, s in samples.items()
        ]
        show_tiles(strip, width=40, key="strip", small=True, on_select=_choose_of_strip)
    if chosen in own:
        picture, whole = Picture(own[chosen].image, own[chosen].name, chosen, None), own[chosen].whole
    else:
        whole = sample_image(samples[chosen])
        picture = Picture(whole, samples[chosen].title, chosen, samples[chosen])
    square = choose_crop(chosen, whole)
    if not square:
        return picture
    sample = picture.sample and cut(picture.sample, whole.size, square)
    return replace(picture, image=whole.crop(square.box(whole.size)), sample=sample, square=square)


def _choose_of_strip() -> None:
    selected = getattr(st.session_state.get("strip"), "selected", None)
    if selected in {*_own_pictures(), *(s.path.stem for s in list_samples())}:
        st.session_state["picture"] = selected


def _own_pictures() -> dict[str, Upload]:
    """Return the visitor's uploads that are still kept, with the picture that the address names."""
    state, named = st.session_state, _NAMED.search(address.wish("picture") or "")
    keys: list[str] = state.setdefault("own", [])
    borrowed: dict[str, Upload] = {key: own for key, own in state.get("borrowed", {}).items() if lent().is_open(key)}
    if named and named[1] not in borrowed:
        if uploads().get(named[1], visitor()):
            if named[1] not in keys:
                state["own"] = keys = [*keys, named[1]][-OWN_PICTURES:]
        elif found := lent().get(named[1]):
            borrowed = {named[1]: found}
    state["borrowed"] = borrowed
    own = {key: found for key in keys if (found := uploads().get(key, visitor()))} | borrowed
    # Streamlit has read the address before, and knew only what was offered then
    if named and named[1] in own and address.has_walked():
        state["picture"] = named[1]
    return own


def _take_upload() -> None:
    """Take what the uploader holds now: a picture to look at, nothing, or a bad file."""
    state, upload = st.session_state, st.session_state["upload"]
    state["upload_error"] = state["upload_note"] = ""
    # Removed, or about to be replaced: then the browser first takes the old file away
    if not isinstance(upload, UploadedFile):
        state["taken_away"] = _take_away()
        return
    # Under load, the browser's taking away and its bringing arrive as one.
    before = state.pop("taken_away", None) or _take_away()
    if new := _take_bytes(upload.getvalue(), plain(upload.name)):
        state["uploaded"] = new
    elif before and before.upload:  # a bad file brings it back
        offer(before.key, before.upload)
        if before.looked_at:
            state["picture"] = before.key


def _take_away() -> _TakenAway | None:
    """Forget the picture that the uploader held, and return it; None where it held none."""
    state = st.session_state
    key: str | None = state.pop("uploaded", None)
    if key is None:
        return None
    taken = _TakenAway(key, uploads().get(key, visitor()), state.get("picture") == key)
    uploads().remove(key, visitor(), is_there)
    state["own"] = [k for k in state.get("own", ()) if k != key]
    if taken.looked_at:
        state["picture"] = list_samples()[0].path.stem
    return taken


def _take_shot() -> None:
    """Take what the camera holds now: a picture to look at, or nothing, before another is taken."""
    if shot := st.session_state.get("camera"):
        _take_nameless("camera", shot.getvalue())


def _take_paste() -> None:
    """Take what was pasted: a picture to look at, or what is none."""
    try:
        data = pasted(getattr(st.session_state.get("paste"), "pasted", None))
    except ImageError as error:
        st.session_state["upload_error"], st.session_state["upload_note"] = str(error), ""
    else:
        _take_nameless("pasted", data)


def _take_nameless(way: str, data: bytes) -> None:
    """Take a picture that has no name: ``"camera 1"``, ``"camera 2"``."""
    number = st.session_state.get(f"{way}-count", 0) + 1
    if _take_bytes(data, f"{way} {number}"):
        st.session_state[f"{way}-count"] = number


def _take_bytes(data: bytes, name: str) -> str | None:
    """Make a file the picture that is looked at, and return its key.

    None for a bad one, which is said and changes nothing.
    """
    state = st.session_state
    state["upload_error"] = state["upload_note"] = ""
    try:
        with DECODING:
            decoded = decode(data)
            upload = shrunk(decoded.image, name)
    except ImageError as error:
        state["upload_error"] = str(error)
        return None
    state["upload_note"] = " ".join(decoded.notes)
    key = own_key(name, data)
    offer(key, upload)
    state["picture"] = key
    return key


def own_key(name: str, data: bytes, kind: str = "own") -> str:
    """Return an upload's key, made from its name and bytes.

    Of two visitors with the same file neither learns the other's name for it.
    """
    return f"{kind}-" + hashlib.sha256(name.encode() + b"\0" + data).hexdigest()[:16]


def lend(name: str, pixels: bytes, way: Way) -> str:
    """Offer a table's picture on the pages that look at one, and return what the address calls it there."""
    key = own_key(name, pixels, "table")
    lent().put(key, way)
    return f"{name} ({key})"


def offer(key: str, upload: Upload) -> None:
    """Keep a picture for this visitor, and offer it among the others; of too many the oldest goes."""
    uploads().put(key, upload, visitor())
    st.session_state["own"] = [*(k for k in st.session_state.get("own", ()) if k != key), key][-OWN_PICTURES:]


def shrunk(image: Image.Image, name: str) -> Upload:
    """Keep of a large picture the centre square and the whole, each at a size a session can hold."""
    (shorter, longer), (width, height) = sorted(image.size), image.size
    if shorter <= _KEPT_SIDE and longer <= _KEPT_LONGER:
        return Upload(name, image, image)
    if shorter > _KEPT_SIDE:
        left, top = (width - shorter) // 2, (height - shorter) // 2
        centre = image.crop((left, top, left + shorter, top + shorter))
        centre = centre.resize((_KEPT_SIDE, _KEPT_SIDE), Image.Resampling.LANCZOS, reducing_gap=3)
    else:  # of a strip, as much from both ends: its middle stays what it is
        off = (longer - _KEPT_LONGER + 1) // 2
        centre = image.crop((off, 0, width - off, height) if width > height else (0, off, width, height - off))
    if width == height:
        return Upload(name, centre, centre)
    scale = min(_KEPT_SIDE / shorter, _KEPT_LONGER / longer)
    size = round(width * scale), round(height * scale)
    return Upload(name, centre, image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3))


def plain(file_name: str) -> str:
    """Return a file's name for display: letters with their marks, digits, some punctuation, at most 60 characters."""
    end = without_symbols(file_name, kept="_ .()-")[-60:]
    return end.lstrip("".join(c for c in end if unicodedata.category(c)[0] == "M"))  # whose letter was cut off


def model_input(picture: Picture, preprocessing: Preprocessing) -> ModelInput:
    """Prepare the chosen picture for a variant, once as long as neither changes."""
    state = st.session_state
    key = (picture.key, picture.square, preprocessing)
    if state.get("input_key") != key:
        state["input_key"], state["input"] = key, prepare(picture.image, preprocessing)
    prepared: ModelInput = state["input"]
    return prepared
