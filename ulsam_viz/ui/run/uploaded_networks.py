"""Networks that a visitor uploaded, kept for this session alone, and who may upload one."""

from __future__ import annotations

import os
from ipaddress import ip_address
from urllib.parse import urlsplit

import streamlit as st

from ...zoo.variants import Variant

#: "1" offers it to every visitor, "0" to none; without it only to those on this very machine.
SWITCH = "ULSAM_VIZ_OWN_NETWORKS"
#: What a proxy adds to what it passes on: behind one, everybody comes from its machine.
_OF_PROXIES = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Forwarded", "Via")
_KEY = "own-networks"  # in the session: by name
_MOST = 3  # networks that a session keeps


def uploaded_networks() -> list[Variant]:
    """Return the networks that this session uploaded, the latest last."""
    kept: dict[str, Variant] = st.session_state.get(_KEY, {})
    return list(kept.values())


def keep_network(variant: Variant) -> None:
    """Keep a network for this session, in place of one of the same name; the oldest goes where there are too many."""
    kept = {v.name: v for v in uploaded_networks() if v.name != variant.name} | {variant.name: variant}
    st.session_state[_KEY] = dict(list(kept.items())[-_MOST:])


def forget_network(name: str) -> None:
    """Keep a network of this name no longer."""
    st.session_state[_KEY] = {v.name: v for v in uploaded_networks() if v.name != name}


def may_upload_networks() -> bool:
    """Return whether this visitor may upload a network: as the server's switch says, else only on this very machine."""
    if (switch := os.environ.get(SWITCH, "")) in ("0", "1"):
        return switch == "1"
    return is_local()


def may_open_folders() -> bool:
    """Return whether this visitor may open folders of this machine: only its own user, on a server for nobody else."""
    return os.environ.get(SWITCH) != "0" and is_local()


def is_local() -> bool:
    """Return whether this visitor sits at this very machine."""
    # All of it: a proxy on this machine, with or without headers of its own, forwards the addresses that others have
    # typed.
    if any(name in st.context.headers for name in _OF_PROXIES):
        return False
    return all(map(_is_here, (st.context.ip_address, urlsplit(st.context.url or "").hostname)))


def _is_here(address: str | None) -> bool:
    """Return whether a host is this very machine; Streamlit says None for it, or its address in any notation."""
    if address in (None, "localhost"):
        return True
    try:
        found = ip_address(str(address))
    except ValueError:
        return False
    return ((found.ipv4_mapped if found.version == 6 else None) or found).is_loopback
