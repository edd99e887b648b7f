"""Exact arithmetic: float32 whatever the default dtype, no TensorFloat-32, and repeatable sums."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _Held:
    """Settings of the process that several threads may hold at once: the first changes them, the last restores them.

    Args:
        change: Changes them, and returns what puts them back.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        self._change, self._put_back = change, lambda: None
        self._lock, self._holders = threading.Lock(), 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._holders:
                self._put_back = self._change()
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._put_back()


def _multiply_whole() -> Callable[[], None]:
    cudnn: Any = torch.backends.cudnn  # whose parts its stubs do not know
    kinds = (cudnn.conv, torch.backends.cuda.matmul)
    before = [kind.fp32_precision for kind in kinds]

    def put_back() -> None:
        for kind, value in zip(kinds, before, strict=True):
            kind.fp32_precision = value

    for kind in kinds:
        kind.fp32_precision = "ieee"
    return put_back


def _repeat() -> Callable[[], None]:
    cudnn, workspace = torch.backends.cudnn, "CUBLAS_WORKSPACE_CONFIG"
    before, benchmark = os.environ.get(workspace), cudnn.benchmark
    enabled, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )

    def put_back() -> None:
        if before is None:
            del os.environ[workspace]
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        cudnn.benchmark = benchmark

    # cuBLAS repeats itself only in a workspace that it is told of before its first call
    os.environ[workspace] = before or ":4096:8"
    torch.use_deterministic_algorithms(True)
    cudnn.benchmark = False  # it chooses by time, so not always alike
    return put_back


_whole, _repeating = _Held(_multiply_whole), _Held(_repeat)


@contextmanager
def whole_float32() -> Iterator[None]:
    """Switch TensorFloat-32 off within the context; the last thread to leave restores the process's settings.

    Effects of attention are differences of about a thousandth of a logit: TensorFloat-32 rounds them away. PyTorch
    keeps this setting for the whole process, so what other threads compute on a GPU meanwhile is exact, and slower,
    too; nothing on a CPU changes. A thread that reads ``allow_tf32`` meanwhile gets PyTorch's error about mixed
    settings.
    """
    with _whole():
        yield


@contextmanager
def repeatable() -> Iterator[None]:
    """Make a GPU's results repeatable within the context; the last thread to leave restores the process's settings.

    Raises:
        RuntimeError: From PyTorch, where a step within has no such form.
    """
    with _repeating():
        yield


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Make float32 the default dtype in this thread alone; the process's default stays as it is.

    A program that calls this one may have set another default with ``torch.set_default_dtype``, which holds for all
    threads: to change it, even for a moment, would change what those compute. Captum, too, makes tensors that depend on
    it.
    """
    if torch.get_default_dtype() is torch.float32:
        yield
        return
    with _Float32():
        yield


#: Functions that make a tensor of the default dtype; of the second ones only where the values given are Python's
#: floats.
_MAKERS = frozenset(
    {torch.zeros, torch.ones, torch.empty, torch.eye, torch.rand, torch.randn, torch.linspace, torch.logspace}
)
_MAKERS_FROM_VALUES = frozenset({torch.tensor, torch.as_tensor, torch.scalar_tensor, torch.full, torch.arange})


class _Float32(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("dtype") is None and (
            func in _MAKERS or (func in _MAKERS_FROM_VALUES and _is_of_floats(func, args, kwargs))
        ):
            kwargs = kwargs | {"dtype": torch.float32}
        return func(*args, **kwargs)


def _is_of_floats(func: Any, args: Any, kwargs: Any) -> bool:
    """Return whether the dtype of what is made follows from Python's floats, not from integers, arrays or tensors."""
    given = [*args, *kwargs.values()]
    return not any(hasattr(value, "dtype") for value in given) and bool(func(*args, **kwargs).is_floating_point())
