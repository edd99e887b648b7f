"""The lesson's running example.

One subspace, one channel and one position of the visitor's picture, with their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from ...analysis.derivation import Derivation, derive
from ...analysis.stages import Stage, Stages, run_stages
from ...engine.engine import Pause, default_engine
from ...engine.scheduling import Kind
from ...figures.colours import subspace_colour
from ...figures.drawing import draw_picture, draw_values
from ...figures.tiles import value_range
from ...lesson.steps import Facts
from ...models.network import Network
from ...zoo.variants import Variant, list_variants, load_network, position_name
from ..choose.place import choose_subspace
from ..run.interrupt import result_of
from ..run.scene import Scene, facts, network_name
from ..run.session import visitor
from ..run.state import keep
from ..widgets.tiles import Tile

#: Short names of the stages, for the strip and for headings.
STAGE_NAMES: dict[Stage, str] = {
    "features": "Input",
    "depthwise": "DW",
    "normed": "BN",
    "rectified": "ReLU",
    "pooled": "Max-pool",
    "pointwise": "PW",
    "pointwise_normed": "BN, map",
    "logits": "ReLU, map",
    "attention": "Softmax",
    "gain": "Gain",
    "output": "Output",
}


@dataclass(frozen=True)
class Walk:
    """One way through the module.

    Attributes:
        scene: Picture, network, target.
        stages: Every tensor of the layer's module.
        layer: Its number.
        derivation: The arithmetic at the place that is followed.
    """

    scene: Scene
    stages: Stages
    layer: int
    derivation: Derivation

    @property
    def k(self) -> int:
        """The subspace, from 0."""
        return self.derivation.subspace

    @property
    def hue(self) -> str:
        """The subspace's colour."""
        return subspace_colour(self.k, self.stages.groups)

    @property
    def facts(self) -> Facts:
        """What the sentences say."""
        s, d = self.stages, self.derivation
        cost, _ = facts(self.scene.variant.key, self.scene.variant)
        m, height, width = s.features.shape
        return Facts(
            picture=self.scene.picture.name,
            network=network_name(self.scene.variant),
            layer=self.layer,
            m=m,
            g=s.groups,
            size=s.group_size,
            h=height,
            w=width,
            k=self.k + 1,
            channel=d.channel,
            row=d.row,
            column=d.column,
            target=self.scene.class_name(self.scene.target),
            params=cost.params / 1e6,
            macs=cost.macs / 1e6,
            normalised=self.scene.variant.gain == "normalised",
        )

    def picture(self) -> Tile:
        """Draw the picture, with the place marked; a click on it follows another place."""
        return Tile(
            "picture",
            "Picture",
            drawing=draw_picture(self.scene.crop),
            role="picture",
            ask="place",
            mark=self.mark(),
            grid=self.grid,
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the layer."""
        height, width = self.stages.attention.shape[1:]
        return height, width

    def tile(
        self, stage: Stage, *, name: str = "", pick: bool = False, window: bool = False, alike: Stage | None = None
    ) -> Tile:
        """Draw a stage's map of the followed channel or subspace, with the place marked.

        Args:
            stage: Which.
            name: Heading; or the stage's own.
            pick: A click follows another place.
            window: The max-pool's window is marked, and framed under the pointer, in place of one cell.
            alike: Another stage that shares the scale of colours.
        """
        values = self._values(stage)
        low, high = value_range(np.stack([values, self._values(alike)]) if alike else values)
        return Tile(
            id=stage,
            name=name or STAGE_NAMES[stage],
            note=f"{'one scale,' if alike else 'colours'} from {low:.4g} to {high:.4g}",
            drawing=draw_values(values, (low, high)),
            colour=self.hue,
            ask="place" if pick else "",
            mark=self.mark(window=window),
            reach=int(window),
        )

    def _values(self, stage: Stage) -> np.ndarray:
        return self.stages.map_of(stage, self.k, self.derivation.channel)

    def mark(self, *, window: bool = False) -> tuple[float, float, float, float]:
        """Return the followed position, or the max-pool's window there, in fractions of the picture."""
        d, (height, width) = self.derivation, self.stages.attention.shape[1:]
        if not window:
            return d.row / height, d.column / width, 1 / height, 1 / width
        rows, columns = d.window.shape
        return d.window_at[0] / height, d.window_at[1] / width, rows / height, columns / width


def at_same_position(variant: Variant) -> list[Variant]:
    """Return the trained networks that differ from this one in g alone, itself among them."""
    return [
        v
        for v in list_variants()
        if v.placement and (v.family, position_name(v)) == (variant.family, position_name(variant))
    ]


def choose_walk(scene: Scene) -> Walk:
    """Show what is followed, and compute it."""
    with st.expander("Follow another subspace, channel or place", icon=":material/my_location:"):
        st.caption(
            "Or click a place of a map in a step; on a map, the arrow keys move and Enter chooses. Subspaces are "
            "counted from 1; channels, rows and columns from 0."
        )
        left, *others = st.columns([1.6, 1, 1, 1])
        with left:
            layer, k = choose_subspace(scene)
        stages = _stages(scene, layer)
        attention = stages.attention[k]
        row, column = (int(i) for i in np.unravel_index(int(attention.argmax()), attention.shape))
        with others[1]:
            row = _bounded("Row", 0, attention.shape[0] - 1, row, key="row")
        with others[2]:
            column = _bounded("Column", 0, attention.shape[1] - 1, column, key="column")
        first, size = k * stages.group_size, stages.group_size
        strongest = derive(stages, subspace=k, channel=first, row=row, column=column).terms[0].channel
        with others[0]:
            channel = _bounded("Channel", first, first + size - 1, strongest, key="channel")
    return Walk(scene, stages, layer, derive(stages, subspace=k, channel=channel, row=row, column=column))


def _stages(scene: Scene, layer: int) -> Stages:
    def work(model: Network, _: Pause) -> Stages:
        # The module in training form: in the network that answers, its BatchNorms are folded away.
        module = load_network(scene.variant).attention_of(layer)
        return run_stages(module, model.before_attention(scene.crop.tensor.to(model.device), layer))

    engine = default_engine()
    future = engine.run(
        ("stages", layer), scene.crop, scene.variant, scene.device.device, work, kind=Kind.SHORT, visitor=visitor()
    )
    return result_of(future)


_MOST_DIGITS = 9


def _bounded(label: str, low: int, high: int, default: int, *, key: str) -> int:
    """Show a number that another network or subspace may have put out of reach: then the default takes its place."""
    wish = st.session_state.get(key, st.query_params.get(key, ""))
    value = int(wish) if str(wish).isdecimal() and len(str(wish)) < _MOST_DIGITS else default
    st.session_state[key] = value if low <= value <= high else default
    if low == high:
        st.number_input(label, value=low, disabled=True)
        return low
    fits = len(st.query_params.get(key, "")) < _MOST_DIGITS  # Streamlit stumbles over a number that is no float
    return int(st.number_input(label, low, high, default, key=keep(key), bind="query-params" if fits else None))


def row_of(tiles: Sequence[Tile]) -> int:
    """Return how many tiles share a row: with few of them they stay large, with many small."""
    return min(max(len(tiles), 4), 6)


def take_place(key: str) -> None:
    """Take a click on a place over into the controls that the address knows."""
    picked = getattr(st.session_state.get(key), "picked", None)
    if picked:
        st.session_state["row"], st.session_state["column"] = int(picked["row"]), int(picked["column"])
