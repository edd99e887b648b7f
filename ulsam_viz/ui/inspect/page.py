"""The page "Inspect": one picture, one trained network, its attention maps beside its attributions."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import Any

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...analysis import measures
from ...analysis.attribution import Attribution
from ...analysis.methods import METHODS
from ...engine import default_engine
from ...figures import charts
from ...figures.colours import Scaled, scale_maps, subspace_colour
from ...figures.tiles import attention_tile, attribution_limit, attribution_tile, blend_tile, block_means, data_uri
from ...zoo import CheckpointError, Variant
from ..choose.display import choose_view
from ..choose.methods import choose_methods, choose_target, count_passes
from ..choose.network import choose_device, choose_variant
from ..choose.picture import choose_picture, model_input
from ..choose.place import select, selection
from ..run.asking import say_where
from ..run.page import let_the_browser_draw, open_page
from ..run.scene import Scene, channel_range, channels_of, map_note
from ..run.session import asked, visitor
from ..widgets.legends import legend, signed_legend
from ..widgets.tiles import Tile, show_tiles
from .downloads import show_downloads
from .large import show_subspace
from .questions import show_questions
from .summary import show_answer, show_latency, show_summary

_READOUT = 4  # attributions are read under the pointer as means of 4x4 pixels: enough for the eye, little on the wire


def show() -> None:
    """Draw the page."""
    variants = open_page("inspect")
    with st.sidebar:
        picture = choose_picture()
        variant = choose_variant(variants)
        device = choose_device()
        methods = choose_methods(variant)
        wished_target = choose_target(variant)
        view = choose_view()
    crop = model_input(picture, variant.preprocessing)
    try:
        seen = default_engine().attend(crop, variant, device.device, visitor=visitor())
        attention = seen.result()
    except CheckpointError as error:
        st.error(f"{error}. The other variants still work: choose another position or g.")
        return
    target = attention.top(1)[0] if wished_target is None else wished_target
    device = default_engine().really(seen, device)  # where the pass was made, the rest is
    scene = Scene(picture, crop, variant, device, methods, view, attention, target)

    answer, card = show_summary(scene)
    attributions = _maps_and_attributions(scene, answer)
    _comparisons(scene, attributions)
    if chosen := show_subspace(scene):
        show_questions(scene, attributions, *chosen)
    asked().let_go()  # before the variant's time is waited for
    show_downloads(scene, attributions)
    show_latency(scene, card)
    _warm_neighbours(variant, variants, device.device)


def _tile_width(scene: Scene) -> int:
    return 124 if scene.variant.groups > 4 else 150


def _maps_and_attributions(scene: Scene, answer: DeltaGenerator) -> dict[str, Attribution]:
    """Show the maps at once, then the answer, then the attributions as they are done; return those."""
    scaled = scale_maps(scene.attention.maps, scene.view.scale)
    rows = list(scaled.items())
    if not rows:
        st.info(
            "The plain control carries no attention module, so there are no maps: choose a position to see them. Its attributions are below."
        )
        with answer:
            show_answer(scene)
        return _attributions(scene, st.container())
    beside = scene.variant.groups <= 4 and len(rows) == 1
    attribution_place = None
    for number, layer in rows:
        if beside:
            room_for_maps = max(2, scene.variant.groups + scene.view.blend) * 168
            left, attribution_place = st.columns([room_for_maps, max(1100 - room_for_maps, 250)], gap="medium")
        else:
            left = st.container()
        with left:
            _layer_of_maps(scene, number, layer)
    let_the_browser_draw()
    with answer:
        show_answer(scene)
    return _attributions(scene, attribution_place or st.container())


def _layer_of_maps(scene: Scene, number: int, layer: Scaled) -> None:
    maps = scene.attention.maps[number]
    g, height, width = maps.shape
    channels = channels_of(scene.variant, number)
    st.markdown(
        f"**Attention maps, layer {number}**: {height} × {width}, {channels} channels in g = {g} "
        f"subspace{'s' if g > 1 else ''} of {channels // g}",
        help="One softmax over places for each subspace. A map lies inside the network: it knows no class. "
        "Move the pointer over a tile (or focus it and use the arrow keys) to read every map at that place; click one to enlarge it.",
    )
    legend(scene.view.display.colours, layer)
    show_tiles(
        [_map_tile(scene, number, layer, k) for k in range(g)] + (_blend(scene, number) if scene.view.blend else []),
        width=_tile_width(scene),
        key=f"maps-{number}",
        on_select=lambda: select(f"maps-{number}"),
    )


def _map_tile(scene: Scene, number: int, layer: Scaled, k: int) -> Tile:
    maps = scene.attention.maps[number]
    return Tile(
        id=f"{number}.{k}",
        name=f"Subspace {k + 1}" + (" (stretched)" if scene.view.scale == "stretched" else ""),
        note=map_note(maps[k]),
        source=data_uri(attention_tile(scene.crop.pixels, layer.fractions[k], scene.view.display)),
        values=layer.values[k],
        unit={"× uniform": "×", "of its own range": "(stretched)"}.get(layer.unit, layer.unit),
        colour=subspace_colour(k, len(maps)),
        title=f"Subspace {k + 1}: {channel_range(scene.variant, number, k)}",
        selectable=True,
        selected=selection(scene) == (number, k),
    )


def _blend(scene: Scene, number: int) -> list[Tile]:
    relative = measures.relative_attention(scene.attention.maps[number])
    hues = [subspace_colour(k, len(relative)) for k in range(len(relative))]
    return [
        Tile(
            id=f"{number}.blend",
            name="Blend",
            note="colour: strongest subspace",
            source=data_uri(blend_tile(scene.crop.pixels, relative, hues, scene.view.display)),
            values=relative.max(0),
            unit="×",
            title="Each place in the colour of the subspace that attends to it most, stronger from 1 to 4 times uniform",
        )
    ]


def _attributions(scene: Scene, place: Any) -> dict[str, Attribution]:
    """Start all methods, cheap ones first, and redraw their tiles as each is done; return those that succeeded."""
    futures = _start(scene)
    if not futures:
        place.caption("No attribution method is chosen; choose some in the sidebar.")
        return {}
    with place:
        st.markdown(
            f"**Attributions** for “{scene.class_name(scene.target)}”",
            help="By Captum, each on its own scale. Red speaks for the class, blue against it; magnitudes use the maps' colours. "
            "The pointer reads means of 4 × 4 pixels.",
        )
        signed_legend("against / for the class")
        progress, tiles = st.empty(), st.empty()
    if not all(future.done() for future in futures.values()):
        asked().let_go()
    drawn = -1
    while drawn < len(futures):
        finished = {name for name, future in futures.items() if future.done()}
        if len(finished) > drawn:
            drawn = len(finished)
            with tiles:
                show_tiles(
                    [_attribution_tile(scene, name, future if name in finished else None) for name, future in futures.items()],
                    width=_tile_width(scene),
                    key="attributions" if drawn == len(futures) else None,  # one mount of a key in a run
                )
        waiting = [name for name in futures if name not in finished]
        if waiting:
            progress.progress(drawn / len(futures), text=_progress_text(scene, waiting[0], futures[waiting[0]]))
            # Short, because a slider that moved on can only interrupt this run at the next call to Streamlit.
            wait([futures[name] for name in waiting], timeout=0.1, return_when="FIRST_COMPLETED")
    progress.empty()
    with place:
        say_where(futures.values(), scene.device)
    done = {name: future.result() for name, future in futures.items() if not future.exception()}
    with place, st.expander("How to read these, and what they cost"):
        for name, result in done.items():
            st.markdown(_reading(name, result))
    return done


def _start(scene: Scene) -> dict[str, Future[Attribution]]:
    """Start what this view needs."""
    engine, mine = default_engine(), asked()
    futures = {
        name: engine.attribute(
            scene.crop,
            scene.variant,
            scene.device.device,
            method=name,
            target=scene.target,
            settings=settings,
            visitor=visitor(),
        )
        for name, settings in scene.methods.items()
    }
    mine.now += futures.values()
    return futures


def _progress_text(scene: Scene, name: str, future: Future[Attribution]) -> str:
    ahead = default_engine().ahead_of(future)
    place = f" (in line: {ahead} computation{'s' if ahead > 1 else ''} of all visitors before it)" if ahead else ""
    return f"{METHODS[name].label}: {_cost_text(scene, name)}{place}"


def _cost_text(scene: Scene, name: str) -> str:
    passes = count_passes(name, scene.methods[name], scene.variant.input_size)
    return f"{passes} pass{'es' if passes > 1 else ''} of one picture"


def _attribution_tile(scene: Scene, name: str, future: Future[Attribution] | None) -> Tile:
    method = METHODS[name]
    if future is None:
        return Tile(id=name, name=method.label, wait=f"computing: {_cost_text(scene, name)}")
    if error := future.exception():
        return Tile(id=name, name=method.label, wait=f"failed: {error}"[:160])
    result = future.result()
    limit = attribution_limit(result.values)
    return Tile(
        id=name,
        name=method.label,
        note="signed" if result.signed else "magnitude",
        source=data_uri(attribution_tile(scene.crop.pixels, result.values, limit, scene.view.display, signed=result.signed)),
        values=block_means(result.values, len(result.values) // _READOUT),
        unit="signed" if result.signed else "",
        title=method.summary,
    )


def _reading(name: str, result: Attribution) -> str:
    method = METHODS[name]
    text = f"**{method.label}** ({method.source}). {method.summary} {method.caveat} "
    text += f"Cost: {result.passes} pass{'es' if result.passes > 1 else ''} of one picture, {result.seconds:.2f} s."
    if result.delta is not None and result.explained is not None:
        share = abs(result.delta) / max(abs(result.explained), 1e-9)
        text += (
            f" The attributions should sum to the logit's difference from the baseline, {result.explained:+.3f}; "
            f"convergence delta {result.delta:+.2g} ({share:.1%})"
            + ("." if share < 0.05 else ": **too large to rely on**, raise the settings.")
        )
    return text


def _comparisons(scene: Scene, attributions: Mapping[str, Attribution]) -> None:
    for number, maps in scene.attention.maps.items():
        left, right = st.columns(2, gap="large")
        names = [f"S{k + 1}" for k in range(len(maps))]
        title = f", layer {number}" if len(scene.attention.maps) > 1 else ""
        with left:
            st.markdown(
                f"**Agreement{title}**: do subspaces and attributions rank places alike?",
                help="Spearman's rank correlation on the map's grid. Chance: the 95th percentile of the magnitude when the map is shifted "
                "to every other place, which keeps its smoothness. Agreement does not mean that the attention caused the decision.",
            )
            if attributions:
                _agreement(number, maps, names, attributions)
            else:
                st.caption("Choose an attribution method to compare with.")
        with right:
            st.markdown(
                f"**Redundancy{title}**: do subspaces say the same?",
                help="Pearson correlation between maps: +1 the same places, 0 unrelated, −1 opposite places. Empty where a map is uniform.",
            )
            if len(maps) > 1:
                st.plotly_chart(
                    charts.correlation_matrix(measures.redundancy(maps), names, names),
                    key=f"redundancy-{number}",
                    config={"displayModeBar": False},
                    alt="correlations between the maps of the subspaces",
                )
            else:
                st.caption("With one subspace there is nothing to compare.")


def _agreement(number: int, maps: np.ndarray, names: list[str], attributions: Mapping[str, Attribution]) -> None:
    side = maps.shape[-1]
    values = np.full((len(maps), len(attributions)), np.nan)
    notes = [[""] * len(attributions) for _ in maps]
    above = np.zeros(values.shape, bool)
    for j, result in enumerate(attributions.values()):
        coarse = block_means(result.values, side)
        for k, attention_map in enumerate(maps):
            if measures.is_dead(attention_map):
                notes[k][j] = "the map is uniform: it ranks nothing"
                continue
            found = measures.agreement(attention_map, coarse)
            values[k, j] = found.correlation
            above[k, j] = found.above_chance
            notes[k][j] = f"chance reaches ±{found.chance:.2f}: " + ("above chance" if found.above_chance else "within chance")
    st.plotly_chart(
        charts.correlation_matrix(values, names, [METHODS[n].label for n in attributions], notes=notes, starred=above),
        key=f"agreement-{number}",
        config={"displayModeBar": False},
        alt="rank correlations between subspaces and attributions",
    )
    count = int((~np.isnan(values)).sum())
    st.caption(
        f"\\* beyond chance, in either direction: {above.sum()} of {count} pairs; of maps that lie anywhere, about {0.05 * count:.1f} would be. "
        "That both prefer the centre, or the border, whatever the picture, counts as agreement too. Hover to see the level."
    )


def _warm_neighbours(variant: Variant, variants: list[Variant], device: str) -> None:
    """Load what one step of a slider leads to, after everything else is on the page."""
    for other in variants:
        if other is not variant and other.backbone == variant.backbone and other.width == variant.width:
            same_place = other.placement and variant.placement and other.placement.layers == variant.placement.layers
            if same_place or other.placement is None:
                default_engine().warm(other, device)
