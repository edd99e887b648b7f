"""Times of networks on this machine: measured together, by turns, while the visitor can go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait

from ...engine.engine import DeviceChoice, default_engine
from ...models.cost import LATENCY_REPEATS, Latency
from ...zoo.variants import Variant
from .session import pending, visitor


def measured(
    variants: Sequence[Variant], device: DeviceChoice, show: Callable[[float], object]
) -> Mapping[str, Latency] | str:
    """Measure variants together; call it when nothing is left to do but this.

    Args:
        variants: The networks to compare.
        device: Where.
        show: Called with the share that is done, again and again. It calls Streamlit, and so a visitor who moves on
            interrupts the wait; the next run of the page then releases the measurement.

    Returns:
        Times by the variants' keys, or the reason why there are none.
    """
    engine, mine = default_engine(), pending()
    future = engine.latency(variants, device.device, visitor=visitor())
    mine.now.append(future)
    turns = max(1, len(variants) * (LATENCY_REPEATS + 1))
    while not future.done():
        show(min(1.0, engine.passes(future) / turns))
        wait([future], timeout=0.1)
    error = future.exception()
    return str(error) if error else future.result()


def as_text(variant: Variant, times: Mapping[str, Latency] | str | None) -> str:
    """Write one variant's time for a card; None: it is still to be measured."""
    if times is None:
        return "measured at the end"
    return f"not measured: {times}" if isinstance(times, str) else str(times[variant.key])
