"""What the page looks at: one table or two side by side, made here of pictures, or opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import streamlit as st

from ...dataset.made import Photographs, cuts_of
from ...dataset.table import Table
from ...engine.engine import DeviceChoice
from ...text.escaping import escape_markdown
from ...zoo.variants import Variant, get_variant
from ..choose.ids import choose_by_id
from ..choose.network import choose_device, choose_variant
from ..choose.own import show_own_network
from ..run.scene import network_name
from .making import made
from .opening import choose_table
from .photographs import choose_photographs, sample_photographs

_SAMPLES, _PHOTOGRAPHS, _TABLE = "samples", "photographs", "table"
_SOURCES = {_SAMPLES: "Samples", _PHOTOGRAPHS: "Yours", _TABLE: "Table"}
_NOTHING = "nothing"


@dataclass(frozen=True)
class Shown:
    """One table on the page.

    Attributes:
        table: What is looked at.
        network: Its network's name, for people.
        variant: Its record, if the network is here.
        rows: What it was made of, where it was made here.
    """

    table: Table
    network: str
    variant: Variant | None
    rows: pa.Table | None = None


def choose_shown(variants: Sequence[Variant]) -> list[Shown]:
    """Show the sidebar, make what has to be made, and return what there is to look at."""
    with st.sidebar:
        st.subheader("Pictures")
        source = choose_by_id(st.segmented_control, "Source", _SOURCES, key="source", required=True)
        if source == _TABLE:
            tables = [choose_table(name="", label="Table")]
            named = any(st.query_params.get(f"beside-{way}") for way in ("table", "folder"))
            with st.expander(
                "A second table, side by side", expanded=named, key="beside-open", on_change="rerun"
            ) as beside:
                if beside.open or named:
                    tables.append(choose_table(name="beside-", label="The second"))
            return [_shown(table, variants) for table in tables if table]
        networks = [v for v in variants if v.placement]
        cuts = cuts_of(networks)
        photographs = sample_photographs(cuts) if source == _SAMPLES else choose_photographs(cuts)
        chosen = choose_variant(networks)
        show_own_network()
        second = _choose_second(networks, chosen)
        device = choose_device()
    return _made(photographs, [chosen, *second], device) if photographs else []


def _choose_second(networks: Sequence[Variant], chosen: Variant) -> list[Variant]:
    """Offer a second network for the same pictures."""
    by_name = {v.name: v for v in networks if v is not chosen}
    names = {_NOTHING: "nothing else", **{name: network_name(v) for name, v in by_name.items()}}
    st.markdown("Side by side with")
    name = choose_by_id(st.selectbox, "Side by side with", names, key="beside")
    return [by_name[name]] if name in by_name else []


def _made(photographs: Photographs, variants: Sequence[Variant], device: DeviceChoice) -> list[Shown]:
    shown = []
    for i, variant in enumerate(variants):
        if not photographs.is_cut_for(variant.preprocessing):
            st.info(
                f"{escape_markdown(network_name(variant))} sees pictures in another size or crop than the networks "
                "that were offered when these photographs were uploaded: forget them and upload them again.",
                icon=":material/info:",
            )
        elif found := made(photographs, variant, device, place=str(i)):
            shown.append(Shown(found[0], network_name(variant), variant, found[1]))
    return shown


def _shown(table: Table, variants: Sequence[Variant]) -> Shown:
    variant = next((v for v in variants if v.name == table.variant), None)
    if not variant and table.variant:
        try:
            variant = get_variant(table.variant)
        except KeyError:
            variant = None
    return Shown(
        table, network_name(variant) if variant else table.variant or "a network that the file does not name", variant
    )
