"""A report as one HTML file, to read and to print."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..analysis.attribution import Attribution
from ..analysis.methods import METHODS
from ..figures.colours import subspace_colour
from ..figures.papers import Legend
from ..figures.tiles import attention_tile, attribution_limit, attribution_tile, data_uri
from ..figures.words import map_note, where_it_peaks
from ..text.escaping import markdown_to_html
from .answers import Answered, answered, written
from .citation import bibtex
from .html import Figure, document, figures, png_uri, scale_bar, table
from .measures import measured_in
from .record import Report, versions
from .result import attribution_legend

_STYLE = """
figure { width: 42mm; } .many figure { width: 28mm; }
  .view { display: flex; flex-wrap: wrap; gap: 2mm 8mm; align-items: flex-start; } .view figure { width: 56mm; }
@media screen and (max-width: 600px) { figure, .many figure { width: calc(50% - 1.5mm); } .view figure { width: 100%; }
  }
"""
_LEGEND = (
    "Attention lies inside the network and knows no class. An attribution is computed afterwards, for one class. A "
    "bright place has not decided anything; that a map and an attribution agree does not mean that attention caused "
    "the answer."
)


def as_html(report: Report) -> str:
    """Write a report as HTML: pictures inside, nothing fetched, nothing run."""
    sheet = report.sheet
    named = sheet.title if sheet.title == sheet.network else f"{sheet.title} ({sheet.network})"
    parts = [
        f"<h1>{_safe(sheet.picture)}</h1><p class=small>{_safe(f'{named}. {sheet.answers}.')}</p>",
        _view(report),
        *_attention(report),
        _attributions(report),
        _measures(report),
        *_questions(report),
        _making(report),
        f"<section><h2>To cite</h2><pre>{_safe(bibtex())}</pre></section>",
    ]
    return document(f"{sheet.picture}, {sheet.title}", parts, style=_STYLE)


def _safe(text: str) -> str:
    return html.escape(text)


def _view(report: Report) -> str:
    sheet = report.sheet
    side = len(sheet.pixels)
    picture = Figure(
        png_uri(sheet.pixels),
        "The picture",
        f"as the network sees it, {side} × {side} pixels",
        alt=f"The picture: {sheet.picture}",
    )
    top = [int(n) for n in np.argsort(-sheet.probabilities, kind="stable")[:5]]
    rows = [
        (
            sheet.classes[n] + (" (target)" if n == sheet.target else ""),
            f"{sheet.probabilities[n]:.1%}",
            f"{sheet.logits[n]:.3f}",
        )
        for n in dict.fromkeys([*top, sheet.target])
    ]
    answers = table(("answer", "probability", "logit"), rows, caption="What the network says")
    return (
        f'<section><div class="view">{figures([picture])}<div>{answers}<p '
        f"class=small>{_safe(_calibrated(report))}</p>{_note(report.source)}</div></div></section>"
    )


def _calibrated(report: Report) -> str:
    return f"Probabilities: softmax(logits / {report.temperature:g})."


def _attention(report: Report) -> list[str]:
    """Write a section for each layer; all share one scale."""
    parts = []
    for layer, scaled in report.sheet.scaled(report.scale).items():
        g, height, width = scaled.maps.shape
        tiles = [
            Figure(
                data_uri(attention_tile(report.sheet.pixels, fractions, report.display)),
                f"Subspace {k + 1}",
                map_note(scaled.maps[k]),
                subspace_colour(k, g),
                alt=f"Attention of subspace {k + 1} of layer {layer}: {where_it_peaks(scaled.maps[k])}",
            )
            for k, fractions in enumerate(scaled.fractions)
        ]
        legend = scale_bar(Legend(report.display.colours, scaled.ticks, scaled.unit))
        many = " class=many" if g > 8 else ""
        parts.append(
            f"<h2>Attention, layer {_safe(str(layer))}</h2><p class=small>g = {g}, {height} × {width} places; each map "
            "sums to 1.</p>"
        )
        parts.append(f"{legend}<div{many}>{figures(tiles)}</div>")
    return parts or ["<p>The network carries no attention module: there are no maps.</p>"]


def _attributions(report: Report) -> str:
    own = report.sheet.attributions
    if not own:
        return ""
    name = report.sheet.classes[report.sheet.target]
    tiles = figures([_attribution(report, a, f"for “{name}”") for a in own.values()])
    rows = [
        (METHODS[method].label, _set_to(report, method), METHODS[method].source, _delta(a)) for method, a in own.items()
    ]
    listed = table(("method", "settings", "paper", "convergence delta"), rows)
    intro = f"Red speaks for the class, blue against; each is on its own scale. {_LEGEND}"
    warned = "".join(f"<p>{_safe(a.warning)}</p>" for a in own.values() if a.warning)
    return f"<h2>Attributions for “{_safe(name)}”</h2><p class=small>{_safe(intro)}</p>{tiles}{warned}{listed}"


def _attribution(report: Report, own: Attribution, about: str) -> Figure:
    limit = attribution_limit(own.values)
    pixels = attribution_tile(report.sheet.pixels, own.values, limit, report.display, signed=own.signed)
    label, kind = METHODS[own.method].label, own.note
    return Figure(
        data_uri(pixels),
        label,
        kind,
        alt=f"{label} {about}, {kind}",
        scale=attribution_legend(limit, report.display, signed=own.signed),
    )


def _set_to(report: Report, method: str) -> str:
    settings: Mapping[str, Any] = report.made_with.get("methods", {}).get(method, {})
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "none"


def _delta(own: Attribution) -> str:
    return "–" if own.delta is None or own.explained is None else f"{own.delta:+.2g} of {own.explained:+.3f}"


def _measures(report: Report) -> str:
    """Write a few narrow tables: all columns side by side would be wider than a page."""
    found = measured_in(report)
    if not found:
        return ""
    rows = [
        (
            _subspace(m),
            f"{100 * m['area']:.1f} %",
            f"{m['peak']:.2f}",
            "uniform" if m["dead"] else f"{m['row']}, {m['column']}",
            f"{m['entropy']:.2f}",
            written("ρ", m["redundancy"]),
        )
        for m in found
    ]
    head = ("layer, subspace", "area", "peak (× uniform)", "at row, column", "entropy (bits)", "redundancy")
    note = (
        "Area: the share of places that a map effectively attends to. Redundancy: its mean correlation with the "
        "layer's other maps. ρ: Spearman's rank correlation with the attribution, on the map's grid. Rows and columns "
        "count from 0."
    )
    return f"<h2>Measures</h2>{table(head, rows)}{_agreements(found)}{_removals(found)}<p class=small>{note}</p>"


def _subspace(row: Mapping[str, Any]) -> str:
    return f"{row['layer']}, {row['subspace']}"


def _agreements(found: Sequence[Mapping[str, Any]]) -> str:
    head = ("layer, subspace", *(f"ρ {METHODS[name].label}" for name in found[0]["agreement"]))
    rows = [(_subspace(m), *(written("ρ", rho) for rho in m["agreement"].values())) for m in found]
    return table(head, rows, caption="Agreement with the attributions") if found[0]["agreement"] else ""


def _removals(found: Sequence[Mapping[str, Any]]) -> str:
    """Write what removing each subspace does, of the layers of which that was asked."""
    head = ("layer, subspace", "Δ logit", "Δ probability", "answer changes")
    rows = [
        (
            _subspace(m),
            written("Δ logit", m["removed_logit"]),
            written("Δ probability", 100 * m["removed_probability"]),
            written("", m["removed_flips"]),
        )
        for m in found
        if m.get("removed_logit") is not None
    ]
    return table(head, rows, caption="With the subspace's attention removed") if rows else ""


def _questions(report: Report) -> list[str]:
    found = answered(report)
    return ["<h2>What was asked</h2>", *(_question(report, one) for one in found)] if found else []


def _question(report: Report, one: Answered) -> str:
    parts = [f"<h3>{_safe(one.title)}</h3>", f"<p class=small>{_safe(one.about)}</p>" if one.about else ""]
    parts += [f"<p>{markdown_to_html(text)}</p>" for text in one.words]
    parts.append(figures([_attribution(report, a, one.about) for a in one.pictures]))
    parts += [_rows(caption, rows) for caption, rows in one.tables if rows]
    return "".join(parts)


def _rows(caption: str, rows: Sequence[Mapping[str, Any]]) -> str:
    head = list(dict.fromkeys(column for row in rows for column in row))
    return table(head, [[written(column, row.get(column)) for column in head] for row in rows], caption=caption)


def _making(report: Report) -> str:
    """Write the view's provenance, its address and its command."""
    network, metrics = report.network, report.network.get("metrics", {})
    known = {
        "network": network.get("name"),
        "it is": network.get("label"),
        "it knows": network.get("classes"),
        "modules": network.get("position"),
        "subspaces g": network.get("groups"),
        "gain": network.get("gain"),
        "computed in": network.get("precision"),
        "trained on": network.get("dataset"),
        "seed of its training": network.get("seed"),
        "top-1, top-5": f"{metrics['top1']} %, {metrics['top5']} % of {network['measured_on']}"
        if {"top1", "top5"} <= metrics.keys()
        else None,
        "these pictures": network.get("about_pictures"),
        **{
            f"on {on}": f"{m['top1']} %, {m['top5']} %. {m['chosen']}" for on, m in network.get("elsewhere", {}).items()
        },
        "sha256 of its file": network.get("sha256"),
        "base": network.get("base"),
        "sha256 of the base": network.get("base_sha256"),
    }
    made = {
        "device": report.made_with.get("device"),
        "seed of methods": report.made_with.get("seed"),
        "maps drawn": f"{report.scale}, {report.display.colours}, opacity "
        f"{report.display.opacity:g}{', smoothed' if report.display.smooth else ''}",
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }
    parts = ["<h2>How it was made</h2>", _facts(known | made)]
    if report.address:
        parts.append(f"<h3>The view on the page</h3><p>{_link(report.address)}</p>{_note(report.address_note)}")
    command = f"<pre>{_safe(report.command)}</pre>" if report.command else ""
    parts.append(f"<h3>The same numbers again</h3>{command}{_note(report.command_note)}")
    return "".join(parts)


def _note(text: str) -> str:
    return f"<p class=small>{_safe(text)}</p>" if text else ""


def _facts(facts: Mapping[str, Any]) -> str:
    lines = [
        f'<tr><th scope="row">{_safe(name)}</th><td>{_safe(str(value))}</td></tr>'
        for name, value in facts.items()
        if value not in (None, "")
    ]
    return f'<table class="words"><tbody>{"".join(lines)}</tbody></table>'


def _link(address: str) -> str:
    """Make an address a link where it is one of a web page, and text where it could be anything else."""
    safe = _safe(address)
    return f'<a href="{safe}">{safe}</a>' if re.match(r"https?://", address) else safe
