"""ULSAM modules in any network: :func:`insert_ulsam`.

Each named submodule S of a copy is replaced by a small module with two children, ``layer`` (S itself) and
``attention``. The host's code stays as it is and calls them in S's place. Maps go from inside the host's pass to who
asked for them by a context variable, so nothing is stored on a module: several threads may use one network at once.

Keys of the state dict are the host's own, but for the named submodules: ``features.13.weight`` is
``features.13.layer.weight``, and beside it stands ``features.13.attention.depthwise.weight``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn

from .attention_network import AS_TRAINED, Changes, Restart, attend_to
from .insertion_points import InsertionError, look_into
from .ulsam import ULSAM, Gain, check_gain


def insert_ulsam(
    model: nn.Module, groups: Mapping[str, int], *, gain: Gain = "published", example: Tensor | None = None
) -> AttendedModel:
    """Return a copy of a network with ULSAM modules after named submodules.

    Args:
        model: Any network; it is copied, never changed. Weights, modes and what needs gradients stay as they are.
        groups: By name of a submodule, as ``model.named_modules()`` gives it, the number of subspaces of the module
            after it.
        gain: Of all modules, see :data:`~ulsam_viz.models.ulsam.Gain`.
        example: What one pass takes, shape (N, C, H, W), to find each output's shape; by default one picture (1, 3,
            224, 224).

    Returns:
        The copy. New modules stand on the device, and have the precision, of what they follow; they are in training
        mode where it is.

    Raises:
        InsertionError: For a name that the host does not have, does not call, or calls several times in a pass, for an
            output that is not (N, C, H, W), and for groups that do not divide its channels; the message lists what
            fits.
        ValueError: For an unknown gain.

    Example:
        >>> from torchvision.models import mobilenet_v2
        >>> network = insert_ulsam(mobilenet_v2(), {"features.13": 4, "features.17": 8})
        >>> logits, maps = network.forward_with_attention(torch.zeros(1, 3, 224, 224))
        >>> maps["features.13"].shape
        torch.Size([1, 4, 14, 14])
    """
    check_gain(gain)
    if not groups:
        raise InsertionError("name at least one submodule, with its number of groups")
    seen = look_into(model, example)
    for name, count in groups.items():
        seen.check(name, count)
    host = copy.deepcopy(model)
    last = host.get_submodule(seen.last)
    inserted: dict[str, AttendedLayer] = {}
    # The innermost first, so that the names of those around it still hold.
    for name in sorted(groups, key=lambda n: -n.count(".")):
        parent, _, own = name.rpartition(".")
        layer, output = host.get_submodule(name), seen.outputs[name]
        module = ULSAM(output.shape[1], groups[name], gain).to(output.device, output.dtype).train(layer.training)
        inserted[name] = AttendedLayer(layer, module)
        if layer is last:
            last = inserted[name]
        host.get_submodule(parent)._modules[own] = inserted[name]
    paths = {module: path for path, module in host.named_modules()}
    places = {name: paths[inserted[name]] for name in seen.outputs if name in inserted}  # in the order of the pass
    return AttendedModel(host, places, paths[last], seen.classes)


class AttendedLayer(nn.Module):
    """A submodule of a host, and the attention that follows it; what else the host asks of it, the submodule answers.

    Args:
        layer: The host's own.
        attention: A module of its output's channels.
    """

    def __init__(self, layer: nn.Module, attention: nn.Module) -> None:
        super().__init__()
        self.layer, self.attention = layer, attention
        self.training = layer.training

    def __getattr__(self, name: str) -> Any:
        # Hosts read strides, channels and switches off their children.
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the submodule's output re-weighted, shape (N, m, H, W)."""
        features = self.layer(*args, **kwargs)
        # A compiled pass is always a plain one.
        watched = None if torch.compiler.is_compiling() and not torch.compiler.is_exporting() else _WATCHED.get()
        if watched is None or self not in watched.names:
            return self.attention(features)
        return watched.attend(self, features)


@dataclass
class _Pass:
    """The changes wanted of one pass, and the maps found so far.

    Attributes:
        names: Of the layers that are looked at.
        changes: By name, what takes effect in the place of a gain beyond 1.
        outputs: By name, what leaves a module in the place of its own output.
        features: By name, what entered each module.
        maps: By name, in the order of the pass.
    """

    names: Mapping[AttendedLayer, str]
    changes: Changes = field(default_factory=dict)
    outputs: Mapping[str, Tensor] = field(default_factory=dict)
    features: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)

    def attend(self, layer: AttendedLayer, features: Tensor) -> Tensor:
        name = self.names[layer]
        if name in self.features:
            raise RuntimeError(f"the host called '{name}' several times in one pass: it has no one map there")
        self.features[name] = features
        if name in self.outputs:
            return self.outputs[name]
        output, self.maps[name] = attend_to(layer.attention, features, self.changes.get(name))
        return output


_WATCHED: ContextVar[_Pass | None] = ContextVar("watched", default=None)


