"""A network of the visitor's own: a file that is read in memory, for this session alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from ...files import MAX_BYTES
from ...images import Preprocessing
from ...models.ulsam import GAINS
from ...own import OwnNetwork, read_checkpoint
from ...saved import Kind
from ...zoo import CheckpointError
from ..run.brought import keep_network, may_bring_networks
from ..run.scene import network_name
from .network import backbone_label, position_label

_TYPES = ["safetensors", "pt", "pth", "ckpt"]
_KINDS: dict[str, Kind | None] = {"averaged, where there": None, "raw": "raw"}
_STRIDES: dict[str, int | None] = {"not known": None, "halves the picture": 2, "keeps its size": 1}


def show_own_network() -> None:
    """Offer to bring a network; say what was recognised, or why it cannot be used. Nothing else changes."""
    if not may_bring_networks():
        return
    box = st.popover("Own network", icon=":material/upload_file:", key="own-network", on_change="rerun")
    if not box.open:  # nobody who looks for the picture's upload comes across this one
        return
    with box:
        most = min(MAX_BYTES // 2**20, int(st.get_option("server.maxUploadSize")))
        st.file_uploader(
            "Checkpoint",
            type=_TYPES,
            key="own-file",
            max_upload_size=most,
            on_change=_take,
            help="A state dict of MobileNet-V1 or V2 with ULSAM modules: of this project, of the reference module, of `insert_ulsam`. It is read in memory, for this "
            "session alone; nothing in it is run. To keep a network: `python -m ulsam_viz add FILE --classes classes.txt`.",
        )
        st.text_area("Classes", key="own-classes", placeholder="one name a line; empty: numbers", height=80, on_change=_take)
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
            st.error(error, icon=":material/error:")
        for note in st.session_state.get("own-notes", ()):
            st.caption(note)


def _take() -> None:
    """Read the file with what was said about it; what was there before stays where it cannot be used."""
    file = st.session_state.get("own-file")
    st.session_state["own-error"], st.session_state["own-notes"] = "", ()
    if file is None or not may_bring_networks():
        return
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
        return
    _keep(read)


def _keep(read: OwnNetwork) -> None:
    """Keep a network for this session, and show it."""
    variant = replace(read.variant, weights=read.weights)
    keep_network(variant)
    st.session_state["net"] = backbone_label(variant)
    st.session_state["position"] = position_label(variant)
    if variant.placement:
        st.session_state["g"] = variant.groups
    st.session_state["own-notes"] = (
        f"Read as {read.layout}: {network_name(variant)}, {len(variant.classes):,} classes.",
        *read.notes,
    )


def _lines(text: str) -> Sequence[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _numbers(text: str) -> Sequence[int]:
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise ValueError(f"layers are numbers such as 11 or 6, 8, 11, 13, not '{text}'") from error
