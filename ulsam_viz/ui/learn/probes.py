"""The lesson's probes: pictures drawn to ask one question, and the answer in numbers."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ...analysis import measures
from ...analysis.attention import Attention
from ...engine import default_engine
from ...figures.colours import scale_maps, subspace_colour
from ...figures.tiles import attention_tile, data_uri
from ...images import ModelInput, Preprocessing, prepare
from ...lesson.probes import PROBES, Probe, correlation_after_moving, empty, region_means, verdict
from ..choose.ids import choose_by_id
from ..choose.place import selection
from ..run.scene import Scene, map_note
from ..run.session import visitor
from ..widgets.legends import legend
from ..widgets.tiles import Tile, show_tiles

_PROBES = {probe.id: probe for probe in PROBES}


@st.cache_resource(max_entries=16)
def _inputs(id: str, preprocessing: Preprocessing) -> tuple[ModelInput, ModelInput | None, ModelInput]:
    """Draw a probe once for all visitors: the picture, the moved one, and the empty one."""
    probe = _PROBES[id]
    moved = prepare(probe.moved[0](), preprocessing) if probe.moved else None
    return prepare(probe.draw(), preprocessing), moved, prepare(empty(), preprocessing)


def show_probes(scene: Scene) -> None:
    """Draw the chosen probe, its maps, and what they amount to."""
    st.markdown("#### Probes: pictures that ask one question")
    if not scene.attention.maps:
        st.info("The plain control has no maps to probe: choose a position in the sidebar.")
        return
    titles = {id: probe.title for id, probe in _PROBES.items()}
    probe = _PROBES[choose_by_id(st.segmented_control, "Probe", titles, key="probe", required=True)]
    st.markdown(f"**{probe.question}** {probe.look_for}")
    layer = selection(scene)[0]
    picture, moved, nothing = _inputs(probe.id, scene.variant.preprocessing)
    inputs = [i for i in (picture, moved, nothing) if i is not None]
    futures = [default_engine().attend(i, scene.variant, scene.device.device, visitor=visitor()) for i in inputs]
    seen = [f.result() for f in futures]
    scaled = scale_maps({i: a.maps[layer] for i, a in enumerate(seen)}, "uniform")
    legend(scene.view.display.colours, scaled[0])
    for i, (crop, attention) in enumerate(zip(inputs[:-1], seen[:-1], strict=True)):
        _row(scene, probe, crop, attention.maps[layer], scaled[i].fractions, scaled[i].values, key=f"probe-{i}")
    _numbers(scene, probe, layer, seen)


def _row(
    scene: Scene, probe: Probe, crop: ModelInput, maps: np.ndarray, fractions: np.ndarray, values: np.ndarray, *, key: str
) -> None:
    tiles = [Tile("picture", "The probe", note=probe.title, source=data_uri(crop.pixels))]
    tiles += [
        Tile(
            f"map-{k}",
            f"Subspace {k + 1}",
            note=map_note(maps[k]),
            source=data_uri(attention_tile(crop.pixels, fractions[k], scene.view.display)),
            values=values[k],
            unit="×",
            colour=subspace_colour(k, len(maps)),
        )
        for k in range(len(maps))
    ]
    show_tiles(tiles, width=140 if len(maps) <= 4 else 112, key=key)


def _numbers(scene: Scene, probe: Probe, layer: int, seen: list[Attention]) -> None:
    maps, nothing = seen[0].maps[layer], seen[-1].maps[layer]
    relative, baseline = measures.relative_attention(maps), measures.relative_attention(nothing)
    means = {name: region_means(relative, region) for name, region in probe.regions.items()}
    rises = {name: means[name] - region_means(baseline, region) for name, region in probe.regions.items()}
    columns = dict(means)
    correlations = None
    if relative.tobytes() != baseline.tobytes():  # the empty picture is its own baseline
        columns |= {f"{name}: rise": values for name, values in rises.items()}
        if probe.moved:
            correlations = columns["correlation after moving back"] = correlation_after_moving(
                maps, seen[1].maps[layer], probe.moved[1]
            )
        st.markdown(verdict(rises, correlations))
    st.dataframe(
        [{"subspace": str(k + 1)} | {name: float(values[k]) for name, values in columns.items()} for k in range(len(maps))],
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(
                format="%+.2f" if "correlation" in name else "%+.2f ×" if "rise" in name else "%.2f ×"
            )
            for name in columns
        },
    )
    st.caption(
        "Mean attention in a box of the picture, in multiples of uniform. Rise: how much more than in the same box of an empty picture, whose maps are not even: "
        f"borders draw attention by themselves. Layer {layer}, {maps.shape[1]} × {maps.shape[2]} places; boxes are widened to whole places."
    )
