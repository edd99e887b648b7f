"""The lesson's last chapter: what changes with g and position, what it costs, how to read a map; with predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...analysis import effects, measures
from ...analysis.attention import Attention
from ...analysis.verdicts import smallest_logit
from ...engine.engine import Pause, default_engine
from ...evidence import paper
from ...figures import comparisons
from ...figures.colours import Scaled, scale_maps, subspace_colour
from ...figures.words import map_note
from ...lesson.steps import MISCONCEPTIONS
from ...models.network import Network
from ...text.escaping import escape_markdown
from ...zoo.variants import CheckpointError, Variant, position_name
from ..run.interrupt import result_of
from ..run.requests import answer, subspace_names
from ..run.session import visitor
from ..run.state import keep
from ..run.words import differences, differences_of_positions
from ..widgets.legends import map_legend
from ..widgets.tiles import Tile, map_tile, show_tiles
from .cost import show_cost
from .idea import map_tiles, uniform
from .present import answer_wanted
from .walk import Walk, at_same_position, row_of, take_place

_UNDECIDED = "I do not know yet"
_SAME, _NARROWER, _WIDER = (
    "about as wide as now",
    "narrower: a smaller effective area",
    "wider: a larger effective area",
)


def wholes(everything: Sequence[Variant]) -> dict[str, Callable[[Walk], None]]:
    """Return what draws each of the last steps, by id."""
    return {
        "groups": show_groups,
        "positions": lambda walk: show_positions(walk, everything),
        "cost": _show_cost,
        "reading": show_reading,
    }


def _show_cost(walk: Walk) -> None:
    with _beside_picture(walk):
        show_cost(walk)


def look(walk: Walk, variants: Sequence[Variant]) -> list[tuple[Variant, Attention]]:
    """Let several networks look at the picture at once; a damaged one is said and left out."""
    scene = walk.scene
    futures = [default_engine().attend(scene.crop, v, scene.device.device, visitor=visitor()) for v in variants]
    seen = []
    for variant, future in zip(variants, futures, strict=True):
        try:
            seen.append((variant, result_of(future)))
        except CheckpointError as error:
            st.warning(escape_markdown(str(error)))
    return seen


def show_groups(walk: Walk) -> None:
    """Show the maps for every g at this position; those of the largest g after a prediction."""
    with _beside_picture(walk):
        _show_groups(walk)


def _beside_picture(walk: Walk) -> DeltaGenerator:
    """Show the picture, and return the room at its right."""
    left, right = st.columns([1, 3], gap="medium")
    with left:
        show_tiles([walk.picture()], columns=1, key="beside", on_place=lambda: take_place("beside"))
    return right


def _show_groups(walk: Walk) -> None:
    seen = look(walk, at_same_position(walk.scene.variant))
    by_groups = {v.groups: a.maps[walk.layer] for v, a in seen}
    last = max(by_groups)
    scaled = scale_maps(by_groups, "uniform")
    for g in sorted(by_groups):
        if g != last or len(by_groups) == 1:
            _row_of_groups(walk, by_groups[g], scaled[g], first=g == min(by_groups))
    if len(by_groups) > 1 and _predict_width(walk, by_groups, last):
        _row_of_groups(walk, by_groups[last], scaled[last], first=False)
    st.caption(
        "The networks were trained separately: subspace 1 of one row need not resemble its children in the next. All "
        "rows are on one scale."
    )


def _row_of_groups(walk: Walk, maps: np.ndarray, scaled: Scaled, *, first: bool) -> None:
    g = len(maps)
    st.markdown(groups_title(maps))
    show_tiles(
        groups_tiles(walk, maps, scaled),
        columns=8,
        legend=map_legend({"": scaled}) if first else None,  # all rows are on one scale
        key=f"groups-{g}",
    )


def groups_title(maps: np.ndarray) -> str:
    """Say how wide a network's maps (g, H, W) are."""
    return f"g = {len(maps)}: mean effective area {measures.effective_area(maps).mean():.0%}"


