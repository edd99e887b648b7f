"""What the server's process needs (Linux)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """Memory of a process, in MB.

    Attributes:
        resident: All of its pages that are in memory.
        shared_out: The same, with each page that several processes share divided among them (PSS).
        own: What only this process has (USS).
    """

    resident: float
    shared_out: float
    own: float


def server_at(address: str) -> int:
    """Return the number of the process that serves an address.

    Raises:
        ProcessLookupError: If there is none.
    """
    port = address.rpartition(":")[2]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            called = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if {f"--server.port={port}".encode(), f"--port={port}".encode()} & set(called):
            return int(process.name)
    raise ProcessLookupError(f"nothing serves {address}")


def memory_of(pid: int) -> Memory:
    """Return what a process has in memory now."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kb = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    return Memory(kb["Rss"] / 1024, kb["Pss"] / 1024, (kb["Private_Clean"] + kb["Private_Dirty"]) / 1024)
