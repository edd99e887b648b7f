"""The page "Compare": one picture, many networks: group counts at one position, or positions at one group count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...analysis import measures
from ...analysis.attention import Attention
from ...analysis.attribution import Attribution
from ...cost import Latency
from ...engine import DeviceChoice, default_engine
from ...evidence import accuracy_of, common_seeds, control_of
from ...figures import comparisons
from ...figures.colours import scale_maps, subspace_colour
from ...figures.tiles import attention_tile, block_means, data_uri
from ...images import ModelInput
from ...zoo import CheckpointError, Variant, list_variants, position_name
from ..choose.ids import choose_by_id
from ..choose.picture import model_input
from ..choose.sidebar import choose
from ..run.asking import say_where
from ..run.page import open_page
from ..run.scene import View, facts, map_note, pretty
from ..run.session import visitor
from ..run.times import as_text, measured
from ..widgets.legends import legend
from ..widgets.tables import table
from ..widgets.tiles import Tile, show_tiles
from .two import show_two

_PLOT = {"displayModeBar": False}
_NEARLY_UNIFORM = 0.98
_GROUP_COUNTS, _POSITIONS, _TWO = "groups", "positions", "two"
_WAYS = {_GROUP_COUNTS: "Group counts", _POSITIONS: "Positions", _TWO: "Two side by side"}


@dataclass(frozen=True)
class Row:
    """One layer of one network of the comparison; ``layer`` is None for the plain control.

    Attributes:
        label: What tells it from the others: its g, or its position.
        variant: The network.
        layer: Number of the layer.
        seen: Its pass.
        cam: Its Grad-CAM, for agreement.
    """

    label: str
    variant: Variant
    layer: int | None
    seen: Attention
    cam: Attribution

    @property
    def maps(self) -> np.ndarray:
        """The layer's maps, (g, H, W); none for the plain control."""
        return self.seen.maps[self.layer] if self.layer is not None else np.empty((0, 1, 1))


def show() -> None:
    """Draw the page."""
    everything = open_page("compare")
    choices = choose(everything)
    picture, chosen, device, wished, view = choices.picture, choices.variant, choices.device, choices.target, choices.view
    crop = model_input(picture, chosen.preprocessing)
    st.markdown(f"### {picture.name}, looked at by several networks")
    way = choose_by_id(st.segmented_control, "Compare", _WAYS, key="way", required=True)
    if way == _TWO:
        show_two(everything, chosen, picture, crop, device, view)
        return
    if not chosen.placement and way != _POSITIONS:
        st.info("The plain control carries no attention: choose a position to compare group counts there.")
        return
    variants = _variants(everything, chosen, by_groups=way != _POSITIONS)
    rows, target = _compute(variants, crop, device, wished, by_groups=way != _POSITIONS)
    cards = _lattice(rows, crop, view, target, by_groups=way != _POSITIONS)
    _plots(rows)
    _scales(rows)
    _times(rows, cards, target, device)


def _variants(everything: Sequence[Variant], chosen: Variant, *, by_groups: bool) -> list[Variant]:
    """Return the control, and all g at the chosen position or all positions at the chosen g."""
    own = [v for v in everything if v.family == chosen.family]
    if by_groups:
        return [v for v in own if v.placement is None or position_name(v) == position_name(chosen)]
    return [v for v in own if v.placement is None or v.groups == (chosen.groups or 4)]


def _compute(
    variants: Sequence[Variant], crop: ModelInput, device: DeviceChoice, wished: int | None, *, by_groups: bool
) -> tuple[list[Row], int]:
    """Run all networks at once, as cores allow; a damaged one is said and left out."""
    engine = default_engine()
    futures = {v.name: engine.attend(crop, v, device.device, visitor=visitor()) for v in variants}
    seen: dict[str, Attention] = {}
    with st.spinner(f"{len(variants)} networks look at the picture"):
        for name, future in futures.items():
            try:
                seen[name] = future.result()
            except CheckpointError as error:
                st.warning(str(error))
    say_where(futures.values(), device)
    whole = [v for v in variants if v.name in seen]
    if not any(v.placement for v in whole):
        st.stop()  # each one's reason stands above
    # One target for all, so that their numbers compare: the wish, or what the first network with attention says.
    first = next(v for v in whole if v.placement)
    target = seen[first.name].top(1)[0] if wished is None else wished
    cams = {v.name: engine.attribute(crop, v, device.device, method="grad_cam", target=target, visitor=visitor()) for v in whole}
    rows = []
    for v in whole:
        layers: list[int | None] = [*v.placement.layers] if v.placement else [None]
        for layer in layers:
            several = f" (layer {layer})" if len(layers) > 1 else ""
            label = "control" if layer is None else (f"g = {v.groups}" if by_groups else position_name(v)) + several
            rows.append(Row(label, v, layer, seen[v.name], cams[v.name].result()))
    return rows, target