class AttendedModel(nn.Module):
    """Any network with ULSAM modules in it; :func:`insert_ulsam` makes one.

    It is an :class:`~.attention_network.AttentionNetwork`.

    Called, it does what the host does, and returns what the host returns. Layers are called by the names of the
    submodules that the modules follow. It trains, is copied, saved and compiled as any module is; its state dict has
    the host's keys (see the top of this file) without a prefix of its own.

    Args:
        host: With its :class:`AttendedLayer`\\ s; it is kept, not copied.
        places: By name, where in the host each of them stands, in the order of a pass.
        last_place: The submodule with the last output that has places.
        classes: Number of logits; 0 if the output is something else, which attributions and effects cannot be asked
            for.

    Attributes:
        num_classes: The same number.
        own_layout: Whether pictures are brought into PyTorch's own memory layout first, so that a host may call
            ``view`` on its features; the inference form does so.
    """

    def __init__(self, host: nn.Module, places: Mapping[str, str], last_place: str, classes: int) -> None:
        super().__init__()
        self.model = host
        self._places, self._last_place, self.num_classes = dict(places), last_place, classes
        self.own_layout = False
        self.training = host.training

    @property
    def title(self) -> str:
        """The host's name for people: that of its class."""
        return type(self.model).__name__

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(chain(self.parameters(), self.buffers())).device

    @property
    def attended(self) -> tuple[str, ...]:
        """The names of the submodules that a module follows, in the order of a pass."""
        return tuple(self._places)

    @property
    def last_grid(self) -> nn.Module:
        """The last submodule of a pass whose output (N, C, H, W) has more than one place."""
        return self.model.get_submodule(self._last_place)

    def feeding(self, layer: str) -> nn.Module:
        """Return the host's own submodule that a module follows."""
        return self._layer(layer).layer

    def attention_of(self, layer: str) -> Any:
        """Return the module after a submodule, in whichever of its forms.

        Raises:
            ValueError: If none follows it.
        """
        return self._layer(layer).attention

    def _layer(self, name: str) -> AttendedLayer:
        if name not in self._places:
            raise ValueError(f"layer {name} carries no attention module; those that do: {', '.join(self._places)}")
        return cast(AttendedLayer, self.model.get_submodule(self._places[name]))

    def without_attention(self) -> nn.Module:
        """Return a copy of the host as it was handed in, with the weights that it has now."""
        host = copy.deepcopy(self.model)
        for parent in list(host.modules()):
            for name, child in parent._modules.items():
                if isinstance(child, AttendedLayer):
                    parent._modules[name] = child.layer
        return host

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the host returns; logits (N, classes) for pictures (N, 3, H, W)."""
        if self.own_layout:
            args = tuple(given.contiguous() if isinstance(given, Tensor) else given for given in args)
        return self.model(*args, **kwargs)

    def forward_with_attention(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Tensor]]:
        """Run one pass: what the host returns, and by name the maps (N, g, H, W) of the modules that it met.

        Raises:
            RuntimeError: If the host calls one of them several times.
        """
        with self._watched() as watched:
            output = self.forward(*args, **kwargs)
        return output, watched.maps

    def look(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor], None]:
        """Run one pass: logits and maps; what a foreign classifier reads is not known."""
        return *self.forward_with_attention(x), None

    def restart_at(self, x: Tensor, layer: str) -> Restart:
        """Run pictures (N, 3, H, W), and keep what enters a module.

        What follows is whole passes with one output replaced.

        Raises:
            ValueError: If no module follows that submodule.
        """
        module = self.attention_of(layer)
        with self._watched() as watched:
            self.forward(x)
        features = watched.features[layer]
        return Restart(
            features,
            lambda changes: self._changed(x, layer, features, module, changes),
            lambda output: self._replaced(x, layer, output),
        )

    def _changed(
        self, x: Tensor, layer: str, features: Tensor, module: Any, changes: Changes
    ) -> tuple[Tensor, dict[Any, Tensor]]:
        """Run a pass whose gains are changed from a layer on."""
        later = self.attended[self.attended.index(layer) :]
        changes = {name: change for name, change in changes.items() if name in later}
        # From the features of the first pass, so that rounding does not depend on how many changes run together.
        output, own = attend_to(module, features, changes.get(layer))
        with self._watched(changes, {layer: output}) as watched:
            logits = self.forward(_as_many(x, output))
        return logits, {layer: own} | {name: maps for name, maps in watched.maps.items() if name in later}

    def _replaced(self, x: Tensor, layer: str, output: Tensor) -> Tensor:
        with self._watched(outputs={layer: output}):
            return self.forward(_as_many(x, output))

    @contextmanager
    def _watched(self, changes: Changes = AS_TRAINED, outputs: Mapping[str, Tensor] | None = None) -> Iterator[_Pass]:
        """Record the pass that this thread runs within the context."""
        watched = _Pass({self._layer(name): name for name in self._places}, changes, outputs or {})
        token = _WATCHED.set(watched)
        try:
            yield watched
        finally:
            _WATCHED.reset(token)

    # The host's keys, without a "model." before them: here, and where this network is part of another.
    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the state dict; keys are the host's."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what :meth:`state_dict` returned."""
        return self.model.load_state_dict(state_dict, strict, assign)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            state_dict[f"{prefix}model.{key.removeprefix(prefix)}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _as_many(x: Tensor, wanted: Tensor) -> Tensor:
    """Repeat one picture as often as there are changes of it: hosts may join later features with earlier ones."""
    return x if len(x) == len(wanted) else x.expand(len(wanted), *x.shape[1:])
