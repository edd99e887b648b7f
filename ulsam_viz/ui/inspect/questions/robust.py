"""Infidelity and max-sensitivity on the page: what they cost, what they found, and what was left out as too costly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import streamlit as st
import torch
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from ....analysis import faithfulness, robustness
from ....analysis.attention import attend
from ....analysis.attribution import Attribution, attribute
from ....analysis.computations import baseline_of
from ....analysis.methods import METHODS
from ....analysis.robustness import Infidelity
from ....engine.engine import Pause
from ....models.network import Network
from ....questions.describe import baseline_label
from ...run.requests import answer
from ...run.scene import Scene
from ...run.state import keep

_SQUARES, _SAMPLES = 128, 8
_LIMITS = {"50 passes": 50, "300 passes": 300, "any number": 10**9}


def settings_of(scene: Scene, method: str) -> tuple[tuple[str, Any], ...]:
    """Return a method's settings as part of a question's name."""
    return tuple(sorted(scene.methods[method].items()))


def show_robustness(
    scene: Scene, number: int, attributions: Mapping[str, Attribution], maps: Mapping[str, np.ndarray]
) -> None:
    """Measure maps, by name, by Captum's two metrics.

    ``attributions`` are those among them that can be computed again.
    """
    limit = st.segmented_control(
        "Max-sensitivity of methods that cost up to",
        list(_LIMITS),
        default="50 passes",
        required=True,
        key=keep("robust-limit"),
        bind="query-params",
        help=f"It computes a map anew for each of {_SAMPLES} noisy pictures, and once for the picture itself.",
    )
    # What is read off a finished pass (0) needs one for each noisy picture.
    costs = {name: (_SAMPLES + 1) * max(own.passes, 1) for name, own in attributions.items()}
    affordable = [name for name in sorted(costs, key=costs.__getitem__) if costs[name] <= _LIMITS[limit or "50 passes"]]
    found = _infidelities(scene, number, attributions, maps)
    if found is None:
        return
    place, waiting = st.empty(), st.container()
    left_out = (f"{METHODS[name].label} ({costs[name]} passes)" for name in costs if name not in affordable)
    _explain(left_out, scene.variant.preprocessing.in_grey_levels(robustness.RADIUS))
    sensitivities = dict.fromkeys(faithfulness.BASELINES, 0.0)  # they do not look at the picture
    passes = dict.fromkeys(faithfulness.BASELINES, 0)
    with waiting:
        _show_table(place, found, sensitivities, passes)
        own = _of_attention(scene, number, list(maps))
        sensitivities |= own or {}
        passes |= dict.fromkeys(own or {}, _SAMPLES + 1)
        _show_table(place, found, sensitivities, passes)
        for name in affordable if own else ():
            values = _of_method(scene, name, costs[name])
            if values is None:  # stopped: then nothing else is begun
                break
            sensitivities[METHODS[name].label], passes[METHODS[name].label] = values[0], costs[name]
            _show_table(place, found, sensitivities, passes)


def _explain(left_out: Iterable[str], levels: float) -> None:
    """Say what the two measures are, and which methods are left out as too costly."""
    st.caption(
        f"**Infidelity**: for {_SQUARES} squares covered with grey, how far the map's sum over the square is from the "
        "fall of the logit: mean square, as a share of the mean squared fall, ± one standard error over the squares. "
        "Maps have no common unit, so each is first given the positive factor that suits it best: only its shape "
        "counts. Large squares matter more whatever is in them, so even the uniform map foretells something. It cost "
        f"{_SQUARES + 1} passes for all maps together."
    )
    text = (
        f"**Max-sensitivity**: the map's largest relative change in {_SAMPLES} draws of invisible noise (at most "
        f"{robustness.RADIUS} in normalised units, {levels:.2g} of 255 grey levels). Less is steadier, not truer: "
        "baselines that ignore the network never change."
    )
    if names := ", ".join(left_out):
        text += f" Left out, as they cost more: {names}."
    st.caption(text)


def _infidelities(
    scene: Scene, number: int, attributions: Mapping[str, Attribution], maps: Mapping[str, np.ndarray]
) -> dict[str, Infidelity] | None:
    x = scene.crop.tensor
    return answer(
        scene,
        ("infidelity", number, scene.target, tuple(sorted((n, settings_of(scene, n)) for n in attributions))),
        f"the answer for {_SQUARES} covered squares",
        lambda model, pause: robustness.infidelities(
            model,
            x,
            {**maps, **faithfulness.baseline_maps(scene.variant.input_size)},
            target=scene.target,
            blank=baseline_of(x, "grey", scene.variant.preprocessing),
            squares=_SQUARES,
            pause=pause,
        ),
        passes=_SQUARES + 1,
    )


def _of_attention(scene: Scene, number: int, names: list[str]) -> dict[str, float] | None:
    """Measure all subspaces' maps, and their mean where there are several, by the same passes; by name."""

    def explain(model: Network, picture: Tensor) -> Tensor:
        maps = torch.tensor(attend(model, picture).maps[number])
        return torch.cat((maps, maps.mean(0, keepdim=True))) if len(maps) > 1 else maps

    def work(model: Network, pause: Pause) -> dict[str, float]:
        def explain_one(picture: Tensor) -> Tensor:
            pause(1)
            return explain(model, picture)

        found = robustness.max_sensitivity(explain_one, scene.crop.tensor, samples=_SAMPLES)
        return dict(zip(names, found, strict=False))  # after these come the attributions

    return answer(
        scene, ("sensitivity", number, None, None, ()), "the maps for noisy pictures", work, passes=_SAMPLES + 1
    )


def _of_method(scene: Scene, method: str, cost: int) -> tuple[float, ...] | None:
    def explain(model: Network, picture: Tensor) -> Tensor:
        result = attribute(
            model,
            picture,
            method=method,
            target=scene.target,
            preprocessing=scene.variant.preprocessing,
            settings=scene.methods[method],
        )
        return torch.tensor(result.values)[None]

    return answer(
        scene,
        ("sensitivity", None, method, scene.target, settings_of(scene, method)),
        f"{METHODS[method].label} for noisy pictures",
        lambda model, pause: robustness.max_sensitivity(
            lambda p: explain(model, p), scene.crop.tensor, samples=_SAMPLES, pause=pause
        ),
        passes=cost,
    )


def _show_table(
    place: DeltaGenerator,
    found: Mapping[str, Infidelity],
    sensitivities: Mapping[str, float],
    passes: Mapping[str, int],
) -> None:
    place.dataframe(
        [
            {
                "map": baseline_label(name) if name in faithfulness.BASELINES else name,
                "infidelity": 100 * score.share,
                "±": 100 * score.error,
                "max-sensitivity": sensitivities.get(name),
                "in squared logits": score.value,
                "its passes": passes.get(name),
            }
            for name, score in found.items()
        ],
        hide_index=True,
        placeholder="",
        height="content",  # the baselines stand last, and must be seen
        column_config={
            "infidelity": st.column_config.NumberColumn(
                format="%.0f %%", help="Less is better: 0 % foretells all that covering does, 100 % nothing."
            ),
            "±": st.column_config.NumberColumn(format="%.0f", help="Standard error of the infidelity, in points."),
            "in squared logits": st.column_config.NumberColumn(
                format="%.4f", help="The infidelity as Captum gives it."
            ),
            "max-sensitivity": st.column_config.NumberColumn(
                format="%.3f", help="Norm of the largest change, divided by the norm of the map: less is steadier."
            ),
            "its passes": st.column_config.NumberColumn(help="For max-sensitivity; the attention maps share theirs."),
        },
    )
