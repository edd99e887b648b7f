"""Post-hoc attributions by Captum: which pixels speak for a class, method by method.

Captum works with hooks, so a call needs a network of its own while it runs (the engine lends one), and methods that
draw random numbers need the process's generators (a lock here). The network is the same afterwards, after an error too.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from ..images import Preprocessing
from ..models.mobilenet import MobileNet
from .rescale import rescalable

# Pictures in one pass: measured fastest on a CPU, and memory stays that of a few pictures.
_INTERNAL_BATCH = 4
_RANDOM = threading.Lock()

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


@dataclass(frozen=True)
class Attribution:
    """One method's result for one target.

    Attributes:
        method: Name of the method.
        target: Class number.
        values: Shape (S, S), float32: positive speaks for the class, negative against, where ``signed``.
        signed: False where the method has magnitudes only.
        seconds: Time the computation took.
        passes: Pictures sent forward, and as many back for methods that use gradients.
        delta: What the attributions miss of the difference of the logit between input and baseline; None where the
            method promises no such sum.
        explained: That difference of the logit; None likewise.
        caveat: One sentence on how to read, or not to read, the result.
    """

    method: str
    target: int
    values: np.ndarray
    signed: bool
    seconds: float
    passes: int
    delta: float | None
    explained: float | None
    caveat: str


@dataclass(frozen=True)
class _Result:
    values: Tensor  # (1, C, H, W), C = 3 or 1
    delta: float | None = None


_Run = Callable[[MobileNet, Tensor, int, Mapping[str, Any], Preprocessing], _Result]


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


def attribute(
    model: MobileNet,
    x: Tensor,
    *,
    method: str,
    target: int,
    preprocessing: Preprocessing,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Attribution:
    """Attribute one class's logit to the pixels of one picture.

    Args:
        model: An optimised network in eval mode that no other thread uses meanwhile.
        x: Normalised picture, shape (1, 3, S, S).
        method: A name from :data:`METHODS`.
        target: Class number.
        preprocessing: The variant's; needed for baselines that are colours.
        settings: Values other than the method's defaults.
        seed: Of methods that draw random numbers.

    Returns:
        The attribution; signed values are summed, magnitudes maximised, over the colour channels.

    Raises:
        AttributionError: For an unknown method, setting or class.
    """
    if method not in METHODS:
        raise AttributionError(f"unknown method '{method}'; there are: {', '.join(METHODS)}")
    if not 0 <= target < model.num_classes:
        raise AttributionError(f"there is no class {target}; this network knows classes 0 to {model.num_classes - 1}")
    chosen = METHODS[method]
    values = chosen.complete(settings or {})
    x = x.detach().clone().to(model.classifier.weight.device)  # Captum changes requires_grad of what it is given
    started = time.perf_counter()
    _quieten_captum()
    with _unchanged(model), _seeded(seed, needed=chosen.name in _RANDOM_METHODS):
        result = chosen.run(model, x, target, values, preprocessing)
    combined = result.values.detach().sum(1) if chosen.signed else result.values.detach().amax(1)
    explained = None
    if result.delta is not None:
        with torch.inference_mode():
            logits = model(torch.cat((x, _baseline(x, values["baseline"], preprocessing))))[:, target]
        explained = float(logits[0] - logits[1])
    return Attribution(
        method,
        target,
        combined[0].float().cpu().numpy(),
        chosen.signed,
        time.perf_counter() - started,
        chosen.passes(values, x.shape[-1]),
        result.delta,
        explained,
        chosen.caveat,
    )


@cache
def _quieten_captum() -> None:
    """Silence "setting hooks" and the like, true of every call; once, since changing filters call by call is not thread-safe."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"captum\.")


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Put every module's hooks back as they were: some of Captum's methods leave theirs behind after an error."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    before = [(hooks, dict(hooks)) for module in model.modules() for hooks in (getattr(module, n) for n in names)]
    try:
        yield
    finally:
        for hooks, kept in before:
            hooks.clear()
            hooks.update(kept)


@contextmanager
def _seeded(seed: int, *, needed: bool) -> Iterator[None]:
    """Seed the generators that Captum draws from, alone among threads, and put them back afterwards."""
    if not needed:
        yield
        return
    with _RANDOM, torch.random.fork_rng():
        before = np.random.get_state()
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(before)


