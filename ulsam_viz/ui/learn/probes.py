"""The lesson's probes: pictures drawn to ask one question, and the answer in numbers."""

from __future__ import annotations

import streamlit as st

from ...analysis import measures
from ...analysis.attention import Attention
from ...engine.engine import default_engine
from ...figures.colours import Scaled, scale_maps
from ...figures.drawing import draw_picture
from ...images.preprocessing import ModelInput, Preprocessing, prepare
from ...lesson.probes import PROBES, Probe, correlation_after_moving, empty, region_means, verdict, whole_cells
from ..choose.ids import choose_by_id
from ..choose.place import selection
from ..run.interrupt import result_of
from ..run.scene import Scene
from ..run.session import visitor
from ..widgets.legends import map_legend
from ..widgets.tiles import Tile, map_tile, show_tiles
from .walk import row_of

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
    seen = [result_of(f) for f in futures]
    scaled = scale_maps({i: a.maps[layer] for i, a in enumerate(seen)}, "uniform")
    for i, crop in enumerate(inputs[:-1]):
        _row(probe, crop, scaled[i], key=f"probe-{i}")
    _numbers(scene, probe, layer, seen)


def _row(probe: Probe, crop: ModelInput, scaled: Scaled, *, key: str) -> None:
    g, grid = len(scaled.maps), scaled.maps.shape[1:]
    boxes = [(name, _in_fractions(region, grid)) for name, region in probe.regions.items()]
    unnamed = [("", box) for _, box in boxes]
    tiles = [
        Tile(
            "picture", "The probe", note=probe.title, drawing=draw_picture(crop), role="picture", boxes=boxes, grid=grid
        )
    ]
    tiles += [map_tile({"": scaled}, k, crop, id=f"map-{k}", boxes=unnamed) for k in range(g)]
    show_tiles(tiles, columns=row_of(tiles), legend=map_legend({"": scaled}), key=key)


def _in_fractions(
    region: tuple[float, float, float, float], grid: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return the cells that a box is widened to as a tile's mark: top, left, height, width."""
    (top, left, bottom, right), (height, width) = whole_cells(region, grid), grid
    return top / height, left / width, (bottom - top) / height, (right - left) / width


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
        [
            {"subspace": str(k + 1)} | {name: float(values[k]) for name, values in columns.items()}
            for k in range(len(maps))
        ],
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(
                format="%+.2f" if "correlation" in name else "%+.2f ×" if "rise" in name else "%.2f ×"
            )
            for name in columns
        },
    )
    st.caption(
        "Mean attention in a box of the picture, in multiples of uniform. Rise: how much more than in the same box of "
        f"an empty picture, whose maps are not even: borders draw attention by themselves. Layer {layer}, "
        f"{maps.shape[1]} × {maps.shape[2]} places; boxes are widened to whole places."
    )
