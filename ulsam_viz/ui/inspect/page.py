"""The page "Inspect": one picture, one trained network, its attention maps beside its attributions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Future, wait

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...analysis import measures
from ...analysis.attribution import Attribution
from ...analysis.methods import METHODS
from ...engine import default_engine
from ...figures.colours import Scaled, all_scales, subspace_colour
from ...figures.drawing import Drawing, draw_attribution, draw_picture
from ...figures.tiles import attribution_limit, block_means
from ...zoo import CheckpointError, Variant
from ..choose.display import current_view
from ..choose.methods import choose_methods, choose_target, count_passes
from ..choose.network import choose_device, choose_variant
from ..choose.picture import choose_picture, model_input
from ..choose.place import opened, toggle
from ..run.asking import say_where
from ..run.page import let_the_browser_draw, open_page
from ..run.scene import Scene, channel_range, channels_of
from ..run.session import asked, visitor
from ..widgets.legends import map_legend, signed_legend
from ..widgets.tiles import Tile, map_tile, show_tiles
from ..widgets.words import where
from .downloads import show_downloads
from .large import show_large
from .questions import show_questions
from .statistics import show_statistics
from .summary import show_head, show_head_room, show_latency

_COLUMNS = 4
_READOUT = 4  # attributions are read under the pointer as means of 4x4 pixels: enough for the eye, little on the wire


def show() -> None:
    """Draw the page."""
    variants = open_page("inspect")
    with st.sidebar:
        picture = choose_picture()
        variant = choose_variant(variants)
        device = choose_device()
    view = current_view()
    head = st.container()
    beside = variant.groups in (1, 2) and variant.placement is not None and len(variant.placement.layers) == 1
    if beside:  # few maps leave room in their row
        maps_place, attributions_place = st.columns([variant.groups, _COLUMNS - variant.groups])
    else:
        maps_place, attributions_place = st.container(), st.container()
    crop = model_input(picture, variant.preprocessing)
    try:
        seen = default_engine().attend(crop, variant, device.device, visitor=visitor())
        attention = seen.result()
    except CheckpointError as error:
        st.error(f"{error}. The other variants still work: choose another position or g.")
        return
    device = default_engine().really(seen, device)  # where the pass was made, the rest is
    with head:
        buttons = show_head_room()
    with buttons.methods:
        target = choose_target(variant)
        methods = choose_methods(variant)
    scene = Scene(picture, crop, variant, device, methods, view, attention, attention.top(1)[0] if target is None else target)
    card = show_head(scene, buttons)
    with maps_place:
        questions = _maps(scene)
    let_the_browser_draw()
    attributions = _attributions(scene, attributions_place, _COLUMNS - variant.groups if beside else _COLUMNS)
    if questions:
        with questions[0]:
            show_questions(scene, attributions, *questions[1])
    show_statistics(scene, attributions)
    asked().let_go()  # before the variant's time is waited for
    with buttons.share:
        show_downloads(scene, attributions)
    show_latency(scene, card)
    _warm_neighbours(variant, variants, device.device)


def _maps(scene: Scene) -> tuple[DeltaGenerator, tuple[int, int]] | None:
    """Show the maps, and the one that is looked at large; return the room for its questions, and which one it is."""
    scales = all_scales(scene.attention.maps)
    if not scales:
        st.info("The plain network carries no attention module, so there are no maps: choose a position to see them.")
        return None
    chosen, questions = opened(scene), None
    per_row = max(1, _COLUMNS // scene.variant.groups) if len(scales) > 1 else 1  # layers side by side
    layers = list(scales.items())
    for start in range(0, len(layers), per_row):
        row = layers[start : start + per_row]
        for place, (number, layer) in zip(st.columns(per_row) if per_row > 1 else [st.container()], row, strict=False):
            with place:
                _layer_of_maps(scene, number, layer, columns=_columns(scene.variant.groups, alone=per_row == 1))
        for number, layer in row:
            if chosen and chosen[0] == number:
                questions = show_large(scene, layer, *chosen), chosen
    return questions


def _columns(groups: int, *, alone: bool) -> int:
    """Return how many maps stand in a row: 4 + 4 for 8, 8 + 8 for 16."""
    return 2 * _COLUMNS if groups > 2 * _COLUMNS else _COLUMNS if alone and groups > 2 else min(groups, _COLUMNS)


def _layer_of_maps(scene: Scene, number: int, scales: Mapping[str, Scaled], *, columns: int) -> None:
    maps = scene.attention.maps[number]
    g, height, width = maps.shape
    channels = channels_of(scene.variant, number)
    replaces = scene.variant.placement is not None and scene.variant.placement.mode == "instead"
    chosen = opened(scene)
    tiles = [
        map_tile(
            scales,
            k,
            scene.crop,
            id=f"{number}.{k}",
            title=f"Subspace {k + 1}: {channel_range(scene.variant, number, k)}. Click to enlarge.",
            selectable=True,
            selected=chosen == (number, k),
        )
        for k in range(g)
    ]
    show_tiles(
        [*tiles, _blend(scene, number)],
        columns=columns,
        heading=f"Attention {'instead of' if replaces else 'after'} layer {number}",
        help=f"{height} × {width} places; {channels} channels in {g} subspace{'s' if g > 1 else ''} of {channels // g}. One softmax over places for "
        "each subspace. A map lies inside the network: it knows no class. Move the pointer over a tile (or focus it and use the arrow keys) to read "
        "every map at that place; click one to enlarge it.",
        legend=map_legend(scales),
        key=f"maps-{number}",
        on_select=lambda: toggle(f"maps-{number}"),
    )


def _blend(scene: Scene, number: int) -> Tile:
    relative = measures.relative_attention(scene.attention.maps[number])
    hues = tuple(subspace_colour(k, len(relative)) for k in range(len(relative)))
    return Tile(
        f"{number}.blend",
        "Blend",
        note="colour: strongest subspace",
        drawing=Drawing("blend", relative, scene.crop, hues=hues, unit="×"),
        role="map",
        alt="Each place in the colour of the subspace that attends to it most",
        title="Each place in the colour of the subspace that attends to it most, stronger from 1 to 4 times uniform",
    )


def _attributions(scene: Scene, place: DeltaGenerator, columns: int) -> dict[str, Attribution]:
    """Start all methods, cheap ones first, and redraw their tiles as each is done; return those that succeeded."""
    futures = _start(scene)
    with place:
        tiles = st.empty()
        progress = st.empty()
    if not all(future.done() for future in futures.values()):
        asked().let_go()
    drawn = -1
    while drawn < len(futures):
        finished = {name for name, future in futures.items() if future.done()}
        if len(finished) > drawn:
            drawn = len(finished)
            with tiles:
                _row_of_attributions(scene, futures, finished, columns)
        waiting = [name for name in futures if name not in finished]
        if waiting:
            progress.progress(drawn / len(futures), text=_progress_text(scene, waiting[0], futures[waiting[0]]))
            # Short, because a slider that moved on can only interrupt this run at the next call to Streamlit.
            wait([futures[name] for name in waiting], timeout=0.1, return_when="FIRST_COMPLETED")
    progress.empty()
    done = {name: future.result() for name, future in futures.items() if not future.exception()}
    with place:
        say_where(futures.values(), scene.device)
        if done:
            with st.expander("How to read these, and what they cost"):
                for name, result in done.items():
                    st.markdown(_reading(name, result))
    return done


def _row_of_attributions(scene: Scene, futures: Mapping[str, Future[Attribution]], finished: Collection[str], columns: int) -> None:
    """Draw the picture, a tile for each method, and one that offers the others."""
    picture = Tile(
        "picture", "The picture", drawing=draw_picture(scene.crop), role="picture", alt="The picture as the network sees it"
    )
    complete = len(finished) == len(futures)
    show_tiles(
        [picture, *(_attribution_tile(scene, name, future if name in finished else None) for name, future in futures.items())],
        columns=columns,
        heading=f"Why “{scene.class_name(scene.target)}”?",
        help="Attributions, by Captum: which pixels speak for one class; red for, blue against, each on its own scale. Magnitudes use the maps' "
        "colours. The pointer reads means of 4 × 4 pixels. Not the same thing as attention.",
        legend=signed_legend("against / for"),
        offers={name: method.label for name, method in METHODS.items() if name not in futures},
        offer="Add a method",
        key="attributions" if complete else None,  # one mount of a key in a run
        on_drop=_drop_method if complete else None,
        on_offer=_add_method if complete else None,
    )


def _drop_method() -> None:
    dropped = getattr(st.session_state.get("attributions"), "dropped", None)
    st.session_state["methods"] = [name for name in st.session_state["methods"] if name != dropped]


def _add_method() -> None:
    offered = getattr(st.session_state.get("attributions"), "offered", None)
    if offered in METHODS and offered not in st.session_state["methods"]:
        st.session_state["methods"] = [*st.session_state["methods"], offered]


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
        return Tile(id=name, name=method.label, wait=f"computing: {_cost_text(scene, name)}", drops=True)
    if error := future.exception():
        return Tile(id=name, name=method.label, wait=f"failed: {error}"[:160], drops=True)
    result = future.result()
    limit = attribution_limit(result.values)
    return Tile(
        id=name,
        name=method.label,
        note="signed" if result.signed else "magnitude",
        drawing=draw_attribution(result.values, limit, scene.crop, signed=result.signed, block=_READOUT),
        role="attribution",
        alt=f"{method.label} for “{scene.class_name(scene.target)}”: strongest {_strongest(result.values)}",
        title=method.summary,
        drops=True,
    )


def _strongest(values: np.ndarray) -> str:
    means = np.abs(block_means(values, len(values) // _READOUT))
    return where(means)


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


def _warm_neighbours(variant: Variant, variants: list[Variant], device: str) -> None:
    """Load what one step of a slider leads to, after everything else is on the page."""
    for other in variants:
        if other is not variant and other.backbone == variant.backbone and other.width == variant.width:
            same_place = other.placement and variant.placement and other.placement.layers == variant.placement.layers
            if same_place or other.placement is None:
                default_engine().warm(other, device)
