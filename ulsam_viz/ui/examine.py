"""What a subspace does, asked of the chosen one: each answer is computed when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import numpy as np
import streamlit as st

from ..analysis import effects, faithfulness, measures
from ..analysis.attention import attend
from ..analysis.attribution import Attribution
from ..analysis.computations import baseline_of
from ..analysis.methods import METHODS
from ..analysis.sanity import CHECKS, sanity_checks
from ..analysis.sources import attribute_attention
from ..engine import Pause, default_engine
from ..figures import charts
from ..figures.colours import scale_maps, subspace_colour
from ..figures.tiles import attention_tile, attribution_limit, attribution_tile, block_means, data_uri
from ..images import prepare
from ..models.mobilenet import MobileNet
from ..samples import list_samples
from .pictures import sample_image
from .scene import Scene, map_note
from .session import visitor
from .tiles import Tile, show_tiles

T = TypeVar("T")
_PLOT = {"displayModeBar": False}
_NOTHING = "Nothing"


def show_examination(scene: Scene, attributions: Mapping[str, Attribution], number: int, k: int) -> None:
    """Offer the questions, and answer the chosen one for subspace k (from 0) of a layer."""
    questions: dict[str, Callable[[], None]] = {
        "Take it away": lambda: _take_away(scene, number, k),
        "Share of the effect": lambda: _shares(scene, number),
        "What makes it look there": lambda: _sources(scene, number, k),
        "Through it": lambda: _through(scene, number),
        "Do marked places matter": lambda: _faithful(scene, number, attributions),
        "Without what was learnt": lambda: _sanity(scene, number),
        "What if": lambda: _what_if(scene, number, k),
    }
    st.markdown(
        "**What attention does here**",
        help="Maps are vivid and their effect is small: the mean gain is 1 + 1/(H·W). Here it is measured, for this picture and target.",
    )
    chosen = st.segmented_control(
        "Question",
        [*questions, _NOTHING],
        default="Take it away",
        required=True,
        key="question",
        bind="query-params",
        label_visibility="collapsed",
    )
    if chosen in questions:
        questions[chosen]()


def _answer(scene: Scene, name: Hashable, text: str, work: Callable[[MobileNet, Pause], T]) -> T | None:
    """Compute something with the variant's network, saying meanwhile what and where in line; None if it failed."""
    engine = default_engine()
    future: Future[T] = engine.run(name, scene.crop, scene.variant, scene.device.device, work, visitor=visitor())
    st.session_state["started"] = [*st.session_state.get("started", ()), future]  # let go of when the visitor moves on
    place = st.empty()
    while not future.done():
        ahead = engine.ahead_of(future)
        place.caption(f":material/hourglass_empty: {text}" + (f" (in line: {ahead} before it)" if ahead else ""))
        wait([future], timeout=0.1)  # short: a visitor who moves on interrupts at the next call
    place.empty()
    if error := future.exception():
        st.error(f"That could not be computed: {error}")
        return None
    return future.result()


def _names(scene: Scene, number: int) -> list[str]:
    return [f"Subspace {i + 1}" for i in range(len(scene.attention.maps[number]))]


def _take_away(scene: Scene, number: int, k: int) -> None:
    other = next(s for s in list_samples() if s.path.stem not in (scene.picture.key, "blank"))
    crop = prepare(sample_image(other), scene.variant.preprocessing)
    results = _answer(
        scene,
        ("ablate", number, scene.target, crop.key),
        "changing each subspace's attention in every way",
        lambda model, pause: effects.ablate(
            model, scene.crop.tensor, layer=number, target=scene.target, other=crop.tensor, pause=pause
        ),
    )
    if not results:
        return
    g = len(scene.attention.maps[number])
    noise = next(e for e in results if (e.subspace, e.change) == (k, "shuffled"))
    level = abs(noise.logit) + 2 * (noise.deviation or 0)
    left, right = st.columns([1.2, 1], gap="large")
    with left:
        mine = [e for e in results if e.subspace == k and e.change not in ("features_off",)]
        mine.sort(key=lambda e: -abs(e.logit))
        st.plotly_chart(
            charts.diverging_bars(
                [effects.CHANGES[e.change] for e in mine],
                [e.logit for e in mine],
                spreads=[e.deviation for e in mine],
                colours=[subspace_colour(k, g)] * len(mine),
                noise=level,
                unit=f"change of the logit of “{scene.class_name(scene.target)}”",
            ),
            key="ablation",
            config=_PLOT,
            alt="; ".join(f"{effects.CHANGES[e.change]}: {e.logit:+.4f}" for e in mine),
        )
        st.caption(
            f"Subspace {k + 1}. The band is the level of noise: the same attention at shuffled places, mean ± 2 standard deviations over "
            f"{noise.ways} shuffles. A bar inside it does not depend on *where* the subspace looks."
        )
    with right:
        st.dataframe(
            [
                {
                    "subspace": "all" if e.subspace is None else str(e.subspace + 1),
                    "change": effects.CHANGES[e.change],
                    "Δ logit": e.logit,
                    "Δ probability": 100 * e.probability,
                    "top-1 flips": 100 * e.flips,
                    "KL (nats)": e.divergence,
                }
                for e in results
            ],
            hide_index=True,
            height=260,
            column_config={
                "Δ logit": st.column_config.NumberColumn(format="%+.4f"),
                "Δ probability": st.column_config.NumberColumn(format="%+.3f pt"),
                "top-1 flips": st.column_config.NumberColumn(format="%.0f %%"),
                "KL (nats)": st.column_config.NumberColumn(format="%.2e"),
            },
        )
        st.caption(
            f"“Taken from another picture” uses “{other.title}”. Setting a group's *features* to zero is another matter than its attention: "
            "it removes what the channels carry, and stands here for comparison."
        )


