"""MobileNets with ULSAM modules that others wrote -> our tensors and a placement, read off order, names and shapes.

Implementations name their layers in many ways (``model.3.0``, ``features.3.conv.0.0``, ``layers.3.conv1``), but their
convolutions come in one order, each with its norm behind it, and shapes tell a stem, a depthwise and a pointwise
convolution apart. So names serve for the order alone. Modules are found by the names that the paper's code, or this
program, gives their parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..models.backbones import BACKBONES
from ..models.network import Mode, Network, Placement
from ..models.ulsam import ULSAM, Gain
from .variants import CheckpointError

#: Widths that a file's channels could mean are tried up to this one.
_WIDEST = 16
# MobileNet-V2 has 52 convolutions, and a module for each of its blocks would be 17.
_MOST_LAYERS, _MOST_MODULES = 64, 32
_REFERENCE = re.compile(r"(.*?)(subspaces\.\d+\.(?:conv_dws|bn_dws|conv_point|bn_point)\..+)")
_OURS = re.compile(
    r"(.*?)((?:depthwise|depthwise_norm|pointwise|pointwise_norm)\.(?:weight|bias|running_mean|running_var))"
)
_NORM = {"weight", "bias", "running_mean", "running_var"}


#: Below this side, in pixels, a stem that halves the picture leaves a network of five halvings hardly a grid.
SMALL_INPUT = 64
_TORCHVISION_STEM = "features.0.0"
#: Why a network whose stem has stride 1 is refused.
STEM_KEEPS_SIZE = (
    "its stem keeps the picture's size (stride 1, as for CIFAR), and those of this program's networks halve it, so "
    "maps would be too coarse; show the live network from Python instead: explain(picture, insert_ulsam(network, "
    "{...}), preprocessing=...)"
)


@dataclass(frozen=True)
class Recognised:
    """What a state dict holds, in this program's terms.

    Attributes:
        layout: Whose names its tensors had, for people.
        backbone, width, placement: The network.
        classes: Size of its output.
        weights: Our names -> tensors of the dtype that they had; norms' counters left out.
        notes: What could not be read and was assumed, a sentence each.
    """

    layout: str
    backbone: str
    width: float
    placement: Placement | None
    classes: int
    weights: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Unit:
    """A layer of the file: a name and the tensors under it."""

    prefix: str
    tensors: Mapping[str, Tensor]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensors["weight"].shape)

    @property
    def kind(self) -> str:
        """Stem, depthwise, pointwise or other; of convolutions."""
        if self.shape[1:] == (3, 3, 3):
            return "stem"
        if self.shape[1:] == (1, 3, 3):
            return "depthwise"
        return "pointwise" if self.shape[2:] == (1, 1) else "other"


@dataclass(frozen=True)
class _Module:
    """A ULSAM module of the file."""

    prefix: str
    weights: Mapping[str, Tensor]
    theirs: bool

    @property
    def channels(self) -> int:
        return len(self.weights["depthwise.weight"])

    @property
    def groups(self) -> int:
        return len(self.weights["pointwise.weight"])


# A convolution with its norm.
_Pair = tuple[_Unit, _Unit]


@dataclass(frozen=True)
class _Trunk:
    """The convolutions of a network in order, each with its norm, as layers.

    Attributes:
        stem: Layer 1.
        blocks: The others that are there.
        head: What MobileNet-V2 has behind them.
    """

    stem: _Pair
    blocks: tuple[tuple[_Pair, ...], ...]
    head: _Pair | None

    @property
    def backbone(self) -> str:
        """Which network it is: MobileNet-V1's blocks do not expand."""
        return "mobilenet_v1" if self.head is None else "mobilenet_v2"

    @property
    def outputs(self) -> list[int]:
        """Output channels of each block."""
        return [block[-1][0].shape[0] for block in self.blocks]


