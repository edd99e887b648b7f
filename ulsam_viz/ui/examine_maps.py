"""What stands behind a map: its sources, its faithfulness, its sanity, and what happens if something is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from ..analysis import effects, faithfulness, measures
from ..analysis.attention import attend
from ..analysis.attribution import Attribution
from ..analysis.computations import baseline_of
from ..analysis.methods import METHODS
from ..analysis.sanity import CHECKS, sanity_checks
from ..analysis.sources import attribute_attention
from ..figures.colours import scale_maps, subspace_colour
from ..figures.tiles import attention_tile, attribution_limit, attribution_tile, block_means, data_uri
from .asking import answer, subspace_names
from .scene import Scene, map_note
from .tiles import Tile, show_tiles


def show_sources(scene: Scene, number: int, k: int) -> None:
    """Ask which pixels make subspace k of a layer attend where it does."""
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
    result = answer(
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


def show_faithfulness(scene: Scene, number: int, attributions: Mapping[str, Attribution]) -> None:
    """Ask whether the places that maps mark matter for the answer, beside baselines."""
    side = scene.variant.input_size
    left, right = st.columns(2)
    rows = left.slider("Box around the subject: rows", 0, side, (side // 5, side - side // 5), key="box-rows", bind="query-params")
    columns = right.slider("columns", 0, side, (side // 5, side - side // 5), key="box-columns", bind="query-params")
    box = faithfulness.Box(rows[0], columns[0], max(rows[1], rows[0] + 1), max(columns[1], columns[0] + 1))
    attention = scene.attention.maps[number]
    maps = {name: attention[i] for i, name in enumerate(subspace_names(scene, number))}
    if len(attention) > 1:
        maps["mean of the subspaces"] = attention.mean(0)
    maps |= {METHODS[name].label: a.values for name, a in attributions.items()}
    settings = tuple(sorted((n, tuple(sorted(scene.methods[n].items()))) for n in attributions))
    x, pre = scene.crop.tensor, scene.variant.preprocessing
    scores = answer(
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


def show_sanity(scene: Scene, number: int) -> None:
    """Show a layer's maps with weights or groups shuffled."""
    checks = answer(
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


def show_what_if(scene: Scene, number: int, k: int) -> None:
    """Let the visitor cover a part of the picture, and turn one map up or down."""
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
        logits = answer(
            scene,
            ("strength", number, k, strength),
            "the rest of the network",
            lambda model, _: effects.with_strength(model, scene.crop.tensor, layer=number, subspace=k, strengths=[1.0, strength]),
        )
        if logits is not None:
            answers_compared(scene, logits[0], logits[1], f"s = {strength:g}")


def _covered(scene: Scene, number: int, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    tensor = scene.crop.tensor.clone()
    tensor[:, :, rows[0] : rows[1], columns[0] : columns[1]] = 0
    pixels = scene.crop.pixels.copy()
    pixels[rows[0] : rows[1], columns[0] : columns[1]] = 118
    seen = answer(scene, ("covered", rows, columns), "a pass of the covered picture", lambda model, _: attend(model, tensor))
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
    answers_compared(scene, scene.attention.logits, seen.logits, "covered")


def answers_compared(scene: Scene, before: np.ndarray, after: np.ndarray, name: str) -> None:
    """Set two answers (logits) beside each other, for the target and the most probable classes."""
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