def _baseline(x: Tensor, kind: str, preprocessing: Preprocessing) -> Tensor:
    """Return what "nothing there" looks like, shape (1, 3, S, S), normalised."""
    if kind == "grey":  # the mean of the training pictures, which normalisation puts at 0
        return torch.zeros_like(x)
    if kind == "blurred":
        return gaussian_blur(x, [(x.shape[-1] // 8) * 2 + 1] * 2, [x.shape[-1] / 12] * 2)
    level = {"black": 0, "white": 255}[kind]
    return preprocessing.normalize(torch.full_like(x, level)).to(x.dtype)


def _saliency(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], _: Preprocessing) -> _Result:
    from captum.attr import Saliency

    return _Result(Saliency(model).attribute(x, target=target))


def _input_x_gradient(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], _: Preprocessing) -> _Result:
    from captum.attr import InputXGradient

    return _Result(InputXGradient(model).attribute(x, target=target))


def _integrated_gradients(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], pre: Preprocessing) -> _Result:
    from captum.attr import IntegratedGradients

    values, delta = IntegratedGradients(model).attribute(
        x,
        _baseline(x, settings["baseline"], pre),
        target=target,
        n_steps=settings["steps"],
        internal_batch_size=_INTERNAL_BATCH,
        return_convergence_delta=True,
    )
    return _Result(values, float(delta))


def _gradient_shap(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], pre: Preprocessing) -> _Result:
    from captum.attr import GradientShap

    # It has no internal batch size: equal parts, averaged, keep memory small and the estimate the same.
    parts = settings["samples"] // _INTERNAL_BATCH
    total, delta = torch.zeros_like(x), 0.0
    for _ in range(parts):
        values, deltas = GradientShap(model).attribute(
            x,
            _baseline(x, settings["baseline"], pre),
            target=target,
            n_samples=_INTERNAL_BATCH,
            stdevs=settings["noise"],
            return_convergence_delta=True,
        )
        total += values / parts
        delta += float(deltas.mean()) / parts
    return _Result(total, delta)


def _deep_lift(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], pre: Preprocessing) -> _Result:
    from captum.attr import DeepLift

    values, delta = DeepLift(rescalable(model)).attribute(
        x, _baseline(x, settings["baseline"], pre), target=target, return_convergence_delta=True
    )
    return _Result(values, float(delta))


def _guided_backprop(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], _: Preprocessing) -> _Result:
    from captum.attr import GuidedBackprop

    return _Result(GuidedBackprop(model).attribute(x, target=target))


def _occlusion(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], pre: Preprocessing) -> _Result:
    from captum.attr import Occlusion

    window, stride = settings["window"], settings["window"] // 2
    with torch.no_grad():
        values = Occlusion(model).attribute(
            x,
            (3, window, window),
            (3, stride, stride),
            _baseline(x, settings["baseline"], pre),
            target=target,
            perturbations_per_eval=_INTERNAL_BATCH,
        )
    return _Result(values[:, :1])  # the window covers all three channels, so each holds the same value


def _layer(model: MobileNet, choice: str) -> nn.Module:
    """Return the module whose output Grad-CAM weighs: what the pool averages, or the layer that feeds the first attention."""
    if choice == "last" or model.placement is None:
        return model.head
    number = model.placement.layers[0]
    return model.layers[str(number if model.placement.mode == "after" else number - 1)]


def _grad_cam(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], _: Preprocessing) -> _Result:
    from captum.attr import LayerAttribution, LayerGradCam

    cam = LayerGradCam(model, _layer(model, settings["layer"])).attribute(x, target=target)
    return _Result(LayerAttribution.interpolate(cam, tuple(x.shape[-2:]), "bilinear"))


def _guided_grad_cam(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], _: Preprocessing) -> _Result:
    from captum.attr import GuidedGradCam

    return _Result(GuidedGradCam(model, _layer(model, settings["layer"])).attribute(x, target=target, interpolate_mode="bilinear"))


def _smooth_grad(model: MobileNet, x: Tensor, target: int, settings: Mapping[str, Any], _: Preprocessing) -> _Result:
    from captum.attr import NoiseTunnel, Saliency

    return _Result(
        NoiseTunnel(Saliency(model)).attribute(
            x,
            target=target,
            nt_type="smoothgrad",
            nt_samples=settings["samples"],
            nt_samples_batch_size=_INTERNAL_BATCH,
            stdevs=settings["noise"],
        )
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
_RANDOM_METHODS = {"smooth_grad", "gradient_shap"}
