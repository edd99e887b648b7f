"""Experiments on the trained network: the module's parts switched off or replaced, and what the network then says."""

from __future__ import annotations

import numpy as np
import streamlit as st

from ...analysis.stages import Experiment, Switches, experiment
from ...figures.colours import Scaled
from ...models.network import Network
from ...zoo.variants import load_network
from ..choose.place import selection
from ..inspect.questions.what_if import answers_compared
from ..run.requests import answer
from ..run.scene import Scene
from ..widgets.legends import map_legend
from ..widgets.tiles import map_tile, show_tiles
from .sandbox import choose_switches


def show_experiments(scene: Scene) -> None:
    """Draw the switches, the maps before and after, and the network's answer."""
    st.markdown("#### Experiments on the trained network")
    if not scene.attention.maps:
        st.info("The plain control carries no module to change: choose a position in the sidebar.")
        return
    layers = list(scene.attention.maps)
    layer = selection(scene)[0]
    if len(layers) > 1:
        layer = st.segmented_control("Layer", layers, default=layer, required=True, key="experiment-layer") or layer
    st.caption(
        f"The module of layer {layer} is changed and the rest of the network runs as trained. It has never seen such a "
        "module: what you see is what it had learnt to rely on, not how a network trained this way would do."
    )
    switches = choose_switches("try")
    found = answer(
        scene,
        ("experiment", layer, switches),
        "the changed network",
        lambda model, _: _run(model, scene, layer, switches),
    )
    if found is None:
        return
    if switches == Switches():
        st.caption("Nothing is changed yet: move a switch, the temperature or the strength, and compare the rows.")
    before = 1 + scene.attention.maps[layer]
    both = np.stack([before, found.stages.gain])
    for title, name, values in (("As trained", "before", before), ("Changed", "after", found.stages.gain)):
        scales = {"": Scaled(values, float(both.min()), float(both.max()), "gain")}
        st.markdown(f"**{title}**")
        show_tiles(
            [
                map_tile(
                    scales,
                    k,
                    scene.crop,
                    id=f"{name}-{k}",
                    alt="",
                    note=f"gain {values[k].min():.4g} to {values[k].max():.4g}",
                )
                for k in range(len(values))
            ],
            width=124,
            legend=map_legend(scales),
            key=f"experiment-{name}",
        )
    st.caption("Gains, on one linear scale for both rows.")
    answers_compared(scene, found.logits, found.changed, "changed")


def _run(model: Network, scene: Scene, layer: int, switches: Switches) -> Experiment:
    module = load_network(scene.variant).attention_of(layer)
    return experiment(model, module, scene.crop.tensor, layer=layer, switches=switches)
