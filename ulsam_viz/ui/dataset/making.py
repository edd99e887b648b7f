"""A table of pictures that are in memory, made by the engine in fair turns, with progress and a way to stop it."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from concurrent.futures import Future, wait
from functools import partial

import pyarrow as pa
import streamlit as st

from ...batch.pictures import Crops
from ...batch.rows import Look, Rows
from ...dataset.made import BATCH, Photographs, batches, compute, joined
from ...dataset.table import Table
from ...engine import DeviceChoice, Pause, default_engine
from ...images import Crop
from ...models.network import Network
from ...zoo import Variant
from ..run.session import asked, visitor

_KEPT = 3  # tables of a session, which go with it: pictures are in them


def made(photographs: Photographs, variant: Variant, device: DeviceChoice, *, place: str) -> tuple[Table, pa.Table] | None:
    """Return the table of the pictures and the rows that it was made of, as far as the visitor lets it be made.

    Args:
        photographs: The pictures.
        variant: A network with attention.
        device: Where it computes.
        place: Names this one of the tables that stand side by side.

    Returns:
        None where it failed, which is said, or was stopped before its first batch.
    """
    key = (photographs.key, variant.key, device.device)
    kept: dict[Hashable, tuple[Table, pa.Table]] = st.session_state.setdefault("tables-made", {})
    if key in kept:
        return kept[key]
    look, parts = Look(variant), batches(photographs, variant)
    begun: dict[str, tuple[Hashable, list[Rows]]] = st.session_state.setdefault("tables-begun", {})
    if begun.get(place, (None, []))[0] != key:
        begun[place] = (key, [])
    found = begun[place][1]
    stopped: set[Hashable] = st.session_state.setdefault("stopped", set())
    room, total = st.empty(), len(photographs.names)
    if key in stopped and len(found) < len(parts):
        with room.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Stopped after {len(found) * BATCH} of {total} pictures.", width="content")
            st.button("Go on", key=f"go-on-{place}", on_click=stopped.discard, args=(key,))
        return joined(_first(photographs, found), look, found) if found else None
    if len(found) < len(parts):
        with room.container(horizontal=True, vertical_alignment="center"):
            bar = st.empty()
            st.button("Stop", key=f"stop-{place}", icon=":material/stop_circle:", on_click=stopped.add, args=(key,))
        for crops in parts[len(found) :]:
            bar.progress(len(found) / len(parts), text=f"{variant.label} looks at the pictures: {len(found) * BATCH} of {total}")
            future = _asked_for(crops, variant, device)
            while not future.done():
                wait([future], timeout=0.1)
                bar.progress(
                    len(found) / len(parts), text=f"{variant.label} looks at the pictures: {len(found) * BATCH} of {total}"
                )
            if error := future.exception():
                room.error(f"That could not be computed: {error}")
                return None
            found.append(future.result())
    room.empty()
    kept[key] = joined(photographs, look, found)
    del begun[place]
    for old in list(kept)[:-_KEPT]:
        del kept[old]
    return kept[key]


def _asked_for(crops: Crops, variant: Variant, device: DeviceChoice) -> Future[Rows]:
    """Ask for one batch; the next is asked for when it is done, so that a visitor who leaves leaves little behind."""
    key = hashlib.sha256(crops.pixels.tobytes()).hexdigest()
    mine, look = asked(), Look(variant)
    picture = Crop(crops.pixels, key)
    work = partial(_compute, crops, look)
    future = default_engine().run("rows", picture, variant, device.device, work, visitor=visitor())
    mine.now.append(future)
    mine.let_go()
    return future


def _compute(crops: Crops, look: Look, network: Network, pause: Pause) -> Rows:
    pause(len(crops.names))
    return compute(network, crops, look)


def _first(photographs: Photographs, found: list[Rows]) -> Photographs:
    """Return those of the pictures that were looked at."""
    count = sum(len(rows.names) for rows in found)
    return Photographs(photographs.title, photographs.names[:count], photographs.pixels[:count])
