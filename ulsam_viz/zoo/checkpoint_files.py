"""Read checkpoint files into tensors by name.

Nothing in a file runs, and its size is checked before memory is allocated.

A .safetensors file states its shapes in a header. A .pt or .pth file is a pickle: a small program that builds what was
saved. PyTorch's ``weights_only`` runs only harmless steps, but allocates whatever they ask for. So the steps are read
first without running them: which names they use, how many tensors they build, of which size, and from which bytes.
"""

from __future__ import annotations

import io
import json
import math
import pickletools
import struct
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import torch
from safetensors.torch import load as parse_safetensors
from torch import Tensor

from .variants import CheckpointError
from .wrappers import REMEDY, Kind, choose_weights

MAX_BYTES = 200_000_000
#: A MobileNet has a few hundred tensors, and an optimizer's state some times as many.
MAX_TENSORS = 10_000
SUFFIXES = (".safetensors", ".pt", ".pth", ".pth.tar", ".ckpt")

_MAX_HEADER = 2 * 2**20
_MAX_STEPS = 400_000
_SAFETENSORS_TYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4}
_STORAGES = {
    "Double": 8,
    "Float": 4,
    "Half": 2,
    "BFloat16": 2,
    "Long": 8,
    "Int": 4,
    "Short": 2,
    "Char": 1,
    "Byte": 1,
    "Bool": 1,
}
_OLD_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Weights:
    """What a file holds.

    Attributes:
        tensors: By name, in the file's order, on the CPU; at most :data:`MAX_TENSORS`.
        metadata: Of a .safetensors file.
        taken: Which weights these are, where the file holds raw ones and their average; else None.
        note: A sentence about that, or "".
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    taken: Kind | None = None
    note: str = ""


def read_weights(data: bytes, filename: str, *, kind: Kind | None = None) -> Weights:
    """Read the tensors of a file, whoever wrote it.

    Args:
        data: The whole file, at most :data:`MAX_BYTES`.
        filename: Its name; only the end is looked at.
        kind: Raw weights or their average, see :func:`~ulsam_viz.zoo.wrappers.choose_weights`.

    Returns:
        The tensors; those of a dictionary around the state dict (``"state_dict"``, ``"model"``, ...) where there is
        one.

    Raises:
        CheckpointError: If the file is of another kind, damaged, too large, or holds something else than tensors.
    """
    name = shortened(PurePath(filename).name)
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"'{name}' has {-(-len(data) // 10**6)} MB; at most {MAX_BYTES // 10**6} MB can be read")
    ending = PurePath(filename).name.lower()  # of the whole name: a shortened one has lost it
    if not ending.endswith(SUFFIXES):
        raise CheckpointError(f"'{name}' is not of a kind that can be read: {', '.join(SUFFIXES)}")
    read = _read_safetensors if ending.endswith(".safetensors") else _read_pickle
    try:
        found, metadata = read(data)
        tensors, taken, note = choose_weights(found, kind)
        return Weights(tensors, metadata, taken, note)
    except CheckpointError as error:
        raise CheckpointError(f"'{name}' cannot be used: {error}") from error
    except MemoryError as error:
        raise CheckpointError(f"'{name}' cannot be used: it needs more memory than there is") from error
    except Exception as error:  # parsers of damaged files raise nearly every built-in type, and their own
        raise CheckpointError(
            f"'{name}' cannot be used: it is damaged or cut short ({type(error).__name__})"
        ) from error


def _read_safetensors(data: bytes) -> tuple[object, dict[str, str]]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 10 or length > len(data) - 8:
        raise CheckpointError("it is no safetensors file, or cut short: its header is not all there")
    if length > _MAX_HEADER:
        raise CheckpointError(
            f"its header has {length / 10**6:.0f} MB, far more than a network's {MAX_TENSORS:,} tensors would need"
        )
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise CheckpointError("it is no safetensors file: its header cannot be read") from error
    if not isinstance(header, dict):
        raise CheckpointError("it is no safetensors file: its header cannot be read")
    metadata = header.pop("__metadata__", {})
    _check_count(len(header))
    if not header:
        raise CheckpointError("it holds no tensors, so no MobileNet")
    for key, entry in header.items():
        begin, end = entry["data_offsets"]
        if entry["dtype"] not in _SAFETENSORS_TYPES:
            raise CheckpointError(f"'{key}' has dtype {entry['dtype']}, and no network here has such values")
        if (
            math.prod(entry["shape"]) * _SAFETENSORS_TYPES[entry["dtype"]] != end - begin
            or end > len(data) - 8 - length
        ):
            raise CheckpointError(
                f"'{key}' claims the shape {shortened(entry['shape'])}, for which the file has not the bytes"
            )
    tensors = parse_safetensors(data)
    return {key: tensors[key] for key in header}, {str(k): str(v) for k, v in metadata.items()}


def _read_pickle(data: bytes) -> tuple[object, dict[str, str]]:
    if data[257:262] == b"ustar":
        raise CheckpointError(f"it is a tar archive, as PyTorch wrote before 2017; {REMEDY}")
    if data[:4] == b"PK\x03\x04":
        _check_zip(data)
    else:
        _check_old_file(data)
    try:
        # The list of what may stand in for what is the process's.
        with _LOADING, torch.serialization.safe_globals([(_StandIn, name) for name in _STAND_INS]):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True), {}
    except (
        Exception
    ) as error:  # what was followed above can still be wrong in a detail, which PyTorch tells in many types
        raise CheckpointError("it is damaged, or holds more than tensors: " + REMEDY) from error


def _check_zip(data: bytes) -> None:
    """Look at the directory of what ``torch.save`` writes, an uncompressed zip, and follow its pickle."""
    # The directory's own size comes first: Python and PyTorch read all of it before anybody can count.
    at = len(data) - 22
    if at < 0 or data[at : at + 4] != b"PK\x05\x06":
        raise CheckpointError("it is damaged or cut short: the directory at its end is missing")
    entries, size, start = struct.unpack("<HII", data[at + 10 : at + 20])
    if data[at - 20 : at - 16] == b"PK\x06\x07":  # what PyTorch writes: the same numbers with 64 bits stand before
        at -= 76
        if data[at : at + 4] != b"PK\x06\x06":
            raise CheckpointError("it is damaged: the directory at its end does not fit the file")
        entries, size, start = struct.unpack("<QQQ", data[at + 32 : at + 56])
    if size > 200 * MAX_TENSORS or entries > 2 * MAX_TENSORS:
        raise CheckpointError(f"it holds {entries:,} entries, and at most {MAX_TENSORS:,} tensors can be read")
    if start + size != at:
        raise CheckpointError("it is damaged: the directory at its end does not fit the file")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        _check_entries(infos)
        root = infos[0].filename.partition("/")[0]
        sizes = {info.filename.removeprefix(f"{root}/"): info.file_size for info in infos}
        if "data.pkl" not in sizes or sizes["data.pkl"] > _MAX_HEADER:
            raise CheckpointError("it holds no list of tensors of a sensible size; it may be no PyTorch file")
        storages, _ = _follow(io.BytesIO(archive.read(f"{root}/data.pkl")))
    for key, storage in storages.items():
        if sizes.get(f"data/{key}") != storage.size:
            raise CheckpointError("it is damaged or made up: a tensor has other bytes than its size says")


def _check_entries(infos: list[zipfile.ZipInfo]) -> None:
    _check_count(len(infos) - 16)  # a few that describe the file
    if any(info.filename.endswith("/constants.pkl") for info in infos):
        raise CheckpointError(f"it is a TorchScript program; {REMEDY}")
    if any(info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size for info in infos):
        raise CheckpointError("its entries are compressed, which torch.save never does: their size cannot be trusted")
    if len({info.filename.casefold() for info in infos}) != len(infos):
        raise CheckpointError("it holds two entries of one name")
    if len({info.filename.partition("/")[0] for info in infos}) != 1:
        raise CheckpointError("it is no file of torch.save: its entries lie in several folders")
    end = 0
    for info in sorted(infos, key=lambda i: i.header_offset):
        if info.header_offset < end:
            raise CheckpointError("its entries overlap, so that its bytes would be read more than once")
        end = info.header_offset + 30 + len(info.filename) + info.file_size


def _check_old_file(data: bytes) -> None:
    """Look at what ``torch.save`` wrote before version 1.6: five pickles, and the bytes of each storage behind them."""
    stream = io.BytesIO(data)
    try:
        first = [argument for _, argument, _ in pickletools.genops(io.BytesIO(data[:32]))]
    except ValueError:
        first = []
    if _OLD_MAGIC not in first:
        # Not one of PyTorch's, but it may be a pickle, and then its reader wants to know what it would have run.
        _follow(stream)
        raise CheckpointError("it is no file of torch.save")
    parts = [_follow(stream) for _ in range(5)]
    storages, _ = parts[3]
    if any(other for i, (other, _) in enumerate(parts) if i != 3):
        raise CheckpointError("it is damaged: tensors stand where none belong")
    if stream.tell() + sum(8 + storage.size for storage in storages.values()) != len(data):
        raise CheckpointError(
            "it is damaged or cut short: the bytes behind its list of tensors are not as many as it says"
        )


class _StandIn:
    """Stands for an object of a class that is not imported.

    It takes arguments, state and items, and keeps none of them.
    """

    def __new__(cls, *_: Any) -> _StandIn:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...

    def __setitem__(self, *_: Any) -> None: ...


#: What training scripts save beside weights: their options, and figures that NumPy computed.
_STAND_INS = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "torch.device",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
)
_LOADING = threading.Lock()


class _Name(str):
    """What a pickle asks for by module and name."""


@dataclass(frozen=True)
class _Storage:
    """The bytes behind tensors: how many, and how many a value."""

    size: int
    item: int


class _Made:
    """Something built: a list, a dictionary with its keys, a tensor."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.keys: set[str | int] = set()


