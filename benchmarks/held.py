"""The app, with an account of what its memory holds, a line every two seconds (Linux with glibc).

python -m benchmarks.held ACCOUNT app --port 8501
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ulsam_viz.cli.program import main

_LOOK_EVERY = 2.0  # seconds


@dataclass(frozen=True)
class Held:
    """What lives in the memory of the app's process, in MB.

    Attributes:
        networks: Idle ones, kept for the next visitor.
        results: What was computed, kept.
        pictures: That visitors brought, decoded.
        sent: The files that visitors sent, kept by Streamlit.
        alive: All that was asked for and not freed, these among it.
    """

    networks: float
    results: float
    pictures: float
    sent: float
    alive: float


class _Mallinfo(ctypes.Structure):
    # As in malloc.h.
    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in _names]


def _alive() -> int:
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)


def _look() -> Held | None:
    """Return what is held; None until the app has begun to compute."""
    # Not imported here, nor made: the app does that in its own time
    engine: Any = sys.modules.get("ulsam_viz.engine.engine")
    if not getattr(engine, "_default", None):
        return None
    from streamlit import runtime

    from ulsam_viz.ui.run.uploads import everything

    files: Any = runtime.get_instance().uploaded_file_mgr
    stored = [file for session in list(files.file_storage.values()) for file in list(session.values())]
    networks, results = engine.default_engine().held()
    sizes = (networks, results, everything().used, sum(len(file.data) for file in stored), _alive())
    return Held(*(size / 2**20 for size in sizes))


def _keep_looking(account: Path) -> None:
    with account.open("a") as lines:
        while True:
            time.sleep(_LOOK_EVERY)
            if held := _look():
                print(json.dumps(asdict(held)), file=lines, flush=True)


def read_account(account: Path) -> list[Held]:
    """Return what was held, by time."""
    return [Held(**json.loads(line)) for line in account.read_text().splitlines()]


if __name__ == "__main__":
    threading.Thread(target=_keep_looking, args=(Path(sys.argv[1]),), daemon=True).start()
    main(sys.argv[2:])
