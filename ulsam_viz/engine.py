"""Many visitors, few cores: networks lent one user at a time, a bounded number of computations, bounded caches.

Captum works by hooks on modules, so two threads must never use one network at once: each computation borrows a replica
of its own. Results are frozen and keyed by everything they depend on, so sharing them between visitors is safe.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from .analysis.attention import Attention, attend
from .analysis.attribution import Attribution, attribute
from .analysis.methods import AttributionError
from .cost import measure_latency
from .images import ModelInput, prepare
from .models.mobilenet import MobileNet
from .models.optimize import optimize
from .zoo import Variant, get_variant, load_network

T = TypeVar("T")


@dataclass(frozen=True)
class DeviceChoice:
    """The device that will be used, and why, where it is not the one that was asked for."""

    device: str
    reason: str | None


@dataclass(frozen=True)
class Explanation:
    """Everything about one picture, one variant and one class.

    Attributes:
        variant: Name of the variant.
        logits, probabilities: Shape (classes,).
        target: Class number that the attributions are for.
        attention: Attention maps by layer, each (g, H, W), each map summing to 1.
        attributions: Attributions by method, each (S, S), signed where the method is.
        details: The full record of each method: time, passes, convergence delta, caveat.
        pixels: The crop that the network saw, shape (S, S, 3), uint8.
    """

    variant: str
    logits: np.ndarray
    probabilities: np.ndarray
    target: int
    attention: Mapping[int, np.ndarray]
    attributions: Mapping[str, np.ndarray]
    details: Mapping[str, Attribution]
    pixels: np.ndarray


class Engine:
    """Runs computations for any number of visitors.

    Args:
        workers: Computations at once; by default one a core, each on one thread (measured: the same throughput as two
            threads each, without the spikes of oversubscription).
        model_bytes: Memory for idle networks.
        result_bytes: Memory for results.
    """

    def __init__(self, *, workers: int | None = None, model_bytes: int = 400 * 2**20, result_bytes: int = 200 * 2**20) -> None:
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1, "engine", initializer=torch.set_num_threads, initargs=(1,))
        # A pass takes milliseconds: it never waits behind attributions, which take up to seconds.
        self._quick = ThreadPoolExecutor(1, "engine-quick", initializer=torch.set_num_threads, initargs=(1,))
        self._lock = threading.Lock()
        self._idle: OrderedDict[tuple[str, str], list[MobileNet]] = OrderedDict()
        self._model_bytes = model_bytes
        self._results = _BoundedCache(result_bytes)
        self._running: dict[Any, Future[Any]] = {}
        self._wanted: dict[Future[Any], int] = {}
        self._cuda_trouble: str | None = None
        self._cuda_tried = False

    def choose_device(self, wish: str) -> DeviceChoice:
        """Decide where to compute: ``"auto"``, ``"cpu"`` or ``"cuda"``."""
        if wish == "cpu":
            return DeviceChoice("cpu", None)
        if torch.cuda.is_available() and not self._cuda_tried:
            self._try_cuda()
        if self._cuda_trouble:
            return DeviceChoice("cpu", self._cuda_trouble)
        if torch.cuda.is_available():
            return DeviceChoice("cuda", None)
        if wish == "auto":
            return DeviceChoice("cpu", None)
        built = "PyTorch sees no CUDA GPU here" if torch.backends.cuda.is_built() else "this PyTorch is built without CUDA"
        return DeviceChoice("cpu", f"{built}; the CPU is used.")

    def _try_cuda(self) -> None:
        """Compute once on the GPU: a driver or card that PyTorch cannot use is found here, not in a visitor's view."""
        self._cuda_tried = True
        try:
            torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4, device="cuda"), torch.ones(1, 1, 3, 3, device="cuda")).sum().item()
        except RuntimeError as error:
            self._cuda_trouble = f"The GPU cannot be used ({str(error).splitlines()[0]}); the CPU is used."

    def attend(self, picture: ModelInput, variant: Variant, device: str = "cpu") -> Future[Attention]:
        """Start one pass; the future holds logits and all maps."""
        key = (variant.sha256, device, picture.key)
        return self._submit(key, variant, device, lambda model: attend(model, picture.tensor), quick=True)

    def attribute(
        self,
        picture: ModelInput,
        variant: Variant,
        device: str = "cpu",
        *,
        method: str,
        target: int,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Future[Attribution]:
        """Start one attribution; see :func:`ulsam_viz.analysis.attribution.attribute`."""
        key = (variant.sha256, device, picture.key, method, target, tuple(sorted((settings or {}).items())), seed)
        return self._submit(
            key,
            variant,
            device,
            lambda model: attribute(
                model,
                picture.tensor,
                method=method,
                target=target,
                preprocessing=variant.preprocessing,
                settings=settings,
                seed=seed,
            ),
        )

    def latency(self, variant: Variant, device: str = "cpu") -> Future[float]:
        """Start measuring the variant's time for one picture, in milliseconds, on one thread."""
        key = (variant.sha256, device, "latency")
        return self._submit(key, variant, device, lambda model: measure_latency(model, variant.input_size))

    def warm(self, variant: Variant, device: str = "cpu") -> Future[None]:
        """Load a variant in the background, so that its first visitor does not wait."""
        return self._submit((variant.sha256, device, "warm"), variant, device, lambda model: None)

    def release(self, futures: Iterable[Future[Any]]) -> None:
        """Say that a visitor no longer waits for these; what nobody waits for and has not begun is never computed."""
        with self._lock:
            for future in futures:
                if future not in self._wanted:  # done already
                    continue
                self._wanted[future] -= 1
                if not self._wanted[future]:
                    del self._wanted[future]
                    if future.cancel():
                        self._running = {key: f for key, f in self._running.items() if f is not future}

    def _submit(self, key: Any, variant: Variant, device: str, work: Callable[[MobileNet], T], *, quick: bool = False) -> Future[T]:
        """Answer from the cache, join a running computation of the same key, or start one."""
        with self._lock:
            if key in self._running:
                self._wanted[self._running[key]] = self._wanted.get(self._running[key], 0) + 1
                return self._running[key]
            found, value = self._results.get(key)
            future: Future[Any]
            if found:
                future = Future()
                future.set_result(value)
                return future
            future = self._running[key] = (self._quick if quick else self._pool).submit(self._run, key, variant, device, work)
            self._wanted[future] = 1
            return future

    def _run(self, key: Any, variant: Variant, device: str, work: Callable[[MobileNet], T]) -> T:
        try:
            try:
                value = self._with_network(variant, device, work)
            except torch.cuda.OutOfMemoryError:
                self._cuda_trouble = "The GPU ran out of memory; the CPU is used instead."
                with self._lock:
                    self._idle = OrderedDict((k, stock) for k, stock in self._idle.items() if k[1] == "cpu")
                torch.cuda.empty_cache()
                value = self._with_network(variant, "cpu", work)
            _freeze(value)
            with self._lock:
                self._results.put(key, value)
            return value
        finally:
            with self._lock:
                done = self._running.pop(key, None)
                if done:
                    self._wanted.pop(done, None)

    def _with_network(self, variant: Variant, device: str, work: Callable[[MobileNet], T]) -> T:
        with self._borrow(variant, device) as model:
            return work(model)

    @contextmanager
    def _borrow(self, variant: Variant, device: str) -> Iterator[MobileNet]:
        """Lend a network that no other thread uses; after an error it is not given back to the pool."""
        key = (variant.sha256, device)
        with self._lock:
            stock = self._idle.get(key)
            model = stock.pop() if stock else None
        if model is None:
            model = optimize(load_network(variant)).to(device)
        yield model
        with self._lock:
            self._idle.setdefault(key, []).append(model)
            self._idle.move_to_end(key)
            while sum(_size(m) for stock in self._idle.values() for m in stock) > self._model_bytes and len(self._idle) > 1:
                self._idle.popitem(last=False)


class _BoundedCache:
    """Least-recently-used results within a number of bytes; the engine's lock guards it."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._items: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    def get(self, key: Any) -> tuple[bool, Any]:
        if key not in self._items:
            return False, None
        self._items.move_to_end(key)
        return True, self._items[key][0]

    def put(self, key: Any, value: Any) -> None:
        size = _size(value) + 500
        self._items[key] = (value, size)
        self._used += size
        while self._used > self._limit and self._items:
            _, (_, freed) = self._items.popitem(last=False)
            self._used -= freed


def _freeze(value: Any) -> None:
    """Make a result's arrays read-only: visitors share them."""
    if isinstance(value, np.ndarray):
        value.setflags(write=False)
    elif isinstance(value, Mapping):
        for item in value.values():
            _freeze(item)
    elif hasattr(value, "__dataclass_fields__"):
        for f in fields(value):
            _freeze(getattr(value, f.name))


def _size(value: Any) -> int:
    """Return the bytes of the arrays and tensors in a result or network."""
    if isinstance(value, torch.nn.Module):
        tensors = [*value.parameters(), *value.buffers()]
        return sum(t.numel() * t.element_size() for t in tensors)
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(_size(v) for v in value.values())
    if hasattr(value, "__dataclass_fields__"):
        return sum(_size(getattr(value, f.name)) for f in fields(value))
    return 0


_default: Engine | None = None
_default_lock = threading.Lock()


def default_engine() -> Engine:
    """Return the process's engine, made when first asked for."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Engine()
        return _default


def explain(
    image: Image.Image,
    variant: str | Variant,
    methods: Sequence[str] = ("grad_cam",),
    target: int | str | None = None,
    *,
    device: str = "auto",
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
) -> Explanation:
    """Look at one picture through one trained variant.

    Args:
        image: An RGB picture; :func:`ulsam_viz.decode_image` makes one from a file's bytes.
        variant: A variant or its name.
        methods: Names of attribution methods.
        target: Class number or name; by default the predicted class.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        settings: For each method, values other than its defaults.
        seed: The same call with the same seed gives the same numbers, in any thread.

    Returns:
        Logits, maps, attributions and the crop that the network saw.

    Raises:
        KeyError: For an unknown variant.
        CheckpointError: If the variant's checkpoint is damaged.
        AttributionError: For an unknown method, setting or class.
    """
    engine = default_engine()
    record = get_variant(variant) if isinstance(variant, str) else variant
    place = engine.choose_device(device).device
    picture = prepare(image, record.preprocessing)
    attention = engine.attend(picture, record, place).result()
    number = attention.top(1)[0] if target is None else _class_number(target, record)
    futures = {
        method: engine.attribute(
            picture, record, place, method=method, target=number, settings=(settings or {}).get(method), seed=seed
        )
        for method in methods
    }
    details = {method: future.result() for method, future in futures.items()}
    return Explanation(
        record.name,
        attention.logits,
        attention.probabilities,
        number,
        attention.maps,
        {method: a.values for method, a in details.items()},
        details,
        picture.pixels,
    )


def _class_number(target: int | str, variant: Variant) -> int:
    if isinstance(target, str):
        if target not in variant.classes:
            raise AttributionError(f"{variant.name} knows no class '{target}'")
        return variant.classes.index(target)
    return int(target)
