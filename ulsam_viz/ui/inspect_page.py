"""The page "Inspect": one picture, one trained network, its attention maps beside its attributions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ..analysis import measures
from ..analysis.attention import Attention
from ..analysis.attribution import METHODS, Attribution
from ..cost import Cost, count_cost
from ..engine import DeviceChoice, default_engine
from ..export import Panel, as_npz, as_png
from ..figures import charts
from ..figures.colours import Scaled, colour_table, scale_maps, subspace_colour
from ..figures.tiles import attention_tile, attribution_limit, attribution_tile, blend_tile, block_means, data_uri
from ..images import ModelInput
from ..zoo import CheckpointError, Variant, build_network, list_variants, top1_standard_error
from . import controls
from .controls import View, pretty
from .pictures import Picture, choose_picture, model_input
from .tiles import Tile, show_tiles

_READOUT = 56  # attributions are read under the pointer as means of 4x4 pixels: enough for the eye, little on the wire
_POINTER_NOTE = f"Under the pointer: means over blocks of 224 / {_READOUT} = 4 pixels."

_STYLE = """
<style>
.stMainBlockContainer { padding: 3.2rem 2rem 3rem; max-width: 1500px; }
[data-testid="stSidebar"] h3 { padding: 0.4rem 0 0; font-size: 1rem; }
.ulsam-legend { display: flex; gap: 16px; font-size: 12px; line-height: 1.2; font-variant-numeric: tabular-nums; padding-left: 4px; }
.ulsam-legend .scale { position: relative; width: 170px; height: 24px; }
.ulsam-legend .bar { width: 100%; height: 9px; border-radius: 2px; }
.ulsam-legend .scale span { position: absolute; top: 11px; transform: translateX(-50%); }
.ulsam-card { font-size: 13px; line-height: 1.55; font-variant-numeric: tabular-nums; }
.ulsam-card td { padding: 1px 14px 1px 0; border: 0; vertical-align: top; }
.ulsam-card td:first-child { opacity: 0.7; white-space: nowrap; }
@media (max-width: 640px) { .stMainBlockContainer { padding: 3.2rem 0.9rem 2rem; } }
</style>
"""


@dataclass(frozen=True)
class Scene:
    """What the page is about to show: the visitor's choices, resolved."""

    picture: Picture
    crop: ModelInput
    variant: Variant
    device: DeviceChoice
    methods: Mapping[str, Mapping[str, Any]]
    view: View
    attention: Attention
    target: int

    def class_name(self, number: int) -> str:
        """Return a class's name for people."""
        return pretty(self.variant.classes[number])


def show() -> None:
    """Draw the page."""
    st.html(_STYLE)
    try:
        variants = list_variants()
    except CheckpointError as error:
        st.error(f"There is nothing to show: {error}")
        return
    if not variants:
        st.error("There is nothing to show: the manifest names no trained variant.")
        return
    with st.sidebar:
        picture = choose_picture()
        variant = controls.choose_variant(variants)
        device = controls.choose_device()
        methods = controls.choose_methods(variant.input_size)
        wished_target = controls.choose_target(variant)
        view = controls.choose_view()
    crop = model_input(picture, variant.preprocessing)
    try:
        attention = default_engine().attend(crop, variant, device.device).result()
    except CheckpointError as error:
        st.error(f"{error}. The other variants still work: choose another position or g.")
        return
    target = attention.top(1)[0] if wished_target is None else wished_target
    scene = Scene(picture, crop, variant, device, methods, view, attention, target)

    card = _summary(scene)
    attributions = _maps_and_attributions(scene)
    _comparisons(scene, attributions)
    _selected_subspace(scene)
    _downloads(scene, attributions)
    _measure_latency(scene, card)
    _warm_neighbours(variant, variants, device.device)


