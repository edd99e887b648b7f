"""A table of pictures that are in memory, made by the engine in fair turns, with progress and a way to stop it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable
from concurrent.futures import Future, wait
from functools import partial

import pyarrow as pa
import streamlit as st

from ...batch.pictures import Crops
from ...batch.rows import Look, Rows
from ...dataset.made import BATCH, Photographs, batches, compute, joined
from ...dataset.table import Table
from ...engine.engine import DeviceChoice, Pause, default_engine
from ...images.preprocessing import Crop
from ...models.network import Network
from ...text.escaping import escape_markdown
from ...zoo.variants import Variant
from ..run.session import pending, visitor

_KEPT = 3  # tables of a session, which go with it: maps of pictures are in them


def made(
    photographs: Photographs, variant: Variant, device: DeviceChoice, *, place: str
) -> tuple[Table, pa.Table] | None:
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
    # Else others' pictures took their room meanwhile
    if key in kept and (looks := kept[key][0].looks) and looks.are_here:
        return kept[key]
    look, parts = Look(variant), batches(photographs, variant)
    begun: dict[str, tuple[Hashable, list[Rows]]] = st.session_state.setdefault("tables-begun", {})
    if begun.get(place, (None, []))[0] != key:
        begun[place] = (key, [])
    found = begun[place][1]
    stop = _stopped_at(key, place)
    room, total = st.empty(), len(photographs.names)
    if len(found) < len(parts[:stop]):
        with room.container(horizontal=True, vertical_alignment="center"):
            bar = st.empty()
            st.button("Stop", key=f"stop-{place}", icon=":material/stop_circle:", on_click=_stop, args=(key, found))
        for crops in parts[len(found) : stop]:
            bar.progress(
                len(found) / len(parts), text=f"{variant.label} looks at the pictures: {len(found) * BATCH} of {total}"
            )
            future = _asked_for(crops, variant, device)
            while not future.done():
                wait([future], timeout=0.1)
                bar.progress(
                    len(found) / len(parts),
                    text=f"{variant.label} looks at the pictures: {len(found) * BATCH} of {total}",
                )
            if error := future.exception():
                room.error(f"That could not be computed: {escape_markdown(str(error))}")
                return None
            found.append(future.result())
    if len(found) < len(parts):
        with room.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Stopped after {len(found) * BATCH} of {total} pictures.", width="content")
            st.button("Go on", key=f"go-on-{place}", on_click=_go_on, args=(key, place))
        return joined(photographs, look, found) if found else None
    room.empty()
    kept[key] = joined(photographs, look, found)
    del begun[place]
    for old in list(kept)[:-_KEPT]:
        del kept[old]
    return kept[key]


def _stopped_at(key: Hashable, place: str) -> int | None:
    """Return after how many batches the visitor stopped this table, in this session or before a reload."""
    stopped: dict[Hashable, int] = st.session_state.setdefault("tables-stopped", {})
    name, short = f"stopped-{place}", hashlib.sha256(repr(key).encode()).hexdigest()[:8]
    written = re.fullmatch(r"(\d{1,3})-(\w{8})", st.query_params.get(name, ""))
    if written and written[2] == short:
        stopped.setdefault(key, int(written[1]))
    if key in stopped:
        st.query_params[name] = f"{stopped[key]}-{short}"
    else:
        st.query_params.pop(name, None)
    return stopped.get(key)


def _stop(key: Hashable, found: list[Rows]) -> None:
    st.session_state["tables-stopped"][key] = len(found)


def _go_on(key: Hashable, place: str) -> None:
    st.session_state["tables-stopped"].pop(key, None)
    st.query_params.pop(f"stopped-{place}", None)


def _asked_for(crops: Crops, variant: Variant, device: DeviceChoice) -> Future[Rows]:
    """Ask for one batch; the next is asked for when it is done, so that a visitor who leaves leaves little behind."""
    key = hashlib.sha256(crops.pixels.tobytes()).hexdigest()
    mine, look = pending(), Look(variant)
    picture = Crop(crops.pixels, key)
    work = partial(_compute, crops, look)
    future = default_engine().run("rows", picture, variant, device.device, work, visitor=visitor())
    mine.now.append(future)
    mine.release_earlier()
    return future


def _compute(crops: Crops, look: Look, network: Network, pause: Pause) -> Rows:
    pause(len(crops.names))
    return compute(network, crops, look)
