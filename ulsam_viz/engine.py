"""Many visitors, few cores: networks lent one user at a time, a bounded number of computations, bounded caches.

Captum works by hooks on modules, so two threads must never use one network at once: each computation borrows a replica
of its own. Results are frozen and keyed by everything they depend on, so sharing them between visitors is safe.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch

from .analysis.attention import Attention, attend, attend_each
from .analysis.attribution import Attribution, attribute
from .analysis.methods import METHODS
from .caching import BoundedCache, freeze, size_of
from .cost import measure_latency
from .images import ModelInput
from .models.network import Network
from .models.optimize import optimize
from .scheduling import FairPool, Job, Kind
from .zoo import Variant, load_network

T = TypeVar("T")
Pause = Callable[..., None]  # of how many passes a computation has sent through the network by other ways than a call; 0
Work = Callable[[Network, Pause], T]
_SHORT_PASSES = 2  # an attribution of so few passes takes milliseconds
_GPU_BATCH = 16  # pictures in one pass, where several visitors wait for the same network


@dataclass(frozen=True)
class DeviceChoice:
    """The device that will be used, and why, where it is not the one that was asked for."""

    device: str
    reason: str | None


class Engine:
    """Runs computations for any number of visitors: at most one a core (and one a GPU) at once, in fair order.

    A visitor is anything hashable, such as a session's id. Equal computations run once for all who ask for them.

    Args:
        workers: Computations at once; by default one a core, each on one thread (measured: the same throughput as two
            threads each, without the spikes of oversubscription).
        model_bytes: Memory for idle networks.
        result_bytes: Memory for results.
    """

    def __init__(self, *, workers: int | None = None, model_bytes: int = 400 * 2**20, result_bytes: int = 200 * 2**20) -> None:
        self._pools = {"cpu": FairPool(workers or os.cpu_count() or 1, "engine", _prepare_thread)}
        self._pools["cuda"] = FairPool(1, "engine-gpu", _prepare_thread)  # a GPU does one thing at once; passes go in batches
        self._lock = threading.Lock()
        self._idle: OrderedDict[tuple[str, str], list[Network]] = OrderedDict()
        self._sizes: dict[tuple[str, str], int] = {}  # bytes of one network of each key
        self._model_bytes = model_bytes
        self._results = BoundedCache(result_bytes)
        self._running: dict[Any, Job] = {}
        self._jobs: dict[Future[Any], tuple[Job, str]] = {}  # with the pool each is in
        self._wanted: dict[Future[Any], int] = {}
        self._passes: dict[tuple[str, str], dict[Any, torch.Tensor]] = {}  # pictures in line for a pass, by network
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
        # Effects are differences of about a thousandth of a logit: TensorFloat-32's rounding would hide them.
        torch.backends.cudnn.allow_tf32 = False
        try:
            torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4, device="cuda"), torch.ones(1, 1, 3, 3, device="cuda")).sum().item()
        except RuntimeError as error:
            self._cuda_trouble = f"The GPU cannot be used ({str(error).splitlines()[0]}); the CPU is used."

    def attend(self, picture: ModelInput, variant: Variant, device: str = "cpu", *, visitor: Hashable = None) -> Future[Attention]:
        """Start one pass; the future holds logits, calibrated probabilities and all maps."""
        key = (variant.key, device, picture.key)
        if device == "cpu":  # batches are no faster there, and would change the last bits
            alone = partial(_attend_alone, picture.tensor, variant.calibration.temperature)
            return self._submit(key, variant, device, alone, kind=Kind.SHORT, visitor=visitor)
        with self._lock:
            if not self._results.get(key)[0]:
                self._passes.setdefault((variant.key, device), {})[key] = picture.tensor
        batch = partial(self._attend_batch, key, picture.tensor, variant.calibration.temperature)
        return self._submit(key, variant, device, batch, kind=Kind.SHORT, visitor=visitor)

    def _attend_batch(
        self, key: tuple[str, str, str], tensor: torch.Tensor, temperature: float, model: Network, pause: Pause
    ) -> Attention:
        """Run one pass for all pictures that wait for this network; what the others get is found in the cache."""
        with self._lock:
            found, value = self._results.get(key)
            if found:
                return value
            waiting = self._passes.pop(key[:2], {})
        waiting.pop(key, None)
        others = list(waiting.items())[: _GPU_BATCH - 1]
        with self._lock:
            self._passes.setdefault(key[:2], {}).update(dict(list(waiting.items())[_GPU_BATCH - 1 :]))
        mine, *theirs = attend_each(model, torch.cat([tensor, *(t for _, t in others)]), temperature=temperature)
        for (other, _), value in zip(others, theirs, strict=True):
            freeze(value)
            with self._lock:
                self._results.put(other, value)
        return mine

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
        visitor: Hashable = None,
    ) -> Future[Attribution]:
        """Start one attribution; see :func:`ulsam_viz.analysis.attribution.attribute`. Those of few passes count as short."""
        passes = METHODS[method].passes(METHODS[method].complete(settings or {}), variant.input_size) if method in METHODS else 0
        key = (variant.key, device, picture.key, method, target, tuple(sorted((settings or {}).items())), seed)
        return self._submit(
            key,
            variant,
            device,
            lambda model, _: attribute(
                model,
                picture.tensor,
                method=method,
                target=target,
                preprocessing=variant.preprocessing,
                settings=settings,
                seed=seed,
                seen=self._seen((variant.key, device, picture.key)),
            ),
            kind=Kind.SHORT if passes <= _SHORT_PASSES else Kind.LONG,
            visitor=visitor,
        )

    def run(
        self,
        name: Hashable,
        picture: ModelInput,
        variant: Variant,
        device: str,
        work: Work[T],
        *,
        kind: Kind = Kind.LONG,
        visitor: Hashable = None,
    ) -> Future[T]:
        """Start any other computation on a variant's network.

        Args:
            name: With picture, variant and device, everything that the result depends on.
            picture: What is looked at.
            variant: The network.
            device: ``"cpu"`` or ``"cuda"``.
            work: Called with a network of its own, and with a function to call between passes: short work goes first
                then, and a computation that nobody waits for ends there. Passes that do not call the network itself, but
                parts of it, are counted by that function's argument.
            kind: SHORT for what takes milliseconds.
            visitor: Who asks, for fair turns.
        """
        return self._submit((variant.key, device, picture.key, name), variant, device, work, kind=kind, visitor=visitor)

    def _seen(self, key: tuple[str, str, str]) -> Attention | None:
        """Return a pass that is done, if it is still kept."""
        with self._lock:
            seen: Attention | None = self._results.get(key)[1]
        return seen

    def latency(self, variant: Variant, device: str = "cpu", *, visitor: Hashable = None) -> Future[float]:
        """Start measuring the variant's time for one picture, in milliseconds, on one thread."""
        key = (variant.key, device, "latency")
        return self._submit(
            key, variant, device, lambda m, _: measure_latency(m, variant.input_size), kind=Kind.SHORT, visitor=visitor
        )

    def warm(self, variant: Variant, device: str = "cpu") -> Future[None]:
        """Load a variant when nothing else is to do, so that its first visitor does not wait."""
        return self._submit((variant.key, device, "warm"), variant, device, lambda *_: None, kind=Kind.BACKGROUND)

    def ahead_of(self, future: Future[Any]) -> int | None:
        """Return how many computations begin before this one; None if it has begun or is done."""
        with self._lock:
            job, device = self._jobs.get(future, (None, ""))
        return self._pools[device].ahead_of(job) if job else None

    def passes(self, future: Future[Any]) -> int:
        """Return how many pictures a computation has sent through the whole network so far; 0 once it is done."""
        with self._lock:
            job, _ = self._jobs.get(future, (None, ""))
        return job.passes if job else 0

    def release(self, futures: Iterable[Future[Any]]) -> None:
        """Say that a visitor no longer waits for these; what nobody waits for never begins, or stops at its next pass."""
        with self._lock:
            for future in futures:
                if future not in self._wanted:  # done already
                    continue
                self._wanted[future] -= 1
                if not self._wanted[future]:
                    job, device = self._jobs[future]
                    self._forget(job)
                    self._pools[device].abandon(job)

    def _submit(
        self,
        key: Any,
        variant: Variant,
        device: str,
        work: Work[T],
        *,
        kind: Kind = Kind.LONG,
        visitor: Hashable = None,
    ) -> Future[T]:
        """Answer from the cache, join a running computation of the same key, or put one in line."""
        with self._lock:
            if running := self._running.get(key):
                self._wanted[running.future] += 1
                return running.future
            found, value = self._results.get(key)
            if found:
                future: Future[T] = Future()
                future.set_result(value)
                return future
            pool = device.partition(":")[0]
            job = self._pools[pool].submit(partial(self._run, key, variant, device, work), kind=kind, visitor=visitor)
            self._running[key], self._jobs[job.future], self._wanted[job.future] = job, (job, pool), 1
            return job.future

    def _forget(self, job: Job) -> None:
        """Drop a job that is done or abandoned; the lock is held."""
        self._running = {key: other for key, other in self._running.items() if other is not job}
        self._jobs.pop(job.future, None)
        self._wanted.pop(job.future, None)

    def _run(self, key: Any, variant: Variant, device: str, work: Work[T], job: Job) -> T:
        try:
            try:
                value = self._with_network(variant, device, work, job)
            except torch.cuda.OutOfMemoryError:
                self._cuda_trouble = "The GPU ran out of memory; the CPU is used instead."
                with self._lock:
                    self._idle = OrderedDict((k, stock) for k, stock in self._idle.items() if k[1] == "cpu")
                torch.cuda.empty_cache()
                value = self._with_network(variant, "cpu", work, job)
            freeze(value)
            with self._lock:
                self._results.put(key, value)
            return value
        finally:
            with self._lock:
                self._forget(job)

    def _with_network(self, variant: Variant, device: str, work: Work[T], job: Job) -> T:
        # A short job may run within a long one, in its thread: whatever mode that has set must not reach into this network.
        with torch.inference_mode(False), torch.enable_grad(), self._borrow(variant, device) as model:
            if job.kind is Kind.SHORT:
                return work(model, lambda passes=0: None)

            # Each pass of a long computation begins by letting short ones go first.
            def pause(passes: int = 0) -> None:
                self._pools[device.partition(":")[0]].give_way(job)
                job.passes += passes

            def before_pass(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
                pause(len(inputs[0]))

            hook = model.register_forward_pre_hook(before_pass)
            try:
                return work(model, pause)
            finally:
                hook.remove()

    @contextmanager
    def _borrow(self, variant: Variant, device: str) -> Iterator[Network]:
        """Lend a network that no other thread uses; after an error it is not given back to the pool."""
        key = (variant.key, device)
        with self._lock:
            stock = self._idle.get(key)
            model = stock.pop() if stock else None
        if model is None:
            model = optimize(load_network(variant)).to(device)
        yield model
        with self._lock:
            self._idle.setdefault(key, []).append(model)
            self._idle.move_to_end(key)
            self._sizes.setdefault(key, size_of(model))
            while sum(self._sizes[k] * len(stock) for k, stock in self._idle.items()) > self._model_bytes and len(self._idle) > 1:
                self._idle.popitem(last=False)


def _attend_alone(tensor: torch.Tensor, temperature: float, model: Network, pause: Pause) -> Attention:
    return attend(model, tensor, temperature=temperature)


def _prepare_thread() -> None:
    """One core each; and on Linux, where threads have priorities of their own, below those that answer visitors."""
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


_default: Engine | None = None
_default_lock = threading.Lock()


def default_engine() -> Engine:
    """Return the process's engine, made when first asked for."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Engine()
        return _default