def _summary(scene: Scene) -> DeltaGenerator:
    """Show picture, answer and variant; return the place of the variant's card."""
    st.markdown(f"### {scene.picture.name}: what {_network_name(scene.variant)} attends to")
    seen, answer, card = st.columns([1.1, 1.7, 1.9], gap="medium")
    with seen:
        st.image(scene.crop.pixels, width=224, alt="the picture as the network sees it")
        st.caption(f"As the network sees it: {scene.variant.input_size} × {scene.variant.input_size} pixels.")
    with answer:
        _top_classes(scene)
    with card:
        table = st.empty()
        table.html(_variant_card(scene, None))
        st.caption(
            "± is one standard error of this test set. Differences between g are of that size: they do not show that one g is better.",
            help="The attention's mean gain is 1 + 1/(H·W), 1.005 at 14 × 14: maps are vivid, their effect is small. "
            "A bright place has not decided anything.",
        )
    sample = scene.picture.sample
    if sample:
        expected = f" The network was taught this subject as “{pretty(sample.shows)}”." if sample.shows else ""
        st.caption(f"{sample.notice}{expected} Picture: {sample.source}; {sample.licence}.")
    return table


def _network_name(variant: Variant) -> str:
    base = f"MobileNet-{variant.backbone[-2:].upper()} {variant.width:g}"
    p = variant.placement
    if p is None:
        return f"{base} (plain control)"
    layers = ", ".join(map(str, p.layers))
    return f"{base} with {p.groups} subspace{'s' if p.groups > 1 else ''} {p.mode} {'of layer' if p.mode == 'instead' else 'layer'}{'s' if len(p.layers) > 1 else ''} {layers}"


def _top_classes(scene: Scene) -> None:
    numbers = scene.attention.top(5)
    if scene.target not in numbers:
        numbers.append(scene.target)
    st.plotly_chart(
        charts.top_classes(
            [scene.class_name(n) for n in numbers],
            [float(scene.attention.probabilities[n]) for n in numbers],
            marked=numbers.index(scene.target),
        ),
        key="top5",
        on_select=lambda: _target_from_bar(scene.variant, numbers),
        selection_mode="points",
        config={"displayModeBar": False},
        alt="most probable classes: " + ", ".join(f"{scene.class_name(n)} {scene.attention.probabilities[n]:.1%}" for n in numbers),
    )
    st.caption("The five most probable of 101 classes. The filled bar is the target of the attributions; click a bar to change it.")


def _target_from_bar(variant: Variant, numbers: list[int]) -> None:
    points = st.session_state["top5"]["selection"]["points"]
    if points and 0 <= (index := int(points[0]["point_index"])) < len(numbers):
        st.session_state["target"] = variant.classes[numbers[index]]


@st.cache_data(max_entries=256)
def _facts(sha256: str, _variant: Variant) -> tuple[Cost, dict[int, int]]:
    """Return the variant's cost, and the channels of each layer that carries a module."""
    network = build_network(_variant)
    return count_cost(network, _variant.input_size), {int(n): m.channels for n, m in network.attention.items()}  # type: ignore[misc]


def _variant_card(scene: Scene, milliseconds: float | None) -> str:
    variant, metrics = scene.variant, scene.variant.metrics
    cost, _ = _facts(variant.sha256, variant)
    rows = {
        "Variant": variant.name,
        "Top-1 / top-5": f"{metrics['top1']:.1f} ± {top1_standard_error(variant):.1f} % / {metrics['top5']:.1f} % "
        f"({metrics['pictures']} held-out pictures)",
        "Parameters": f"{cost.params / 1e6:.3f} M",
        "MACs": f"{cost.macs / 1e6:.1f} M at {variant.input_size} px",
        "Time here": f"{milliseconds:.1f} ms a picture, one thread" if milliseconds else "measured at the end",
        "Device": scene.device.device.upper(),
    }
    return _table(rows)


def _table(rows: Mapping[str, str]) -> str:
    body = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows.items())
    return f'<table class="ulsam-card">{body}</table>'


def _measure_latency(scene: Scene, card: DeltaGenerator) -> None:
    """Fill in the variant's time when nothing else is left to do: measured once a variant, and it delays nothing."""
    latency = default_engine().latency(scene.variant, scene.device.device).result()
    card.html(_variant_card(scene, latency))


def _tile_width(scene: Scene) -> int:
    return 124 if scene.variant.groups > 8 else 150


