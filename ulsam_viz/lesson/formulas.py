"""Each stage's formula, in symbols and with the numbers of one place, as LaTeX."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..analysis.derivation import Derivation
from ..analysis.stages import Stage, Stages

_SHOWN_TERMS = 4
_NEXT_LINE = r"\\[6pt]"  # room for what stands under a brace
_Writer = Callable[[Stages, Derivation], tuple[str, str]]


@dataclass(frozen=True)
class Formula:
    """One stage at one place.

    Attributes:
        symbols: The formula, LaTeX.
        numbers: The same with its numbers, LaTeX.
        legend: What the symbols are.
        result: What it comes to, in double precision.
        difference: Its distance from the module's own tensor there.
    """

    symbols: str
    numbers: str
    legend: str
    result: float
    difference: float


def number(value: float) -> str:
    """Write a number with five significant digits, as LaTeX."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.{max(0, 4 - math.floor(math.log10(abs(value))))}f}"
    mantissa, exponent = f"{value:.4e}".split("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}"


def formula(stages: Stages, derivation: Derivation, stage: Stage) -> Formula:
    """Write one stage's formula for the place of a derivation.

    Args:
        stages: What the derivation was made from.
        derivation: The arithmetic of the place.
        stage: Which stage.
    """
    symbols, numbers = _WRITERS[stage](stages, derivation)
    result = derivation.values[stage]
    own = float(stages.map_of(stage, derivation.subspace, derivation.channel)[derivation.row, derivation.column])
    if not numbers:
        numbers = number(result)
    elif not numbers.endswith(r"\end{array}"):  # a sum over several lines brings its own end
        numbers = rf"{numbers} = {number(result)}"
    return Formula(symbols, numbers, _LEGENDS[stage], result, abs(result - own))


def _signed(value: float) -> str:
    return rf"- {number(-value)}" if value < 0 else rf"+ {number(value)}"


def _factor(value: float) -> str:
    return rf"({number(value)})" if value < 0 else number(value)


def _features(_: Stages, d: Derivation) -> tuple[str, str]:
    return rf"F_{{{d.channel}}}(r, c)", ""


def _depthwise(s: Stages, d: Derivation) -> tuple[str, str]:
    w = s.weights
    return (
        r"w_i \, F_i + b_i",
        rf"{number(float(w.depthwise[d.channel]))} \cdot {_factor(d.values['features'])} "
        rf"{_signed(float(w.depthwise_bias[d.channel]))}",
    )


def _norm(before: Stage, of_subspaces: bool) -> _Writer:
    def write(s: Stages, d: Derivation) -> tuple[str, str]:
        norm, index = (s.weights.pointwise_norm, d.subspace) if of_subspaces else (s.weights.norm, d.channel)
        mean, variance = float(norm.mean[index]), float(norm.variance[index])
        i = "k" if of_subspaces else "i"
        return (
            rf"\gamma_{i} \, \frac{{x - \mu_{i}}}{{\sqrt{{\sigma_{i}^2 + \varepsilon}}}} + \beta_{i}",
            rf"{number(float(norm.weight[index]))} \cdot \frac{{{number(d.values[before])} "
            rf"{_signed(-mean)}}}{{\sqrt{{{number(variance)} {_signed(norm.eps)}}}}} "
            rf"{_signed(float(norm.bias[index]))}",
        )

    return write


def _relu(before: Stage, switch: str) -> _Writer:
    def write(s: Stages, d: Derivation) -> tuple[str, str]:
        if not getattr(s.switches, switch):
            return "x", number(d.values[before])
        return r"\max(0,\, x)", rf"\max(0,\, {number(d.values[before])})"

    return write


def _pooled(s: Stages, d: Derivation) -> tuple[str, str]:
    if not s.switches.pool:
        return "z_i(r, c)", number(d.values["rectified"])
    rows = r" \\ ".join(" & ".join(number(float(v)) for v in line) for line in d.window)
    return (
        r"\max_{|\Delta r| \le 1,\, |\Delta c| \le 1} z_i(r + \Delta r,\, c + \Delta c)",
        rf"\max \begin{{pmatrix}} {rows} \end{{pmatrix}}",
    )


def _pointwise(s: Stages, d: Derivation) -> tuple[str, str]:
    bias = float(s.weights.pointwise_bias[d.subspace])
    shown, rest = d.terms[:_SHOWN_TERMS], d.terms[_SHOWN_TERMS:]
    lines = [
        rf"\underbrace{{{number(t.weight)} \cdot {_factor(t.value)}}}_{{\text{{channel {t.channel}}}}}" for t in shown
    ]
    if rest:
        lines.append(rf"\underbrace{{{_factor(math.fsum(t.product for t in rest))}}}_{{\text{{{len(rest)} others}}}}")
    # Two products a line, so that a phone shows them whole.
    rows = [" + ".join(lines[i : i + 2]) for i in range(0, len(lines), 2)]
    total = number(d.values["pointwise"])
    body = rf" {_NEXT_LINE} + ".join(rows)
    return (
        r"\sum_{i \in \text{subspace } k} v_i \, z_i + b_k",
        rf"\begin{{array}}{{l}} {body} {_signed(bias)} {_NEXT_LINE} = {total} \end{{array}}",
    )


def _attention(s: Stages, d: Derivation) -> tuple[str, str]:
    scaled = d.values["logits"] / s.switches.temperature
    over = r" / T" if s.switches.temperature != 1 else ""
    if s.switches.weighting == "sigmoid":
        return rf"\frac{{1}}{{1 + e^{{-\ell_k{over}}}}}", rf"\frac{{1}}{{1 + e^{{{number(-scaled)}}}}}"
    shift = rf" {_signed(-d.shift)}" if d.shift else ""
    return (
        rf"\frac{{e^{{\ell_k(r, c){over}}}}}{{\sum_{{p}} e^{{\ell_k(p){over}}}}}",
        rf"\frac{{e^{{{number(scaled)}{shift}}}}}{{{number(d.denominator)}}} = "
        rf"\frac{{{number(d.exponential)}}}{{{number(d.denominator)}}}",
    )


def _gain(s: Stages, d: Derivation) -> tuple[str, str]:
    if s.form == "normalised":
        return _normalised_gain(s, d)
    one = "1 + " if s.switches.residual else ""
    if s.switches.strength != 1:
        return rf"{one}s \, A_k", rf"{one}{number(s.switches.strength)} \cdot {number(d.values['attention'])}"
    return rf"{one}A_k", rf"{one}{number(d.values['attention'])}"


def _normalised_gain(s: Stages, d: Derivation) -> tuple[str, str]:
    less = (" - 1", "1 + ") if s.switches.residual else ("", "")
    times = s.switches.strength if s.switches.strength != 1 else None
    if times is None and s.switches.residual:  # as it is written everywhere else
        return (
            r"\frac{1 + H W A_k}{2}",
            rf"\frac{{1 + {s.attention[0].size} \cdot {number(d.values['attention'])}}}{{2}}",
        )
    half, numbers = (
        rf"\frac{{H W A_k{less[0]}}}{{2}}",
        rf"\frac{{{s.attention[0].size} \cdot {number(d.values['attention'])}{less[0]}}}{{2}}",
    )
    factor, by = ("", "") if times is None else (r"s \, ", rf"{number(times)} \cdot ")
    return rf"{less[1]}{factor}{half}", rf"{less[1]}{by}{numbers}"


def _output(_: Stages, d: Derivation) -> tuple[str, str]:
    return r"(\text{gain of } k) \cdot F_i", rf"{_factor(d.values['gain'])} \cdot {_factor(d.values['features'])}"


_WRITERS: dict[Stage, _Writer] = {
    "features": _features,
    "depthwise": _depthwise,
    "normed": _norm("depthwise", of_subspaces=False),
    "rectified": _relu("normed", "first_relu"),
    "pooled": _pooled,
    "pointwise": _pointwise,
    "pointwise_normed": _norm("pointwise", of_subspaces=True),
    "logits": _relu("pointwise_normed", "last_relu"),
    "attention": _attention,
    "gain": _gain,
    "output": _output,
}

_NORM = (
    "x: the value before; μ, σ²: mean and variance over the training pictures; γ, β: learnt scale and shift; ε: keeps "
    "the root from 0."
)
_LEGENDS: dict[Stage, str] = {
    "features": "F: what enters the module.",
    "depthwise": "F: the value of channel i here; w, b: its weight and bias.",
    "normed": _NORM,
    "rectified": "x: the value before.",
    "pooled": "z: channel i after the ReLU; r, c: row and column.",
    "pointwise": "z: channel i after the pool, here; v: its weight; b: the bias of subspace k.",
    "pointwise_normed": _NORM,
    "logits": "x: the value before.",
    "attention": "ℓ: the map after its ReLU, at this place (r, c), and summed over all places p.",
    "gain": "A: the attention of subspace k here.",
    "output": "F: what entered the module, channel i.",
}
