"""The lesson's sandbox: a small tensor to edit, and what each part of the module makes of it."""

from __future__ import annotations

import numpy as np
import streamlit as st
import torch

from ...analysis import measures
from ...analysis.stages import Stages, Switches, run_stages
from ...figures.colours import subspace_colour
from ...figures.grids import number_grid
from ...models.ulsam import Gain, transparent_module
from ...text.escaping import escape_markdown
from ..choose.ids import choose_by_id
from ..run.address import saying_missing
from ..run.scene import View
from ..run.state import keep

_SIDE, _CHANNELS = 4, 4
_LARGEST = 1000.0


def _presets() -> dict[str, np.ndarray]:
    """Return tensors (4, 4, 4) to start from, by name."""
    spot, slope, cross = np.zeros((_SIDE, _SIDE)), np.tile(np.arange(_SIDE) / 2, (_SIDE, 1)), np.zeros((_SIDE, _SIDE))
    spot[1, 2] = 3
    cross[2, :] = cross[:, 1] = 1
    even = np.ones((_SIDE, _SIDE))
    return {
        "Spot, slope, cross, even": np.stack([spot, slope, cross, even]),
        "One spot in each channel": np.stack([np.roll(spot, i, (0, 1)) for i in range(_CHANNELS)]),
        "Everything equal": np.stack([even] * _CHANNELS),
        "Two negative channels": np.stack([spot, slope, -slope, -spot]),
    }


def show_sandbox(view: View) -> None:
    """Draw the sandbox; it needs no network and no picture."""
    st.markdown(
        "#### Sandbox: edit any number",
        help="4 channels on a 4 × 4 grid. The depthwise weights are 1 and the norms change nothing here, so each "
        "step can be followed by hand: ReLU, max-pool, "
        "the weighted sum of a subspace's channels, ReLU, softmax, gain.",
    )
    presets = _presets()
    inputs, outputs = st.columns([1, 1.45], gap="medium")
    with inputs:
        names = list(presets)
        with saying_missing("preset", names, "tensor", names[0]):
            preset = st.selectbox(
                "Start from",
                names,
                key=keep("preset"),
                bind="query-params",
                help="Choosing again brings its numbers back.",
            )
        tensor = _edit(presets[preset], preset)
        weights, bias, groups = _choose_weights()
        gain = _choose_gain()
        switches = choose_switches("sand", columns=2)
    if trouble := find_trouble(tensor):
        outputs.error(escape_markdown(trouble))
        return
    module = transparent_module(_CHANNELS, groups, gain)
    with torch.no_grad():
        module.pointwise.weight.copy_(torch.tensor(weights, dtype=torch.float32).view(groups, -1, 1, 1))
        module.state_dict()["pointwise.bias"].fill_(bias)
    stages = run_stages(module, torch.from_numpy(tensor).float()[None], switches)
    with outputs:
        _show(stages, view)


def _edit(start: np.ndarray, preset: str) -> np.ndarray:
    """Show the four channels as editors; return the tensor, NaN where a cell was emptied."""
    edited = []
    for c, column in enumerate([*st.columns(2), *st.columns(2)]):
        with column:
            st.markdown(f"Channel {c + 1}")
            rows = st.data_editor(
                [{str(k + 1): float(v) for k, v in enumerate(line)} for line in start[c]],
                key=f"edit-{preset}-{c}",
                hide_index=True,
                num_rows="fixed",
                column_config={
                    str(k + 1): st.column_config.NumberColumn(step=0.1, format="%.4g") for k in range(_SIDE)
                },
            )
            edited.append([[np.nan if v is None else v for v in line.values()] for line in rows])
    return np.array(edited, np.float64)


def find_trouble(tensor: np.ndarray) -> str:
    """Say which values of a tensor (channels, H, W) make no sense, and why; "" if all do."""
    wrong = [
        f"channel {c + 1}, row {r + 1}, column {k + 1} is "
        f"{'empty' if np.isnan(tensor[c, r, k]) else f'{tensor[c, r, k]:g}'}"
        for c, r, k in np.argwhere(~(np.abs(tensor) <= _LARGEST))
    ]
    return f"Each value must be a number between −{_LARGEST:g} and {_LARGEST:g}: {'; '.join(wrong)}." if wrong else ""


def _choose_weights() -> tuple[list[float], float, int]:
    with saying_missing("sand-g", [1, 2, 4], "g", 2):
        groups = st.segmented_control(
            "Subspaces g", [1, 2, 4], default=2, required=True, key=keep("sand-g"), bind="query-params"
        )
    columns = [*st.columns(3), *st.columns(3)]
    weights = [
        column.number_input(
            f"Weight {c + 1}",
            -100.0,
            100.0,
            -1.0 if c == _CHANNELS - 1 else 1.0,  # so that the second map is dead at first
            0.25,
            key=keep(f"sand-w{c}"),
            bind="query-params",
            help=f"Of channel {c + 1} in its subspace's sum.",
        )
        for c, column in enumerate(columns[:_CHANNELS])
    ]
    bias = columns[_CHANNELS].number_input(
        "Bias",
        -100.0,
        100.0,
        0.0,
        0.25,
        key=keep("sand-b"),
        bind="query-params",
        help="Added to each sum. Make it very negative to kill a map.",
    )
    return weights, bias, groups or 1