def _maps_and_attributions(scene: Scene) -> dict[str, Attribution]:
    """Show the maps at once, then the attributions as they are done; return those."""
    scaled = scale_maps(scene.attention.maps, scene.view.scale)
    rows = list(scaled.items())
    if not rows:
        st.info(
            "The plain control carries no attention module, so there are no maps: choose a position to see them. Its attributions are below."
        )
        return _attributions(scene, st.container())
    beside = scene.variant.groups <= 4 and len(rows) == 1
    attribution_place = None
    for number, layer in rows:
        if beside:
            room_for_maps = max(2, scene.variant.groups + scene.view.blend) * 168
            left, attribution_place = st.columns([room_for_maps, max(1100 - room_for_maps, 330)], gap="medium")
        else:
            left = st.container()
        with left:
            _layer_of_maps(scene, number, layer)
    return _attributions(scene, attribution_place or st.container())


def _layer_of_maps(scene: Scene, number: int, layer: Scaled) -> None:
    maps = scene.attention.maps[number]
    g, height, width = maps.shape
    channels = _channels(scene.variant, number)
    st.markdown(
        f"**Attention maps, layer {number}**: {height} × {width}, {channels} channels in g = {g} "
        f"subspace{'s' if g > 1 else ''} of {channels // g}",
        help="One softmax over places for each subspace. A map lies inside the network: it knows no class. "
        "Move the pointer over a tile (or focus it and use the arrow keys) to read every map at that place; click one to enlarge it.",
    )
    _legend(scene.view.display.colours, layer)
    show_tiles(
        [_map_tile(scene, number, layer, k) for k in range(g)] + (_blend(scene, number) if scene.view.blend else []),
        width=_tile_width(scene),
        key=f"maps-{number}",
        on_select=lambda: _select(f"maps-{number}"),
    )


def _map_tile(scene: Scene, number: int, layer: Scaled, k: int) -> Tile:
    maps = scene.attention.maps[number]
    return Tile(
        id=f"{number}.{k}",
        name=f"Subspace {k + 1}" + (" (stretched)" if scene.view.scale == "stretched" else ""),
        note=_map_note(maps[k]),
        source=data_uri(attention_tile(scene.crop.pixels, layer.fractions[k], scene.view.display)),
        values=layer.values[k],
        unit=layer.unit.split()[0],
        colour=subspace_colour(k, len(maps)),
        title=f"Subspace {k + 1}: {_channel_range(scene.variant, number, k)}",
        selectable=True,
        selected=_selection(scene) == (number, k),
    )


def _map_note(attention_map: np.ndarray) -> str:
    if measures.is_dead(attention_map):
        return "uniform for this picture"
    return f"area {measures.effective_area(attention_map):.0%}, peak {measures.peak(attention_map):.1f}×"


def _blend(scene: Scene, number: int) -> list[Tile]:
    relative = measures.relative_attention(scene.attention.maps[number])
    hues = [subspace_colour(k, len(relative)) for k in range(len(relative))]
    return [
        Tile(
            id=f"{number}.blend",
            name="Blend",
            note="colour: strongest subspace",
            source=data_uri(blend_tile(scene.crop.pixels, relative, hues, scene.view.display)),
            values=relative.max(0),
            unit="×",
            title="Each place in the colour of the subspace that attends to it most, stronger from 1 to 4 times uniform",
        )
    ]


def _legend(colours: str, layer: Scaled) -> None:
    ticks = "".join(f'<span style="left:{position:.1%}">{label}</span>' for position, label in layer.ticks)
    mark = " (1 = no preference)" if layer.unit == "× uniform" else ""
    st.html(
        f'<div class="ulsam-legend"><div class="scale"><div class="bar" style="{_gradient(colours)}"></div>{ticks}</div>'
        f"<div>{layer.unit}{mark}</div></div>"
    )


def _gradient(colours: str) -> str:
    stops = ", ".join(f"rgb({r},{g},{b})" for r, g, b in colour_table(colours)[::15].tolist())
    return f"background:linear-gradient(90deg,{stops})"


