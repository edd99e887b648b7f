"""Asking the engine a question about the view, and waiting for the answer in sight of the visitor."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import streamlit as st

from ..engine import Pause, default_engine
from ..models.mobilenet import MobileNet
from .scene import Scene
from .session import visitor

T = TypeVar("T")


def answer(scene: Scene, name: tuple[Hashable, ...], text: str, work: Callable[[MobileNet, Pause], T]) -> T | None:
    """Compute something with the variant's network, saying meanwhile what and where in line; None if it failed."""
    engine = default_engine()
    future: Future[T] = engine.run(name, scene.crop, scene.variant, scene.device.device, work, visitor=visitor())
    st.session_state["started"] = [*st.session_state.get("started", ()), future]  # let go of when the visitor moves on
    place = st.empty()
    while not future.done():
        ahead = engine.ahead_of(future)
        place.caption(f":material/hourglass_empty: {text}" + (f" (in line: {ahead} before it)" if ahead else ""))
        wait([future], timeout=0.1)  # short: a visitor who moves on interrupts at the next call
    place.empty()
    if error := future.exception():
        st.error(f"That could not be computed: {error}")
        return None
    examined(scene)["-".join(map(str, name))] = future.result()
    return future.result()


def examined(scene: Scene) -> dict[str, Any]:
    """Return what this visitor has found out about this picture and network, by question; kept for the session's view."""
    key = (scene.variant.sha256, scene.crop.key)
    if st.session_state.get("examined_key") != key:
        st.session_state["examined_key"], st.session_state["examined"] = key, {}
    found: dict[str, Any] = st.session_state["examined"]
    return found


def subspace_names(scene: Scene, number: int) -> list[str]:
    """Name a layer's subspaces, from 1."""
    return [f"Subspace {i + 1}" for i in range(len(scene.attention.maps[number]))]
