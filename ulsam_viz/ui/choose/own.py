"""A network of the visitor's own: a file that is read in memory, for this session alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from ...images.preprocessing import Preprocessing
from ...models.ulsam import GAINS
from ...paths import program
from ...text.escaping import escape_markdown
from ...zoo.checkpoint_files import MAX_BYTES
from ...zoo.user_networks import OwnNetwork, read_checkpoint
from ...zoo.variants import CheckpointError, Variant
from ...zoo.wrappers import Kind
from ..run.scene import network_name
from ..run.uploaded_networks import forget_network, keep_network, may_upload_networks
from .network import backbone_label, position_label

_KINDS: dict[str, Kind | None] = {"averaged, where there": None, "raw": "raw"}
_STRIDES: dict[str, int | None] = {"not known": None, "halves the picture": 2, "keeps its size": 1}


@dataclass(frozen=True)
class _Shown:
    """A network that the uploader's file holds, and what was chosen before it came, by key of the control."""

    variant: Variant
    before: Mapping[str, Any]


def show_own_network() -> None:
    """Show the uploader of a network; say what was recognised, or why it cannot be used. Nothing else changes."""
    if not may_upload_networks():
        return
    box = st.popover("Own network", icon=":material/upload_file:", key="own-network", on_change="rerun")
    if not box.open:  # nobody who looks for the picture's upload comes across this one
        return
    with box:
        said = st.container()  # before the controls: below them it would be out of sight
        most = min(MAX_BYTES // 10**6, int(st.get_option("server.maxUploadSize")))
        st.file_uploader(
            "Checkpoint",
            key="own-file",
            max_upload_size=most,
            on_change=_take_file,
            help="A state dict of MobileNet-V1 or V2 with ULSAM modules: of this project, of the reference module, "
            "of `insert_ulsam`. It is read in memory, for this "
            f"session alone; nothing in it is run. To keep a network: `{program()} add FILE --classes classes.txt`.",
        )
        st.text_area(
            "Classes", key="own-classes", placeholder="one name a line; empty: numbers", height=80, on_change=_take
        )
        left, right = st.columns(2)
        left.selectbox("Its gain", ["as the file says", *GAINS], key="own-gain", on_change=_take)
        right.text_input(
            "Its layers",
            key="own-layers",
            placeholder="e.g. 11",
            on_change=_take,
            help="Only where the file leaves open which layers its modules follow.",
        )
        right.number_input("Input, px", 32, 512, 224, 32, key="own-size", on_change=_take)
        left.selectbox(
            "Its weights",
            _KINDS,
            key="own-weights",
            on_change=_take,
            help="Where a file holds raw weights and their average (EMA).",
        )
        right.selectbox(
            "Its stem",
            _STRIDES,
            key="own-stem",
            on_change=_take,
            help="A file does not tell strides; for inputs below 64 px they must be said.",
        )
        if error := st.session_state.get("own-error"):
            said.error(escape_markdown(error), icon=":material/error:")
        for note in st.session_state.get("own-notes", ()):
            st.caption(escape_markdown(note))


def _take_file() -> None:
    """Handle a change of the uploader: a network, or nothing, where the file was removed or is being replaced."""
    if isinstance(st.session_state.get("own-file"), UploadedFile):
        _take()
    elif shown := st.session_state.pop("own-shown", None):
        st.session_state["own-taken-away"] = shown
        st.session_state["own-error"], st.session_state["own-notes"] = "", ()
        forget_network(shown.variant.name)
        if st.session_state.get("net") == backbone_label(shown.variant):
            st.session_state.update(shown.before)


def _take() -> None:
    """Read the file with what was said about it; what was there before stays where it cannot be used."""
    file = st.session_state.get("own-file")
    st.session_state["own-error"], st.session_state["own-notes"] = "", ()
    if not isinstance(file, UploadedFile) or not may_upload_networks():
        return
    taken_away: _Shown | None = st.session_state.pop("own-taken-away", None)
    try:
        read = read_checkpoint(
            file.getvalue(),
            file.name,
            classes=_lines(st.session_state.get("own-classes", "")) or None,
            preprocessing=Preprocessing(int(st.session_state.get("own-size") or 224)),
            gain=next((gain for gain in GAINS if gain == st.session_state.get("own-gain")), None),
            layers=_numbers(st.session_state.get("own-layers", "")) or None,
            kind=_KINDS.get(st.session_state.get("own-weights", "")),
            stem_stride=_STRIDES.get(st.session_state.get("own-stem", "")),
        )
    except (CheckpointError, ValueError) as error:
        st.session_state["own-error"] = f"{error}."
        if taken_away:  # replaced by what cannot be used
            _show(taken_away.variant)
        return
    _keep(read)


def _keep(read: OwnNetwork) -> None:
    """Keep a network for this session, and show it."""
    variant = replace(read.variant, weights=read.weights)
    _show(variant)
    st.session_state["own-notes"] = (
        f"Read as {read.layout}: {network_name(variant)}, {len(variant.classes):,} classes.",
        *read.notes,
    )


def _show(variant: Variant) -> None:
    state = st.session_state
    before: Mapping[str, Any] = {key: state[key] for key in ("net", "position", "g", "gain") if key in state}
    if "own-shown" in state:  # another network of the same file
        before = state["own-shown"].before
    state["own-shown"] = _Shown(variant, before)
    keep_network(variant)
    state["net"] = backbone_label(variant)
    state["position"] = position_label(variant)
    if variant.placement:
        state["g"] = variant.groups


def _lines(text: str) -> Sequence[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _numbers(text: str) -> Sequence[int]:
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise ValueError(f"layers are numbers such as 11 or 6, 8, 11, 13, not '{text}'") from error