def _choose_gain() -> Gain:
    st.markdown(
        "Gain",
        help="As published, 1 + A. Normalised, (1 + H·W·A) / 2, whose mean is 1: ours, not the paper's. The "
        "sidebar's choice “Gain” has trained networks of both.",
    )
    names = {"published": "As published", "normalised": "Normalised"}
    chosen = choose_by_id(st.segmented_control, "Gain", names, key="sand-gain", required=True)
    return "normalised" if chosen == "normalised" else "published"


def choose_switches(prefix: str, *, columns: int = 4) -> Switches:
    """Show what can be changed about a module, under keys of its own, in so many columns of four."""
    places = [column for _ in range(4 // columns) for column in st.columns(columns)]

    def toggle(place: int, label: str, name: str, *, value: bool = True, text: str = "") -> bool:
        return bool(
            places[place].toggle(label, value=value, key=keep(f"{prefix}-{name}"), bind="query-params", help=text)
        )

    pool = toggle(0, "Max-pool", "pool", text="Off: neighbours no longer count.")
    residual = toggle(
        0,
        "Residual",
        "residual",
        text="Off: the gain is A instead of 1 + A; a softmax then makes features tiny. (Normalised: H·W·A / 2.)",
    )
    first = toggle(1, "First ReLU", "relu1", text="Before the pool. Off: negative features count as well.")
    last = toggle(1, "Last ReLU", "relu2", text="Before the softmax. Off: no map can be dead.")
    sigmoid = toggle(
        2,
        "Sigmoid instead of softmax",
        "sigmoid",
        value=False,
        text="Each place is weighted by itself; maps need not sum to 1.",
    )
    temperature = places[3].select_slider(
        "Temperature",
        [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0],
        value=1.0,
        key=keep(f"{prefix}-t"),
        bind="query-params",
        help="Logits are divided by it: small makes one place win, large makes all equal.",
    )
    strength = places[2].slider(
        "Gain strength s",
        0.0,
        40.0,
        1.0,
        0.5,
        key=keep(f"{prefix}-s"),
        bind="query-params",
        help="The gain is 1 + s · A; 1 is ULSAM. (Normalised: the gain minus 1, times s.)",
    )
    return Switches(
        pool, first, last, "sigmoid" if sigmoid else "softmax", residual, float(temperature), float(strength)
    )


def _show(stages: Stages, view: View) -> None:
    st.html("<style>.ulsam-grids { gap: 10px; } .ulsam-grid td { min-width: 34px; height: 26px; }</style>")
    st.markdown("\n".join(f"- {sentence}" for sentence in _remarks(stages)))
    owners = [c // stages.group_size for c in range(_CHANNELS)]
    hues = [subspace_colour(k, stages.groups) for k in range(stages.groups)]

    def row(
        title: str, values: np.ndarray, names: list[str], own: list[str], limits: tuple[float, float] | None = None
    ) -> None:
        low, high = limits or (min(0.0, float(values.min())), float(values.max()))
        ends = (-max(-low, high), max(-low, high)) if low < 0 else (low, high)
        grids = [
            number_grid(v, n, colours=view.display.colours, hue=h, limits=ends)
            for v, n, h in zip(values, names, own, strict=True)
        ]
        st.markdown(title)
        st.html(f'<div class="ulsam-grids">{"".join(grids)}</div>')

    of_channels = [f"channel {c + 1}" for c in range(_CHANNELS)]
    of_subspaces = [f"subspace {k + 1}" for k in range(stages.groups)]
    by_channel = [hues[k] for k in owners]
    row("**After ReLU and max-pool**, one map a channel", stages.pooled, of_channels, by_channel)
    row("**The weighted sum after ReLU** (logits), one map a subspace", stages.logits, of_subspaces, hues)
    row(
        "**Attention A**", stages.attention, of_subspaces, hues, (0.0, max(1 / _SIDE**2, float(stages.attention.max())))
    )
    mean = ", ".join(f"{value:.4g}" for value in stages.gain.mean((1, 2)))
    row(f"**Gain**: what every channel of the subspace is multiplied by; mean {mean}", stages.gain, of_subspaces, hues)
    row("**Output**", stages.output, of_channels, by_channel)


def _remarks(stages: Stages) -> list[str]:
    """Say what stands out."""
    remarks = []
    for k, attention in enumerate(stages.attention):
        total = float(attention.sum())
        name = f"Subspace {k + 1}"
        if stages.switches.weighting == "softmax" and measures.is_dead(attention):
            dead = not stages.logits[k].any()
            remarks.append(
                f"{name} is **uniform**: "
                + (
                    "the ReLU has set all its logits to 0, a *dead* map."
                    if dead and stages.switches.last_relu
                    else "all its logits are equal."
                    if not np.ptp(stages.logits[k])
                    else "divided by the temperature, its logits are nearly equal."
                )
            )
        else:
            row, column = np.unravel_index(int(attention.argmax()), attention.shape)
            alike = int(np.isclose(attention, attention.max(), rtol=1e-5).sum())
            where = f"row {row + 1}, column {column + 1}" if alike == 1 else f"{alike} places alike"
            remarks.append(
                f"{name} attends most to {where}: {attention[row, column]:.3f}, "
                f"{attention[row, column] * attention.size:.2f} times uniform. Its values sum to {total:.3f}."
            )
    return remarks
