"""The attribution methods that this program offers: what each is, its settings and cost, and how Captum computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..images import Preprocessing
from ..models.mobilenet import MobileNet
from .rescale import rescalable

# Pictures in one pass: measured fastest on a CPU, and memory stays that of a few pictures.
_INTERNAL_BATCH = 4
BASELINES = ("grey", "black", "white", "blurred")


class AttributionError(ValueError):
    """A method, setting or target that cannot be; the message says what can."""


@dataclass(frozen=True)
class Setting:
    """One setting of a method.

    Attributes:
        name: Keyword in ``settings``.
        label: For people.
        default: Used when not given.
        options: The values offered, in order.
        help: What it changes.
    """

    name: str
    label: str
    default: Any
    options: tuple[Any, ...]
    help: str


# (network, picture, target, settings, preprocessing) -> attributions, shape (1, 3 or 1, S, S)
_Run = Callable[[MobileNet, Tensor, int, Mapping[str, Any], Preprocessing], Tensor]


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
        random: It draws from the process's random generators.
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
    random: bool = False

    def complete(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return all settings, defaults filled in.

        Raises:
            AttributionError: For an unknown setting or a value that is not offered.
        """
        known = {s.name: s for s in self.settings}
        for name, value in settings.items():
            if name not in known:
                raise AttributionError(f"{self.label} has no setting '{name}'; it has: {', '.join(known) or 'none'}")
            if value not in known[name].options:
                raise AttributionError(f"{self.label}: '{name}' must be one of {known[name].options}, not {value!r}")
        return {name: settings.get(name, s.default) for name, s in known.items()}


def baseline_of(x: Tensor, kind: str, preprocessing: Preprocessing) -> Tensor:
    """Return what "nothing there" looks like, shape (1, 3, S, S), normalised."""
    if kind == "grey":  # the mean of the training pictures, which normalisation puts at 0
        return torch.zeros_like(x)
    if kind == "blurred":
        from torchvision.transforms.v2.functional import gaussian_blur

        return gaussian_blur(x, [(x.shape[-1] // 8) * 2 + 1] * 2, [x.shape[-1] / 12] * 2)
    level = {"black": 0, "white": 255}[kind]
    return preprocessing.normalize(torch.full_like(x, level)).to(x.dtype)


def _saliency(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], _: Preprocessing) -> Tensor:
    from captum.attr import Saliency

    return Saliency(model).attribute(x, target=target)


def _input_x_gradient(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], _: Preprocessing) -> Tensor:
    from captum.attr import InputXGradient

    return InputXGradient(model).attribute(x, target=target)


def _integrated_gradients(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], pre: Preprocessing) -> Tensor:
    from captum.attr import IntegratedGradients

    return IntegratedGradients(model).attribute(
        x,
        baseline_of(x, settings["baseline"], pre),
        target=target,
        n_steps=settings["steps"],
        internal_batch_size=_INTERNAL_BATCH,
    )


def _gradient_shap(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], pre: Preprocessing) -> Tensor:
    from captum.attr import GradientShap

    # It has no internal batch size: equal parts, averaged, keep memory small and the estimate the same.
    parts = settings["samples"] // _INTERNAL_BATCH
    total = torch.zeros_like(x)
    for _ in range(parts):
        total += GradientShap(model).attribute(
            x,
            baseline_of(x, settings["baseline"], pre),
            target=target,
            n_samples=_INTERNAL_BATCH,
            stdevs=settings["noise"],
        )
    return total / parts


def _deep_lift(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], pre: Preprocessing) -> Tensor:
    from captum.attr import DeepLift

    return DeepLift(rescalable(model)).attribute(x, baseline_of(x, settings["baseline"], pre), target=target)


def _guided_backprop(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], _: Preprocessing) -> Tensor:
    from captum.attr import GuidedBackprop

    return GuidedBackprop(model).attribute(x, target=target)


def _occlusion(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], pre: Preprocessing) -> Tensor:
    from captum.attr import Occlusion

    window, stride = settings["window"], settings["window"] // 2
    with torch.no_grad():
        values = Occlusion(model).attribute(
            x,
            (3, window, window),
            (3, stride, stride),
            baseline_of(x, settings["baseline"], pre),
            target=target,
            perturbations_per_eval=_INTERNAL_BATCH,
        )
    return values[:, :1]  # the window covers all three channels, so each holds the same value


def _layer(model: MobileNet, choice: str) -> nn.Module:
    """Return the module whose output Grad-CAM weighs: what the pool averages, or the layer that feeds the first attention."""
    if choice == "last":
        return model.head
    if model.placement is None:
        raise AttributionError("the plain control has no layer that feeds an attention module; choose the last layer")
    number = model.placement.layers[0]
    return model.layers[str(number if model.placement.mode == "after" else number - 1)]


def _grad_cam(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], _: Preprocessing) -> Tensor:
    from captum.attr import LayerAttribution, LayerGradCam

    cam = LayerGradCam(model, _layer(model, settings["layer"])).attribute(x, target=target)
    return LayerAttribution.interpolate(cam, tuple(x.shape[-2:]), "bilinear")


