"""The lesson's first chapter: the picture, the channels of a layer, and how they are split."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from ...analysis import measures
from ...figures.colours import Scaled, scale_maps, subspace_colour
from ...figures.tiles import data_uri, mosaic, value_range
from ...text.escaping import escape_markdown
from ...zoo.variants import Variant
from ..run.words import judged
from ..widgets.legends import map_legend
from ..widgets.tiles import Tile, map_tile, show_tiles
from .walk import Walk, at_same_position, row_of, take_place


def ideas() -> dict[str, Callable[[Walk], None]]:
    """Return what draws each of the first steps, by id."""
    return {"why": show_why, "channels": show_channels, "subspaces": show_split}


def map_tiles(walk: Walk, *, chosen: bool = True) -> list[Tile]:
    """Draw the layer's maps over the picture, in multiples of uniform."""
    scales = uniform(walk)
    return [
        map_tile(scales, i, walk.scene.crop, id=f"map-{i}", selected=chosen and i == walk.k)
        for i in range(walk.stages.groups)
    ]


def uniform(walk: Walk) -> dict[str, Scaled]:
    """Return the layer's maps in multiples of uniform, whatever scale is chosen: that is what the lesson speaks of."""
    return {"": scale_maps(walk.scene.attention.maps, "uniform")[walk.layer]}


def show_why(walk: Walk) -> None:
    """Show the picture and what the maps make of it."""
    tiles = [walk.picture(), *map_tiles(walk)]
    show_tiles(
        tiles, columns=row_of(tiles), legend=map_legend(uniform(walk)), key="why", on_place=lambda: take_place("why")
    )


def tell_more(walk: Walk) -> None:
    """Say what the network answers, and what the numbers at the maps are."""
    scene = walk.scene
    top = scene.attention.top(1)[0]
    st.caption(
        f"{walk.facts.network}, which knows {escape_markdown(scene.variant.knows)}, says "
        f"“{escape_markdown(scene.class_name(top))}” with {scene.attention.probabilities[top]:.0%}. "
        f"{judged(scene) if scene.picture.sample else ''} {_how_often_right(scene.variant)} Of its "
        f"{walk.facts.params:.2f} million parameters one module has {walk.facts.module_values}: {2 * walk.facts.m} "
        "weights, the others biases and norms."
    )
    st.caption(
        "Colours: multiples of uniform, 1 is no preference. *Area* is the effective area, the share of places over "
        "which the attention is spread: e to the map's entropy, divided by the number of places. Uniform is 100 %; a "
        "weak preference hardly lowers it. *Peak* is the largest value."
    )


def _how_often_right(variant: Variant) -> str:
    if "top1" not in variant.metrics:
        return "How often it is right is unknown."
    about = escape_markdown(variant.about_pictures)
    return f"It is right for {variant.figure('top1', '.0f')} % of {escape_markdown(variant.measured_on)}. {about}"


def show_channels(walk: Walk) -> None:
    """Show every channel of the layer, and the one that is followed."""
    features = walk.stages.features
    low, high = value_range(features)
    silent = int((features.reshape(len(features), -1).max(1) <= 0).sum())
    sheet = Tile(
        "channels",
        f"All {len(features)} channels",
        note=f"from the top left, on one scale from {low:.3g} to {high:.3g}",
        source=data_uri(mosaic(features, walk.scene.view.display, least_side=520)),
    )
    show_tiles(
        [walk.picture(), sheet, walk.tile("features", name=f"Channel {walk.derivation.channel}", pick=True)],
        columns=3,
        key="one-channel",
        on_place=lambda: take_place("one-channel"),
    )
    st.caption(
        f"{silent or 'None'} of them {'is' if silent < 2 else 'are'} 0 everywhere for this picture. Click any cell to "
        "follow it; choose another channel below."
    )


def show_split(walk: Walk) -> None:
    """Show the channels of each subspace apart, and let g be moved."""
    _move_g(walk)
    s = walk.stages
    tiles = [walk.picture(), *group_tiles(walk)]
    show_tiles(tiles, columns=row_of(tiles), key="groups", on_place=lambda: take_place("groups"))
    means = measures.effective_area(s.attention)
    st.caption(
        "Each square holds the channels of one subspace; its colour is the subspace's on every page. One map each; "
        f"their effective areas are {means.min():.0%} to {means.max():.0%}."
    )


def group_tiles(walk: Walk) -> list[Tile]:
    """Draw the channels of each subspace."""
    s = walk.stages
    return [
        Tile(
            f"group-{i}",
            f"Subspace {i + 1}",
            note=f"channels {i * s.group_size} to {(i + 1) * s.group_size - 1}",
            source=data_uri(mosaic(s.features[i * s.group_size : (i + 1) * s.group_size], walk.scene.view.display)),
            colour=subspace_colour(i, s.groups),
        )
        for i in range(s.groups)
    ]


def _move_g(walk: Walk) -> None:
    """Offer the trained g of this position here as well; the sidebar's slider follows."""
    offered = [v.groups for v in at_same_position(walk.scene.variant)]
    if len(offered) < 2:
        return
    st.session_state["lesson-g"] = walk.stages.groups
    st.segmented_control(
        "Subspaces g",
        offered,
        key="lesson-g",
        required=True,
        on_change=lambda: st.session_state.update(g=st.session_state["lesson-g"]),
    )
