"""What a server grants to all visitors together: numbers that whoever runs it may set in the environment."""

from __future__ import annotations

import os
import sys
from functools import lru_cache

#: Visitors at once; above it, who comes is asked to try again.
VISITORS = "ULSAM_VIZ_VISITORS"
#: Megabytes of all visitors' pictures together.
UPLOADS = "ULSAM_VIZ_UPLOAD_MB"
_USUAL = {VISITORS: 100, UPLOADS: 256}


def limit(name: str) -> int:
    """Return a limit as the environment says it, else the usual one."""
    return _read(name, os.environ.get(name, ""))


@lru_cache
def _read(name: str, text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if text:  # once: nobody who visits can put this right
        print(
            f"ulsam_viz: {name} is a number from 1, not '{text}'; {_USUAL[name]} is used", file=sys.stderr, flush=True
        )
    return _USUAL[name]
