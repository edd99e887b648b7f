"""Post-hoc attributions by Captum: how much each pixel contributes to a class's logit.

Captum works with hooks, so a call needs a network of its own while it runs (the engine lends one). The network is the
same afterwards, after an error too.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..images.preprocessing import Preprocessing
from ..models.adapter import AttendedModel
from ..models.attention_network import AttentionNetwork
from ..models.network import Network
from ..models.optimize import nothing_in_place, relus_in_place
from .applicability import why_not_guided, why_not_rescaled
from .attention import Attention, attend
from .computations import AttributionError, Task
from .methods import METHODS, Method
from .refinement import TOLERANCE


@dataclass(frozen=True)
class Attribution:
    """One method's result for one target.

    Attributes:
        method: Name of the method.
        target: Class number.
        values: Shape (S, S), float32: positive speaks for the class, negative against, where ``signed``.
        signed: False where the method has magnitudes only.
        seconds: Time the computation took.
        passes: Pictures sent forward, and as many back for methods that use gradients; 0 where a pass that was done
            before was enough.
        delta: Sum of the attributions less the difference of the logit between picture and baseline; None where the
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

    @property
    def off(self) -> float | None:
        """The error of the attributions' sum as a share of the logit's difference.

        None for methods without such a sum.
        """
        if self.delta is None or self.explained is None:
            return None
        return abs(self.delta) / max(abs(self.explained), 1e-9)

    @property
    def note(self) -> str:
        """A few words about the values, for the caption of the map."""
        return ("signed" if self.signed else "magnitude") + (f", sum off by {self.off:.0%}" if self.warning else "")

    @property
    def warning(self) -> str:
        """A sentence of warning where the sum is off by more than 5 %; else ""."""
        if self.off is None or self.off <= TOLERANCE:
            return ""
        method = METHODS[self.method]
        return (
            f"{method.label}: the attributions should sum to the difference from the baseline, {self.explained:+.3f}, "
            f"and miss it by {self.off:.0%}, too much to rely on{method.remedy}."
        )


class AttributionWarning(UserWarning):
    """An attribution's sum is so far from what it should be that the map is not to be relied on."""


