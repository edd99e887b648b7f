"""How long tests wait for what must come.

Only what hangs takes so long, on whatever machine and beside whatever load.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300  # seconds


def until(holds: Callable[[], bool], what: str = "it held") -> None:
    """Wait until something holds, however long a busy machine takes to come to it.

    The only poll of the tests outside of a page.
    """
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)