_ENCODE = "_codecs encode"  # how pickles of protocol 2 write bytes, which NumPy's figures are
_BUILDERS = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "collections OrderedDict", _ENCODE)
_PLAIN = frozenset(
    [
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG1",
        "BINFLOAT",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "SHORT_BINSTRING",
        "SHORT_BINBYTES",
    ]
)
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Follower:
    """Follows a pickle's steps on stand-ins, and refuses what is no state dict's.

    Attributes:
        storages: What it reads, by key.
        values: How many values its tensors have, all together.
        encoded: How many bytes it makes of text.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, _Storage] = {}
        self.tensors = self.values = self.encoded = 0

    def step(self, name: str, argument: Any) -> None:
        """Take one step."""
        if name in _PLAIN:
            self.stack.append(argument if name not in ("NONE", "NEWTRUE", "NEWFALSE") else None)
        elif name in _TUPLES:
            count = _TUPLES[name]
            self._push_tuple(self._pop(count))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name not in ("PROTO", "FRAME"):
            if name not in self._STEPS:
                raise CheckpointError(f"its pickle takes the step {name}, which no state dict needs; {REMEDY}")
            self._STEPS[name](self, argument)

    def _pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise CheckpointError("its pickle is damaged")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def _since_mark(self) -> list[Any]:
        return self._pop(len(self.stack) - self.marks.pop())

    def _push_tuple(self, values: list[Any]) -> None:
        self.stack.append(tuple(values))

    def _mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def _tuple(self, _: Any) -> None:
        self._push_tuple(self._since_mark())

    def _dict(self, _: Any) -> None:
        self.stack.append(_Made("dict"))

    def _list(self, _: Any) -> None:
        self.stack.append(_Made("list"))

    def _append(self, _: Any) -> None:
        self._pop(1)
        self._expect("list")

    def _appends(self, _: Any) -> None:
        self._since_mark()
        self._expect("list")

    def _set_item(self, _: Any) -> None:
        self._set(self._pop(2))

    def _set_items(self, _: Any) -> None:
        self._set(self._since_mark())

    def _set(self, pairs: list[Any]) -> None:
        # Anything else could take forever to hash: a tuple of two tuples of two tuples ...
        if any(type(key) not in (str, int) for key in pairs[::2]):
            raise CheckpointError("its pickle has a dictionary whose keys are neither text nor numbers")
        self._expect("dict", "stand-in")
        self.stack[-1].keys.update(pairs[::2])

    def _expect(self, *kinds: str) -> None:
        if not self.stack or not isinstance(self.stack[-1], _Made) or self.stack[-1].kind not in kinds:
            raise CheckpointError("its pickle is damaged")

    def _name(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        known = (argument in _BUILDERS or f"{module}.{name}" in _STAND_INS) or (
            module == "torch" and name.removesuffix("Storage") in _STORAGES and name.endswith("Storage")
        )
        if not known:
            raise CheckpointError(
                f"its pickle asks for '{shortened(f'{module}.{name}')}', and nothing but tensors is read; {REMEDY}"
            )
        self.stack.append(_Name(argument))

    def _stack_name(self, _: Any) -> None:
        module, name = self._pop(2)
        self._name(f"{module} {name}")

    def _storage(self, _: Any) -> None:
        (wish,) = self._pop(1)
        tag, kind, key, _, count, *rest = wish
        if (
            tag != "storage"
            or type(key) is not str
            or type(count) is not int
            or type(kind) is not _Name
            or count < 0
            or any(rest)
        ):
            raise CheckpointError("its pickle is damaged: a tensor's bytes are asked for in an unknown way")
        item = _STORAGES.get(kind.removeprefix("torch ").removesuffix("Storage"), 0)
        storage = _Storage(count * item, item)
        if not item or self.storages.setdefault(key, storage) != storage:
            raise CheckpointError("its pickle is damaged: one storage has two sizes")
        self.stack.append(storage)

    def _call(self, _: Any) -> None:
        name, arguments = self._pop(2)
        if type(name) is not _Name or type(arguments) is not tuple:
            raise CheckpointError("its pickle is damaged")
        if name == _BUILDERS[0]:
            self._tensor(*arguments)
        elif name == _BUILDERS[1] and isinstance(arguments[0], _Made) and arguments[0].kind == "tensor":
            self.stack.append(arguments[0])
        elif name == _BUILDERS[2] and arguments == ():
            self.stack.append(_Made("dict"))
        elif name == _ENCODE and [type(argument) for argument in arguments] == [str, str] and arguments[1] == "latin1":
            self.encoded += len(arguments[0])
            if self.encoded > _MAX_HEADER:  # one text may be asked for again and again
                raise CheckpointError("its pickle builds far more than a state dict needs")
            self.stack.append(arguments[0])
        elif name.replace(" ", ".") in _STAND_INS:
            self.stack.append(_Made("stand-in"))
        else:
            raise CheckpointError("its pickle is damaged: something is built in an unknown way")

    def _new(self, _: Any) -> None:
        name, arguments = self._pop(2)
        if type(name) is not _Name or name.replace(" ", ".") not in _STAND_INS or type(arguments) is not tuple:
            raise CheckpointError("its pickle is damaged: something is built in an unknown way")
        self.stack.append(_Made("stand-in"))

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> None:
        numbers = [offset, *shape, *strides]
        if type(storage) is not _Storage or any(type(n) is not int or n < 0 for n in numbers) or len(shape) > 8:
            raise CheckpointError("its pickle is damaged: a tensor is built in an unknown way")
        self.tensors += 1
        _check_count(self.tensors)
        values = math.prod(shape)
        # A stride of 0 would make many values of few bytes.
        if values * storage.item > storage.size:
            raise CheckpointError(
                f"a tensor claims the shape {shortened(list(shape))}, for which the file has not the bytes"
            )
        self.values += values
        self.stack.append(_Made("tensor"))

    def _build(self, _: Any) -> None:
        state = self._pop(1)
        self._expect("dict", "stand-in")
        if self.stack[-1].kind == "stand-in":  # it forgets all of it
            return
        # State dicts carry this attribute. Any other might stand before the dictionary's own methods.
        if not (isinstance(state[0], _Made) and state[0].kind == "dict" and state[0].keys <= {"_metadata"}):
            raise CheckpointError("its pickle is damaged")

    _STEPS: dict[str, Callable[[_Follower, Any], None]] = {  # noqa: RUF012  (never changed)
        "MARK": _mark,
        "TUPLE": _tuple,
        "EMPTY_DICT": _dict,
        "EMPTY_LIST": _list,
        "APPEND": _append,
        "APPENDS": _appends,
        "SETITEM": _set_item,
        "SETITEMS": _set_items,
        "GLOBAL": _name,
        "STACK_GLOBAL": _stack_name,
        "BINPERSID": _storage,
        "REDUCE": _call,
        "NEWOBJ": _new,
        "BUILD": _build,
    }


def _follow(stream: io.BytesIO) -> tuple[dict[str, _Storage], int]:
    """Follow one pickle to its end; return the storages it reads, and the values its tensors have."""
    follower = _Follower()
    try:
        for count, (step, argument, _) in enumerate(pickletools.genops(stream)):
            if count > _MAX_STEPS:
                raise CheckpointError(f"its list of tensors is too long: at most {MAX_TENSORS:,} can be read")
            if step.name != "STOP":
                follower.step(step.name, argument)
    except CheckpointError:
        raise
    except Exception as error:  # steps in an order that makes no sense end in nearly every built-in error
        raise CheckpointError("it is no PyTorch file, or damaged: its list of tensors cannot be read") from error
    if follower.values > MAX_BYTES // 2:  # as float32, twice what a file may have
        raise CheckpointError("its tensors share so many bytes that they would need far more memory than the file has")
    return follower.storages, follower.values


def _check_count(count: int) -> None:
    if count > MAX_TENSORS:
        raise CheckpointError(f"it holds {count:,} or more tensors; at most {MAX_TENSORS:,} can be read")


def shortened(value: object, length: int = 60) -> str:
    """Write a value that somebody else chose: printable, on one line, and not long."""
    text = "".join(c if c.isprintable() else "?" for c in str(value)[: length + 1])
    return text if len(text) <= length else f"{text[: length - 1]}…"