def _attributions(scene: Scene, place: Any) -> dict[str, Attribution]:
    """Start all methods, cheap ones first, and redraw their tiles as each is done."""
    if not scene.methods:
        place.caption("No attribution method is chosen; choose some in the sidebar.")
        return {}
    engine = default_engine()
    futures = {
        name: engine.attribute(scene.crop, scene.variant, scene.device.device, method=name, target=scene.target, settings=settings)
        for name, settings in scene.methods.items()
    }
    with place:
        st.markdown(
            f"**Attributions** for “{scene.class_name(scene.target)}”",
            help="By Captum, each on its own scale. Red speaks for the class, blue against it; magnitudes use the maps' colours. "
            + _POINTER_NOTE,
        )
        st.html(
            f'<div class="ulsam-legend"><div class="scale"><div class="bar" style="{_gradient("balance")}"></div>'
            '<span style="left:0%">−</span><span style="left:50%">0</span><span style="left:100%">+</span></div><div>against / for the class</div></div>'
        )
        progress, tiles = st.empty(), st.empty()
    done: dict[str, Attribution] = {}
    drawn = -1
    while len(done) < len(futures) or drawn < 0:
        done = {name: f.result() for name, f in futures.items() if f.done()}
        if len(done) > drawn:
            drawn = len(done)
            with tiles:
                show_tiles(
                    [_attribution_tile(scene, name, done.get(name)) for name in futures],
                    width=_tile_width(scene),
                    key="attributions" if len(done) == len(futures) else None,  # one mount of a key in a run
                )
        running = next((name for name in futures if name not in done), None)
        if running:
            text = f"{METHODS[running].label}: {_cost_text(scene, running)}"
            progress.progress(len(done) / len(futures), text=text)
            wait([f for n, f in futures.items() if n not in done], timeout=5, return_when="FIRST_COMPLETED")
    progress.empty()
    with place, st.expander("How to read these, and what they cost"):
        for name, result in done.items():
            st.markdown(_reading(name, result))
    return done


def _cost_text(scene: Scene, name: str) -> str:
    passes = controls.count_passes(name, scene.methods[name], scene.variant.input_size)
    return f"{passes} pass{'es' if passes > 1 else ''} of one picture"


def _attribution_tile(scene: Scene, name: str, result: Attribution | None) -> Tile:
    method = METHODS[name]
    if result is None:
        return Tile(id=name, name=method.label, wait=f"computing: {_cost_text(scene, name)}")
    limit = attribution_limit(result.values)
    return Tile(
        id=name,
        name=method.label,
        note="signed" if result.signed else "magnitude",
        source=data_uri(attribution_tile(scene.crop.pixels, result.values, limit, scene.view.display, signed=result.signed)),
        values=block_means(result.values, _READOUT),
        unit="signed" if result.signed else "",
        title=method.summary,
    )


def _reading(name: str, result: Attribution) -> str:
    method = METHODS[name]
    text = f"**{method.label}** ({method.source}). {method.summary} {method.caveat} "
    text += f"Cost: {result.passes} pass{'es' if result.passes > 1 else ''} of one picture, {result.seconds:.2f} s."
    if result.delta is not None and result.explained is not None:
        share = abs(result.delta) / max(abs(result.explained), 1e-9)
        text += (
            f" The attributions should sum to the logit's difference from the baseline, {result.explained:+.3f}; "
            f"convergence delta {result.delta:+.2g} ({share:.1%})"
            + ("." if share < 0.05 else ": **too large to rely on**, raise the settings.")
        )
    return text


def _comparisons(scene: Scene, attributions: Mapping[str, Attribution]) -> None:
    for number, maps in scene.attention.maps.items():
        left, right = st.columns(2, gap="large")
        names = [f"S{k + 1}" for k in range(len(maps))]
        title = f", layer {number}" if len(scene.attention.maps) > 1 else ""
        with left:
            st.markdown(
                f"**Agreement{title}**: do subspaces and attributions rank places alike?",
                help="Spearman's rank correlation on the map's grid. Chance: the 95th percentile of the magnitude when the map is shifted "
                "to every other place, which keeps its smoothness. Agreement does not mean that the attention caused the decision.",
            )
            if attributions:
                _agreement(number, maps, names, attributions)
            else:
                st.caption("Choose an attribution method to compare with.")
        with right:
            st.markdown(
                f"**Redundancy{title}**: do subspaces say the same?",
                help="Pearson correlation between maps: +1 the same places, 0 unrelated, −1 opposite places. Empty where a map is uniform.",
            )
            if len(maps) > 1:
                st.plotly_chart(
                    charts.correlation_matrix(measures.redundancy(maps), names, names),
                    key=f"redundancy-{number}",
                    config={"displayModeBar": False},
                    alt="correlations between the maps of the subspaces",
                )
            else:
                st.caption("With one subspace there is nothing to compare.")