def groups_tiles(walk: Walk, maps: np.ndarray, scaled: Scaled) -> list[Tile]:
    """Draw one network's maps (g, H, W)."""
    g = len(maps)
    return [
        map_tile(
            {"": scaled},
            i,
            walk.scene.crop,
            id=f"g{g}.{i}",
            name=f"{i + 1}",
            note=map_note(maps[i]) if g <= 4 else f"{measures.effective_area(maps[i]):.0%}",
        )
        for i in range(g)
    ]


def _predict_width(walk: Walk, by_groups: Mapping[int, np.ndarray], last: int) -> bool:
    """Ask what the largest g will look like, and judge the answer; tell whether it was given."""
    base = walk.stages.groups if walk.stages.groups != last else sorted(by_groups)[-2]
    guess = st.radio(
        f"**Predict:** with g = {last}, compared with g = {base}, the maps will be…",
        [_UNDECIDED, _SAME, _NARROWER, _WIDER],
        key=keep("predict-width"),
        captions=["", "within a tenth", "", ""],
    )
    if guess == _UNDECIDED and not answer_wanted("width"):
        return False
    areas = {g: float(measures.effective_area(by_groups[g]).mean()) for g in (base, last)}
    ratio = areas[last] / areas[base]
    truth = _SAME if 0.9 <= ratio <= 1.1 else _NARROWER if ratio < 1 else _WIDER
    text = (
        f"The maps are {truth}: their mean effective area is {areas[last]:.1%} with g = {last}, {areas[base]:.1%} with "
        f"g = {base}."
    )
    said = {_UNDECIDED: "", truth: "As you said. "}.get(guess, "Not so here. ")
    (st.success if guess == truth else st.info)(said + text + " That is this picture; try another.")
    return True


def show_positions(walk: Walk, everything: Sequence[Variant]) -> None:
    """Show the mean map at every position for this g."""
    tiles, scaled = position_tiles(walk, everything)
    if not scaled:
        st.caption("No network with a single module is trained for this g.")
        return
    tiles = [walk.picture(), *tiles]
    show_tiles(
        tiles,
        columns=row_of(tiles),
        legend=map_legend({"": scaled}),
        key="positions",
        on_place=lambda: take_place("positions"),
    )
    st.caption(POSITIONS_NOTE.format(f=walk.facts))
    st.markdown(differences_of_positions(walk.scene.variant))


POSITIONS_NOTE = (
    "The mean of the {f.g} subspaces' maps of each network, and its gain. “Instead”: the module takes the layer's "
    "place. The page Compare shows all maps."
)


def position_tiles(walk: Walk, everything: Sequence[Variant]) -> tuple[list[Tile], Scaled | None]:
    """Draw the mean map of each network with one module and this g, all on one scale."""
    own = walk.scene.variant
    placed = [
        v
        for v in everything
        if v.placement and (v.family, v.gain, v.groups) == (own.family, own.gain, walk.stages.groups)
    ]
    seen = look(walk, [v for v in placed if v.placement and len(v.placement.layers) == 1])
    whole = {i: next(iter(attention.maps.values())) for i, (_, attention) in enumerate(seen)}
    scaled = scale_maps({i: maps.mean(0, keepdims=True) for i, maps in whole.items()}, "uniform")
    gains = {i: measures.gain_of(maps.mean(0), own.gain) for i, maps in whole.items()}
    tiles = [
        map_tile(
            {"": scaled[i]},
            0,
            walk.scene.crop,
            id=f"position-{i}",
            name=position_name(variant),
            alt="",
            colour="",
            note=f"{whole[i].shape[1]} × {whole[i].shape[2]}, gain {gains[i].min():.4f} to {gains[i].max():.4f}",
            selected=variant.name == own.name,
        )
        for i, (variant, _) in enumerate(seen)
    ]
    return tiles, next(iter(scaled.values()), None)


