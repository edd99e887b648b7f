"""ULSAM beside other papers' modules in the same place: where each one's gain is large, in units that compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from ...analysis import measures
from ...engine.engine import DeviceChoice, default_engine
from ...evidence.experiments import module_title
from ...evidence.experiments import modules_to_compare as modules_to_compare
from ...figures.colours import Scaled
from ...images.preprocessing import ModelInput
from ...text.escaping import escape_markdown
from ...text.spreadsheets import escaped
from ...zoo.variants import CheckpointError, Variant, position_name
from ..run.interrupt import result_of
from ..run.scene import pretty
from ..run.session import visitor
from ..widgets.legends import map_legend
from ..widgets.tiles import map_tile, show_tiles

_ENDS = (0.5, 2.0)  # of the scale: half and twice the mean gain


def show_modules(compared: Sequence[Variant], crop: ModelInput, device: DeviceChoice) -> None:
    """Show each network's gain relative to its mean, all on one scale, and what the networks say."""
    engine = default_engine()
    futures = {v.key: engine.attend(crop, v, device.device, visitor=visitor()) for v in compared}
    st.caption(
        f"{compared[0].label}, one module {position_name(compared[0], gain=False)}. Gain relative to its mean: 1 is no "
        "preference.",
        help="What each module multiplies features by at a place, over the mean of all places; of channel gains the "
        "mean over channels. "
        "All maps are on one scale, from half to twice the mean. SE and ECA weigh channels alone: their maps would "
        "be flat. "
        "Costs, accuracy and effects of all modules are on the page Evidence.",
    )
    rows: list[dict[str, object]] = []
    for variant in compared:
        try:
            seen = result_of(futures[variant.key])
        except CheckpointError as error:
            st.warning(escape_markdown(str(error)))
            continue
        (maps,) = seen.maps.values()  # one module each
        scaled, title, top = relative_gain(maps, variant), module_title(variant), seen.top(1)[0]
        _show_row(
            variant,
            scaled,
            crop,
            heading=f"{title} · {pretty(variant.classes[top])} {seen.probabilities[top]:.1%}",
            first=not rows,
        )
        ratios = scaled.values
        rows.append(
            {
                "module": title,
                "says": escaped(pretty(variant.classes[top])),
                "probability": 100 * float(seen.probabilities[top]),
                "smallest": float(ratios.min()),
                "largest": float(ratios.max()),
                "spread": float(np.mean(ratios.std((1, 2)))),
            }
        )
    number = st.column_config.NumberColumn
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            "probability": number("its probability", format="%.1f %%"),
            "smallest": number("smallest gain / mean", format="%.3f"),
            "largest": number("largest gain / mean", format="%.3f"),
            "spread": number(
                "spread over places",
                format="%.3f",
                help="Standard deviation of gain / mean over the places, mean over the maps",
            ),
        },
    )


def relative_gain(maps: np.ndarray, variant: Variant) -> Scaled:
    """Return maps (g, H, W), each summing to 1, as gain over mean gain, which compares between modules.

    A map of another paper's module is its gain over the gain's sum, so H * W times it is the ratio already.
    """
    places = maps.shape[-2] * maps.shape[-1]
    low, high = _ENDS
    unit = "gain / mean gain"
    if variant.placement and variant.placement.module != "ulsam":
        return Scaled(maps, low, high, unit, factor=places, logarithmic=True, open_end=True)
    uniform = np.full_like(maps, 1 / places)
    mean = float(measures.gain_of(uniform, variant.gain).mean())
    offset = float(measures.gain_of(np.zeros_like(maps[:1]), variant.gain).mean())
    return Scaled(
        maps, low, high, unit, (mean - offset) * places / mean, offset / mean, logarithmic=True, open_end=True
    )


def _show_row(variant: Variant, scaled: Scaled, crop: ModelInput, *, heading: str, first: bool) -> None:
    scales: Mapping[str, Scaled] = {"": scaled}
    g = len(scaled.maps)
    tiles = [
        map_tile(
            scales,
            k,
            crop,
            id=f"{variant.name}-{k}",
            name=f"Subspace {k + 1}" if g > 1 else "The map",
            note=f"{scaled.values[k].min():.3f} to {scaled.values[k].max():.3f} × its mean",
            alt=f"Where the gain is large, {heading}",
            **({} if g > 1 else {"colour": ""}),
        )
        for k in range(g)
    ]
    show_tiles(
        tiles, width=190, heading=heading, legend=map_legend(scales) if first else None, key=f"module-{variant.name}"
    )