def _lattice(rows: Sequence[Row], crop: ModelInput, view: View, target: int, *, by_groups: bool) -> list[DeltaGenerator]:
    """Draw the rows; return the places of their cards."""
    chosen = next(row.variant for row in rows if row.layer is not None)
    where = position_name(chosen) if by_groups else f"g = {chosen.groups}"
    st.markdown(
        f"**{chosen.label}, {where}**",
        help="All maps are on one colour scale. With group counts, the maps of a row stand under the maps whose channels they split: "
        "subspace 1 of g = 2 holds the channels of subspaces 1 and 2 of g = 4. The networks were trained separately, so maps need not agree.",
    )
    # One scale for all: every map of the comparison goes through it together.
    scaled = scale_maps({i: row.maps for i, row in enumerate(rows) if row.layer is not None}, view.scale, shared=True)
    legend(view.display.colours, next(iter(scaled.values())))
    left, right = st.columns([1, 3.4], gap="medium")
    with left:
        st.image(crop.pixels, width=150, alt="the picture as the networks see it")
    with right:
        st.caption(
            f"Target: “{pretty(chosen.classes[target])}”. "
            + (
                "Rows are networks with more and more subspaces; a map's children stand below it."
                if by_groups
                else "Rows are positions."
            )
        )
    columns = max(len(row.maps) for row in rows)
    cards = []
    for i, row in enumerate(rows):
        text, tiles = st.columns([1, 3.4], gap="medium", vertical_alignment="center")
        with text:
            cards.append(st.empty())
            cards[-1].html(_card(row, target, None))
        with tiles:
            if row.layer is None:
                st.caption("No attention: the same network without modules.")
                continue
            g = len(row.maps)
            show_tiles(
                [
                    Tile(
                        f"{i}.{k}",
                        f"{k + 1}",
                        note="" if g > 8 else map_note(row.maps[k]),
                        source=data_uri(attention_tile(crop.pixels, scaled[i].fractions[k], view.display)),
                        values=scaled[i].values[k],
                        unit="×" if view.scale == "uniform" else "",
                        colour=subspace_colour(k, g),
                        title=f"{row.label}, subspace {k + 1}: {map_note(row.maps[k])}",
                    )
                    for k in range(g)
                ],
                width={1: 120, 2: 120, 4: 112, 8: 84}.get(g, 50 if g > 8 else 112),
                columns=columns,
                key=f"lattice-{i}",
            )
    return cards


def _times(rows: Sequence[Row], cards: Sequence[DeltaGenerator], target: int, device: DeviceChoice) -> None:
    """Fill in the times of all networks, measured by turns; last, so that nothing waits for them."""
    waiting = _card(rows[0], target, None)
    times = measured(list({row.variant.key: row.variant for row in rows}.values()), device, lambda _: cards[0].html(waiting))
    for row, card in zip(rows, cards, strict=True):
        card.html(_card(row, target, times))


def _card(row: Row, target: int, times: Mapping[str, Latency] | str | None) -> str:
    cost, _ = facts(row.variant.key, row.variant)
    top, probabilities = row.seen.top(1)[0], row.seen.probabilities
    return f"<b>{row.label}</b>" + table(
        {
            "Says": f"{pretty(row.variant.classes[top])} {probabilities[top]:.1%}",
            "Target": f"{probabilities[target]:.1%}",
            "Top-1": f"{accuracy_of(row.variant)} %",
            **_own_control(row.variant),
            "Size": f"{cost.params / 1e6:.3f} M, {cost.macs / 1e6:.1f} M MACs",
            "Time here": as_text(row.variant, times),
        }
    )


def _own_control(variant: Variant) -> dict[str, str]:
    """Return the accuracy to compare with, where that is not the control that is shown: what replaces a layer was trained longer."""
    control = control_of(variant, list_variants()) if variant.control else None
    return {"Its control": f"{control} %, trained as long"} if control else {}


