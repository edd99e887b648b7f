"""What attention costs: counted from the layers, and timed where the visitor asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from ...engine.engine import DeviceChoice, default_engine
from ...models.cost import LATENCY_REPEATS, Latency
from ...text.escaping import escape_markdown
from ...zoo.variants import CheckpointError, Variant
from ..run.interrupt import result_of, run_again
from ..run.scene import facts, network_name
from ..run.times import measured
from .tables import place, show_table


def show_cost(variants: Sequence[Variant], chosen: Variant, device: DeviceChoice) -> None:
    """Show a row for each network that is whole, and the reason for each that is not."""
    times, now = _times(variants, device), f"ms here, {device.device}"
    rows = []
    for variant in variants:
        try:
            cost, _ = facts(variant.key, variant)
        except CheckpointError as error:
            st.warning(escape_markdown(str(error)))
            continue
        latency = times.get(variant.key)
        rows.append(
            place(variant, chosen)
            | {
                "parameters": cost.params,
                "MACs (M)": cost.macs / 1e6,
                "element-wise (MB)": cost.elementwise_bytes / 1e6,
            }
            | ({now: latency.median, "from": latency.low, "to": latency.high} if latency else {})
        )
    show_table(
        rows,
        {
            "parameters": "localized",
            "MACs (M)": "%.2f",
            "element-wise (MB)": "%.2f",
            now: "%.1f",
            "from": "%.1f",
            "to": "%.1f",
        },
    )
    timed = (
        f" Times: medians of {LATENCY_REPEATS} runs, all networks by turns; half of the runs lie from … to; where "
        "these overlap, rows are not told apart."
    )
    st.caption(
        "Parameters and MACs are counted from the layers; g changes no MACs. Element-wise: bytes that norms, ReLUs, "
        "pooling, softmax and gains read and write when each step runs by itself; the fast form avoids "
        f"most.{timed if times else ''}"
    )


def _times(variants: Sequence[Variant], device: DeviceChoice) -> Mapping[str, Latency]:
    """Return the times of these networks from one measurement, made when the visitor asks; without the damaged ones."""
    kept: dict[tuple[str, ...], Mapping[str, Latency]] = st.session_state.setdefault("times", {})
    of = (device.device, *(v.key for v in variants))
    if of not in kept and st.button(
        f"Measure all {len(variants)} networks here",
        help=f"{LATENCY_REPEATS} runs of each by turns, one thread on a CPU: about a third of a second a network.",
    ):
        bar, engine, whole = st.progress(0.0), default_engine(), []
        for variant, loaded in [(v, engine.warm(v, device.device)) for v in variants]:
            bar.progress(0.0, text=network_name(variant))
            try:
                result_of(loaded)
                whole.append(variant)
            except CheckpointError as error:
                st.toast(escape_markdown(str(error)), icon=":material/error:")
        times = measured(whole, device, lambda share: bar.progress(share, text="all networks by turns"))
        if isinstance(times, str):
            st.error(f"That could not be measured: {escape_markdown(times)}")
            return {}
        kept[of] = times
        run_again()
    return kept.get(of, {})
