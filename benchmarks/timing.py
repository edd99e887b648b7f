"""How forms are timed against each other."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(forms: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, float]:
    """Return each form's median seconds.

    The forms take turns, so that a machine whose speed drifts moves all of them; each turn is one run that brings its
    data back into the caches, and one that is timed. Each round has its own order: a form right after a slow one finds
    its memory less ready (some 40 microseconds, behind the loop of small modules).
    """
    times: dict[str, list[float]] = {name: [] for name in forms}
    turns = list(forms.items())
    for _ in range(repeats + 1):
        random.shuffle(turns)
        for name, run in turns:
            run()
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[1:]) for name, values in times.items()}
