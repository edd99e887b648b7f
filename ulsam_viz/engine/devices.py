"""Whether the CUDA GPU can be used: tried once, and left alone for a while when it keeps running out of memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import torch

_FAILURES = 3  # in a row: then computations no longer wait for the GPU to fail
_REST = 60.0  # seconds


class Gpu:
    """What is known about the CUDA GPU; any thread may ask or tell.

    Args:
        now: The time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._tried = False
        self._broken: str | None = None
        self._failures = 0
        self._resting_until = -float("inf")

    def trouble(self) -> str | None:
        """Say why the GPU that PyTorch sees cannot be used now; None if it can.

        The first question tries it, others wait for that.
        """
        with self._lock:
            if not self._tried:
                self._broken = _try_cuda()
                self._tried = True
            if self._broken:
                return self._broken
            if self._now() < self._resting_until:
                return "The GPU has run out of memory several times; the CPU is used for a minute."
            return None

    def ran_out_of_memory(self) -> None:
        """Note that a computation did not fit; after several in a row the GPU rests."""
        with self._lock:
            self._failures += 1
            if self._failures >= _FAILURES:
                self._failures, self._resting_until = 0, self._now() + _REST

    def worked(self) -> None:
        """Note that a computation fitted."""
        with self._lock:
            self._failures = 0


def _try_cuda() -> str | None:
    """Compute once on the GPU: a driver or card that PyTorch cannot use is found here, not in a visitor's view."""
    try:
        torch.nn.functional.conv2d(
            torch.ones(1, 1, 4, 4, device="cuda"), torch.ones(1, 1, 3, 3, device="cuda")
        ).sum().item()
    except torch.cuda.OutOfMemoryError:
        return None  # it works, and may have room later
    except RuntimeError as error:
        return f"The GPU cannot be used ({str(error).splitlines()[0]}); the CPU is used."
    return None