def attribute(
    model: AttentionNetwork,
    x: Tensor,
    *,
    method: str,
    target: int,
    preprocessing: Preprocessing,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    seen: Attention | None = None,
    show: Callable[[Attribution], None] = lambda so_far: None,
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
        seen: A finished pass of the same picture; methods that can be computed from it then need none of their own.
        show: Called with what is there so far by methods that refine their result.

    Returns:
        The attribution; signed values are summed, magnitudes maximised, over the colour channels.

    Raises:
        AttributionError: For an unknown method, setting or class, and for a method whose rule does not hold on this
            network.
    """
    if method not in METHODS:
        raise AttributionError(f"unknown method '{method}'; there are: {', '.join(METHODS)}")
    if not 0 <= target < model.num_classes:
        raise AttributionError(f"there is no class {target}; this network knows classes 0 to {model.num_classes - 1}")
    chosen = METHODS[method]
    values = chosen.complete(settings or {})
    started = time.perf_counter()
    passes = chosen.passes(values, x.shape[-1])
    if chosen.of_pass and isinstance(model, Network) and chosen.of_pass.fits(values):
        result = chosen.of_pass.run(seen or attend(model, x), model, target, x.shape[-1])
        return _record(chosen, target, result, time.perf_counter() - started, 0 if seen else passes)
    x = x.detach().clone().to(model.device)  # Captum changes requires_grad of what it is given
    _quieten_captum()
    # Overwriting saves a sixth of the time, where Captum puts no hooks on the ReLUs.
    in_place = nothing_in_place(model) if chosen.hooks_relus else relus_in_place(model)
    refuse_where_wrong(model, x, method)
    explained: float | None = None
    taken = passes

    def record(result: Tensor) -> Attribution:
        delta = None if explained is None else float(result.double().sum()) - explained
        return _record(chosen, target, result, time.perf_counter() - started, taken, delta, explained)

    def report(result: Tensor, passes_so_far: int) -> None:
        nonlocal taken
        taken = passes_so_far
        show(record(result))

    task = Task(target, values, preprocessing, torch.Generator().manual_seed(seed), report)
    if chosen.complete_sum:
        with torch.inference_mode():
            logits = model(torch.cat((x, task.baseline(x))))[:, target]
        explained = float(logits[0] - logits[1])
    with _unchanged(model), in_place:
        result = chosen.run(model, x, task).detach()
    return record(result)


def refuse_where_wrong(model: AttentionNetwork, x: Tensor, method: str) -> None:
    """Raise AttributionError, with the reason, if a method's rule does not hold on a foreign network."""
    if not isinstance(model, AttendedModel):
        return
    checks = {"deep_lift": why_not_rescaled, "guided_backprop": why_not_guided, "guided_grad_cam": why_not_guided}
    if method in checks and (reason := checks[method](model, x.to(model.device))):
        raise AttributionError(f"{METHODS[method].label} cannot be trusted on {model.title}: {reason}")


def attribute_each(
    model: AttentionNetwork,
    x: Tensor,
    *,
    method: str,
    targets: Sequence[int],
    preprocessing: Preprocessing,
    seen: Sequence[Attention],
) -> list[np.ndarray]:
    """Attribute a class's logit for each of several pictures, all in one pass where the method can.

    Args:
        model: An optimised network in eval mode that no other thread uses meanwhile.
        x: Normalised pictures, shape (N, 3, S, S).
        method: A name from :data:`METHODS`, with its default settings.
        targets: Class number for each picture.
        preprocessing: The variant's.
        seen: A finished pass of each.

    Returns:
        The ``values`` of :func:`attribute` for each picture.

    Raises:
        AttributionError: For an unknown method or class.
    """
    chosen = METHODS.get(method)
    if chosen is None or not chosen.takes_several or not all(0 <= target < model.num_classes for target in targets):
        each = zip(x.split(1), targets, seen, strict=True)
        return [
            attribute(model, one, method=method, target=target, preprocessing=preprocessing, seen=done).values
            for one, target, done in each
        ]
    x = x.detach().clone().to(model.device)  # as in `attribute`
    _quieten_captum()
    in_place = nullcontext() if chosen.hooks_relus else relus_in_place(model)
    task = Task(torch.tensor(targets, device=x.device), chosen.complete({}), preprocessing, torch.Generator())
    with _unchanged(model), in_place:
        result = chosen.run(model, x, task).detach()
    return [values.float().cpu().numpy() for values in _over_colours(chosen, result)]


def _over_colours(method: Method, result: Tensor) -> Tensor:
    return result.sum(1) if method.signed else result.amax(1)


def _record(
    method: Method,
    target: int,
    result: Tensor,
    seconds: float,
    passes: int,
    delta: float | None = None,
    explained: float | None = None,
) -> Attribution:
    values = _over_colours(method, result)[0].float().cpu().numpy()
    return Attribution(method.name, target, values, method.signed, seconds, passes, delta, explained, method.caveat)


@cache
def _quieten_captum() -> None:
    """Silence "setting hooks" and the like, true of every call.

    Once, since changing filters call by call is not thread-safe.
    """
    warnings.filterwarnings("ignore", category=UserWarning, module=r"captum\.")


@contextmanager
def _unchanged(model: AttentionNetwork) -> Iterator[None]:
    """Put every module's hooks back as they were: some of Captum's methods leave theirs behind after an error."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    before = [(hooks, dict(hooks)) for module in model.modules() for hooks in (getattr(module, n) for n in names)]
    try:
        yield
    finally:
        for hooks, kept in before:
            hooks.clear()
            hooks.update(kept)
