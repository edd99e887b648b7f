"""The tables of the page "Evidence": whole, sortable, the chosen network marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from ...analysis.interventions import INTERVENTIONS
from ...evidence import paper
from ...evidence.statistics import what_attention_does
from ...models.ulsam import GAINS
from ...paths import program
from ...text.escaping import escape_markdown, markdown_code
from ...zoo.test_sets import set_called
from ...zoo.variants import Variant, pictures_of, position_name


def show_table(rows: Sequence[Mapping[str, Any]], formats: Mapping[str, str]) -> None:
    """Show all rows at once, numbers as numbers, so that each column sorts.

    Args:
        rows: By column; a column "shown" holds the mark of the chosen network.
        formats: Of the columns of numbers: printf, or "localized".
    """
    columns = {name: st.column_config.NumberColumn(format=form) for name, form in formats.items()}
    st.dataframe(
        list(rows),
        hide_index=True,
        placeholder="",
        height="content",
        row_height=30,
        column_config={"shown": st.column_config.TextColumn("", help="The network that the sidebar names")} | columns,
    )


def place(variant: Variant, chosen: Variant) -> dict[str, Any]:
    """Return the columns that every table of networks begins with; the control has no g."""
    return {
        "shown": "◀ shown" if variant is chosen else "",
        "position": position_name(variant),
        "g": variant.groups or None,
    }


def show_effects(variants: Sequence[Variant], chosen: Variant) -> None:
    """Show what attention does to answers, where that was measured."""
    of_gains = [what_attention_does([v for v in variants if v.gain == gain]) for gain in GAINS]
    if not any(of_gains):
        st.caption(f"Not measured for {chosen.label}.")
        return
    st.markdown(
        "  \n".join(filter(None, of_gains)),
        help=f"Over {escape_markdown(chosen.measured_on)}, all modules of a network at once. "
        f"{escape_markdown(chosen.about_pictures)} Uniform and shuffled maps keep the mean gain (1 + 1/(H·W); "
        "normalised: 1), and take "
        "away only where it is; without attention that gain goes too.",
    )
    flips, moves = (
        {name: f"{what}, {name}" for name in INTERVENTIONS} for what in ("other answers", "true class moves")
    )
    rows = [
        place(v, chosen)
        | {flips[name]: v.metrics["effects"][name]["flips"] for name in INTERVENTIONS}
        | {moves[name]: v.metrics["effects"][name]["probability"] for name in INTERVENTIONS}
        for v in variants
        if "effects" in v.metrics
    ]
    show_table(rows, dict.fromkeys(flips.values(), "%.1f %%") | dict.fromkeys(moves.values(), "%.2f pt"))
    st.caption(
        "Other answers: share of the pictures with another most probable class. True class moves: mean absolute "
        f"change of its probability. {command(chosen)}"
    )


def show_maps(variants: Sequence[Variant], chosen: Variant) -> None:
    """Show what the maps of each layer are like."""
    rows = []
    for variant in variants:
        for layer, figures in variant.metrics.get("attention", {}).items():
            dead, area, peak = (sorted(figures[key]) for key in ("dead_share", "effective_area", "peak"))
            rows.append(
                place(variant, chosen)
                | {
                    "layer": int(layer),
                    "dead, median": 100 * dead[len(dead) // 2],
                    "dead, largest": 100 * dead[-1],
                    "area": sum(area) / len(area),
                    "area, smallest": area[0],
                    "peak": sum(peak) / len(peak),
                    "peak, largest": peak[-1],
                    "redundancy": figures["redundancy"],
                }
            )
    formats = {"dead": "%.1f %%", "area": "%.2f", "peak": "%.1f ×", "redundancy": "%+.2f"}
    columns = list(rows[0])[4:] if rows else []
    show_table(rows, {column: formats[column.partition(",")[0]] for column in columns})
    st.caption(
        f"Over {escape_markdown(chosen.measured_on)}. Dead: exactly uniform, share of the pictures. Area: exp(entropy) "
        "/ (H·W), 1 is uniform. Peak: multiples of uniform, H·W at most: compare within one grid. Redundancy: mean "
        f"correlation of a layer's maps. A peaked map need not matter more. {command(chosen)}"
    )


def show_paper(chosen: Variant) -> None:
    """Show the paper's own figures, and mark those of the chosen backbone, position and g."""
    rows = []
    for row in paper.ACCURACY:
        here = chosen.label.startswith(row.backbone) and row.position == position_name(chosen)
        for g, (top1, top5) in zip(paper.GROUPS, row.by_groups, strict=True):
            rows.append(
                {
                    "shown": "◀ same place" if here and g == chosen.groups else "",
                    "network": row.backbone,
                    "position": row.position,
                    "g": g,
                    "top-1": top1,
                    "top-5": top5,
                    "to vanilla": top1 - row.vanilla[0],
                    "MACs (M)": row.macs,
                }
            )
    show_table(rows, {"top-1": "%.2f %%", "top-5": "%.2f %%", "to vanilla": "%+.2f pt", "MACs (M)": "%.1f"})
    vanilla = {row.backbone: row.vanilla for row in paper.ACCURACY}
    st.caption(
        "Saini et al., WACV 2020, arXiv:2006.15102: ImageNet-1K, full width, one run each. Vanilla (top-1 / top-5): "
        + "; ".join(f"{name} {top1:.2f} / {top5:.2f} %" for name, (top1, top5) in vanilla.items())
        + f". {escape_markdown(chosen.title)}, is another network: only differences compare."
    )


def command(chosen: Variant) -> str:
    """Name the command that gives a network's figures again."""
    known = set_called(pictures_of(chosen.metrics))
    data = f"DIR/{known.folder} --dataset {known.dataset}" if known else "DIR"
    return f"Reproduce: {markdown_code(f'{program()} evaluate --variant {chosen.name} --data {data}')}"