def _guided_grad_cam(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], _: Preprocessing) -> Tensor:
    from captum.attr import GuidedGradCam

    return GuidedGradCam(model, _layer(model, settings["layer"])).attribute(x, target=target, interpolate_mode="bilinear")


def _smooth_grad(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], _: Preprocessing) -> Tensor:
    from captum.attr import NoiseTunnel, Saliency

    return NoiseTunnel(Saliency(model)).attribute(
        x,
        target=target,
        nt_type="smoothgrad",
        nt_samples=settings["samples"],
        nt_samples_batch_size=_INTERNAL_BATCH,
        stdevs=settings["noise"],
    )


_BASELINE = Setting("baseline", "Baseline", "grey", BASELINES, "What counts as “nothing there”; the result is relative to it.")
_SAMPLES = Setting("samples", "Samples", 16, (8, 16, 32, 64), "Random draws that are averaged: more is smoother and slower.")
_NOISE = Setting(
    "noise",
    "Noise",
    0.15,
    (0.05, 0.15, 0.3, 0.6),
    "Standard deviation of the noise, in normalised units (about 0.23 of the colour range each).",
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
            "Coarse: one value for each cell of the layer's grid, smoothed up to the picture. Negative cells speak against the class.",
            True,
            _grad_cam,
            lambda s, n: 1,
            "Selvaraju et al., ICCV 2017",
            (_CAM_LAYER,),
        ),
        Method(
            "saliency",
            "Saliency",
            "How strongly the class's logit reacts to each pixel.",
            "Magnitudes only: it cannot tell for from against, and it is noisy.",
            False,
            _saliency,
            lambda s, n: 1,
            "Simonyan et al., 2014",
        ),
        Method(
            "input_x_gradient",
            "Input × gradient",
            "Each pixel's normalised value times its gradient.",
            "Grey pixels (the training mean) get nothing, whatever they show.",
            True,
            _input_x_gradient,
            lambda s, n: 1,
            "Shrikumar et al., 2016",
        ),
        Method(
            "guided_backprop",
            "Guided backprop",
            "A gradient that drops every negative part on its way back.",
            "Shows edges nearly independent of the class and even of the weights (Adebayo et al. 2018): not evidence.",
            True,
            _guided_backprop,
            lambda s, n: 1,
            "Springenberg et al., 2015",
        ),
        Method(
            "guided_grad_cam",
            "Guided Grad-CAM",
            "Guided backprop, kept where Grad-CAM is positive.",
            "Sharp because of guided backprop, which hardly depends on the class; only its region comes from Grad-CAM.",
            True,
            _guided_grad_cam,
            lambda s, n: 2,
            "Selvaraju et al., ICCV 2017",
            (_CAM_LAYER,),
        ),
        Method(
            "deep_lift",
            "DeepLift",
            "Each pixel's share of the logit's difference from the baseline, by the rescale rule.",
            "Depends on the baseline.",
            True,
            _deep_lift,
            lambda s, n: 2,
            "Shrikumar et al., ICML 2017",
            (_BASELINE,),
            complete_sum=True,
        ),
        Method(
            "smooth_grad",
            "SmoothGrad",
            "Saliency averaged over noisy copies of the picture.",
            "Magnitudes only; it shows the neighbourhood of the picture, not the picture alone.",
            False,
            _smooth_grad,
            lambda s, n: s["samples"],
            "Smilkov et al., 2017",
            (_SAMPLES, _NOISE),
            random=True,
        ),
        Method(
            "gradient_shap",
            "Gradient SHAP",
            "Gradients at random points between baseline and noisy picture, times the difference.",
            "An estimate: with few samples the convergence delta is large.",
            True,
            _gradient_shap,
            lambda s, n: s["samples"],
            "Lundberg and Lee, NeurIPS 2017; Erion et al., 2021",
            (_SAMPLES, _NOISE, _BASELINE),
            complete_sum=True,
            random=True,
        ),
        Method(
            "integrated_gradients",
            "Integrated gradients",
            "Gradients summed on the straight way from the baseline to the picture.",
            "Depends on the baseline; a large convergence delta asks for more steps.",
            True,
            _integrated_gradients,
            lambda s, n: s["steps"],
            "Sundararajan et al., ICML 2017",
            (Setting("steps", "Steps", 32, (16, 32, 64, 128), "Points on the way: more is more exact and slower."), _BASELINE),
            complete_sum=True,
        ),
        Method(
            "occlusion",
            "Occlusion",
            "How far the logit falls when a square is covered.",
            "As coarse as its window, and a covered square is itself an unusual picture.",
            True,
            _occlusion,
            lambda s, n: (-(-(n - s["window"]) // (s["window"] // 2)) + 1) ** 2 + 1,
            "Zeiler and Fergus, ECCV 2014",
            (
                Setting("window", "Window", 32, (16, 32, 48, 64), "Side of the covered square in pixels; it moves by half of it."),
                _BASELINE,
            ),
        ),
    )
}
