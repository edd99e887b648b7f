"""The lesson's first chapter: the picture, the channels of a layer, and how they are split."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from ...analysis import measures
from ...figures.colours import scale_maps, subspace_colour
from ...figures.tiles import attention_tile, data_uri, mosaic, value_range
from ..run.scene import map_note
from ..run.words import judged
from ..widgets.legends import legend
from ..widgets.tiles import Tile, show_tiles
from .walk import Walk, at_same_position


def ideas() -> dict[str, Callable[[Walk], None]]:
    """Return what draws each of the first steps, by id."""
    return {"why": show_why, "channels": show_channels, "subspaces": show_split}


def map_tiles(walk: Walk, *, chosen: bool = True) -> list[Tile]:
    """Draw the layer's maps over the picture, in multiples of uniform."""
    maps = walk.scene.attention.maps[walk.layer]
    scaled = scale_maps(walk.scene.attention.maps, "uniform")[walk.layer]
    return [
        Tile(
            f"map-{i}",
            f"Subspace {i + 1}",
            note=map_note(maps[i]),
            source=data_uri(attention_tile(walk.scene.crop.pixels, scaled.fractions[i], walk.scene.view.display)),
            values=scaled.values[i],
            unit="×",
            colour=subspace_colour(i, len(maps)),
            selected=chosen and i == walk.k,
        )
        for i in range(len(maps))
    ]


def show_why(walk: Walk) -> None:
    """Show the picture and what the maps make of it."""
    scene = walk.scene
    legend(scene.view.display.colours, scale_maps(scene.attention.maps, "uniform")[walk.layer])
    picture = Tile("picture", "The picture", note="as the network sees it", source=data_uri(scene.crop.pixels))
    show_tiles([picture, *map_tiles(walk)], width=150, key="why")
    top = scene.attention.top(1)[0]
    st.caption(
        f"{walk.facts.network}, which knows {scene.variant.knows}, says “{scene.class_name(top)}” with {scene.attention.probabilities[top]:.0%}. "
        f"{judged(scene) if scene.picture.sample else ''} It is right for {scene.variant.metrics['top1']:.0f} % of {scene.variant.measured_on}. Of its {walk.facts.params:.2f} million parameters "
        f"one module has {walk.facts.module_values}: {2 * walk.facts.m} weights, the others biases and norms."
    )
    st.caption(
        "Colours: multiples of uniform, 1 is no preference. *Area* is the effective area, the share of places over which the attention is spread: e to the map's entropy, "
        "divided by the number of places. Uniform is 100 %; a weak preference hardly lowers it. *Peak* is the largest value."
    )


def show_channels(walk: Walk) -> None:
    """Show every channel of the layer, and the one that is followed."""
    features = walk.stages.features
    left, right = st.columns([1.6, 1], gap="large")
    low, high = value_range(features)
    with left:
        st.image(
            mosaic(features, walk.scene.view.display, least_side=520),
            width=min(560, 16 * features.shape[-1] * 3),
            alt=f"all {len(features)} channels",
        )
        silent = int((features.reshape(len(features), -1).max(1) <= 0).sum())
        st.caption(
            f"All {len(features)} channels, in rows from the top left, on one scale from {low:.3g} to {high:.3g}. {silent or 'None'} of them {'is' if silent < 2 else 'are'} 0 everywhere for this picture."
        )
    with right:
        show_tiles([walk.tile("features", name=f"Channel {walk.derivation.channel}", pick=True)], width=220, key="one-channel")
        st.caption("One of them, on its own scale. Choose another below.")


def show_split(walk: Walk) -> None:
    """Show the channels of each subspace apart, and let g be moved."""
    _move_g(walk)
    s = walk.stages
    show_tiles(group_tiles(walk), width=210 if s.groups <= 4 else 124, key="groups")
    means = measures.effective_area(s.attention)
    st.caption(
        f"Each square holds the channels of one subspace; its colour is the subspace's on every page. One map each; their effective areas are {means.min():.0%} to {means.max():.0%}."
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
