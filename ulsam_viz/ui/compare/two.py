"""Two pictures or two networks side by side, and what differs between their maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from ...analysis import measures
from ...analysis.attention import Attention
from ...engine import DeviceChoice, default_engine
from ...figures.colours import scale_maps, subspace_colour
from ...figures.tiles import attention_tile, attribution_tile, data_uri, resize_map
from ...images import ModelInput, prepare
from ...samples import list_samples
from ...zoo import CheckpointError, Variant, position_name
from ..choose.picture import sample_image
from ..run.kept import keep
from ..run.scene import Picture, View, map_note, network_name, pretty
from ..run.session import visitor
from ..widgets.legends import legend, signed_legend
from ..widgets.tiles import Tile, show_tiles

_SAME = "the same picture"


@dataclass(frozen=True)
class Side:
    """One of the two: what is looked at, by which network, and what came of it."""

    picture: str
    crop: ModelInput
    variant: Variant
    seen: Attention

    @property
    def last(self) -> np.ndarray:
        """Maps of the last layer that carries a module, (g, H, W); none for the plain control."""
        return self.seen.maps[max(self.seen.maps)] if self.seen.maps else np.empty((0, 1, 1))


def show_two(
    everything: Sequence[Variant], chosen: Variant, picture: Picture, crop: ModelInput, device: DeviceChoice, view: View
) -> None:
    """Let the visitor choose the second network and picture, and show both on one scale, with their difference."""
    names = {v.name: v for v in everything}
    samples = {s.title: s for s in list_samples()}
    scale_place = st.container()
    left, right = st.columns(2, gap="large")
    # At first, the nearest: the next g at the same position, where there is one.
    near = [
        v
        for v in everything
        if v is not chosen and v.placement and position_name(v) == position_name(chosen) and v.backbone == chosen.backbone
    ]
    default = min(near, key=lambda v: (v.groups < chosen.groups, abs(v.groups - chosen.groups)), default=chosen)
    with left:
        st.selectbox("First", [f"{network_name(chosen)}, {picture.name}"], disabled=True, help="As chosen in the sidebar.")
    with right:
        name = st.selectbox(
            "Second: network",
            list(names),
            index=list(names).index(default.name),
            format_func=lambda n: network_name(names[n]),
            key=keep("second"),
            bind="query-params",
        )
        title = st.selectbox("Second: picture", [_SAME, *samples], key=keep("second-picture"), bind="query-params")
    other = names[name]
    other_crop = prepare(picture.image if title == _SAME else sample_image(samples[title]), other.preprocessing)
    engine = default_engine()
    try:
        passes = [engine.attend(c, v, device.device, visitor=visitor()).result() for c, v in ((crop, chosen), (other_crop, other))]
    except CheckpointError as error:
        st.error(str(error))
        return
    first = Side(picture.name, crop, chosen, passes[0])
    second = Side(picture.name if title == _SAME else title, other_crop, other, passes[1])
    both = {i: side.last for i, side in enumerate((first, second)) if len(side.last)}
    if not both:
        st.info("Neither network carries attention: choose a position for one of them.")
        return
    scaled = scale_maps(both, view.scale, shared=True)
    with scale_place:
        legend(view.display.colours, next(iter(scaled.values())))
    for i, (side, place) in enumerate(zip((first, second), (left, right), strict=True)):
        with place:
            st.image(side.crop.pixels, width=150, alt=f"{side.picture} as the network sees it")
            top = side.seen.top(3)
            says = ", ".join(f"{pretty(side.variant.classes[n])} {side.seen.probabilities[n]:.1%}" for n in top)
            st.markdown(f"**{network_name(side.variant)}**, {side.picture}: {says}")
            if i not in both:
                st.caption("The plain control carries no attention.")
                continue
            g = len(side.last)
            show_tiles(
                [
                    Tile(
                        f"{i}.{k}",
                        f"Subspace {k + 1}",
                        note=map_note(side.last[k]),
                        source=data_uri(attention_tile(side.crop.pixels, scaled[i].fractions[k], view.display)),
                        values=scaled[i].values[k],
                        unit="×" if view.scale == "uniform" else "",
                        colour=subspace_colour(k, g),
                    )
                    for k in range(g)
                ],
                width=110,
                key=f"side-{i}",
            )
    if len(both) == 2:
        _difference(first, second, view)


def _difference(first: Side, second: Side, view: View) -> None:
    """Show second less first, in multiples of uniform: each subspace where both have as many, their means otherwise."""
    a, b = measures.relative_attention(first.last), measures.relative_attention(second.last)
    st.markdown("**Difference**: second less first, in multiples of uniform")
    if a.shape[1:] != b.shape[1:]:
        st.caption(
            f"The maps lie on different grids ({a.shape[1]} × {a.shape[2]} and {b.shape[1]} × {b.shape[2]}): they have no difference."
        )
        return
    each = len(a) == len(b)
    differences = b - a if each else (b.mean(0) - a.mean(0))[None]
    limit = max(float(np.abs(differences).max()), 1e-9)
    signed_legend(f"the second attends less / more, up to {limit:.1f} times uniform")
    show_tiles(
        [
            Tile(
                f"difference-{k}",
                f"Subspace {k + 1}" if each else "Mean of the subspaces",
                note=f"{d.min():+.1f} to {d.max():+.1f}",
                source=data_uri(
                    attribution_tile(
                        first.crop.pixels,
                        resize_map(d, first.variant.input_size, smooth=view.display.smooth),
                        limit,
                        view.display,
                        signed=True,
                    )
                ),
                values=d,
                unit="signed",
                colour=subspace_colour(k, len(differences)) if each else "",
            )
            for k, d in enumerate(differences)
        ],
        width=130,
        key="difference",
    )
    st.caption(
        "The same network: differences come from the picture alone."
        if first.variant is second.variant
        else "Subspace k of one network and of the other were trained apart: only the numbers of their channels are the same."
        if each
        else f"With {len(a)} and {len(b)} subspaces, only the means over subspaces can be compared."
    )
