"""Tables that ``batch`` wrote: those that the server offers, and for visitors on this very machine any folder of it.

Or a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from ...dataset.table import Table, TableError
from ...paths import program
from ...text.escaping import escape_markdown
from ..run.address import saying_missing
from ..run.state import keep
from ..run.uploaded_networks import may_open_folders

#: Folders that every visitor is offered, between the system's separators of paths.
OFFERED = "ULSAM_VIZ_TABLES"
_NOTHING = "none"
_MOST_MB = 20


def choose_table(*, name: str, label: str) -> Table | None:
    """Show the ways to a table and return the one that is open; what is wrong with it is said.

    Args:
        name: Begins the names of the state.
        label: For people.
    """
    offered = _offered()
    ways: list[Table | None] = []
    if offered:
        names = [_NOTHING, *offered]
        with saying_missing(f"{name}table", names, "table", _NOTHING):
            chosen = st.selectbox(label, names, key=keep(f"{name}table"), bind="query-params")
        ways.append(_open(offered[chosen]) if chosen in offered else None)
    if may_open_folders():
        typed = st.text_input(
            f"{label}: its folder" if not offered else "or a folder of this machine",
            key=keep(f"{name}folder"),
            bind="query-params",
            placeholder="the folder that batch wrote (--out)",
            help=f"Make one with `{program()} batch PICTURES --variant NAME --out FOLDER`. Only visitors on this "
            "machine can open a folder.",
        )
        ways.append(_open(Path(typed).expanduser()) if typed and typed.strip() else None)
    file = st.file_uploader(
        "or a table (Parquet)",
        key=f"{name}file",
        max_upload_size=_MOST_MB,
        help="Its numbers alone: maps and pictures stay where they are.",
    )
    if file:
        ways.append(_of_file(name, file.file_id, file.name, file.getvalue()))
    return next((table for table in reversed(ways) if table), None)


def _offered() -> Mapping[str, Path]:
    """Return the folders by name; where two have one name, by as much of their paths as tells them apart."""
    paths = list(dict.fromkeys(Path(part).resolve() for part in os.environ.get(OFFERED, "").split(os.pathsep) if part))
    return {_name(path, paths): path for path in paths}


def _name(path: Path, paths: Sequence[Path]) -> str:
    ends = (path.parts[-count:] for count in range(1, len(path.parts)))
    alone = (end for end in ends if sum(other.parts[-len(end) :] == end for other in paths) == 1)
    return next((name for end in alone if (name := Path(*end).as_posix()) != _NOTHING), path.as_posix())


def _open(path: Path) -> Table | None:
    from ...dataset.opened import open_folder, stamp

    try:
        known = stamp(path) if (path / "attention.parquet").is_file() else ""
        with st.spinner("The table is being opened"):
            return _of_folder(known, path) if known else open_folder(path)
    except (TableError, OSError) as error:
        st.error(f"This table cannot be opened: {escape_markdown(str(error))}", icon=":material/error:")
        return None


@st.cache_resource(max_entries=4, show_spinner=False)
def _of_folder(stamp: str, _path: Path) -> Table:
    from ...dataset.opened import open_folder

    return open_folder(_path)


def _of_file(name: str, file_id: str, title: str, data: bytes) -> Table | None:
    from ...dataset.opened import open_file

    kept: dict[str, tuple[str, Table]] = st.session_state.setdefault("opened-files", {})
    if name not in kept or kept[name][0] != file_id:
        kept.pop(name, None)
        try:
            kept[name] = file_id, open_file(data, title)
        except TableError as error:
            st.error(f"This table cannot be opened: {escape_markdown(str(error))}", icon=":material/error:")
            return None
    return kept[name][1]
