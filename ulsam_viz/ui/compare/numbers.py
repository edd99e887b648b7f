"""The numbers of the comparison: one table of the networks, and charts of what differs between their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from ...analysis import measures
from ...analysis.attribution import Attribution
from ...engine.engine import DeviceChoice, default_engine
from ...evidence.statistics import accuracy_of, common_seeds, control_of
from ...figures import comparisons
from ...figures.colours import subspace_colour
from ...figures.tiles import block_means
from ...images.preprocessing import ModelInput
from ...models.cost import Latency
from ...text.escaping import escape_markdown
from ...zoo.variants import list_variants, position_name
from ..run.interrupt import result_of
from ..run.scene import facts, pretty
from ..run.session import visitor
from ..run.times import measured
from .lattice import Row

_PLOT = {"displayModeBar": False}
_NEARLY_UNIFORM = 0.98
_CONSTANT = 0.05  # of the least that an axis spans: dots that differ less lie on one line


@dataclass(frozen=True)
class Plot:
    """One chart: a column of values for each row or network; ``least_span`` is the least that its axis shows."""

    title: str
    least_span: float
    unit: str
    labels: Sequence[str]
    values: Sequence[Sequence[float]]
    note: str

    @property
    def constant(self) -> str:
        """One sentence, where there is nothing to see; empty otherwise."""
        known = [float(v) for column in self.values for v in column if np.isfinite(v)]
        if not known:
            return f"**{self.title}**: not defined for one map alone."
        low, high = min(known), max(known)
        if high - low > _CONSTANT * self.least_span:
            return ""
        written = f"{low:.4g}" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g} to {high:.4g}"
        return f"**{self.title}**: {written} {self.unit}, all alike."


def show_numbers(rows: Sequence[Row], crop: ModelInput, target: int, device: DeviceChoice) -> None:
    """Show the table, the charts, and last the times, so that nothing waits for them."""
    place = st.empty()
    networks = list({row.variant.key: row for row in rows}.values())
    place.dataframe(_table(networks, target, None), hide_index=True, column_config=_columns(rows[0], target))
    engine = default_engine()
    futures = {
        row.variant.key: engine.attribute(
            crop, row.variant, device.device, method="grad_cam", target=target, visitor=visitor()
        )
        for row in networks
    }
    _charts(rows, {key: result_of(future) for key, future in futures.items()})
    _scales(rows)
    progress = st.empty()
    times = measured(
        [row.variant for row in networks],
        device,
        lambda share: progress.caption(f"Times are being measured: {share:.0%}"),
    )
    if isinstance(times, str):
        progress.caption(f"Times were not measured: {escape_markdown(times)}")
        return
    progress.empty()
    place.dataframe(_table(networks, target, times), hide_index=True, column_config=_columns(rows[0], target))


def _table(networks: Sequence[Row], target: int, times: Mapping[str, Latency] | None) -> list[dict[str, object]]:
    several = len({position_name(row.variant) for row in networks if row.variant.placement}) > 1
    table = []
    for row in networks:
        variant, top = row.variant, row.seen.top(1)[0]
        cost, _ = facts(variant.key, variant)
        label = "control" if not variant.placement else position_name(variant) if several else f"g = {variant.groups}"
        record: dict[str, object] = {
            "network": label,
            "says": pretty(variant.classes[top]),
            "probability": 100 * float(row.seen.probabilities[top]),
            "target": 100 * float(row.seen.probabilities[target]),
            "top-1": str(accuracy_of(variant)),
            "its control": str(control_of(variant, list_variants()) or "") if variant.control else "",
            "parameters": cost.params / 1e6,
            "MACs": cost.macs / 1e6,
            "time": times[variant.key].median if times else None,
        }
        table.append(record)
    if not any(record["its control"] for record in table):
        for record in table:
            del record["its control"]
    return table


def _columns(row: Row, target: int) -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "probability": number("its probability", format="%.1f %%"),
        "target": number(
            f"“{pretty(row.variant.classes[target])}”", format="%.1f %%", help="Probability of the target class"
        ),
        "top-1": text("top-1, %", help=f"Over {escape_markdown(row.variant.measured_on)}"),
        "its control": text(
            "its control, %", help="What replaces a layer was trained longer: its own control was, too"
        ),
        "parameters": number("parameters, M", format="%.3f"),
        "MACs": number("MACs, M", format="%.1f"),
        "time": number(
            "ms here", format="%.1f", help="A pass of one picture on this machine, all networks by turns; the median"
        ),
    }


def _plots(rows: Sequence[Row], cams: Mapping[str, Attribution]) -> list[Plot]:
    placed = [row for row in rows if row.layer is not None]
    labels = [f"{row.network.removeprefix('after ')}{f': {row.layer}' if row.several else ''}" for row in placed]
    once = list({row.variant.key: row for row in placed}.values())  # one a network
    of_networks = [row.network for row in once]
    seeds = common_seeds(accuracy_of(row.variant) for row in once)  # only those compare
    instead = (
        " What stands instead of a layer was trained longer: compare it with its own control."
        if any(r.variant.control for r in once) and not all(r.variant.control for r in once)
        else ""
    )

    def off_diagonal(maps: np.ndarray) -> list[float]:
        matrix = measures.redundancy(maps)
        return [
            float(np.nanmean(np.delete(matrix[k], k)))
            if len(maps) > 1 and np.isfinite(np.delete(matrix[k], k)).any()
            else np.nan
            for k in range(len(maps))
        ]

    def agreement(row: Row) -> list[float]:
        coarse = block_means(cams[row.variant.key].values, row.maps.shape[-1])
        return [measures.agreement(m, coarse).correlation for m in row.maps]

    return [
        Plot(
            "Effective area",
            50,
            "% of places",
            labels,
            [list(100 * measures.effective_area(r.maps)) for r in placed],
            "Lower is more concentrated, not better.",
        ),
        Plot(
            "Entropy",
            2,
            "bits",
            labels,
            [list(measures.entropy(r.maps)) for r in placed],
            "Its ceiling is log₂(H·W): compare within one layer size only.",
        ),
        Plot(
            "Redundancy",
            0.5,
            "correlation",
            labels,
            [off_diagonal(r.maps) for r in placed],
            "Each map's mean correlation with the others. Near 0: they look at different places; that is no proof of "
            "different use.",
        ),
        Plot(
            "Uniform maps",
            20,
            "% of this picture's maps",
            labels,
            [[100 * float(measures.is_dead(r.maps).mean())] for r in placed],
            "Uniform here does not mean dead on other pictures: see Evidence.",
        ),
        Plot(
            "Agreement with Grad-CAM",
            1,
            "Spearman's ρ",
            labels,
            [agreement(r) for r in placed],
            "Smooth maps agree by chance too: Inspect shows the level. Agreement is not cause.",
        ),
        Plot(
            "Accuracy",
            4,
            "top-1 %",
            of_networks,
            [list((accuracy_of(r.variant).over(seeds) if seeds else accuracy_of(r.variant)).seeds) for r in once],
            "A dot a training run. "
            + (
                "Compare the scatter of one g with the differences between g."
                if len(seeds) > 1
                else "One seed each: nothing here tells what chance does (see Evidence)."
            )
            + instead,
        ),
        Plot(
            "Element-wise traffic",
            20,
            "MB",
            of_networks,
            [[facts(r.variant.key, r.variant)[0].elementwise_bytes / 1e6] for r in once],
            "What MACs do not show; fused and in-place steps move less.",
        ),
    ]


def _charts(rows: Sequence[Row], cams: Mapping[str, Attribution]) -> None:
    hues = [[subspace_colour(k, len(row.maps)) for k in range(len(row.maps))] for row in rows if row.layer is not None]
    plots = _plots(rows, cams)
    st.caption("A dot a subspace, in its colour; a line through the means.")
    drawn = [plot for plot in plots if not plot.constant]
    columns = st.columns(3, gap="medium")
    for i, plot in enumerate(drawn):
        own = (
            hues
            if [len(v) for v in plot.values] == [len(h) for h in hues]
            else [["#2f6f8f"] * len(v) for v in plot.values]
        )
        means = [float(np.nanmean(v)) if np.isfinite(v).any() else np.nan for v in plot.values]
        with columns[i % 3]:
            st.markdown(plot.title, help=plot.note)
            st.plotly_chart(
                comparisons.dots_by(plot.labels, plot.values, unit=plot.unit, colours=own, least_span=plot.least_span),
                key=f"plot-{plot.title}",
                config=_PLOT,
                alt=f"{plot.title}: "
                + "; ".join(f"{label} {mean:.3g}" for label, mean in zip(plot.labels, means, strict=True)),
            )
    if alike := [plot.constant for plot in plots if plot.constant]:
        st.caption(" ".join(alike))


def _scales(rows: Sequence[Row]) -> None:
    st.markdown(
        "**Multi-scale, multi-frequency?** A point for each map",
        help="The paper says that subspaces attend at several scales and frequencies. Here that is a question for "
        "your picture: do the points of "
        "one network spread along both axes? The frequency is the ring of the map's power spectrum that holds most "
        "of its variation. "
        f"Maps whose effective area is above {_NEARLY_UNIFORM:.0%} are left out: the little that varies in them has "
        "no frequency worth the name. "
        "With more subspaces there are more points, and so more spread by chance alone: do not conclude from the "
        "number of dots.",
    )
    points = [
        (
            f"{row.label}, subspace {k + 1}",
            float(measures.effective_area(m)),
            frequency,
            subspace_colour(k, len(row.maps)),
        )
        for row in rows
        for k, m in enumerate(row.maps)
        if measures.effective_area(m) < _NEARLY_UNIFORM and not np.isnan(frequency := measures.dominant_frequency(m))
    ]
    st.plotly_chart(
        comparisons.scale_and_frequency(points),
        key="scales",
        config=_PLOT,
        alt=f"{len(points)} maps by area and frequency",
    )
