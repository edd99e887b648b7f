"""Two networks, or two pictures, side by side on one scale, one over the other, and where their maps differ most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ...analysis import measures
from ...analysis.attention import Attention
from ...engine.engine import DeviceChoice, default_engine
from ...figures.colours import Scaled, all_scales, subspace_colour
from ...figures.drawing import draw_attribution, draw_map, draw_picture
from ...images.preprocessing import ModelInput, prepare
from ...images.samples import list_samples
from ...text.escaping import escape_markdown
from ...zoo.variants import CheckpointError, Variant, position_name
from ..choose.network import backbone_label, choose_module, gain_asked, position_label, position_words
from ..choose.picture import sample_image
from ..run.address import say_missing, saying_missing, take_missing
from ..run.interrupt import result_of, run_again
from ..run.scene import Picture, network_name, pretty
from ..run.session import visitor
from ..run.state import keep
from ..widgets.legends import map_legend, signed_legend
from ..widgets.tiles import Tile, map_tile, show_tiles

_SAME = "the same picture"
_COLUMNS = 2  # tiles a row of each side: 200 px and more in a window of 1440
_NAME = "second-"  # begins the names of the second one's choices
_OLD = "second"  # named the second network in older addresses

Box = tuple[float, float, float, float]


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

    @property
    def short(self) -> str:
        """Position and g, as a heading has room for."""
        return (
            f"{position_name(self.variant)}, g = {self.variant.groups}" if self.variant.placement else "plain control"
        )

    @property
    def heading(self) -> str:
        """The same with the network's answer."""
        top = self.seen.top(1)[0]
        return f"{self.short} · {pretty(self.variant.classes[top])} {self.seen.probabilities[top]:.1%}"


def choose_second(everything: Sequence[Variant], first: Variant, place: DeltaGenerator) -> tuple[Variant, str]:
    """Let the visitor choose the second one, at first the next g at the same position.

    Args:
        everything: All networks.
        first: The first one.
        place: Where position and g are shown; backbone and picture are shown here.

    Returns:
        The network, and the title of a sample or that the picture is the same.
    """
    _take_old_address(everything)
    st.subheader("The second", help="Beside what is chosen above: another network, another picture, or both.")
    backbones = list(dict.fromkeys(backbone_label(v) for v in everything))
    missing = take_missing(f"{_NAME}net", backbones, str, backbone_label(first))
    backbone = st.selectbox(
        "Its backbone",
        backbones,
        index=backbones.index(backbone_label(first)),
        key=keep(f"{_NAME}net"),
        bind="query-params",
    )
    if missing:
        say_missing(f"There is no network “{missing}”; {backbone} is shown")
    pictures = [_SAME, *(s.title for s in list_samples())]
    with saying_missing(f"{_NAME}picture", pictures, "picture", _SAME):
        st.selectbox("Its picture", pictures, key=keep(f"{_NAME}picture"), bind="query-params")
    of_backbone = [v for v in everything if backbone_label(v) == backbone]
    beside = [v for v in of_backbone if v.placement and position_name(v) == position_name(first) and v is not first]
    near = min(beside, key=lambda v: (v.groups < first.groups, abs(v.groups - first.groups)), default=None)
    if gain_asked(_NAME) not in (None, first.gain):  # both gains of one network
        near = first
    with place:
        return choose_module(of_backbone, name=_NAME, near=near, horizontal=True), st.session_state[f"{_NAME}picture"]


def _take_old_address(everything: Sequence[Variant]) -> None:
    """Write an address that names the second network as today's do, before its controls read it."""
    named = next((v for v in everything if network_name(v) == st.query_params.get(_OLD)), None)
    st.query_params.pop(_OLD, None)
    if named:
        st.query_params[f"{_NAME}net"] = backbone_label(named)
        st.query_params[f"{_NAME}position"] = position_words(position_label(named))
        st.query_params[f"{_NAME}g"] = str(named.groups)
        run_again()  # Streamlit reads the address before the script can


def show_two(
    sides: Sequence[DeltaGenerator],
    first: tuple[Picture, ModelInput, Variant],
    second: tuple[Variant, str],
    device: DeviceChoice,
) -> None:
    """Show both on one scale below their choosers, one over the other, and their difference."""
    picture, crop, chosen = first
    other, title = second
    image = picture.image if title == _SAME else next(sample_image(s) for s in list_samples() if s.title == title)
    other_crop = (
        crop if title == _SAME and other.preprocessing == chosen.preprocessing else prepare(image, other.preprocessing)
    )
    engine = default_engine()
    try:
        futures = [
            engine.attend(c, v, device.device, visitor=visitor()) for c, v in ((crop, chosen), (other_crop, other))
        ]
        passes = [result_of(future) for future in futures]
    except CheckpointError as error:
        st.error(escape_markdown(str(error)))
        return
    both = (
        Side(picture.name, crop, chosen, passes[0]),
        Side(picture.name if title == _SAME else title, other_crop, other, passes[1]),
    )
    maps = {i: side.last for i, side in enumerate(both) if len(side.last)}
    if not maps:
        st.info("Neither network carries attention: choose a position for one of them.")
        return
    scaled = all_scales(maps, shared=True, gains={i: side.variant.gain for i, side in enumerate(both)})
    a, b = (measures.relative_attention(side.last) for side in both)
    differences = None
    if len(maps) == 2 and a.shape[1:] == b.shape[1:]:
        differences = b - a if len(a) == len(b) else (b.mean(0) - a.mean(0))[None]
    for i, (side, place) in enumerate(zip(both, sides, strict=True)):
        with place:
            _show_side(i, side, scaled.get(i), differences)
    if len(maps) == 2:
        _show_over(both, scaled)
        _show_difference(both, differences)