def _plots(rows: Sequence[Row]) -> None:
    st.markdown("**In numbers**: a dot a subspace, a line through the means")
    placed = [row for row in rows if row.layer is not None]
    labels = [row.label.replace("after ", "").replace(" (layer ", ": ").rstrip(")") for row in placed]
    once = [row for i, row in enumerate(placed) if row.variant not in [other.variant for other in placed[:i]]]  # one row a network
    of_networks = [position_name(row.variant) if len(once) < len(placed) else row.label for row in once]
    seeds = common_seeds(accuracy_of(row.variant) for row in once)  # only those compare
    instead = (
        " What stands instead of a layer was trained longer: compare it with its own control."
        if any(r.variant.control for r in once) and not all(r.variant.control for r in once)
        else ""
    )
    hues = [[subspace_colour(k, len(row.maps)) for k in range(len(row.maps))] for row in placed]

    def off_diagonal(maps: np.ndarray) -> list[float]:
        matrix = measures.redundancy(maps)
        return [
            float(np.nanmean(np.delete(matrix[k], k))) if len(maps) > 1 and np.isfinite(np.delete(matrix[k], k)).any() else np.nan
            for k in range(len(maps))
        ]

    def agreement(row: Row) -> list[float]:
        coarse = block_means(row.cam.values, row.maps.shape[-1])
        return [measures.agreement(m, coarse).correlation for m in row.maps]

    plots = (
        ("Effective area", 50, "% of places", [list(100 * measures.effective_area(r.maps)) for r in placed], "Lower is more concentrated, not better."),
        ("Entropy", 2, "bits", [list(measures.entropy(r.maps)) for r in placed], "Its ceiling is log₂(H·W): compare within one layer size only."),
        ("Redundancy", 0.5, "correlation", [off_diagonal(r.maps) for r in placed], "Each map's mean correlation with the others. Near 0: they look at different places; that is no proof of different use."),
        ("Uniform maps", 20, "% of this picture's maps", [[100 * float(measures.is_dead(r.maps).mean())] for r in placed], "Uniform here does not mean dead on other pictures: see Evidence."),
        ("Agreement with Grad-CAM", 1, "Spearman's ρ", [agreement(r) for r in placed], "Smooth maps agree by chance too: Inspect shows the level. Agreement is not cause."),
        ("Accuracy", 4, "top-1 %", [list((accuracy_of(r.variant).over(seeds) if seeds else accuracy_of(r.variant)).seeds) for r in once], "A dot a training run. " + ("Compare the scatter of one g with the differences between g." if len(seeds) > 1 else "One seed each: nothing here tells what chance does (see Evidence).") + instead),
        ("Element-wise traffic", 20, "MB", [[facts(r.variant.key, r.variant)[0].elementwise_bytes / 1e6] for r in once], "What MACs do not show; fused and in-place steps move less."),
    )  # fmt: skip
    columns = st.columns(3, gap="medium")
    for i, (title, least_span, unit, values, note) in enumerate(plots):
        with columns[i % 3]:
            st.markdown(f"{title}")
            a_dot_a_map = [len(v) for v in values] == [len(h) for h in hues]
            own = hues if a_dot_a_map else [["#2f6f8f"] * len(v) for v in values]
            st.plotly_chart(
                comparisons.dots_by(of_networks if len(values) < len(labels) else labels, values, unit=unit, colours=own, least_span=least_span),
                key=f"plot-{i}",
                config=_PLOT,
                alt=f"{title}: " + "; ".join(f"{label} {np.nanmean(v) if np.isfinite(v).any() else float('nan'):.3g}" for label, v in zip(of_networks if len(values) < len(labels) else labels, values, strict=True)),
            )  # fmt: skip
            st.caption(note)


def _scales(rows: Sequence[Row]) -> None:
    st.markdown(
        "**Multi-scale, multi-frequency?** A point for each map",
        help="The paper says that subspaces attend at several scales and frequencies. Here that is a question for your picture: do the points of "
        "one network spread along both axes? The frequency is the ring of the map's power spectrum that holds most of its variation.",
    )
    points = [
        (f"{row.label}, subspace {k + 1}", float(measures.effective_area(m)), frequency, subspace_colour(k, len(row.maps)))
        for row in rows
        for k, m in enumerate(row.maps)
        if measures.effective_area(m) < _NEARLY_UNIFORM and not np.isnan(frequency := measures.dominant_frequency(m))
    ]
    st.plotly_chart(
        comparisons.scale_and_frequency(points), key="scales", config=_PLOT, alt=f"{len(points)} maps by area and frequency"
    )
    st.caption(
        f"Maps whose effective area is above {_NEARLY_UNIFORM:.0%} are left out: the little that varies in them has no frequency worth the name. Points far apart attend at different scales. With more subspaces there are more points, and so more spread by chance alone: "
        "do not conclude from the number of dots."
    )