def recognise_foreign(
    tensors: Mapping[str, Tensor],
    *,
    gain: Gain = "published",
    layers: Sequence[int] | None = None,
    eps: float | None = None,
    input_size: int = 224,
    stem_stride: int | None = None,
) -> Recognised:
    """Find a MobileNet-V1 or V2 with or without ULSAM modules in a state dict.

    Args:
        tensors: The state dict, without norms' counters.
        gain: Of the modules: nothing in a file tells it.
        layers: Layers of the modules, in the order of their names; None finds them where it can.
        eps: Of its norms, if not PyTorch's 1e-5; as nothing in a file tells it either.
        input_size: Side of its input in pixels.
        stem_stride: Of its first convolution; None takes 2, unless the input is small: then it must be said.

    Raises:
        CheckpointError: If some tensors are not understood (which, and how many), the parts are not one of these
            networks, or where its modules stand cannot be told.
    """
    modules, rest = _modules_in(tensors)
    _refuse_dense(rest)
    convs, norms, classifier = _units_in(rest)
    trunk = _trunk_of(convs, norms)
    sure = stem_stride is not None or trunk.stem[0].prefix == _TORCHVISION_STEM
    if input_size < SMALL_INPUT and not sure:
        raise CheckpointError(
            f"a file does not tell strides, and networks for inputs of {input_size} px often have a stem that keeps "
            "the picture's size (stride 1), where those of this program halve it; say which it is (--stem-stride 1 or "
            "2, or “Its stem” on the page)"
        )
    network = BACKBONES[trunk.backbone]
    width = _width_of(trunk, network)
    placement = _placement_of(modules, trunk, _shapes(network, width), gain=gain, layers=layers)
    classes = classifier.shape[0]
    with torch.device("meta"):
        ours = network(width, classes, placement)
    weights = _renamed(ours, trunk, classifier) | _renamed_modules(placement, _ordered(modules))
    if eps is not None:
        # A norm reads its variance with eps added, and ours has an eps of its own.
        weights = {k: v.float() + (eps - 1e-5) if k.endswith("running_var") else v for k, v in weights.items()}
    whose = (
        "the paper's code" if any(m.theirs for m in modules) else "this program's modules" if modules else "no modules"
    )
    return Recognised(
        f"{network.title} with the names of '{trunk.stem[0].prefix}', {whose}",
        trunk.backbone,
        width,
        placement,
        classes,
        weights,
        _notes(trunk, modules, sure),
    )


def _notes(trunk: _Trunk, modules: Sequence[_Module], sure: bool) -> tuple[str, ...]:
    notes = ["Strides and activations cannot be read from a file; those of the paper's network for 224 px were taken."]
    if not sure:
        notes.append(
            "Its stem was taken to halve the picture; if it keeps its size (stride 1, as for CIFAR), these are not its "
            "maps."
        )
    inside = [m.prefix for m in modules if any(_is_named_part(m, block) for block in trunk.blocks)]
    if inside:
        notes.append(f"'{inside[0]}' is part of a layer; it was taken to follow all of it.")
    return tuple(notes)


def _modules_in(tensors: Mapping[str, Tensor]) -> tuple[list[_Module], dict[str, Tensor]]:
    """Take the ULSAM modules out of a state dict; return them, and what is left."""
    theirs: dict[str, dict[str, Tensor]] = {}
    ours: dict[str, dict[str, Tensor]] = {}
    rest = {}
    for key, value in tensors.items():
        if match := _REFERENCE.fullmatch(key):
            theirs.setdefault(match[1], {})[match[2]] = value
        elif (match := _OURS.fullmatch(key)) and f"{match[1]}depthwise_norm.running_var" in tensors:
            ours.setdefault(match[1], {})[match[2]] = value
        else:
            rest[key] = value
    modules = []
    for prefix, parts in theirs.items():
        try:
            weights = ULSAM.from_reference(parts).state_dict()
        except (ValueError, RuntimeError, IndexError) as error:
            raise CheckpointError(
                f"the module '{prefix.rstrip('.')}' is not as in the paper's code: {error}"
            ) from error
        modules.append(_Module(prefix.rstrip("."), _without_counters(weights), theirs=True))
    for prefix, parts in ours.items():
        if parts.keys() != {
            f"{layer}.{name}" for layer in ("depthwise", "pointwise") for name in ("weight", "bias")
        } | {f"{layer}_norm.{name}" for layer in ("depthwise", "pointwise") for name in _NORM} or any(
            value.ndim == 0 for value in parts.values()
        ):
            raise CheckpointError(f"the module '{prefix.rstrip('.')}' lacks tensors of a ULSAM module")
        modules.append(_Module(prefix.rstrip("."), parts, theirs=False))
    if len(modules) > _MOST_MODULES:
        raise CheckpointError(f"it holds {len(modules)} ULSAM modules; at most {_MOST_MODULES} can be placed")
    return modules, rest


