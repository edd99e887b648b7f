"""The page "Inspect": one picture, one trained network, its attention maps beside its attributions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, wait

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...analysis.attribution import Attribution
from ...analysis.methods import METHODS
from ...engine.engine import default_engine
from ...figures.colours import all_scales
from ...figures.drawing import draw_attribution, draw_picture
from ...figures.tiles import attribution_limit, block_means
from ...figures.words import where
from ...text.escaping import escape_markdown
from ...zoo.variants import CheckpointError, Variant
from ..choose.display import current_view
from ..choose.methods import choose_methods, choose_target, count_passes, passes_words, target_of
from ..choose.network import choose_device, choose_variant
from ..choose.own import show_own_network
from ..choose.picture import choose_picture, model_input
from ..choose.place import opened, say_missing_subspace
from ..run.interrupt import result_of
from ..run.page import open_page
from ..run.pause import let_the_browser_draw
from ..run.requests import say_where
from ..run.scene import Scene, channels_of
from ..run.session import pending, visitor
from ..widgets.legends import signed_legend
from ..widgets.tiles import Tile, show_tiles
from .downloads import show_downloads
from .large import show_large
from .maps import COLUMNS, Layer, show_layer
from .questions import show_questions
from .statistics import show_statistics
from .summary import show_head, show_head_room, show_latency

_REDRAW = 1.0  # seconds at least between two drawings of a map that is being refined
_READOUT = 4  # attributions are read under the pointer as means of 4x4 pixels: enough for the eye, little on the wire


def show() -> None:
    """Draw the page."""
    variants = open_page("inspect")
    with st.sidebar:
        picture = choose_picture()
        variant = choose_variant(variants)
        show_own_network()
        device = choose_device()
    view = current_view()
    head = st.container()
    beside = variant.groups in (1, 2) and variant.placement is not None and len(variant.placement.layers) == 1
    if beside:  # few maps leave room in their row
        maps_place, attributions_place = st.columns([variant.groups, COLUMNS - variant.groups])
    else:
        maps_place, attributions_place = st.container(), st.container()
    crop = model_input(picture, variant.preprocessing)
    try:
        seen = default_engine().attend(crop, variant, device.device, visitor=visitor())
        attention = result_of(seen)
    except CheckpointError as error:
        st.error(f"{escape_markdown(str(error))}. The other variants still work: choose another position or g.")
        return
    device = default_engine().really(seen, device)  # where the pass was made, the rest is
    with head:
        buttons = show_head_room()
    with buttons.methods:
        target = choose_target(variant, buttons.said)
        methods = choose_methods(variant, buttons.said)
    scene = Scene(picture, crop, variant, device, methods, view, attention, target_of(target, attention))
    say_missing_subspace(scene, buttons.said)
    card = show_head(scene, buttons)
    with maps_place:
        questions = _maps(scene)
    let_the_browser_draw()
    attributions = _attributions(scene, attributions_place, COLUMNS - variant.groups if beside else COLUMNS)
    if questions:
        with questions[0]:
            show_questions(scene, attributions, *questions[1])
    show_statistics(scene, attributions)
    pending().release_earlier()  # before the variant's time is waited for
    with buttons.share:
        show_downloads(scene, attributions)
    show_latency(scene, card)
    _warm_neighbours(variant, variants, device.device)


def _maps(scene: Scene) -> tuple[DeltaGenerator, tuple[int, int]] | None:
    """Show the maps, and the one that is looked at large; return the room for its questions, and which one it is."""
    scales = all_scales(scene.attention.maps, gains=dict.fromkeys(scene.attention.maps, scene.variant.gain))
    if not scales:
        st.info("The plain network carries no attention module, so there are no maps: choose a position to see them.")
        return None
    chosen, questions = opened(scene), None
    per_row = max(1, COLUMNS // scene.variant.groups) if len(scales) > 1 else 1  # layers side by side
    layers = list(scales.items())
    for start in range(0, len(layers), per_row):
        row = layers[start : start + per_row]
        for place, (number, layer) in zip(st.columns(per_row) if per_row > 1 else [st.container()], row, strict=False):
            with place:
                show_layer(_layer(scene, number), layer, scene.crop, chosen=opened(scene), alone=per_row == 1)
        for number, layer in row:
            if chosen and chosen[0] == number:
                questions = show_large(scene, layer, *chosen), chosen
    return questions


def _layer(scene: Scene, number: int) -> Layer:
    replaces = scene.variant.placement is not None and scene.variant.placement.mode == "instead"
    return Layer(number, channels_of(scene.variant, number), scene.attention.maps[number], replaces, scene.variant.gain)


def _attributions(scene: Scene, place: DeltaGenerator, columns: int) -> dict[str, Attribution]:
    """Start all methods, cheap ones first, and redraw their tiles as each is done; return those that succeeded."""
    futures = _start(scene)
    with place:
        tiles = st.empty()
        progress = st.empty()
    if not all(future.done() for future in futures.values()):
        pending().release_earlier()
    waiting, last, turn = list(futures), 0.0, 0
    drawn: tuple[int, tuple[int, ...]] | None = (
        None  # methods that are waited for, and how far those are that refine theirs
    )
    while drawn is None or waiting:
        waiting = [name for name, future in futures.items() if not future.done()]
        so_far = {name: found for name in waiting if (found := default_engine().so_far(futures[name]))}
        now = len(waiting), tuple(found.passes for found in so_far.values())
        if drawn is None or now[0] < drawn[0] or (now != drawn and time.monotonic() - last > _REDRAW):
            drawn, last, turn = now, time.monotonic(), turn + 1
            with tiles:
                # One mount of a key in a run.
                _row_of_attributions(
                    scene, futures, so_far, columns, f"attributions-{turn}" if waiting else "attributions"
                )
        if waiting:
            progress.progress(
                1 - len(waiting) / len(futures), text=_progress_text(scene, waiting[0], futures[waiting[0]])
            )
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


def _row_of_attributions(
    scene: Scene, futures: Mapping[str, Future[Attribution]], so_far: Mapping[str, Attribution], columns: int, key: str
) -> None:
    """Draw the picture, a tile for each method, and one that offers the others."""
    picture = Tile(
        "picture",
        "The picture",
        drawing=draw_picture(scene.crop),
        role="picture",
        alt="The picture as the network sees it",
    )
    show_tiles(
        [picture, *(_attribution_tile(scene, name, future, so_far.get(name)) for name, future in futures.items())],
        columns=columns,
        heading=f"Why “{scene.class_name(scene.target)}”?",
        help="Attributions, by Captum: which pixels speak for one class; red for, blue against, each on its own "
        "scale. Magnitudes use the maps' "
        "colours. The pointer reads means of 4 × 4 pixels. Not the same thing as attention.",
        legend=signed_legend("against / for"),
        offers={name: method.label for name, method in METHODS.items() if name not in futures},
        offer="Add a method",
        key=key,
        on_drop=lambda: _drop_method(key),
        on_offer=lambda: _add_method(key),
    )


def _drop_method(key: str) -> None:
    dropped = getattr(st.session_state.get(key), "dropped", None)
    st.session_state["methods"] = [name for name in st.session_state["methods"] if name != dropped]


def _add_method(key: str) -> None:
    offered = getattr(st.session_state.get(key), "offered", None)
    if offered in METHODS and offered not in st.session_state["methods"]:
        st.session_state["methods"] = [*st.session_state["methods"], offered]


def _start(scene: Scene) -> dict[str, Future[Attribution]]:
    """Start what this view needs."""
    engine, mine = default_engine(), pending()
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
    return f"{passes_words(name, scene.methods[name], passes)} pass{'es' if passes > 1 else ''} of one picture"


def _attribution_tile(scene: Scene, name: str, future: Future[Attribution], so_far: Attribution | None) -> Tile:
    method = METHODS[name]
    if so_far is None and not future.done():
        return Tile(id=name, name=method.label, wait=f"computing: {_cost_text(scene, name)}", drops=True)
    if so_far is None and (error := future.exception()):
        return Tile(id=name, name=method.label, wait=f"failed: {error}"[:160], drops=True)
    result = so_far or future.result()
    limit = attribution_limit(result.values)
    return Tile(
        id=name,
        name=method.label,
        note=f"so far, {result.passes} of {_cost_text(scene, name)}: {result.note}" if so_far else result.note,
        drawing=draw_attribution(result.values, limit, scene.crop, signed=result.signed, block=_READOUT),
        role="other" if so_far else "attribution",
        alt=f"{method.label} for “{scene.class_name(scene.target)}”: strongest {_strongest(result.values)}",
        title=f"{method.summary} {result.warning}".strip(),
        drops=True,
    )


def _strongest(values: np.ndarray) -> str:
    means = np.abs(block_means(values, len(values) // _READOUT))
    return where(means)


def _reading(name: str, result: Attribution) -> str:
    method = METHODS[name]
    text = f"**{method.label}** ({method.source}). {method.summary} {method.caveat} "
    text += f"Cost: {result.passes} pass{'es' if result.passes > 1 else ''} of one picture, {result.seconds:.2f} s."
    if result.off is not None:
        text += (
            f" The attributions should sum to the logit's difference from the baseline, {result.explained:+.3f}; "
            f"convergence delta {result.delta:+.2g} ({result.off:.1%})"
            + (f": **too large to rely on**{method.remedy}." if result.warning else ".")
        )
    return text


def _warm_neighbours(variant: Variant, variants: list[Variant], device: str) -> None:
    """Load what one step of a slider leads to, after everything else is on the page."""
    for other in variants:
        if other is not variant and other.backbone == variant.backbone and other.width == variant.width:
            same_place = other.placement and variant.placement and other.placement.layers == variant.placement.layers
            if same_place or other.placement is None:
                default_engine().warm(other, device)
