"""The lesson's step on cost: the paper's formulas, and the time that they do not show."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from ...evidence import paper
from ...models.cost import ModuleTimes, measure_module, module_elementwise_bytes
from ...models.network import Network
from ...models.ulsam import check_groups
from ...text.escaping import escape_markdown
from ..run.requests import answer
from ..run.scene import facts
from .walk import Walk

_MOST_VALUES = 4_000_000


def show_cost(walk: Walk) -> None:
    """Evaluate the paper's formulas, and measure what they do not show."""
    f = walk.facts
    columns = st.columns(4)
    m = int(columns[0].number_input("Channels m", 1, 4096, f.m, key=f"m-{f.m}"))
    h = int(columns[1].number_input("Rows h", 1, 256, f.h, key=f"h-{f.h}"))
    w = int(columns[2].number_input("Columns w", 1, 256, f.w, key=f"w-{f.w}"))
    g = int(columns[3].number_input("Subspaces g", 1, 256, f.g, key=f"g-{f.g}"))
    st.dataframe(
        [
            {"module": module.name, "parameters": module.params(m), "MACs (million)": module.macs(m, h, w) / 1e6}
            for module in paper.MODULES
        ],
        hide_index=True,
        column_config={
            "parameters": st.column_config.NumberColumn(format="%,.0f"),
            "MACs (million)": st.column_config.NumberColumn(format="%.3f"),
        },
    )
    st.caption(
        "The paper's formulas (its table has m = 512 on 14 × 14), evaluated for the numbers above; the reductions of "
        "the other modules are the paper's, t = 8 and r = 16. That of ULSAM has no g in it: 2·m weights and 2·m·h·w "
        "MACs, however the channels are split. (It counts weights only: with biases and norms a module has "
        f"{5 * m + 3 * g:,} values.)"
    )
    try:
        check_groups(m, g)
    except ValueError as error:
        st.error(f"No time can be measured: {escape_markdown(str(error))}.")
        return
    if m * h * w > _MOST_VALUES:
        st.error(
            f"No time is measured for more than {_MOST_VALUES / 1e6:.0f} million values: others would wait for it."
        )
        return
    _measured(walk, m, h, w, g)
    cost, _ = facts(walk.scene.variant.key, walk.scene.variant)
    st.markdown(
        f"{f.network}: {cost.params / 1e6:.3f} million parameters, {cost.macs / 1e6:.1f} million MACs. Its "
        f"element-wise steps would move {cost.elementwise_bytes / 1e6:.1f} MB a picture if each ran by itself; "
        f"{module_elementwise_bytes(f.m, f.g, f.h, f.w, walk.scene.variant.gain) / 1e6:.1f} MB of them in the module "
        f"of layer {f.layer}."
    )


def _measured(walk: Walk, m: int, h: int, w: int, g: int) -> None:
    scene = walk.scene

    def work(network: Network, pause: Callable[[], None]) -> ModuleTimes:
        pause()
        return measure_module(m, g, h, w, network=network, input_size=scene.variant.input_size)

    times = answer(scene, ("module-times", m, h, w, g), "both forms of the module, by turns", work)
    if times is None:
        return
    for column, (label, text, note) in zip(
        st.columns(4),
        (
            (
                "As in the paper's code",
                f"{times.loop:.2f} ms",
                f"{g} small network{'s' * (g > 1)}, one after the other",
            ),
            ("Rewritten", f"{times.rewritten:.2f} ms", f"{times.loop / times.rewritten:.0f} times as fast"),
            ("One copy of the values", f"{times.copy:.3f} ms", f"{4 * m * h * w / 1e6:.2f} MB read, as many written"),
            ("The whole network", f"{times.network:.1f} ms", f"{walk.facts.network}, rewritten"),
        ),
        strict=True,
    ):
        column.metric(label, text, note, delta_color="off", delta_arrow="off")
    total = sum(step.milliseconds for step in times.steps)
    st.dataframe(
        [
            {
                "step": step.name,
                "time": step.milliseconds,
                "share": 100 * step.milliseconds / total,
                "MACs (million)": step.macs / 1e6,
                "MB read and written": step.bytes / 1e6,
            }
            for step in times.steps
        ],
        hide_index=True,
        height="content",
        column_config={
            "time": st.column_config.NumberColumn(format="%.3f ms"),
            "share": st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100),
            "MACs (million)": st.column_config.NumberColumn(format="%.3f"),
            "MB read and written": st.column_config.NumberColumn(format="%.2f"),
        },
    )
    without = 100 * sum(step.milliseconds for step in times.steps if not step.macs) / total
    dw, pw = (next(s.milliseconds for s in times.steps if s.name == name) for name in ("DW", "PW"))
    st.caption(
        f"The steps of the paper's form. {without:.0f} % of its time goes to steps that count no MAC, and DW takes "
        f"{dw / pw:.1f} times as long as PW for the same number of MACs. Medians of 15 runs by turns, one picture, one "
        "thread of this server's processor; same weights, same outputs, same MACs. Rewritten: norms folded into one "
        "scale and shift (no DW call is left), the pool as four maxima of shifted views, all groups at once, results "
        "written in place."
    )
