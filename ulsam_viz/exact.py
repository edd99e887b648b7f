"""Exact arithmetic on a GPU: float32 that is not rounded to TensorFloat-32, and sums in an order that repeats itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def whole_float32() -> Iterator[None]:
    """Multiply float32 as float32 on a GPU, and leave the process's settings as they were.

    Effects of attention are differences of about a thousandth of a logit: TensorFloat-32 rounds them away. PyTorch keeps
    this setting for the whole process, so what other threads compute on a GPU meanwhile is exact, and slower, too; nothing
    on a CPU changes. A thread that reads ``allow_tf32`` meanwhile gets PyTorch's error about mixed settings.
    """
    cudnn: Any = torch.backends.cudnn  # whose parts its stubs do not know
    kinds = (cudnn.conv, torch.backends.cuda.matmul)
    before = [kind.fp32_precision for kind in kinds]
    try:
        for kind in kinds:
            kind.fp32_precision = "ieee"
        yield
    finally:
        for kind, value in zip(kinds, before, strict=True):
            kind.fp32_precision = value


@contextmanager
def repeatable() -> Iterator[None]:
    """Let a GPU compute the same bits each time, and leave the process's settings as they were.

    Raises:
        RuntimeError: From PyTorch, where a step within has no such form.
    """
    cudnn, workspace = torch.backends.cudnn, "CUBLAS_WORKSPACE_CONFIG"
    before, benchmark = os.environ.get(workspace), cudnn.benchmark
    enabled, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        os.environ[workspace] = (
            before or ":4096:8"
        )  # cuBLAS repeats itself only in a workspace that it is told of before its first call
        torch.use_deterministic_algorithms(True)
        cudnn.benchmark = False  # it chooses by time, so not always alike
        yield
    finally:
        if before is None:
            del os.environ[workspace]
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        cudnn.benchmark = benchmark