def check_pictures(tensors: Mapping[str, Tensor]) -> None:
    """Refuse a network of pictures that are not RGB.

    Raises:
        CheckpointError: With the number of channels that it takes.
    """
    filters = [key for key, value in tensors.items() if value.ndim == 4 and value.shape[-1] > 1]
    if filters and not any(tensors[key].shape[1] == 3 for key in filters):
        first = min(filters, key=lambda key: _order(key.rpartition(".")[0]))
        channels = tensors[first].shape[1]
        raise CheckpointError(
            f"its first convolution '{first[:60]}' takes pictures of {channels} channel{'s' * (channels != 1)}, and "
            "networks here take three "
            "(RGB)" + ("; weight.repeat(1, 3, 1, 1) / 3 makes one for RGB of it" if channels == 1 else "")
        )


def _refuse_dense(tensors: Mapping[str, Tensor]) -> None:
    """Refuse networks whose filters mix all channels: a MobileNet's do so in its stem alone."""
    dense = [key for key, value in tensors.items() if value.ndim == 4 and value.shape[1] > 3 and value.shape[-1] > 1]
    if dense:
        residual = any(re.search(r"(^|\.)layer\d\.\d+\.(conv\d|downsample)", key) for key in tensors)
        kind = "a ResNet's" if residual else "of a network with dense convolutions, as ResNets and VGGs have"
        raise CheckpointError(
            f"its tensors are no MobileNet's but {kind}: '{dense[0][:60]}' mixes {tensors[dense[0]].shape[1]} "
            "channels; files of MobileNet-V1 and V2 can be read, other networks are shown live, from Python "
            "(insert_ulsam, explain)"
        )


def _without_counters(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}


def _units_in(tensors: Mapping[str, Tensor]) -> tuple[list[_Unit], list[_Unit], _Unit]:
    """Sort the tensors of no ULSAM module into convolutions, norms and the classifier."""
    by_prefix: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        prefix, _, name = key.rpartition(".")
        by_prefix.setdefault(prefix, {})[name] = value
    convs, norms, classifiers, unknown = [], [], [], []
    for prefix, parts in by_prefix.items():
        dims = parts["weight"].ndim if "weight" in parts else 0
        if parts.keys() == {"weight"} and dims == 4:
            convs.append(_Unit(prefix, parts))
        elif parts.keys() == _NORM and dims == 1:
            norms.append(_Unit(prefix, parts))
        elif parts.keys() == {"weight", "bias"} and (dims == 2 or (dims == 4 and parts["weight"].shape[2:] == (1, 1))):
            classifiers.append(_Unit(prefix, parts | {"weight": parts["weight"].flatten(1)}))
        else:
            unknown += [f"{prefix}.{name}".lstrip(".") for name in parts]
    if unknown or len(classifiers) > 1:
        raise not_understood(unknown or [f"{unit.prefix}.weight" for unit in classifiers], len(tensors))
    if not classifiers or not convs:
        raise CheckpointError(
            f"its tensors are no MobileNet's: {len(convs)} convolutions, {len(norms)} norms and {len(classifiers)} "
            f"classifiers were found, for example '{next(iter(tensors), 'none')[:60]}'"
        )
    return convs, norms, classifiers[0]


