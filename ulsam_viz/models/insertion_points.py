"""Where in a network a module may stand: one pass of an example finds each submodule's output."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

_LISTED = 60  # names in an error: a large host has hundreds of submodules


class InsertionError(ValueError):
    """A place that cannot carry a module, or a host that cannot be looked into; the message lists what fits."""


@dataclass(frozen=True)
class Place:
    """A submodule that a module may follow, as one pass of an example found it.

    Attributes:
        name: Of the submodule within its host.
        shape: Of its output without the pictures, (C, H, W).
    """

    name: str
    shape: tuple[int, int, int]

    @property
    def groups(self) -> list[int]:
        """Numbers of subspaces that divide the channels."""
        return [g for g in range(1, self.shape[0] + 1) if self.shape[0] % g == 0]


def places_of(model: nn.Module, example: Tensor | None = None) -> list[Place]:
    """Return the submodules that :func:`~ulsam_viz.models.adapter.insert_ulsam` accepts, in the order of a pass.

    Args:
        model: Any network; it is not changed.
        example: As for :func:`~ulsam_viz.models.adapter.insert_ulsam`.
    """
    return look_into(model, example).places()


@dataclass
class Seen:
    """What one pass of an example showed.

    Attributes:
        example: What was run.
        calls: How often each submodule was called, by name.
        outputs: Tensors that they returned, the last of each, by name in the order in which they were done.
        shared: Names of submodules that stand in several places.
        classes: Of the answer, if it is logits (N, classes); 0 otherwise.
    """

    example: Tensor
    calls: Counter[str]
    outputs: dict[str, Tensor]
    shared: frozenset[str]
    classes: int = 0

    def places(self) -> list[Place]:
        """Return the submodules that a module may follow."""
        return [Place(name, _shape_of(self.outputs[name])) for name in self.outputs if not self.why_not(name)]

    @property
    def last(self) -> str:
        """The name of the last of them whose output has more than one place; of the last of all, if none has."""
        places = self.places()
        return ([p for p in places if p.shape[1] * p.shape[2] > 1] or places)[-1].name

    def why_not(self, name: str) -> str | None:
        """Say why a module cannot follow a submodule; None if it can."""
        if name in self.shared:
            return "stands in several places of the host"
        if self.calls[name] != 1:
            return (
                f"is called {self.calls[name]} times in a pass, and a module has one map"
                if self.calls[name]
                else "is not called"
            )
        if name not in self.outputs:
            return "does not return one tensor"
        shape = tuple(self.outputs[name].shape)
        if len(shape) != 4 or not self.outputs[name].is_floating_point():
            return f"returns the shape {shape}, not features (N, C, H, W)"
        if self._is_channels_last(shape):
            return f"returns the shape {shape}, which is (N, H, W, C), not (N, C, H, W)"
        return None

    def _is_channels_last(self, shape: tuple[int, ...]) -> bool:
        """Return which dimensions are spatial: those whose sizes are the example's."""
        if self.example.ndim != 4:
            return False
        height, width = self.example.shape[2:]
        first, last = (abs(a * width - b * height) for a, b in (shape[1:3], shape[2:4]))
        # Up to one cell may be lost to rounding where the sides differ.
        return first < last and first <= (0 if height == width else max(height, width))

    def check(self, name: str, groups: int) -> None:
        """Raise InsertionError unless a module of so many groups can follow this submodule."""
        if name not in self.calls:
            raise InsertionError(f"the host has no submodule '{name}'. {self._fitting(name)}")
        if reason := self.why_not(name):
            raise InsertionError(f"'{name}' {reason}. {self._fitting(name)}")
        place = Place(name, _shape_of(self.outputs[name]))
        if groups not in place.groups:
            raise InsertionError(
                f"{groups} groups do not divide the {place.shape[0]} channels of '{name}' evenly; these do: "
                f"{', '.join(map(str, place.groups))}"
            )

    def _fitting(self, wanted: str) -> str:
        """List what fits: all of it if it is not much, or else what lies least deep and nearest to what was wanted."""
        places = self.places()
        if not places:
            return "None of its submodules gives features (N, C, H, W) once in a pass"
        near = wanted.rpartition(".")[0]
        ranked = sorted(places, key=lambda p: (not (near and p.name.startswith(f"{near}.")), p.name.count(".")))
        listed = {p.name for p in ranked[:_LISTED]}
        names = ", ".join(f"{p.name} ({'x'.join(map(str, p.shape))})" for p in places if p.name in listed)
        more = f", and {len(places) - len(listed)} more inside these" if len(places) > len(listed) else ""
        return f"These fit (channels x height x width): {names}{more}"


def _shape_of(output: Tensor) -> tuple[int, int, int]:
    _, channels, height, width = output.shape
    return channels, height, width


@torch.no_grad()
def look_into(model: nn.Module, example: Tensor | None) -> Seen:
    """Run an example through a copy of a network, which is thrown away with its hooks.

    Arguments as of :func:`places_of`.
    """
    twin = copy.deepcopy(model).eval()
    some = next((t for t in chain(twin.parameters(), twin.buffers()) if t.is_floating_point()), torch.zeros(()))
    x = torch.zeros(1, 3, 224, 224, dtype=some.dtype) if example is None else example
    x = x.detach().to(some.device, some.dtype if x.is_floating_point() else x.dtype)
    names = [name for name, _ in twin.named_modules(remove_duplicate=False)]
    standing = Counter(module for _, module in twin.named_modules(remove_duplicate=False))
    shared = frozenset(name for name in names if standing[twin.get_submodule(name)] > 1)
    seen = Seen(x, Counter(dict.fromkeys(names, 0)), {}, shared)
    for name, module in twin.named_modules():
        if name:
            module.register_forward_hook(_note(seen, name))
    with torch.random.fork_rng(devices=[]):
        try:
            answer = twin(x)
        except Exception as error:
            raise InsertionError(
                f"the host cannot run an example of shape {tuple(x.shape)} ({type(error).__name__}: {error}); "
                "give one that it takes, as example=..."
            ) from error
    if isinstance(answer, Tensor) and answer.ndim == 2:
        seen.classes = answer.shape[1]
    del seen.calls[""]
    return seen


def _note(seen: Seen, name: str) -> Callable[[nn.Module, Any, Any], None]:
    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen.calls[name] += 1
        seen.outputs.pop(name, None)
        if isinstance(output, Tensor):
            seen.outputs[name] = output

    return note
