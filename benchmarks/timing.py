"""How forms are timed against each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(forms: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, float]:
    """Return each form's median seconds; the forms take turns, after two rounds that are not counted."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(repeats + 2):
        for name, run in forms.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[2:]) for name, values in times.items()}