def _show_side(i: int, side: Side, scales: Mapping[str, Scaled] | None, differences: np.ndarray | None) -> None:
    if scales is None:
        picture = Tile(f"{i}.picture", "The picture", drawing=draw_picture(side.crop), role="picture", alt=side.picture)
        st.caption("The plain control carries no attention.")
        show_tiles([picture], columns=_COLUMNS, heading=side.heading, key=f"side-{i}")
        return
    marks: list[Box | None] = [None] * len(side.last)
    if differences is not None:
        marks = [_most(differences[k if len(differences) > 1 else 0]) for k in range(len(side.last))]
    show_tiles(
        [map_tile(scales, k, side.crop, id=f"{i}.{k}", mark=marks[k]) for k in range(len(side.last))],
        columns=_COLUMNS,
        heading=side.heading,
        help=f"{network_name(side.variant)}, {side.picture}. Both sides are on one colour scale."
        + (" A box marks where they differ most." if differences is not None else ""),
        legend=map_legend(scales),
        key=f"side-{i}",
    )


def _show_over(both: tuple[Side, Side], scaled: Mapping[int, Mapping[str, Scaled]]) -> None:
    """Draw each map of the second over the first one's, divided by a line that the visitor moves.

    Means where g differs.
    """
    first, second = both
    each = len(first.last) == len(second.last)
    if not each:
        gains = {i: side.variant.gain for i, side in enumerate(both)}
        scaled = all_scales(
            {i: side.last.mean(0, keepdims=True) for i, side in enumerate(both)}, shared=True, gains=gains
        )
    count = len(first.last) if each else 1
    names = [side.short for side in both] if first.short != second.short else [side.picture for side in both]
    if len({*names}) == 1:
        names = ["first", "second"]
    tiles = [
        map_tile(
            scaled[0],
            k,
            first.crop,
            id=f"over-{k}",
            name=f"Subspace {k + 1}" if each else "Mean of the subspaces",
            note="",
            alt="Two maps, one over the other",
            colour=subspace_colour(k, count) if each else "",
            over=draw_map(scaled[1], k, second.crop),
        )
        for k in range(count)
    ]
    show_tiles(
        tiles,
        columns=2 * _COLUMNS,
        heading="One over the other",
        swipe=(names[0], names[1]),
        legend=map_legend(scaled[0]),
        key="over",
    )


def _show_difference(both: tuple[Side, Side], differences: np.ndarray | None) -> None:
    """Show second less first, in multiples of uniform: each subspace where both have as many, their means otherwise."""
    first, second = both
    a, b = first.last, second.last
    if differences is None:
        st.caption(
            f"The maps lie on different grids ({a.shape[1]} × {a.shape[2]} and {b.shape[1]} × {b.shape[2]}): they have "
            "no difference."
        )
        return
    each = len(a) == len(b)
    limit = max(float(np.abs(differences).max()), 1e-9)
    show_tiles(
        [
            Tile(
                f"difference-{k}",
                f"Subspace {k + 1}" if each else "Mean of the subspaces",
                note=f"{d.min():+.1f} to {d.max():+.1f} × uniform",
                drawing=draw_attribution(d, limit, first.crop, signed=True),
                colour=subspace_colour(k, len(differences)) if each else "",
                mark=_most(d),
            )
            for k, d in enumerate(differences)
        ],
        columns=2 * _COLUMNS,
        heading="Second less first",
        help="In multiples of uniform; a box marks the largest difference. "
        + (
            "The same network: differences come from the picture alone."
            if first.variant is second.variant
            else "Subspace k of one network and of the other were trained apart: only the numbers of their channels "
            "are the same."
            if each
            else f"With {len(a)} and {len(b)} subspaces, only the means over subspaces can be compared."
        ),
        legend=signed_legend(f"the second attends less / more, up to {limit:.1f} times uniform"),
        key="difference",
    )


def _most(difference: np.ndarray) -> Box | None:
    """Return the place of the largest difference, (H, W), as a tile's mark; None where there is none."""
    if not difference.any():
        return None
    height, width = difference.shape
    row, column = np.unravel_index(int(np.abs(difference).argmax()), difference.shape)
    return float(row / height), float(column / width), 1 / height, 1 / width