def _shares(scene: Scene, number: int) -> None:
    result = _answer(
        scene,
        ("shapley", number, scene.target),
        "the answer for every coalition of subspaces",
        lambda model, pause: effects.shapley(model, scene.crop.tensor, layer=number, target=scene.target, pause=pause),
    )
    if result is None:
        return
    g = len(result.values)
    order = np.argsort(-np.abs(result.values))
    names = _names(scene, number)
    st.plotly_chart(
        charts.diverging_bars(
            [names[i] for i in order],
            [float(result.values[i]) for i in order],
            spreads=[None if result.exact else float(result.errors[i]) for i in order],
            colours=[subspace_colour(int(i), g) for i in order],
            noise=None,
            unit=f"Shapley value, in logits of “{scene.class_name(scene.target)}”",
        ),
        key="shapley",
        config=_PLOT,
        alt="; ".join(f"{names[i]}: {result.values[i]:+.4f}" for i in order),
    )
    how = f"All {result.coalitions} coalitions were evaluated" if result.exact else "Sampled orders; lines are one standard error"
    st.caption(
        f"Each subspace's fair share of what the whole attention does. They sum to {result.values.sum():+.5f}; the logit with all attention "
        f"less the logit with none is {result.total:+.5f}. {how}."
    )


def _sources(scene: Scene, number: int, k: int) -> None:
    maps = scene.attention.maps[number]
    height, width = maps.shape[1:]
    peak_row, peak_column = np.unravel_index(int(maps[k].argmax()), (height, width))
    left, right = st.columns([1, 2], gap="large")
    with left:
        method = st.selectbox(
            "Method",
            list(METHODS),
            index=list(METHODS).index("saliency"),
            format_func=lambda m: METHODS[m].label,
            key="source-method",
        )
        at_peak = st.toggle("At its highest place", value=True, key="source-peak")
        row, column = int(peak_row), int(peak_column)
        if not at_peak:
            row = int(st.number_input("Row", 0, height - 1, min(row, height - 1), key="source-row"))
            column = int(st.number_input("Column", 0, width - 1, min(column, width - 1), key="source-column"))
    result = _answer(
        scene,
        ("source", number, k, method, row, column),
        f"{METHODS[method].label} of the attention",
        lambda model, pause: attribute_attention(
            model,
            scene.crop.tensor,
            layer=number,
            subspace=k,
            method=method,
            preprocessing=scene.variant.preprocessing,
            place=(row, column),
            pause=pause,
        ),
    )
    if result is None:
        return
    with right:
        limit = attribution_limit(result.values)
        pixels = attribution_tile(scene.crop.pixels, result.values, limit, scene.view.display, signed=result.signed)
        show_tiles(
            [
                Tile(
                    "source",
                    METHODS[method].label,
                    note="signed" if result.signed else "magnitude",
                    source=data_uri(pixels),
                    values=block_means(result.values, len(result.values) // 4),
                )
            ],
            width=260,
            key="source",
        )
        st.caption(
            f"Which pixels make subspace {k + 1} attend to row {row}, column {column}, where it is {maps[k][row, column] * height * width:.2f} "
            "times uniform. No class is asked for here. Pixels far away can matter: the softmax compares all places."
        )


def _through(scene: Scene, number: int) -> None:
    result = _answer(
        scene,
        ("through", number, scene.target),
        "one gradient at the layer",
        lambda model, _: effects.through_subspaces(model, scene.crop.tensor, layer=number, target=scene.target),
    )
    if result is None:
        return
    limit = attribution_limit(result.maps)
    show_tiles(
        [
            Tile(
                f"through-{i}",
                name,
                note=f"{result.parts[i]:+.3f}",
                source=data_uri(
                    attribution_tile(
                        scene.crop.pixels,
                        faithfulness.to_side(result.maps[i], scene.variant.input_size),
                        limit,
                        scene.view.display,
                        signed=True,
                    )
                ),
                values=result.maps[i],
                colour=subspace_colour(i, len(result.maps)),
            )
            for i, name in enumerate(_names(scene, number))
        ],
        width=130,
        key="through",
    )
    st.caption(
        f"Gradient × activation behind the module, summed over each group's channels, on one signed scale. The groups sum to "
        f"{result.parts.sum():+.4f}, all channels together to {result.total:+.4f}. To first order, it is what the logit of "
        f"“{scene.class_name(scene.target)}” owes to the group's features, not to its attention."
    )


def _faithful(scene: Scene, number: int, attributions: Mapping[str, Attribution]) -> None:
    side = scene.variant.input_size
    left, right = st.columns(2)
    rows = left.slider("Box around the subject: rows", 0, side, (side // 5, side - side // 5), key="box-rows", bind="query-params")
    columns = right.slider("columns", 0, side, (side // 5, side - side // 5), key="box-columns", bind="query-params")
    box = faithfulness.Box(rows[0], columns[0], max(rows[1], rows[0] + 1), max(columns[1], columns[0] + 1))
    attention = scene.attention.maps[number]
    maps = {name: attention[i] for i, name in enumerate(_names(scene, number))}
    if len(attention) > 1:
        maps["mean of the subspaces"] = attention.mean(0)
    maps |= {METHODS[name].label: a.values for name, a in attributions.items()}
    settings = tuple(sorted((n, tuple(sorted(scene.methods[n].items()))) for n in attributions))
    x, pre = scene.crop.tensor, scene.variant.preprocessing
    scores = _answer(
        scene,
        ("faithful", number, scene.target, settings),
        f"inserting and deleting pixels for {len(maps) + len(faithfulness.BASELINES)} maps",
        lambda model, pause: faithfulness.measure(
            model,
            x,
            maps,
            target=scene.target,
            blank=baseline_of(x, "grey", pre),
            blurred=baseline_of(x, "blurred", pre),
            pause=pause,
        ),
    )
    if scores is None:
        return
    reference = next(iter(attributions.values()), None)
    table = []
    for name, score in scores.items():
        values = maps.get(name)
        if values is None:
            values = faithfulness.baseline_maps(side)[name]
        hit, inside = faithfulness.pointing(faithfulness.to_side(values, side), box)
        row: dict[str, Any] = {
            "map": name if name in maps else f"{name} (knows nothing)",
            "insertion": score.insertion,
            "deletion": score.deletion,
            "points into the box": hit,
            "mass in the box": 100 * inside,
            "passes": score.passes,
        }
        if reference is not None:
            coarse = block_means(reference.values, attention.shape[-1])
            own = block_means(faithfulness.to_side(values, side), attention.shape[-1])
            row["Spearman"] = measures.agreement(own, coarse).correlation
            row["top 20 % shared"] = 100 * faithfulness.overlap(own, coarse)
        table.append(row)
    label = METHODS[next(iter(attributions))].label if attributions else ""
    st.dataframe(
        table,
        hide_index=True,
        placeholder="",
        column_config={
            "insertion": st.column_config.NumberColumn(format="%.3f", help="Area under the curve: more is better."),
            "deletion": st.column_config.NumberColumn(format="%.3f", help="Area under the curve: less is better."),
            "mass in the box": st.column_config.NumberColumn(format="%.0f %%"),
            "Spearman": st.column_config.NumberColumn(format="%+.2f", help=f"Rank correlation with {label}, on the map's grid."),
            "top 20 % shared": st.column_config.NumberColumn(format="%.0f %%", help=f"With {label}; 20 % by chance."),
        },
    )
    share = (box.bottom - box.top) * (box.right - box.left) / side**2
    st.caption(
        f"Compare each map with the three that know nothing of the network. By area the box holds {share:.0%} of the picture. "
        f"Attention was not trained to explain: a low score is no fault of it. {sum(s.passes for s in scores.values())} passes of one picture."
    )


def _sanity(scene: Scene, number: int) -> None:
    checks = _answer(
        scene,
        ("sanity", number),
        "the maps with weights and groups shuffled",
        lambda model, _: sanity_checks(model, scene.crop.tensor, layer=number),
    )
    if checks is None:
        return
    g = len(scene.attention.maps[number])
    for check in checks:
        above = sum(a.above_chance for a in check.agreements)
        st.markdown(f"With {CHECKS[check.check]}: {above} of {g} maps still agree with the real ones beyond chance.")
        scaled = scale_maps({number: check.maps}, scene.view.scale)[number]
        show_tiles(
            [
                Tile(
                    f"{check.check}-{i}",
                    f"Subspace {i + 1}",
                    note=map_note(check.maps[i]) + _agreement_note(check.agreements[i]),
                    source=data_uri(attention_tile(scene.crop.pixels, scaled.fractions[i], scene.view.display)),
                    values=scaled.values[i],
                    colour=subspace_colour(i, g),
                )
                for i in range(g)
            ],
            width=124,
            key=f"sanity-{check.check}",
        )
    st.caption(
        "A map that stays when the weights go shows the picture, not what was learnt (Adebayo et al. 2018). ρ: Spearman's rank correlation "
        "with the real map of that number. Dealing channels to groups at random keeps every weight: what remains is what groups share."
    )


def _agreement_note(found: measures.Agreement) -> str:
    return "" if np.isnan(found.correlation) else f"; ρ {found.correlation:+.2f} (chance ±{found.chance:.2f})"


def _what_if(scene: Scene, number: int, k: int) -> None:
    side = scene.variant.input_size
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("Cover a part of the picture")
        rows = st.slider("Rows", 0, side, (side // 3, 2 * side // 3), key="cover-rows", bind="query-params")
        columns = st.slider("Columns", 0, side, (side // 3, 2 * side // 3), key="cover-columns", bind="query-params")
        _covered(scene, number, rows, columns)
    with right:
        st.markdown(f"Turn subspace {k + 1}'s attention up or down")
        strength = st.slider(
            "Strength s of the gain 1 + s · A",
            0.0,
            40.0,
            10.0,
            0.5,
            key="strength",
            bind="query-params",
            help="1 is the network as trained.",
        )
        logits = _answer(
            scene,
            ("strength", number, k, strength),
            "the rest of the network",
            lambda model, _: effects.with_strength(model, scene.crop.tensor, layer=number, subspace=k, strengths=[1.0, strength]),
        )
        if logits is not None:
            _answers_compared(scene, logits[0], logits[1], f"s = {strength:g}")


def _covered(scene: Scene, number: int, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    tensor = scene.crop.tensor.clone()
    tensor[:, :, rows[0] : rows[1], columns[0] : columns[1]] = 0
    pixels = scene.crop.pixels.copy()
    pixels[rows[0] : rows[1], columns[0] : columns[1]] = 118
    seen = _answer(scene, ("covered", rows, columns), "a pass of the covered picture", lambda model, _: attend(model, tensor))
    if seen is None:
        return
    both = scale_maps({number: np.concatenate([scene.attention.maps[number], seen.maps[number]])}, scene.view.scale)[number]
    g = len(seen.maps[number])
    show_tiles(
        [
            Tile(
                f"covered-{i}",
                f"Subspace {i + 1}",
                note=map_note(seen.maps[number][i]),
                source=data_uri(attention_tile(pixels, both.fractions[g + i], scene.view.display)),
                values=both.values[g + i],
                colour=subspace_colour(i, g),
            )
            for i in range(g)
        ],
        width=124,
        key="covered",
    )
    _answers_compared(scene, scene.attention.logits, seen.logits, "covered")


def _answers_compared(scene: Scene, before: np.ndarray, after: np.ndarray, name: str) -> None:
    probabilities = [np.exp(v - v.max()) / np.exp(v - v.max()).sum() for v in (before.astype(np.float64), after.astype(np.float64))]
    numbers = list(dict.fromkeys([scene.target, *np.argsort(-probabilities[0])[:3], *np.argsort(-probabilities[1])[:3]]))
    st.dataframe(
        [
            {
                "class": scene.class_name(int(n)) + (" (target)" if n == scene.target else ""),
                "as trained": 100 * probabilities[0][n],
                name: 100 * probabilities[1][n],
                "Δ logit": float(after[n] - before[n]),
            }
            for n in numbers
        ],
        hide_index=True,
        column_config={
            "as trained": st.column_config.NumberColumn(format="%.1f %%"),
            name: st.column_config.NumberColumn(format="%.1f %%"),
            "Δ logit": st.column_config.NumberColumn(format="%+.3f"),
        },
    )
