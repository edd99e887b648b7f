"""How each attribution method is computed: by Captum, or around its gradients.

All have one signature: network, picture (1, 3, S, S), task -> (1, 3 or 1, S, S).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..images.preprocessing import Preprocessing
from ..models.attention_network import AttentionNetwork
from ..models.network import Network
from .attention import Attention
from .refinement import refined_gradients
from .rescale import NoRuleError, rescalable

# Pictures in one pass: more are slower (16: 1.1 to 1.6 times), take more memory, and short work waits longer between
# two passes.
_INTERNAL_BATCH = 8


class AttributionError(ValueError):
    """A method, setting or target that is not valid; the message names the valid ones."""


@dataclass(frozen=True)
class Task:
    """A request for one attribution: network, picture, target and settings.

    Attributes:
        target: Class number; of several pictures, one for each, shape (N,).
        settings: All settings of the method.
        preprocessing: The variant's, for baselines that are colours.
        random: What random numbers are drawn from: the task's own, on the CPU, so the process's generators stay as they
            are and every device sees the same draws.
        report: Called by methods that refine their result with what they have so far, (1, 1, S, S), and the passes it
            took.
    """

    target: int | Tensor
    settings: Mapping[str, Any]
    preprocessing: Preprocessing
    random: torch.Generator
    report: Callable[[Tensor, int], None] = lambda result, passes: None

    def baseline(self, x: Tensor) -> Tensor:
        """Return the baseline that the settings name, shape of ``x``."""
        return baseline_of(x, self.settings["baseline"], self.preprocessing)


def baseline_of(x: Tensor, kind: str, preprocessing: Preprocessing) -> Tensor:
    """Return a baseline picture (black, grey, blurred ...), shape (1, 3, S, S), normalised."""
    if kind == "grey":  # the mean of the training pictures, which normalisation puts at 0
        return torch.zeros_like(x)
    if kind == "blurred":
        from torchvision.transforms.v2.functional import gaussian_blur

        return gaussian_blur(x, [(x.shape[-1] // 8) * 2 + 1] * 2, [x.shape[-1] / 12] * 2)
    level = {"black": 0, "white": 255}[kind]
    return preprocessing.normalize(torch.full_like(x, level)).to(x.dtype)


def saliency(model: AttentionNetwork, x: Tensor, task: Task) -> Tensor:
    """Magnitude of the gradient."""
    from captum.attr import Saliency

    return Saliency(model).attribute(x, target=task.target)


def input_x_gradient(model: AttentionNetwork, x: Tensor, task: Task) -> Tensor:
    """Picture times gradient."""
    from captum.attr import InputXGradient

    return InputXGradient(model).attribute(x, target=task.target)


def integrated_gradients(model: AttentionNetwork, x: Tensor, task: Task) -> Tensor:
    """Gradients along the straight path from the baseline, at as many points as the sum needs or at a fixed number."""
    if task.settings["steps"] == "auto":
        assert isinstance(task.target, int)  # this method takes one picture
        return refined_gradients(model, x, task.baseline(x), task.target, report=task.report)
    from captum.attr import IntegratedGradients

    return IntegratedGradients(model).attribute(
        x,
        task.baseline(x),
        target=task.target,
        n_steps=task.settings["steps"],
        internal_batch_size=_INTERNAL_BATCH,
    )


def gradient_shap(model: AttentionNetwork, x: Tensor, task: Task) -> Tensor:
    """Gradients at random points between baseline and noisy picture, times the difference.

    As Captum's ``GradientShap``.
    """
    from captum.attr import Saliency

    baseline, total = task.baseline(x), torch.zeros_like(x)
    for noisy in _noisy(x, task):
        way = torch.rand(len(noisy), 1, 1, 1, generator=task.random, dtype=torch.float32).to(x)
        gradient = Saliency(model).attribute(torch.lerp(baseline, noisy, way), target=task.target, abs=False)
        total += ((noisy - baseline) * gradient).sum(0, keepdim=True)
    return total / task.settings["samples"]


def deep_lift(model: AttentionNetwork, x: Tensor, task: Task) -> Tensor:
    """Rescale rule, on a twin of the network whose steps all have exact rules."""
    from captum.attr import DeepLift

    try:
        return DeepLift(rescalable(model)).attribute(x, task.baseline(x), target=task.target)
    except NoRuleError as error:
        raise AttributionError(
            f"DeepLift {error}, so its attributions would not sum to the logit's difference"
        ) from error


def guided_backprop(model: AttentionNetwork, x: Tensor, task: Task) -> Tensor:
    """A gradient that drops every negative part."""
    from captum.attr import GuidedBackprop

    return GuidedBackprop(model).attribute(x, target=task.target)


def occlusion(model: AttentionNetwork, x: Tensor, task: Task) -> Tensor:
    """Fall of the logit when a square is covered."""
    from captum.attr import Occlusion

    window, stride = task.settings["window"], task.settings["window"] // 2
    with torch.no_grad():
        values = Occlusion(model).attribute(
            x,
            (3, window, window),
            (3, stride, stride),
            task.baseline(x),
            target=task.target,
            perturbations_per_eval=_INTERNAL_BATCH,
        )
    return values[:, :1]  # the window covers all three channels, so each holds the same value


def _layer(model: AttentionNetwork, choice: str) -> nn.Module:
    """Return the module whose output Grad-CAM weights.

    The input of the global pool, or the layer before the first attention.
    """
    if choice == "last":
        return model.last_grid
    if not model.attended:
        raise AttributionError("the plain control has no layer that feeds an attention module; choose the last layer")
    return model.feeding(model.attended[0])


def grad_cam_of_pass(seen: Attention, model: Network, target: int, size: int) -> Tensor:
    """Compute Grad-CAM of the last layer from a pass that is done: behind it lie only a mean and one linear layer.

    The mean gradient of class t's logit on channel c is W[t, c] / (H * W), so no pass back is needed.

    Returns:
        Attributions, shape (1, 1, size, size).
    """
    assert seen.features is not None  # a network of the house was asked
    features = torch.tensor(seen.features)  # (C, H, W); a copy, since results are read-only
    weights = model.classifier.weight[target].float().cpu() / (features.shape[1] * features.shape[2])
    cam = torch.tensordot(weights, features, 1)
    return functional.interpolate(cam[None, None], (size, size), mode="bilinear")


def grad_cam(model: AttentionNetwork, x: Tensor, task: Task) -> Tensor:
    """Channels weighed by their mean gradient; of a layer inside the network."""
    from captum.attr import LayerAttribution, LayerGradCam

    cam = LayerGradCam(model, _layer(model, task.settings["layer"])).attribute(x, target=task.target)
    return LayerAttribution.interpolate(cam, tuple(x.shape[-2:]), "bilinear")


def guided_grad_cam(model: AttentionNetwork, x: Tensor, task: Task) -> Tensor:
    """Guided backprop, kept where Grad-CAM is positive."""
    from captum.attr import GuidedGradCam

    return GuidedGradCam(model, _layer(model, task.settings["layer"])).attribute(
        x, target=task.target, interpolate_mode="bilinear"
    )


def smooth_grad(model: AttentionNetwork, x: Tensor, task: Task) -> Tensor:
    """Magnitude of the mean signed gradient over noisy copies, as Smilkov et al. define it.

    As Captum's ``NoiseTunnel``.
    """
    from captum.attr import Saliency

    total = torch.zeros_like(x)
    for noisy in _noisy(x, task):
        total += Saliency(model).attribute(noisy, target=task.target, abs=False).sum(0, keepdim=True)
    return (total / task.settings["samples"]).abs()


def _noisy(x: Tensor, task: Task) -> Iterator[Tensor]:
    """Yield as many noisy copies of a picture as there are samples, a few at a time: (n, 3, S, S).

    The noise is a share of the range of the picture's normalised values, whatever a network's normalisation makes of
    them.
    """
    deviation = task.settings["noise"] * (x.max() - x.min())
    for start in range(0, task.settings["samples"], _INTERNAL_BATCH):
        count = min(_INTERNAL_BATCH, task.settings["samples"] - start)
        yield x + deviation * torch.randn(count, *x.shape[1:], generator=task.random).to(x)
