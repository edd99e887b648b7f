"""What the answer owes to each subspace's features."""

from __future__ import annotations

import streamlit as st

from ....figures.colours import subspace_colour
from ....figures.drawing import draw_attribution
from ....figures.tiles import attribution_limit
from ....questions.view import through
from ....text.escaping import escape_markdown
from ...run.requests import answer, asked_of, subspace_names
from ...run.scene import Scene
from ...widgets.legends import signed_legend
from ...widgets.tiles import Tile, show_tiles


def show_through(scene: Scene, number: int) -> None:
    """Show gradient times activation behind a layer's module, by group."""
    name, work = through(asked_of(scene), number)
    result = answer(scene, name, "one gradient at the layer", work)
    if result is None:
        return
    limit = attribution_limit(result.maps)
    show_tiles(
        [
            Tile(
                f"through-{i}",
                name,
                note=f"{result.parts[i]:+.3f}",
                drawing=draw_attribution(result.maps[i], limit, scene.crop, signed=True),
                colour=subspace_colour(i, len(result.maps)),
            )
            for i, name in enumerate(subspace_names(scene, number))
        ],
        width=130,
        legend=signed_legend("lowers / raises the logit"),
        key="through",
    )
    st.caption(
        "Gradient × activation behind the module, summed over each group's channels, on one signed scale. The groups "
        f"sum to {result.parts.sum():+.4f}, all channels together to {result.total:+.4f}. It is about the group's "
        "features, not its attention, and only a first-order estimate of what "
        f"“{escape_markdown(scene.class_name(scene.target))}” owes to them: setting them to zero altogether can do "
        "otherwise, even with the other sign (“Effect if removed” measures that)."
    )