def not_understood(keys: Sequence[str], total: int) -> CheckpointError:
    """Return the error that names keys of a state dict, the first few and how many."""
    shown = ", ".join(f"'{key[:60]}'" for key in keys[:3]) + (", ..." if len(keys) > 3 else "")
    return CheckpointError(f"{len(keys)} of its {total} tensors were not understood: {shown}")


def _order(prefix: str, *, norm: bool = False) -> tuple[tuple[int, str, bool], ...]:
    """Return a sort key for layers in running order: the numbers in their names, a norm after its convolution."""
    parts = prefix.split(".") if prefix else []
    keys = []
    for i, part in enumerate(parts):
        word = part.rstrip("0123456789")
        digits = part[len(word) :][:9]
        kind = re.sub(r"conv|batchnorm|norm|bn|_", "", word.lower())
        keys.append((int(digits) if digits else -1, kind, norm and i == len(parts) - 1))
    return tuple(keys)


def _trunk_of(convs: Sequence[_Unit], norms: Sequence[_Unit]) -> _Trunk:
    """Bring convolutions and norms in order: by the numbers in their names, or else as they come in the file."""
    stems = [unit for unit in convs if unit.kind == "stem"]
    if len(stems) != 1 or len(convs) != len(norms) or len(convs) > _MOST_LAYERS:
        raise CheckpointError(
            f"its tensors are no MobileNet's: {len(convs)} convolutions with {len(norms)} norms, {len(stems)} of them "
            "for pictures"
        )
    named = (
        [*sorted(convs, key=lambda u: _order(u.prefix))],
        [*sorted(norms, key=lambda u: _order(u.prefix, norm=True))],
    )
    mixed = sorted(
        [(_order(u.prefix), 0, u) for u in convs] + [(_order(u.prefix, norm=True), 1, u) for u in norms],
        key=lambda e: e[:2],
    )
    both = [unit for _, _, unit in mixed]
    pairs = list(zip(both[::2], both[1::2], strict=True))
    for candidate in (pairs, list(zip(*named, strict=True)), list(zip(convs, norms, strict=True))):
        trunk = _as_trunk(candidate)
        if trunk:
            return trunk
    raise CheckpointError(
        f"its {len(convs)} convolutions are not in the order of a MobileNet-V1 (depthwise, pointwise, ...) or V2 "
        f"(expanding, depthwise, projecting, ...): '{convs[0].prefix[:60]}', '{convs[-1].prefix[:60]}' ..."
    )


def _as_trunk(pairs: Sequence[_Pair]) -> _Trunk | None:
    """Read pairs as layers; None if they are not those of a MobileNet in this order."""
    for conv, norm in pairs:
        if "running_mean" in conv.tensors or "running_mean" not in norm.tensors or conv.shape[0] != norm.shape[0]:
            return None
    stem = next(pair for pair in pairs if pair[0].kind == "stem")
    following = [pair for pair in pairs if pair is not stem]
    # The last convolution of V2 is often an attribute beside the blocks, and sorts before them.
    if following and following[0][0].kind == "pointwise":
        following.append(following.pop(0))
    blocks, at = [], 0
    while at < len(following):
        kinds = [conv.kind for conv, _ in following[at : at + 3]]
        if kinds[:2] == ["depthwise", "pointwise"]:
            blocks.append(tuple(following[at : at + 2]))
        elif kinds == ["pointwise", "depthwise", "pointwise"]:
            blocks.append(tuple(following[at : at + 3]))
        elif kinds == ["pointwise"]:
            break
        else:
            return None
        at += len(blocks[-1])
    head = following[at] if at < len(following) else None
    expanding = any(len(block) == 3 for block in blocks)
    return _Trunk(stem, tuple(blocks), head) if blocks and expanding == (head is not None) else None


def _shapes(network: type[Network], width: float) -> dict[int, tuple[int, bool]]:
    with torch.device("meta"):
        return network.build(width).shapes


