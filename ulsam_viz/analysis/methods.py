"""The list of attribution methods: name, settings, cost and computation of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from torch import Tensor

from ..models.attention_network import AttentionNetwork
from ..models.network import Network
from . import computations
from .attention import Attention
from .computations import AttributionError, Task
from .refinement import MOST_POINTS, TOLERANCE

BASELINES = ("grey", "black", "white", "blurred")


@dataclass(frozen=True)
class Setting:
    """One setting of a method.

    Attributes:
        name: Keyword in ``settings``.
        label: For people.
        default: Used when not given.
        options: The values offered, in order.
        help: What it changes.
        least: Any number from this one up is taken too: any whole number if this is an int. None: the options alone.
    """

    name: str
    label: str
    default: Any
    options: tuple[Any, ...]
    help: str
    least: float | None = None

    def take(self, value: Any) -> Any:
        """Return a valid value for the setting; raise ValueError for any other.

        Raises:
            ValueError: If it is none that can be taken; the message says which can.
        """
        kind = Integral if isinstance(self.least, int) else Real
        if self.least is not None and isinstance(value, kind) and not isinstance(value, bool):
            number = type(self.least)(value)
            if self.least <= number < math.inf:
                return number
        for option in self.options:
            if option == value and not isinstance(value, bool):
                return option
        raise ValueError(f"'{self.name}' must be {self._what_can_be()}, not {value!r}")

    def read(self, text: str) -> Any:
        """Return the value of a text from an address or a command.

        Raises:
            ValueError: As of :meth:`take`.
        """
        for option in self.options:
            if str(option) == text:
                return option
        try:
            return self.take(text if self.least is None else type(self.least)(text))
        except ValueError:
            return self.take(text)

    def _what_can_be(self) -> str:
        if self.least is None:
            return f"one of {self.options}"
        words = "".join(f"'{option}' or " for option in self.options if isinstance(option, str))
        return f"{words}a {'whole ' if isinstance(self.least, int) else ''}number from {self.least:g} up"


# (network, picture, task) -> attributions, shape (1, 3 or 1, S, S)
_Run = Callable[[AttentionNetwork, Tensor, Task], Tensor]


@dataclass(frozen=True)
class OfPass:
    """A method's computation from a finished forward pass.

    Attributes:
        fits: Whether it can of a network of the house, with these settings.
        run: (finished pass, network, target, side of the picture) -> attributions, shape (1, 1, S, S).
    """

    fits: Callable[[Mapping[str, Any]], bool]
    run: Callable[[Attention, Network, int, int], Tensor]


@dataclass(frozen=True)
class Method:
    """An attribution method as this program offers it.

    Attributes:
        name: As in ``explain(methods=...)``.
        label: For people.
        summary: One sentence: what the numbers are.
        caveat: One sentence: how not to read them.
        signed: False for magnitudes.
        settings: What can be set.
        complete_sum: The attributions should sum to the logit's difference from the baseline (completeness).
        remedy: What to do where they do not, to end the sentence that says so.
        of_pass: Computes it from a finished pass instead, where it can.
        hooks_relus: It changes what ReLUs do, so they must not overwrite their input.
        takes_several: Its computation takes several pictures in one pass, each with its own target, as it takes one.
        run: The computation.
        passes: Settings and input side -> number of forward passes.
        source: The paper.
    """

    name: str
    label: str
    summary: str
    caveat: str
    signed: bool
    run: _Run
    passes: Callable[[Mapping[str, Any], int], int]
    source: str
    settings: tuple[Setting, ...] = ()
    complete_sum: bool = False
    remedy: str = ""
    hooks_relus: bool = False
    of_pass: OfPass | None = None
    takes_several: bool = False

    def complete(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return all settings, defaults filled in.

        Raises:
            AttributionError: For an unknown setting or a value that it does not take.
        """
        for name in settings:
            self._setting(name)
        try:
            return {s.name: s.take(settings.get(s.name, s.default)) for s in self.settings}
        except ValueError as error:
            raise AttributionError(f"{self.label}: {error}") from error

    def changed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that differ from the defaults."""
        return {s.name: settings[s.name] for s in self.settings if settings.get(s.name, s.default) != s.default}

    def read(self, name: str, text: str) -> Any:
        """Return the value of a setting that is written as text.

        Raises:
            AttributionError: As of :meth:`complete`.
        """
        try:
            return self._setting(name).read(text)
        except ValueError as error:
            raise AttributionError(f"{self.label}: {error}") from error

    def _setting(self, name: str) -> Setting:
        for setting in self.settings:
            if setting.name == name:
                return setting
        raise AttributionError(
            f"{self.label} has no setting '{name}'; it has: {', '.join(s.name for s in self.settings) or 'none'}"
        )


_BASELINE = Setting(
    "baseline", "Baseline", "grey", BASELINES, "What counts as “nothing there”; the result is relative to it."
)
_SAMPLES = Setting(
    "samples", "Samples", 16, (8, 16, 32, 64), "Random draws that are averaged: more is smoother and slower.", least=1
)
_NOISE_HELP = (
    "Standard deviation of the noise, as a share of the range from the picture's lowest normalised value to its "
    "highest."
)
_CAM_LAYER = Setting(
    "layer",
    "Layer",
    "last",
    ("last", "attention"),
    "Whose output is weighed: the last layer (7×7), or the one that feeds the attention.",
)

METHODS: dict[str, Method] = {
    m.name: m
    for m in (
        Method(
            "grad_cam",
            "Grad-CAM",
            "A layer's channels, weighed by the class's mean gradient on each.",
            "Coarse: one value for each cell of the layer's grid, smoothed up to the picture. Negative cells speak "
            "against the class.",
            True,
            computations.grad_cam,
            lambda s, n: 1,
            "Selvaraju et al., ICCV 2017",
            (_CAM_LAYER,),
            of_pass=OfPass(lambda s: s["layer"] == "last", computations.grad_cam_of_pass),
        ),
        Method(
            "saliency",
            "Saliency",
            "How strongly the class's logit reacts to each pixel.",
            "Magnitudes only: it cannot tell for from against, and it is noisy.",
            False,
            computations.saliency,
            lambda s, n: 1,
            "Simonyan et al., 2014",
            takes_several=True,
        ),
        Method(
            "input_x_gradient",
            "Input × gradient",
            "Each pixel's normalised value times its gradient.",
            "Grey pixels (the training mean) get nothing, whatever they show.",
            True,
            computations.input_x_gradient,
            lambda s, n: 1,
            "Shrikumar et al., 2016",
            takes_several=True,
        ),
        Method(
            "guided_backprop",
            "Guided backprop",
            "A gradient that drops every negative part on its way back.",
            "Shows edges nearly independent of the class and even of the weights (Adebayo et al. 2018): not evidence.",
            True,
            computations.guided_backprop,
            lambda s, n: 1,
            "Springenberg et al., 2015",
            hooks_relus=True,
            takes_several=True,
        ),
        Method(
            "guided_grad_cam",
            "Guided Grad-CAM",
            "Guided backprop, kept where Grad-CAM is positive.",
            "Sharp because of guided backprop, which hardly depends on the class; only its region comes from Grad-CAM.",
            True,
            computations.guided_grad_cam,
            lambda s, n: 2,
            "Selvaraju et al., ICCV 2017",
            (_CAM_LAYER,),
            hooks_relus=True,
        ),
        Method(
            "deep_lift",
            "DeepLift",
            "Each pixel's share of the logit's difference from the baseline, by the rescale rule.",
            "Depends on the baseline.",
            True,
            computations.deep_lift,
            lambda s, n: 2,
            "Shrikumar et al., ICML 2017",
            (_BASELINE,),
            complete_sum=True,
            remedy=", since its rule does not hold on this network",
            hooks_relus=True,
        ),
        Method(
            "smooth_grad",
            "SmoothGrad",
            "Magnitude of the gradient's mean over noisy copies of the picture.",
            "Magnitudes only; it shows the neighbourhood of the picture, not the picture alone.",
            False,
            computations.smooth_grad,
            lambda s, n: s["samples"],
            "Smilkov et al., 2017",
            (
                _SAMPLES,
                Setting(
                    "noise",
                    "Noise (share of the range)",
                    0.15,
                    (0.05, 0.1, 0.15, 0.2, 0.3),
                    f"{_NOISE_HELP} The paper finds 0.1 to 0.2 best.",
                    least=0.0,
                ),
            ),
        ),
        Method(
            "gradient_shap",
            "Gradient SHAP",
            "Gradients at random points between baseline and noisy picture, times the difference.",
            "An estimate: with few samples the convergence delta is large.",
            True,
            computations.gradient_shap,
            lambda s, n: s["samples"],
            "Lundberg and Lee, NeurIPS 2017; Erion et al., 2021",
            (
                _SAMPLES,
                Setting(
                    "noise", "Noise (share of the range)", 0.05, (0.0, 0.02, 0.05, 0.1, 0.2), _NOISE_HELP, least=0.0
                ),
                _BASELINE,
            ),
            complete_sum=True,
            remedy="; take more samples or less noise",
        ),
        Method(
            "integrated_gradients",
            "Integrated gradients",
            "Gradients summed on the straight way from the baseline to the picture.",
            "Depends on the baseline; a large convergence delta asks for more steps.",
            True,
            computations.integrated_gradients,
            lambda s, n: MOST_POINTS if s["steps"] == "auto" else s["steps"],
            "Sundararajan et al., ICML 2017",
            (
                Setting(
                    "steps",
                    "Steps",
                    "auto",
                    ("auto", 16, 32, 64, 128),
                    "Points on the way: more is more exact and slower. A number is Captum's rule; auto is ours: it "
                    "adds points where too few were taken, until the attributions sum to the logit's difference "
                    f"within {TOLERANCE:.0%}, at most {MOST_POINTS}.",
                    least=1,
                ),
                _BASELINE,
            ),
            complete_sum=True,
            remedy="; take more steps",
        ),
        Method(
            "occlusion",
            "Occlusion",
            "How far the logit falls when a square is covered.",
            "As coarse as its window, and a covered square is itself an unusual picture.",
            True,
            computations.occlusion,
            lambda s, n: (-(-(n - s["window"]) // (s["window"] // 2)) + 1) ** 2 + 1,
            "Zeiler and Fergus, ECCV 2014",
            (
                Setting(
                    "window",
                    "Window",
                    32,
                    (16, 32, 48, 64),
                    "Side of the covered square in pixels; it moves by half of it.",
                ),
                _BASELINE,
            ),
        ),
    )
}