def show_subspace_prediction(walk: Walk) -> None:
    """Ask which subspace's attention matters most for the target, then take each away."""
    if walk.stages.groups == 1:
        return
    scene, names = walk.scene, subspace_names(walk.scene, walk.layer)
    show_tiles(map_tiles(walk), width=124, legend=map_legend(uniform(walk)), key="whose")
    guess = st.radio(
        f"**Predict:** whose attention matters most for “{escape_markdown(scene.class_name(scene.target))}”? (Whose "
        "gain, set to 1 everywhere, moves the logit most?)",
        [_UNDECIDED, *names],
        key=keep(f"predict-subspace-{walk.stages.groups}"),
        horizontal=True,
    )
    if guess == _UNDECIDED and not answer_wanted("subspace"):
        st.caption("Guess; the answer is computed for this picture and target.")
        return
    moved = without_each(walk)
    if moved is None:
        return
    order = np.argsort(-np.abs(moved))
    st.plotly_chart(
        comparisons.diverging_bars(
            [names[i] for i in order],
            [float(moved[i]) for i in order],
            spreads=[None] * len(order),
            colours=[subspace_colour(int(i), len(names)) for i in order],
            noise=None,
            unit=f"change of the logit of “{scene.class_name(scene.target)}” without its attention",
        ),
        key="prediction",
        config={"displayModeBar": False},
        alt="; ".join(f"{names[i]}: {moved[i]:+.4f}" for i in order),
    )
    right = names[int(order[0])]
    said = {_UNDECIDED: "", right: "As you said: "}.get(guess, f"You said {guess.lower()}. ")
    (st.success if guess == right else st.info)(
        f"{said}{right} moves it most, by {moved[order[0]]:+.4f}, of a logit of "
        f"{scene.attention.logits[scene.target]:.2f}"
        f"{how_little(float(moved[order[0]]), smallest_logit(scene.variant.calibration.temperature))}. "
        "The maps could not have told: they say how strongly, not to what effect. Inspect has the level of noise "
        "beside such bars."
    )


def how_little(moved: float, smallest: float) -> str:
    """Say of the largest change of a logit that it does not matter, where it does not."""
    return "" if abs(moved) >= smallest else f": less than the {smallest:.3f} that could matter, so none of them does"


def without_each(walk: Walk) -> np.ndarray | None:
    """Return how the target's logit moves when one subspace's gain is set to 1, shape (g,).

    None if that was stopped.
    """
    name, work = effects_of_each(walk)
    return answer(walk.scene, name, "the answer without each subspace's attention", work)


def effects_of_each(walk: Walk) -> tuple[tuple[str, int, int], Callable[[Network, Pause], np.ndarray]]:
    """Return the name and the work of :func:`without_each`."""
    scene, layer = walk.scene, walk.layer

    def work(model: Network, pause: Pause) -> np.ndarray:
        moved = []
        for k in range(walk.stages.groups):
            pause()
            logits = effects.with_strength(model, scene.crop.tensor, layer=layer, subspace=k, strengths=[1.0, 0.0])
            moved.append(logits[1, scene.target] - logits[0, scene.target])
        return np.array(moved)

    return ("without-each", layer, scene.target), work


def show_reading(walk: Walk) -> None:
    """Show the misconceptions; each opens on what is true here."""
    tiles = [walk.picture(), *map_tiles(walk)]
    show_tiles(
        tiles,
        columns=row_of(tiles),
        legend=map_legend(uniform(walk)),
        key="reading",
        on_place=lambda: take_place("reading"),
    )
    moved = without_each(walk)
    for card in misconceptions(walk, moved):
        with st.expander(f"“{card[0]}”", icon=":material/help:"):
            st.markdown(card[1])


def misconceptions(walk: Walk, moved: np.ndarray | None) -> list[tuple[str, str]]:
    """Return claims and what is true, with this picture's numbers."""
    scene = walk.scene
    first, second = np.sort(scene.attention.logits)[::-1][:2]
    effect = (
        ": with that subspace's gain set to 1 everywhere, the logit of "
        f"“{escape_markdown(scene.class_name(scene.target))}” moves by {moved[walk.k]:+.4f}, where the network's first "
        f"two classes lie {first - second:.2f} apart"
        if moved is not None
        else ""  # stopped
    )
    live = {
        "f": walk.facts,
        "peak_gain": float(walk.stages.gain[walk.k].max()),
        "effect": effect,
        "differences": differences(scene.variant),
        "paper_range": max(max(a) - min(a) for row in paper.ACCURACY for a in [[top1 for top1, _ in row.by_groups]]),
    }
    return [(card.claim.format(**live), card.truth.format(**live)) for card in MISCONCEPTIONS]