def width_candidates(exact: float) -> list[float]:
    """Return the widths that give a number of channels after rounding to eights, the roundest first."""
    if not 0 < exact <= _WIDEST:
        raise CheckpointError(
            f"its channels are {exact:g} times those of the paper's network, and at most {_WIDEST} can be read"
        )
    near = [round(exact + step / 100, 2) for step in range(-8, 9)]
    tried = sorted(
        (w for w in near if w > 0), key=lambda w: (round(w * 100) % 25 != 0, round(w * 100) % 5 != 0, abs(w - exact))
    )
    return [*tried, exact]


def _width_of(trunk: _Trunk, network: type[Network]) -> float:
    last = trunk.outputs[-1]
    for width in width_candidates(last / (1024 if trunk.head is None else 320)):
        shapes = _shapes(network, width)
        expected = iter([channels for number, (channels, _) in shapes.items() if number > 1])
        if shapes[1][0] == trunk.stem[0].shape[0] and all(channels in expected for channels in trunk.outputs):
            return width
    raise CheckpointError(
        f"it looks like {network.title}, but its layers' channels are those of no width: {trunk.stem[0].shape[0]}, "
        f"{', '.join(map(str, trunk.outputs[:20]))}"
    )


def _ordered(modules: Iterable[_Module]) -> list[_Module]:
    return sorted(modules, key=lambda m: _order(m.prefix))


def _placement_of(
    modules: Sequence[_Module],
    trunk: _Trunk,
    shapes: Mapping[int, tuple[int, bool]],
    *,
    gain: Gain,
    layers: Sequence[int] | None,
) -> Placement | None:
    """Return the placement of the modules, None without any; raise CheckpointError where it cannot be known."""
    missing = max(shapes) - 1 - len(trunk.blocks)
    if missing not in (0, len(modules)):
        raise CheckpointError(
            f"it has {len(trunk.blocks)} blocks and {len(modules)} modules; the network has {max(shapes) - 1} blocks, "
            "and modules stand behind them all, or each instead of one"
        )
    if not modules:
        if layers:
            raise CheckpointError("it holds no ULSAM modules, so there are no layers to name for them")
        return None
    if len(groups := {m.groups for m in modules}) != 1:
        raise CheckpointError(
            f"its modules have {', '.join(map(str, sorted(groups)))} groups, and a network here has one number for all"
        )
    mode: Mode = "instead" if missing else "after"
    ordered = _ordered(modules)
    if layers is None:
        places = [_blocks_before(m, trunk) for m in ordered]
        numbers = _numbers(places, mode) if None not in places else _by_channels(ordered, trunk, shapes, mode)
    else:
        numbers = list(layers)
    try:
        _check_fits(numbers, ordered, shapes, mode)
        return Placement(tuple(numbers), ordered[0].groups, mode, gain)
    except ValueError as error:
        raise CheckpointError(f"{error}; if they stand elsewhere, say where by their layers (--layers)") from error


def _check_fits(
    numbers: Sequence[int], modules: Sequence[_Module], shapes: Mapping[int, tuple[int, bool]], mode: Mode
) -> None:
    """Raise ValueError, with the reason, unless each module can stand at the layer of its number."""
    if len(numbers) != len(modules):
        raise ValueError(f"it holds {len(modules)} ULSAM modules, and {len(numbers)} layers are named for them")
    for number, module in zip(numbers, modules, strict=True):
        if shapes.get(number, (0,))[0] != module.channels:
            raise ValueError(f"the module '{module.prefix}' has {module.channels} channels, and layer {number} has not")
    if mode == "instead" and (fixed := [n for n in numbers if not shapes[n][1]]):
        raise ValueError(f"a module cannot stand instead of layer {fixed[0]}, which changes its input's shape")