def _agreement(number: int, maps: np.ndarray, names: list[str], attributions: Mapping[str, Attribution]) -> None:
    side = maps.shape[-1]
    values = np.full((len(maps), len(attributions)), np.nan)
    notes = [[""] * len(attributions) for _ in maps]
    above = 0
    for j, result in enumerate(attributions.values()):
        coarse = block_means(result.values, side)
        for k, attention_map in enumerate(maps):
            if measures.is_dead(attention_map):
                notes[k][j] = "the map is uniform: it ranks nothing"
                continue
            found = measures.agreement(attention_map, coarse)
            values[k, j] = found.correlation
            above += found.above_chance
            notes[k][j] = f"chance reaches ±{found.chance:.2f}: " + ("above chance" if found.above_chance else "within chance")
    st.plotly_chart(
        charts.correlation_matrix(values, names, [METHODS[n].label for n in attributions], notes=notes),
        key=f"agreement-{number}",
        config={"displayModeBar": False},
        alt="rank correlations between subspaces and attributions",
    )
    st.caption(f"{above} of {int((~np.isnan(values)).sum())} pairs lie above their level of chance (hover to see it).")


def _subspace_name(number: int, k: int) -> str:
    return f"layer {number}, subspace {k + 1}"


def _select(key: str) -> None:
    """Take a click on a tile over into the control that the address knows."""
    selected = getattr(st.session_state.get(key), "selected", None)
    if selected and re.fullmatch(r"\d+\.\d+", selected):
        number, _, k = selected.partition(".")
        st.session_state["subspace"] = _subspace_name(int(number), int(k))


def _selection(scene: Scene) -> tuple[int, int]:
    """Return (layer, index) of the subspace that is looked at, the first where the wish does not exist here."""
    wish = st.session_state.get("subspace") or st.query_params.get("subspace", "")
    places = [(number, k) for number, maps in scene.attention.maps.items() for k in range(len(maps))]
    return next((place for place in places if _subspace_name(*place) == wish), places[0])


def _selected_subspace(scene: Scene) -> None:
    if not scene.attention.maps:
        return
    number, k = _selection(scene)
    places = {_subspace_name(n, i): (n, i) for n, maps in scene.attention.maps.items() for i in range(len(maps))}
    st.markdown("**One subspace, large**")
    st.session_state["subspace"] = _subspace_name(number, k)
    chosen = st.selectbox("Subspace", list(places), key="subspace", bind="query-params", label_visibility="collapsed")
    number, k = places[chosen]
    maps = scene.attention.maps[number]
    scaled = scale_maps(scene.attention.maps, scene.view.scale)[number]
    left, right = st.columns([1.4, 1], gap="large")
    with left:
        st.plotly_chart(
            charts.large_map(
                scene.crop.pixels,
                scaled,
                k,
                names=[f"Subspace {i + 1}" for i in range(len(maps))],
                colours=scene.view.display.colours,
                opacity=scene.view.display.opacity,
                smooth=scene.view.display.smooth,
            ),
            key="large",
            config={"displayModeBar": False},
            alt=f"attention map of subspace {k + 1} of layer {number}",
        )
    with right:
        st.html(_table(_subspace_rows(scene, number, k)))
        if measures.is_dead(maps[k]):
            st.caption(
                "This map is uniform for this picture: the softmax follows a ReLU, and here the ReLU clipped every logit to 0. "
                "The subspace expresses no preference; all its places get the same gain."
            )


def _subspace_rows(scene: Scene, number: int, k: int) -> dict[str, str]:
    maps = scene.attention.maps[number]
    positions = maps.shape[-1] * maps.shape[-2]
    row, column = np.unravel_index(int(maps[k].argmax()), maps[k].shape)
    over_test_set = scene.variant.metrics["attention"][str(number)]
    return {
        "Channels": _channel_range(scene.variant, number, k),
        "Effective area": f"{measures.effective_area(maps[k]):.1%} of {positions} places (over the test set {over_test_set['effective_area'][k]:.0%})",
        "Peak": f"{measures.peak(maps[k]):.2f} × uniform at row {row}, column {column} (test set {over_test_set['peak'][k]:.1f})",
        "Gain": f"{1 + maps[k].min():.4f} to {1 + maps[k].max():.4f}, mean {1 + 1 / positions:.4f}",
        "Uniform (dead)": f"for {over_test_set['dead_share'][k]:.1%} of the test set",
    }


