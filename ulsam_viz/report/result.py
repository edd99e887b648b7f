"""One look at one picture, as pictures and files: for the page's downloads, for notebooks and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.attribution import Attribution
from ..analysis.methods import METHODS
from ..figures.colours import DIVERGING, Scale, Scaled, colour_table, scale_maps, subspace_colour
from ..figures.papers import Legend, as_printed
from ..figures.tiles import Display, attention_tile, attribution_limit, attribution_tile
from ..figures.words import map_note
from ..images.folders import file_key, not_taken
from ..text.escaping import escape_plotly
from .contact_sheet import ColourBar, Panel, Row, as_image, as_npz, as_png, file_name

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

#: What an archive says about itself, under ``settings``.
READING = (
    "Layers have the paper's numbers. Where an array has one entry for each subspace, the first entry is subspace 1; "
    "in names and settings, subspaces and the items of lists count from 1, rows and columns from 0, as on the page. "
    "attention_N: maps of layer N, (subspaces, rows, columns), each summing to 1. attribution_M: of method M, (rows, "
    "columns) of the picture. examined_Q: answers to question Q about the view."
)
_COLUMNS = 4
_DISPLAY = Display()


@dataclass(frozen=True)
class Sheet:
    """What is shown of one picture and one network.

    Attributes:
        title: Name of the network, for people.
        network: Its name in records.
        picture: Name of the picture.
        pixels: The crop that the network saw, shape (S, S, 3), uint8.
        classes: Names for people, by number.
        logits, probabilities: Shape (classes,).
        target: Class number that the attributions are for.
        attention: Maps by layer, each (g, H, W), each map summing to 1.
        gains: What maps become of features, by layer; as published where nothing is said.
        attributions: By method.
    """

    title: str
    network: str
    picture: str
    pixels: np.ndarray
    classes: Sequence[str]
    logits: np.ndarray
    probabilities: np.ndarray
    target: int
    attention: Mapping[Any, np.ndarray]
    gains: Mapping[Any, str] = field(default_factory=dict)
    attributions: Mapping[str, Attribution] = field(default_factory=dict)

    @property
    def answers(self) -> str:
        """The five most probable classes."""
        top = np.argsort(-self.probabilities, kind="stable")[:5]
        return ", ".join(f"{self.classes[n]} {self.probabilities[n]:.1%}" for n in top)

    def scaled(self, scale: Scale = "uniform") -> dict[Any, Scaled]:
        """Return the maps of each layer on one scale."""
        return scale_maps(self.attention, scale, gains=self.gains)

    def png(self, *, display: Display = _DISPLAY, scale: Scale = "uniform", address: str = "") -> bytes:
        """Draw everything on one sheet, with its scales.

        Args:
            display: Colours, opacity, smoothing.
            scale: Of the maps.
            address: Where the view can be opened again.

        Returns:
            A PNG file.
        """
        magnitudes = colour_table(display.colours)
        rows = [Row("Input", [Panel(self.picture[:30], "as the network sees it", self.pixels)])]
        for layer, scaled in self.scaled(scale).items():
            g = len(scaled.maps)
            panels = [
                Panel(
                    f"Subspace {k + 1}",
                    map_note(scaled.maps[k]),
                    attention_tile(self.pixels, fractions, display),
                    subspace_colour(k, g),
                )
                for k, fractions in enumerate(scaled.fractions)
            ]
            rows.append(Row(f"Attention, layer {layer}", panels, [ColourBar(magnitudes, scaled.ticks, scaled.unit)]))
        if self.attributions:
            bars = {
                True: ColourBar(colour_table(DIVERGING), [(0, "−"), (0.5, "0"), (1, "+")], "against / for"),
                False: ColourBar(magnitudes, [(0, "0"), (1, "+")], "magnitude"),
            }
            used = [bars[signed] for signed in sorted({a.signed for a in self.attributions.values()}, reverse=True)]
            heading = f"Attributions for “{self.classes[self.target]}”, each on its own scale"
            rows.append(Row(heading, [self._panel(name, a, display) for name, a in self.attributions.items()], used))
        return as_png(self.title, [f"network {self.network}", self.answers], rows, address=address)

    def _panel(self, name: str, attribution: Attribution, display: Display) -> Panel:
        limit = attribution_limit(attribution.values)
        pixels = attribution_tile(self.pixels, attribution.values, limit, display, signed=attribution.signed)
        return Panel(METHODS[name].label, ("±" if attribution.signed else "0 to ") + f"{limit:.3g}", pixels)

    def npz(self, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
        """Write all numbers, with ``settings`` and what they mean as JSON, and more ``arrays``, as an NPZ file."""
        own = {
            "pixels": self.pixels,
            "logits": self.logits,
            "probabilities": self.probabilities,
            **{f"attention_{layer}": maps for layer, maps in self.attention.items()},
            **{f"attribution_{name}": a.values for name, a in self.attributions.items()},
        }
        deltas = {name: a.delta for name, a in self.attributions.items()}
        about = {
            "reading": READING,
            "network": self.network,
            "picture": self.picture,
            **settings,
            "convergence_delta": deltas,
        }
        return as_npz(own | dict(arrays or {}), about)

    def figure(self, what: Any = None) -> Figure:
        """Draw a layer's maps, or one method's attribution, as a Plotly figure.

        Args:
            what: A layer, or the name of a method; the last layer by default.

        Raises:
            KeyError: If there is no such layer or method; the message names those there are.
        """
        what = list(self.attention)[-1] if what is None and self.attention else what
        if what in self.attributions:
            return self._attribution_figure(what)
        if what not in self.attention:
            raise KeyError(
                f"no layer or method '{what}': there are {', '.join(map(str, [*self.attention, *self.attributions]))}"
            )
        return self._attention_figure(what)

    def _attention_figure(self, layer: Any) -> Figure:
        from plotly import graph_objects as go
        from plotly.subplots import make_subplots

        scaled = self.scaled()[layer]
        g, columns = len(scaled.maps), min(len(scaled.maps), _COLUMNS)
        names = [f"Subspace {k + 1}: {map_note(m)}" for k, m in enumerate(scaled.maps)]
        figure = make_subplots(
            -(-g // columns), columns, subplot_titles=names, horizontal_spacing=0.02, vertical_spacing=0.08
        )
        traces = [
            go.Heatmap(
                z=np.log2(np.maximum(ratios, 2.0**-8)),
                customdata=ratios,
                coloraxis="coloraxis",
                hovertemplate="row %{y}, column %{x}: %{customdata:.2f} × uniform<extra></extra>",
            )
            for ratios in scaled.values
        ]
        figure.add_traces(traces, rows=[k // columns + 1 for k in range(g)], cols=[k % columns + 1 for k in range(g)])
        marks = list(range(round(np.log2(scaled.low)), round(np.log2(scaled.high)) + 1))
        figure.update_layout(
            title=escape_plotly(f"{self.title}, attention of layer {layer}"),
            coloraxis={
                "colorscale": "Viridis",
                "cmin": marks[0],
                "cmax": marks[-1],
                "colorbar": {"title": "× uniform", "tickvals": marks, "ticktext": [f"{2.0**m:g}" for m in marks]},
            },
        )
        return _square(figure)

    def _attribution_figure(self, method: str) -> Figure:
        from plotly import graph_objects as go

        own = self.attributions[method]
        limit = attribution_limit(own.values)
        low = -limit if own.signed else 0.0
        heatmap = go.Heatmap(z=own.values, zmin=low, zmax=limit, colorscale="balance" if own.signed else "Viridis")
        title = f"{METHODS[method].label} for “{self.classes[self.target]}”"
        return _square(go.Figure(heatmap, {"title": escape_plotly(title)}))

    def save(self, folder: Path, *, settings: Mapping[str, Any] | None = None) -> list[Path]:
        """Write the sheet, each map by itself, all numbers, and what made them.

        Args:
            folder: Created if it is not there; files of the same names are replaced.
            settings: What else is written to ``settings.json`` and into the archive.

        Returns:
            The files: ``input.png``, the very pixels that the network saw; ``sheet.png``; for the picture and each map
                and
            attribution a PNG and an SVG, with its scale; ``numbers.npz``; ``settings.json``.
        """
        folder.mkdir(parents=True, exist_ok=True)
        about = {"title": self.title, "answers": self.answers, "target": self.classes[self.target], **(settings or {})}
        files = {"input.png": as_image(self.pixels), "sheet.png": self.png(), "numbers.npz": self.npz(about)}
        files["settings.json"] = (
            json.dumps({"network": self.network, "picture": self.picture, **about}, indent=1) + "\n"
        ).encode()
        files |= self.pictures()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return [folder / name for name in files]

    def pictures(self, *, display: Display = _DISPLAY, scale: Scale = "uniform") -> dict[str, bytes]:
        """Return the picture and each map and attribution as PNG and SVG, with its scale, by file name."""
        drawn = {"picture": as_printed(self.pixels, self.picture)}
        for layer, scaled in self.scaled(scale).items():
            legend = Legend(display.colours, scaled.ticks, scaled.unit)
            for k, fractions in enumerate(scaled.fractions):
                title = f"Layer {layer}, subspace {k + 1}: {map_note(scaled.maps[k])}"
                name = not_taken(
                    file_name(f"attention-{layer}-{k + 1}"), {*map(file_key, drawn)}, form="{}-{}", key=file_key
                )
                drawn[name] = as_printed(attention_tile(self.pixels, fractions, display), title, legend)
        for name, own in self.attributions.items():
            limit = attribution_limit(own.values)
            tile = attribution_tile(self.pixels, own.values, limit, display, signed=own.signed)
            title = f"{METHODS[name].label}: {self.classes[self.target]}"
            drawn[f"attribution-{name}"] = as_printed(
                tile, title, attribution_legend(limit, display, signed=own.signed)
            )
        return {f"{name}.{kind}": data for name, files in drawn.items() for kind, data in files.items()}


def attribution_legend(limit: float, display: Display, *, signed: bool) -> Legend:
    """Return the scale of an attribution's tile, whose colours end at a limit."""
    ends = (
        [(0.0, f"{-limit:.3g}"), (0.5, "0"), (1.0, f"{limit:.3g}")] if signed else [(0.0, "0"), (1.0, f"{limit:.3g}")]
    )
    return Legend(DIVERGING if signed else display.colours, ends)


def _square(figure: Figure) -> Figure:
    """Give every panel square cells, with the first row on top and no axes."""
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed", scaleanchor="x", constrain="domain")
    return figure