def _blocks_before(module: _Module, trunk: _Trunk) -> int | None:
    """Return how many blocks run before a module, by its name; None if its name does not tell."""
    parts = module.prefix.split(".")
    ends = [block[-1][0].prefix for block in trunk.blocks]
    for depth in range(len(parts) - 1, -1, -1):
        ancestor = [*parts[:depth]]
        beside = [
            i for i, block in enumerate(trunk.blocks) if any(c.prefix.split(".")[:depth] == ancestor for c, _ in block)
        ]
        if not beside:
            continue
        numbered = parts[depth].isdecimal()
        if len(beside) == 1 and depth:
            if numbered and _order(module.prefix) < _order(ends[beside[0]]):
                raise CheckpointError(
                    f"the module '{module.prefix}' stands inside a layer, and modules here stand between layers"
                )
            return beside[0] + 1
        return sum(_order(end) < _order(module.prefix) for end in ends) if numbered else None
    return None


def _is_named_part(module: _Module, block: tuple[_Pair, ...]) -> bool:
    """Return whether a module is an attribute of one block, beside its convolutions rather than around them."""
    parent, _, name = module.prefix.rpartition(".")
    theirs = {conv.prefix.rpartition(".")[0] for conv, _ in block}
    return bool(parent) and not name.isdecimal() and (parent in theirs or f"{parent}.conv" in theirs)


def _numbers(places: Sequence[int | None], mode: Mode) -> list[int]:
    """Turn "behind so many blocks" into layer numbers; earlier modules that stand for a layer count as one."""
    return [(place or 0) + (2 + i if mode == "instead" else 1) for i, place in enumerate(places)]


def _by_channels(
    modules: Sequence[_Module], trunk: _Trunk, shapes: Mapping[int, tuple[int, bool]], mode: Mode
) -> list[int]:
    """Return the layers by channel counts alone: where one layer, or as many as there are modules, have that many."""
    numbers: dict[str, int] = {}
    for channels in dict.fromkeys(m.channels for m in modules):
        alike = [m for m in modules if m.channels == channels]
        fitting = [n for n, (c, keeps) in shapes.items() if n > 1 and c == channels and (keeps or mode == "after")]
        if len(fitting) != len(alike):
            raise CheckpointError(
                f"where its module '{alike[0].prefix}' stands cannot be told: {channels} channels fit {mode} layers "
                f"{', '.join(map(str, fitting)) or 'none'}; name the layers of all modules, in order (--layers)"
            )
        numbers |= {m.prefix: n for m, n in zip(alike, fitting, strict=True)}
    return [numbers[m.prefix] for m in modules]


def _renamed(network: Network, trunk: _Trunk, classifier: _Unit) -> dict[str, Tensor]:
    """Give the trunk's and the classifier's tensors our names: convolution by convolution, layer by layer."""
    numbers = [n for n in range(2, network.last_layer + 1) if str(n) in network.layers]
    places = [
        ("layers.1", (trunk.stem,)),
        *((f"layers.{n}", block) for n, block in zip(numbers, trunk.blocks, strict=True)),
    ]
    if trunk.head:
        places.append(("head", (trunk.head,)))
    weights = {}
    for ours, pairs in places:
        part = network.get_submodule(ours)
        names = [n for n, m in part.named_modules(prefix=ours) if isinstance(m, nn.Conv2d)]
        norms = [n for n, m in part.named_modules(prefix=ours) if isinstance(m, nn.BatchNorm2d)]
        if len(names) != len(pairs):
            raise CheckpointError(
                f"its '{pairs[0][0].prefix}' begins a layer of another form than {ours} of {network.title} has"
            )
        for name, norm, pair in zip(names, norms, pairs, strict=True):
            weights[f"{name}.weight"] = pair[0].tensors["weight"]
            weights |= {f"{norm}.{key}": value for key, value in pair[1].tensors.items()}
    return weights | {f"classifier.{key}": value for key, value in classifier.tensors.items()}


def _renamed_modules(placement: Placement | None, modules: Sequence[_Module]) -> dict[str, Tensor]:
    if placement is None:
        return {}
    return {
        f"attention.{number}.{key}": value
        for number, module in zip(placement.layers, modules, strict=True)
        for key, value in module.weights.items()
    }
