"""Pictures that a table is made of on the page: the samples, or the visitor's own, of which only what the networks see is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ...dataset.made import MAX_PICTURES, Photographs
from ...decoding import MAX_BYTES, ImageError, decode
from ...escaping import escape_markdown
from ...images import Preprocessing, crop_centre
from ...samples import list_samples
from ..choose.picture import DECODING, TYPES, plain, sample_image
from ..run.address import say_missing
from ..run.session import is_there, visitor
from ..run.uploads import albums

_ADDRESS = "photographs"  # their key, in the address and in the session
_SKIPPED = "photographs-skipped"
_SEEN = Preprocessing()  # every shipped network's size and crop
_NAMED = 5  # skipped files that are named


@st.cache_resource
def sample_photographs() -> Photographs:
    """Return the samples, which are photographs, drawings and probes."""
    samples = list_samples()
    pixels = np.stack([crop_centre(sample_image(s), _SEEN).pixels for s in samples])
    return Photographs("The samples", [s.title for s in samples], pixels)


def choose_photographs() -> Photographs | None:
    """Offer to bring photographs, and return those that are here."""
    state = st.session_state
    whole_folder = st.toggle(
        "A folder",
        key="photographs-folder",
        help="Folders inside it are taken for classes.",
    )
    st.file_uploader(
        f"Up to {MAX_PICTURES} photographs",
        type=TYPES,
        # Another key, another uploader: when its files have been read, the browser's and Streamlit's copies go.
        key=_uploader(),
        accept_multiple_files="directory" if whole_folder else True,
        max_upload_size=MAX_BYTES // 10**6,
        on_change=_take,
        help="The centre square of each is kept, 224 px, in memory, while you are here and ten minutes more, "
        "as long as others' leave room; never on a disk.",
    )
    for note in state.get(_SKIPPED, ()):
        st.caption(f":material/info: {escape_markdown(note)}")
    kept = _kept()
    if kept:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"{len(kept.names)} {'photographs are' if len(kept.names) > 1 else 'photograph is'} here.", width="content")
            st.button("Forget them", key="photographs-forget", on_click=_forget)
    return kept


def album_key() -> str:
    """Return the key of the photographs that the address names; "" where it names none."""
    key = st.query_params.get(_ADDRESS) or st.session_state.get(_ADDRESS)
    return key if isinstance(key, str) else ""


def _kept() -> Photographs | None:
    """Return the photographs that the address names, as long as they are here."""
    if not (key := album_key()):
        return None
    found: Photographs | None = albums().get(key, visitor())
    if found is None:
        st.query_params.pop(_ADDRESS, None)
        _forget_tables()
        say_missing("The photographs are no longer here: bring them again")
    else:
        st.session_state[_ADDRESS] = st.query_params[_ADDRESS] = key  # the state is what other pages lead back to
    return found


def keep_photographs(photographs: Photographs) -> None:
    """Keep photographs, while this visitor is here and ten minutes more, and let the address name them.

    They take the place of the visitor's former ones, as far as nobody else looks at those.
    """
    key, before = f"album-{photographs.key[:16]}", st.session_state.get(_ADDRESS)
    albums().put(key, photographs, visitor())
    if before and before != key:
        albums().remove(before, visitor(), is_there, from_all=False)
    st.session_state[_ADDRESS] = key
    st.query_params[_ADDRESS] = key


def _uploader() -> str:
    return f"photographs-{st.session_state.get('photographs-turn', 0)}"


def _forget() -> None:
    if key := st.session_state.pop(_ADDRESS, None):
        albums().remove(key, visitor(), is_there)
    st.query_params.pop(_ADDRESS, None)
    _forget_tables()
    st.session_state[_SKIPPED] = ()


def _forget_tables() -> None:
    """Forget what was made of photographs that are gone."""
    for key in (_ADDRESS, "tables-begun", "tables-made", "borrowed"):
        st.session_state.pop(key, None)


def _take() -> None:
    """Read what was brought: good pictures are added to those that are here, the others are named with their reasons."""
    state = st.session_state
    files: list[UploadedFile] = list(state.get(_uploader()) or ())
    if not files:
        return
    state["photographs-turn"] = state.get("photographs-turn", 0) + 1
    before = _kept()
    skipped: list[str] = []
    if before and not albums().is_mine(album_key(), visitor(), is_there):  # copied, they would outlive what their owner takes away
        before, skipped = None, ["The photographs that were here are somebody else's: yours are a set of their own"]
    names = list(before.names) if before else []
    crops = list(before.pixels) if before else []
    with st.spinner(f"{len(files)} files are being read"):
        for file in sorted(files, key=lambda f: f.name):
            name = _safe(file.name)
            if len(names) == MAX_PICTURES:
                skipped.append(f"{name}: {MAX_PICTURES} photographs are here already")
                continue
            try:
                with DECODING:
                    decoded = decode(file.getvalue())
                    pixels = crop_centre(decoded.image, _SEEN).pixels
            except ImageError as error:
                skipped.append(f"{name}: {error}")
                continue
            if name in names and any(np.array_equal(pixels, own) for own in crops):
                skipped.append(f"{name}: it is here already")
                continue
            names.append(name if name not in names else _another(name, names))
            crops.append(pixels)
            skipped += [f"{names[-1]}: {note}" for note in decoded.notes]
    state[_SKIPPED] = _in_few_words(skipped)
    if names:
        keep_photographs(Photographs("Your photographs", names, np.stack(crops)))


def _safe(name: str) -> str:
    """Return a file's name with its folder, safe to show."""
    return "/".join(plain(part) for part in PurePosixPath(name.replace("\\", "/")).parts[-2:] if part not in ("/", "..", "."))


def _another(name: str, names: Sequence[str]) -> str:
    """Return a name that is not there yet: ``"a.jpg (2)"``."""
    return next(other for i in range(2, len(names) + 3) if (other := f"{name} ({i})") not in names)


def _in_few_words(skipped: Sequence[str]) -> tuple[str, ...]:
    more = len(skipped) - _NAMED
    return (*skipped[:_NAMED], *([f"and {more} other files"] if more > 0 else []))
