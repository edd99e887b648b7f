"""Files of weights that were made to harm.

Each is refused in one sentence, nothing in them runs, and none takes long.
"""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from ulsam_viz import CheckpointError, MobileNetV1, Placement
from ulsam_viz.zoo.checkpoint_files import MAX_BYTES, MAX_TENSORS, read_weights
from ulsam_viz.zoo.user_networks import read_checkpoint

BEFORE_1_6 = {"_use_new_zipfile_serialization": False}


def pt(found: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(found, buffer, **options)
    return buffer.getvalue()


def whole() -> dict[str, torch.Tensor]:
    return MobileNetV1(0.25, 5, Placement((11,), 4)).eval().state_dict()


class Calls:
    """A pickle of it calls a function when it is read."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.function, self.arguments


def with_pickle(steps: bytes, **extra: bytes) -> bytes:
    """A file as torch.save writes it, around any pickle."""
    return zipped(
        {"archive/data.pkl": steps, "archive/version": b"3\n", **{f"archive/data/{k}": v for k, v in extra.items()}}
    )


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def tensor_steps(numel: int, shape: tuple[int, ...], strides: tuple[int, ...], key: str = "0") -> bytes:
    """The pickle steps that build one float32 tensor."""

    def integer(n: int) -> bytes:
        return b"J" + struct.pack("<i", n) if n < 2**31 else b"\x8a\x08" + struct.pack("<q", n)

    def text(s: str) -> bytes:
        return b"X" + struct.pack("<I", len(s)) + s.encode()

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(integer, values)) + b"t"

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + integer(numel) + b"tQ"
    rest = integer(0) + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR"


def one_tensor(numel: int, shape: tuple[int, ...], strides: tuple[int, ...], stored: int) -> bytes:
    steps = b"\x80\x02}X\x01\x00\x00\x00a" + tensor_steps(numel, shape, strides) + b"s."
    return with_pickle(steps, **{"0": b"\0" * stored})


def header(entries: dict[str, Any], data: bytes = b"", *, length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def many_in_a_zip() -> bytes:
    """A million entries, as a directory alone: writing them all would take longer than any test may."""
    entry = b"PK\x01\x02" + b"\0" * 42
    return (
        b"PK\x03\x04"
        + b"\0" * 26
        + entry * 1_000_000
        + b"PK\x05\x06"
        + b"\0" * 8
        + struct.pack("<II", 46_000_000, 30)
        + b"\0\0"
    )


def many_of_one_storage() -> bytes:
    """More tensors than any network has, of the same four bytes."""
    one = tensor_steps(1, (1,), (1,))
    steps = b"\x80\x02}(" + b"".join(b"J" + struct.pack("<i", i) + one for i in range(12_000)) + b"u."
    return with_pickle(steps, **{"0": b"\0\0\0\0"})


def overlapping() -> bytes:
    """Two entries of the directory that lie at one place of the file."""
    data = bytearray(
        zipped({"archive/data.pkl": b"\x80\x02}.", "archive/data/0": b"\0" * 64, "archive/data/1": b"\0" * 64})
    )
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    return bytes(data)


def doubled() -> bytes:
    data = zipped({"archive/data.pkl": b"\x80\x02}.", "archive/data.pkm": b"\x80\x02cos\nsystem\n."})
    return data.replace(b"data.pkm", b"data.pkl")


def deep(count: int = 100_000) -> bytes:
    return b"\x80\x02}X\x01\x00\x00\x00a" + b"N" + b"\x85" * count + b"s."


def keys_that_hash_forever() -> bytes:
    """{t: None} with t = ((..., ...), (..., ...)), 60 deep: to hash it is to walk 2^60 paths."""
    steps = b"\x80\x02})" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60)) + b"Ns."
    return with_pickle(steps)


def script() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), buffer)
    return buffer.getvalue()


def old_storage(numel: int = 1 << 40) -> bytes:
    """A file of before 1.6 whose storage claims to be large."""
    before: tuple[object, ...] = (0x1950A86A20F9469CFC6C, 1001, {})
    steps = b"\x80\x02}X\x01\x00\x00\x00a" + tensor_steps(numel, (1,), (1,)) + b"s."
    return (
        b"".join(pickle.dumps(value, 2) for value in before)
        + steps
        + pickle.dumps(["0"], 2)
        + struct.pack("<q", numel)
        + b"\0" * 4
    )


SENTENCES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "a call of a program": (lambda: pt({"a": Calls(os.system, "touch ran")}), "a.pt", r"asks for '(posix|nt)\.system'"),
    "the same, old": (lambda: pt({"a": Calls(os.system, "touch ran")}, **BEFORE_1_6), "a.pth", r"\.system'"),
    "the same, bare": (lambda: pickle.dumps(Calls(os.system, "touch ran")), "a.pt", r"\.system'"),
    "the same, protocol 0": (lambda: pickle.dumps(Calls(os.system, "touch ran"), 0), "a.pt", "cannot be used"),
    "the same, protocol 5": (lambda: with_pickle(pickle.dumps(Calls(os.system, "touch ran"), 5)), "a.pt", r"\.system'"),
    "eval": (lambda: pt({"state_dict": [Calls(eval, "open('ran', 'w')")]}), "a.pt", r"asks for '\w+\.eval'"),
    "memory through bytearray": (lambda: pt({"a": Calls(bytearray, 10**12)}), "a.pt", "bytearray"),
    "a module": (
        lambda: pt(nn.Sequential(nn.Conv2d(3, 8, 1))),
        "a.pt",
        r"torch\.nn\.modules.*save model\.state_dict\(\)",
    ),
    "an object in a dictionary": (lambda: pt({"state_dict": whole(), "args": Path("x")}), "a.pt", r"asks for 'pathlib"),
    "texts that become bytes again and again": (
        lambda: with_pickle(
            b"\x80\x02]q\x00(c_codecs\nencode\nq\x01X\x00\x00\x10\x00"
            + b"a" * 2**20
            + b"q\x02X\x06\x00\x00\x00latin1q\x03\x86q\x04R"
            + b"h\x01h\x04R" * 50
            + b"e."
        ),
        "a.pt",
        "far more than a state dict needs",
    ),
    "an object as a key": (lambda: pt({(1, 2): torch.zeros(1)}), "a.pt", "neither text nor numbers"),
    "a tar archive": (tarred, "a.pth.tar", "tar archive"),
    "instance steps": (lambda: with_pickle(b"(ios\nsystem\n."), "a.pt", "step INST"),
    "object steps": (lambda: with_pickle(b"(cos\nsystem\no."), "a.pt", "os.system"),
    "extension steps": (lambda: with_pickle(b"\x80\x02\x82\x01."), "a.pt", "step EXT1"),
    "text as a persistent id": (lambda: with_pickle(b"\x80\x02Phello\n."), "a.pt", "step PERSID"),
    "a method put on a dictionary": (
        lambda: with_pickle(b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsNsb."),
        "a.pt",
        "damaged",
    ),
    "an empty stack": (lambda: with_pickle(b"\x80\x02R."), "a.pt", "damaged"),
    "no end": (lambda: with_pickle(b"\x80\x02}"), "a.pt", "damaged"),
    "a memo that is not there": (lambda: with_pickle(b"\x80\x02h\x05."), "a.pt", "damaged"),
    "deep": (lambda: with_pickle(deep()), "a.pt", "no state dict"),
    "keys that hash forever": (keys_that_hash_forever, "a.pt", "neither text nor numbers"),
    "many steps": (lambda: with_pickle(b"\x80\x02" + b"N" * 1_900_000 + b"."), "a.pt", "too long"),
    "a long pickle": (
        lambda: with_pickle(b"\x80\x02" + b"N" * 3_000_000 + b"."),
        "a.pt",
        "no list of tensors of a sensible size",
    ),
    "a million entries": (many_in_a_zip, "a.pt", r"at most 10,000 tensors"),
    "tensors of one storage": (many_of_one_storage, "a.pt", "10,000|too long|sensible size"),
    "values from nothing": (lambda: one_tensor(1, (1 << 40,), (0,), 4), "a.pt", "has not the bytes"),
    "a storage from nothing": (lambda: one_tensor(1 << 40, (1,), (1,), 4), "a.pt", "other bytes than its size says"),
    "beyond its storage": (lambda: one_tensor(4, (2, 2), (1000, 1), 16), "a.pt", "damaged"),
    "negative strides": (lambda: one_tensor(4, (2, 2), (-2, 1), 16), "a.pt", "damaged"),
    "a zip bomb": (
        lambda: zipped({"archive/data.pkl": b"\x80\x02}.", "archive/data/0": b"\0" * 50_000_000}, zipfile.ZIP_DEFLATED),
        "a.pt",
        "compressed",
    ),
    "entries that overlap": (overlapping, "a.pt", "overlap"),
    "two entries of a name": (doubled, "a.pt", "two entries of one name"),
    "names that differ in case": (
        lambda: zipped({"a/data.pkl": b"}.", "A/DATA.PKL": b"cos\nsystem\n."}),
        "a.pt",
        "one name",
    ),
    "several folders": (
        lambda: zipped({"a/data.pkl": b"}.", "b/data.pkl": b"cos\nsystem\n."}),
        "a.pt",
        "several folders",
    ),
    "a program": (script, "a.pt", "TorchScript"),
    "an empty zip": (lambda: zipped({}), "a.pt", "no file of torch.save|no PyTorch file|damaged"),
    "bytes behind a zip": (lambda: pt(whole()) + b"x", "a.pt", "cut short"),
    "old, and cut": (lambda: pt(whole(), **BEFORE_1_6)[:-1], "a.pt", "damaged or cut short"),
    "old, and a storage from nothing": (old_storage, "a.pt", "damaged or cut short"),
    "not a file of weights": (lambda: b"\x89PNG" + b"\0" * 1000, "a.pt", "no PyTorch file"),
    "empty": (lambda: b"", "a.pt", "no PyTorch file|no file of"),
    "empty, safetensors": (lambda: b"", "a.safetensors", "cut short"),
    "a pickle by another name": (lambda: pt(whole()), "a.safetensors", "no safetensors file"),
    "a long header": (lambda: header({}, length=2**62), "a.safetensors", "cut short"),
    "a header of many": (lambda: struct.pack("<Q", 9_000_000) + b" " * 9_000_000, "a.safetensors", "header has 9 MB"),
    "a nested header": (lambda: struct.pack("<Q", 200_000) + b"[" * 200_000, "a.safetensors", "header cannot be read"),
    "a list for a header": (lambda: header([]), "a.safetensors", "header cannot be read"),  # type: ignore[arg-type]
    "many in a header": (
        lambda: header(
            {f"{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(MAX_TENSORS + 1)}
        ),
        "a.safetensors",
        "at most 10,000",
    ),
    "a huge shape": (
        lambda: header({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}, b"\0" * 8),
        "a.safetensors",
        "has not the bytes",
    ),
    "shapes of another kind": (
        lambda: header({"a": {"dtype": "F32", "shape": "many", "data_offsets": [0, 8]}}, b"\0" * 8),
        "a.safetensors",
        "damaged",
    ),
    "an unknown dtype": (
        lambda: header({"a": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}, b"\0" * 8),
        "a.safetensors",
        "dtype F8_E4M3",
    ),
    "shared bytes in a header": (
        lambda: header({k: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for k in "ab"}, b"\0" * 8),
        "a.safetensors",
        "damaged",
    ),
    "cut short": (lambda: save(whole())[:-4], "a.safetensors", "has not the bytes|damaged"),
    "not finite": (
        lambda: save(whole() | {"classifier.bias": torch.full((5,), float("inf"))}),
        "a.safetensors",
        r"not finite in 'classifier\.bias'",
    ),
    "a variance below 0": (
        lambda: save(whole() | {"layers.1.1.running_var": torch.full((8,), -1.0)}),
        "a.safetensors",
        "numbers that are not finite",
    ),
    "another gain": (lambda: save(whole(), {"gain": "x" * 1000}), "a.safetensors", "names the gain 'xxx"),
    "a complex tensor": (lambda: pt({"a": torch.zeros(2, dtype=torch.complex64)}), "a.pt", "ComplexFloatStorage"),
    "a sparse tensor": (lambda: pt({"a": torch.eye(3).to_sparse()}), "a.pt", "_rebuild_sparse_tensor"),
    "many groups of modules": (
        lambda: save({f"{'x.' * 20}{i}.subspaces.0.conv_dws.weight": torch.zeros(1, 1, 1, 1) for i in range(9_000)}),
        "a.safetensors",
        "cannot be used",
    ),
    "many layers": (
        lambda: save(
            {f"{i}.weight": torch.zeros(3, 3, 3, 3) for i in range(3_000)}
            | {
                f"n.{i}.{k}": torch.zeros(1)
                for i in range(1_500)
                for k in ("weight", "bias", "running_mean", "running_var")
            }
        ),
        "a.safetensors",
        "no MobileNet",
    ),
}


@pytest.mark.parametrize("kind", SENTENCES)
def test_each_is_refused_in_one_sentence(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, filename, reason = SENTENCES[kind]
    monkeypatch.chdir(tmp_path)
    data = make()
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_checkpoint(data, filename)
    assert str(caught.value).startswith(f"'{filename}' cannot be used: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert not list(tmp_path.iterdir())  # nothing ran


def test_too_many_bytes_are_refused_unread() -> None:
    with pytest.raises(CheckpointError, match="at most 200 MB"):
        read_weights(bytes(MAX_BYTES + 1), "a.safetensors")


@pytest.mark.parametrize("ending", [".pth", ".PT", ".safetensors"])
def test_a_long_name_is_known_by_its_ending(ending: str) -> None:
    weights = {"a": torch.ones(2)}
    if ending == ".safetensors":
        data = save(weights)
    else:
        torch.save(weights, buffer := io.BytesIO())
        data = buffer.getvalue()
    assert torch.equal(read_weights(data, "n" * 240 + ending).tensors["a"], torch.ones(2))


def test_the_size_of_what_is_made_is_known_before_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's reader is not asked at all for what claims too much."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(torch, "load", never)
    for kind in (
        "values from nothing",
        "a storage from nothing",
        "a million entries",
        "tensors of one storage",
        "a zip bomb",
        "eval",
    ):
        make, filename, reason = SENTENCES[kind]
        with pytest.raises(CheckpointError, match=reason):
            read_weights(make(), filename)


@pytest.mark.parametrize("options", [{}, BEFORE_1_6])
def test_any_damage_is_one_error(options: dict[str, Any]) -> None:
    """A bit flipped or an end cut off, in the part that says what there is.

    Refused, or without effect on anything but values.
    """
    data = pt(dict(list(whole().items())[:8]), **options)
    generator = torch.Generator().manual_seed(3)
    for at in torch.randint(len(data), (300,), generator=generator).tolist():
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        for damaged in (bytes(flipped), data[:at]):
            try:
                read_weights(damaged, "a.pt")
            except CheckpointError:
                continue


def test_any_damage_of_a_safetensors_file_is_one_error() -> None:
    data = save(dict(list(whole().items())[:8]))
    for at in range(0, 700, 3):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        for damaged in (bytes(flipped), data[:at]):
            try:
                read_weights(damaged, "a.safetensors")
            except CheckpointError:
                continue


def test_what_people_save_beside_a_state_dict_is_read() -> None:
    tensors = whole()
    tensors["again"] = tensors["classifier.bias"]  # one storage twice
    for found in (
        tensors,
        collections.OrderedDict(tensors),
        {"model_state_dict": tensors, "loss": [0.1, 0.2], "args": {"lr": 0.1, "name": "x", "stages": (1, 2), 3: None}},
        {"state_dict": {"model": tensors}},
        {"model": {k: nn.Parameter(v, requires_grad=v.is_floating_point()) for k, v in tensors.items()}},
    ):
        for options in ({}, BEFORE_1_6):
            read = read_weights(pt(found, **options), "a.pt").tensors
            assert read.keys() == tensors.keys()
            assert all(torch.equal(read[k], v) for k, v in tensors.items())
