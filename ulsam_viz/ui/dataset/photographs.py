"""The pictures of a table made on the page: the samples, or uploads, of which only the crops are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ...dataset.made import MAX_PICTURES, Photographs
from ...images import MAX_BYTES, ImageError, decode
from ...images.folders import is_ignored, not_taken, print_alike
from ...images.preprocessing import Preprocessing, crop_centre
from ...images.samples import list_samples
from ...text.escaping import escape_markdown
from ..choose.picture import DECODING, plain, sample_image
from ..run.address import say_missing
from ..run.session import is_there, visitor
from ..run.uploads import albums

_ADDRESS = "photographs"  # their key, in the address and in the session
_SKIPPED = "photographs-skipped"
_NAMED = 5  # skipped files that are named


@st.cache_resource(max_entries=4)
def sample_photographs(cuts: Sequence[Preprocessing]) -> Photographs:
    """Return the samples, photographs and drawings, in the cuts of :func:`~ulsam_viz.dataset.made.cuts_of`."""
    samples = list_samples()
    pixels, *others = (np.stack([crop_centre(sample_image(s), cut).pixels for s in samples]) for cut in cuts)
    return Photographs("The samples", [s.title for s in samples], pixels, dict(zip(cuts[1:], others, strict=True)))


def choose_photographs(cuts: Sequence[Preprocessing]) -> Photographs | None:
    """Show the uploader of photographs, crop them as networks see them, and return those that are kept."""
    state = st.session_state
    whole_folder = st.toggle(
        "A folder",
        key="photographs-folder",
        help="Folders inside it are taken for classes.",
    )
    st.file_uploader(
        f"Up to {MAX_PICTURES} photographs",
        # Another key, another uploader: when its files have been read, the browser's and Streamlit's copies go.
        key=_uploader(),
        accept_multiple_files="directory" if whole_folder else True,
        max_upload_size=MAX_BYTES // 10**6,
        on_change=_take,
        args=(cuts,),
        help="What the networks see of each is kept, the centre square, in memory, while you are here and ten "
        "minutes more, "
        "as long as others' leave room; never on a disk.",
    )
    for note in state.get(_SKIPPED, ()):
        st.caption(f":material/info: {escape_markdown(note)}")
    kept = _kept()
    if kept:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(
                f"{len(kept.names)} {'photographs are' if len(kept.names) > 1 else 'photograph is'} here.",
                width="content",
            )
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


def _take(cuts: Sequence[Preprocessing]) -> None:
    """Read the uploaded files: pictures are added to those that are kept, other files are named with their reasons."""
    state = st.session_state
    files = [file for file in state.get(_uploader()) or () if not _is_no_content(file.name)]
    if not files:
        return
    state["photographs-turn"] = state.get("photographs-turn", 0) + 1
    before = _kept()
    skipped: list[str] = []
    # Copied, they would outlive what their owner takes away
    if before and not albums().is_mine(album_key(), visitor(), is_there):
        before, skipped = None, ["The photographs that were here are somebody else's: yours are a set of their own"]
    album = _Album(before, cuts)
    with st.spinner(f"{len(files)} files are being read"):
        for file in sorted(files, key=lambda f: f.name):
            if reason := album.add(file):
                skipped.append(f"{_safe(file.name)}: {reason}")
    state[_SKIPPED] = _in_few_words([*skipped, *album.notes])
    if album.names:
        keep_photographs(album.photographs())


class _Album:
    """Photographs as they are added to those that are here.

    Args:
        before: Those, if any.
        cuts: As networks see them. Cuts that the kept photographs lack are left out: all photographs have the same
            cuts.
    """

    def __init__(self, before: Photographs | None, cuts: Sequence[Preprocessing]) -> None:
        kept = [cut for cut in cuts if before is None or before.is_cut_for(cut)]
        self.names = list(before.names) if before else []
        self.notes: list[str] = []  # how pictures that were added are shown
        self._files = list(before.files or [""] * len(before.names)) if before else []
        self._crops = {cut: list(before.crops(cut)) if before else [] for cut in kept}

    def add(self, file: UploadedFile) -> str:
        """Add a picture, and return "", or why it is none."""
        if len(self.names) == MAX_PICTURES:
            return f"{MAX_PICTURES} photographs are here already"
        data = file.getvalue()
        known = hashlib.sha256(file.name.encode("utf-8", "replace") + b"\0" + data).hexdigest()
        if known in self._files:
            return "it is here already"
        try:
            with DECODING:
                decoded = decode(data)
                crops = {cut: crop_centre(decoded.image, cut).pixels for cut in self._crops}
        except ImageError as error:
            return str(error)
        self.names.append(not_taken(_safe(file.name), {*map(print_alike, self.names)}, key=print_alike))
        self.notes += [f"{self.names[-1]}: {note}" for note in decoded.notes]
        self._files.append(known)
        for cut, pixels in crops.items():
            self._crops[cut].append(pixels)
        return ""

    def photographs(self) -> Photographs:
        """Return all of them."""
        pixels, *others = (np.stack(crops) for crops in self._crops.values())
        cuts = [*self._crops][1:]
        return Photographs("Your photographs", self.names, pixels, dict(zip(cuts, others, strict=True)), self._files)


def _is_no_content(name: str) -> bool:
    """Return whether a file came with its folder and is no content of it; a file that was chosen by itself is meant."""
    parts = _parts(name)
    return len(parts) > 1 and any(map(is_ignored, parts))


def _safe(name: str) -> str:
    """Return a file's name with its folder, safe to show."""
    return "/".join(plain(part) for part in _parts(name)[-2:])


def _parts(name: str) -> list[str]:
    return [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]


def _in_few_words(skipped: Sequence[str]) -> tuple[str, ...]:
    more = len(skipped) - _NAMED
    return (*skipped[:_NAMED], *([f"and {more} other files"] if more > 0 else []))