def _channels(variant: Variant, number: int) -> int:
    return _facts(variant.sha256, variant)[1][number]


def _channel_range(variant: Variant, number: int, k: int) -> str:
    size = _channels(variant, number) // variant.groups
    return f"channels {k * size} to {(k + 1) * size - 1}" if size > 1 else f"channel {k * size}"


def _downloads(scene: Scene, attributions: Mapping[str, Attribution]) -> None:
    st.markdown("**Take it with you**")
    stem = f"{scene.variant.name}-{''.join(c if c.isalnum() else '_' for c in scene.picture.name)[:40]}"
    files: list[tuple[str, str, str, Callable[[], bytes]]] = [
        ("Picture (PNG)", f"{stem}.png", "image/png", lambda: _png(scene, attributions)),
        ("Numbers (NPZ)", f"{stem}.npz", "application/octet-stream", lambda: _npz(scene, attributions)),
    ]
    with st.container(horizontal=True):
        for label, name, mime, make in files:
            st.download_button(label, make, name, mime, on_click="ignore", icon=":material/download:")
    note = "This address restores the view, "
    note += (
        "with a sample in place of your own picture, which never leaves this session."
        if scene.picture.sample is None
        else "picture included."
    )
    st.caption(f"The archive holds maps, attributions, logits and the settings that made them (numpy.load). {note}")


def _png(scene: Scene, attributions: Mapping[str, Attribution]) -> bytes:
    display = scene.view.display
    rows = [("Input", [Panel(scene.picture.name[:30], "as the network sees it", scene.crop.pixels)])]
    for number, layer in scale_maps(scene.attention.maps, scene.view.scale).items():
        panels = [
            Panel(f"subspace {k + 1}", _map_note(scene.attention.maps[number][k]), attention_tile(scene.crop.pixels, f, display))
            for k, f in enumerate(layer.fractions)
        ]
        rows.append((f"Attention, layer {number}: colours from {layer.low:.4g} to {layer.high:.4g} {layer.unit}", panels))
    if attributions:
        panels = [
            Panel(
                METHODS[name].label,
                f"+/-{attribution_limit(a.values):.3g}" if a.signed else f"0 to {attribution_limit(a.values):.3g}",
                attribution_tile(scene.crop.pixels, a.values, attribution_limit(a.values), display, signed=a.signed),
            )
            for name, a in attributions.items()
        ]
        rows.append((f"Attributions for {scene.class_name(scene.target)}", panels))
    top = ", ".join(f"{scene.class_name(n)} {scene.attention.probabilities[n]:.1%}" for n in scene.attention.top(5))
    return as_png(_network_name(scene.variant), [f"variant {scene.variant.name}", top], rows)


def _npz(scene: Scene, attributions: Mapping[str, Attribution]) -> bytes:
    arrays = {
        "pixels": scene.crop.pixels,
        "logits": scene.attention.logits,
        "probabilities": scene.attention.probabilities,
        "classes": np.array(scene.variant.classes),
        **{f"attention_{number}": maps for number, maps in scene.attention.maps.items()},
        **{f"attribution_{name}": a.values for name, a in attributions.items()},
    }
    settings = {
        "variant": scene.variant.name,
        "sha256": scene.variant.sha256,
        "picture": scene.picture.name,
        "target": scene.variant.classes[scene.target],
        "device": scene.device.device,
        "methods": {name: METHODS[name].complete(values) for name, values in scene.methods.items()},
        "convergence_delta": {name: a.delta for name, a in attributions.items()},
    }
    return as_npz(arrays, settings)


def _warm_neighbours(variant: Variant, variants: list[Variant], device: str) -> None:
    """Load what one step of a slider leads to, after everything else is on the page."""
    for other in variants:
        if other is not variant and other.backbone == variant.backbone and other.width == variant.width:
            same_place = other.placement and variant.placement and other.placement.layers == variant.placement.layers
            if same_place or other.placement is None:
                default_engine().warm(other, device)
