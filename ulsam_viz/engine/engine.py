"""Computation for many visitors on few cores: a pool of networks, a bounded number of threads, bounded caches.

Captum works by hooks on modules, so two threads must never use one network at once: each computation borrows a replica
of its own. Results are frozen and keyed by everything they depend on, so sharing them between visitors is safe.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast
from weakref import WeakSet

import torch
from torch import nn

from ..analysis.attention import Attention, attend, attend_each
from ..analysis.attribution import Attribution, attribute
from ..analysis.methods import METHODS
from ..images.preprocessing import Crop, ModelInput
from ..models.attention_network import AttentionNetwork
from ..models.cost import Latency, measure_latencies
from ..models.optimize import optimize
from ..models.precision import float32_by_default, whole_float32
from ..zoo.live_model import GuestNetwork
from ..zoo.variants import Variant, load_network
from .caching import BoundedCache, freeze, size_of
from .devices import Gpu
from .scheduling import FairPool, Job, Kind

T = TypeVar("T")
# Of how many passes a computation has sent through the network by other ways than a call (0), and of its result so far
# (None).
Pause = Callable[..., None]
Work = Callable[[Any, Pause], T]  # on an AttentionNetwork, which a variant's Network is
Run = Callable[[str, Job], T]  # on a device, as a job
_SHORT_PASSES = 2  # an attribution of so few passes takes milliseconds
_GPU_BATCH = 16  # pictures in one pass, where several visitors wait for the same network
_TIMES_KEPT = 600.0  # seconds: a machine is not always equally busy
_MOST_WAITING = 300  # computations in line for one visitor: a page asks for some fifty
_FULL = "The GPU ran out of memory; this was computed on the CPU."


class TooMuchError(RuntimeError):
    """A visitor has too many pending requests."""


@dataclass(frozen=True)
class DeviceChoice:
    """The device that will be used, and why, where it is not the one that was asked for."""

    device: str
    reason: str | None


@dataclass(eq=False)
class _Asked:
    """A running or queued computation and those who wait for it.

    Attributes:
        key: Of its result.
        job: Its turn, in its pool.
        pool: That pool.
        wanted: How many wait for it.
        picture: What a pass looks at, (1, 3, S, S), as long as another's pass may take it along.
    """

    key: Any
    job: Job
    pool: FairPool
    wanted: int = 1
    picture: torch.Tensor | None = None


class Engine:
    """Runs computations for any number of visitors: at most one a core (and one a GPU) at once, in fair order.

    A visitor is anything hashable, such as a session's id. Equal computations run once for all who ask for them.

    Args:
        workers: Computations at once on the CPU; by default as many as its cores have room for, each on as many threads
            as PyTorch is set to. The app sets one (measured: the same throughput as two, without the spikes of
            oversubscription); a program that calls :func:`ulsam_viz.explain` keeps its own setting.
        model_bytes: Memory for idle networks.
        result_bytes: Memory for results.
    """

    def __init__(
        self, *, workers: int | None = None, model_bytes: int = 400 * 2**20, result_bytes: int = 200 * 2**20
    ) -> None:
        workers = workers or max(1, _cores() // torch.get_num_threads())
        self._pools = {"cpu": FairPool(workers, "engine", _prepare_thread)}
        # A GPU does one thing at once; passes go in batches
        self._pools["cuda"] = FairPool(1, "engine-gpu", _prepare_thread)
        self._lock = threading.Lock()
        self._idle: OrderedDict[tuple[str, str], list[Any]] = OrderedDict()
        self._sizes: dict[tuple[str, str], int] = {}  # bytes of one network of each key
        self._model_bytes = model_bytes
        self._results = BoundedCache(result_bytes)
        self._running: dict[Any, _Asked] = {}  # by key
        self._asked: dict[Future[Any], _Asked] = {}  # the same, by what is waited for
        self._gpu = Gpu()
        self._moved: WeakSet[Future[Any]] = WeakSet()  # what was asked of the GPU and computed on the CPU

    def choose_device(self, wish: str) -> DeviceChoice:
        """Decide where to compute: ``"auto"``, ``"cpu"`` or ``"cuda"``."""
        if wish == "cpu":
            return DeviceChoice("cpu", None)
        if torch.cuda.is_available():
            trouble = self._gpu.trouble()
            return DeviceChoice("cpu" if trouble else "cuda", trouble)
        if wish == "auto":
            return DeviceChoice("cpu", None)
        built = (
            "PyTorch sees no CUDA GPU here" if torch.backends.cuda.is_built() else "this PyTorch is built without CUDA"
        )
        return DeviceChoice("cpu", f"{built}; the CPU is used.")

    def really(self, future: Future[Any], chosen: DeviceChoice) -> DeviceChoice:
        """Return the device of a finished computation: the chosen one, or the CPU where the GPU was full."""
        with self._lock:
            return DeviceChoice("cpu", _FULL) if future in self._moved else chosen

    def attend(
        self, picture: ModelInput, variant: Variant | GuestNetwork, device: str = "cpu", *, visitor: Hashable = None
    ) -> Future[Attention]:
        """Start one pass; the future holds logits, calibrated probabilities and all maps."""
        key = (variant.key, device, picture.key)
        temperature = variant.calibration.temperature

        def alone(model: AttentionNetwork, _: Pause) -> Attention:
            return attend(model, picture.tensor, temperature=temperature)

        if device == "cpu":  # batches are no faster there, and would change the last bits
            return self._ask(key, variant, alone, kind=Kind.SHORT, visitor=visitor)
        batch = partial(self._attend_batch, key, picture.tensor, temperature)
        return self._ask(key, variant, batch, on_cpu=alone, kind=Kind.SHORT, visitor=visitor, picture=picture.tensor)

    def _attend_batch(
        self, key: tuple[str, str, str], tensor: torch.Tensor, temperature: float, model: AttentionNetwork, _: Pause
    ) -> Attention:
        """Run one pass for all pictures that wait for this network; the results of the others go to the cache."""
        others: list[tuple[Any, torch.Tensor]] = []
        with self._lock:
            for asked in self._running.values():
                if (
                    asked.picture is not None
                    and asked.key[:2] == key[:2]
                    and asked.key != key
                    and len(others) < _GPU_BATCH - 1
                ):
                    others.append((asked.key, asked.picture))
                    asked.picture = None
        mine, *theirs = attend_each(
            model, torch.cat([tensor, *(picture for _, picture in others)]), temperature=temperature
        )
        for (other, _picture), seen in zip(others, theirs, strict=True):
            freeze(seen)
            with self._lock:
                self._results.put(other, seen)
        return mine

    def attribute(
        self,
        picture: ModelInput,
        variant: Variant | GuestNetwork,
        device: str = "cpu",
        *,
        method: str,
        target: int,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
        visitor: Hashable = None,
    ) -> Future[Attribution]:
        """Start one attribution; see :func:`ulsam_viz.analysis.attribution.attribute`.

        Those of few passes count as short.
        """
        chosen, values = METHODS.get(method), dict(settings or {})
        if chosen:
            values = chosen.complete(values)  # so that a default counts as itself, given or not
        passes = chosen.passes(values, variant.input_size) if chosen else 0
        return self._ask(
            (variant.key, device, picture.key, method, target, tuple(values.items()), seed),
            variant,
            lambda model, pause: attribute(
                model,
                picture.tensor,
                method=method,
                target=target,
                preprocessing=variant.preprocessing,
                settings=values,
                seed=seed,
                seen=self._seen((variant.key, device, picture.key)),
                show=lambda so_far: pause(so_far=so_far),
            ),
            kind=Kind.SHORT if passes <= _SHORT_PASSES else Kind.LONG,
            visitor=visitor,
        )

    def run(
        self,
        name: Hashable,
        picture: Crop,
        variant: Variant | GuestNetwork,
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
                then, and a computation that nobody waits for ends there. Passes that do not call the network itself,
                but parts of it, are counted by that function's argument.
            kind: SHORT for what takes milliseconds.
            visitor: Who asks, for fair turns.
        """
        return self._ask((variant.key, device, picture.key, name), variant, work, kind=kind, visitor=visitor)

    def _seen(self, key: tuple[str, str, str]) -> Attention | None:
        """Return a pass that is done, if it is still kept."""
        with self._lock:
            seen: Attention | None = self._results.get(key)[1]
        return seen

    def latency(
        self, variants: Sequence[Variant], device: str = "cpu", *, visitor: Hashable = None
    ) -> Future[Mapping[str, Latency]]:
        """Start measuring the variants' times for one picture, interleaved, so that other load affects all alike.

        The same variants are measured anew after some minutes. Between any two passes short work goes first.

        Returns:
            Times by the variants' keys; only those of one call compare.
        """
        names = tuple(sorted(v.key for v in variants))

        def measure(own_device: str, job: Job) -> Mapping[str, Latency]:
            def pause() -> None:
                self._pools[own_device].give_way(job)
                job.passes += 1

            with ExitStack() as stack:
                models = {v.key: (stack.enter_context(self._borrow(v, own_device)), v.input_size) for v in variants}
                return measure_latencies(models, pause=pause)

        # No time of a CPU stands for that of a GPU that was full.
        return self._submit(("latency", device, names, time.monotonic() // _TIMES_KEPT), measure, None, visitor=visitor)

    def warm(self, variant: Variant | GuestNetwork, device: str = "cpu") -> Future[None]:
        """Load a variant and run it once when nothing else is to do, so that its first visitor does not wait."""

        def once(model: AttentionNetwork, _: Pause) -> None:
            attend(model, torch.zeros(1, 3, variant.input_size, variant.input_size, dtype=torch.float32))

        return self._ask((variant.key, device, "warm"), variant, once, kind=Kind.BACKGROUND)

    def ahead_of(self, future: Future[Any]) -> int | None:
        """Return how many computations begin before this one; None if it has begun or is done."""
        with self._lock:
            asked = self._asked.get(future)
        return asked.pool.ahead_of(asked.job) if asked else None

    def passes(self, future: Future[Any]) -> int:
        """Return how many pictures a computation has sent through the whole network so far; 0 once it is done."""
        with self._lock:
            asked = self._asked.get(future)
        return asked.job.passes if asked else 0

    def so_far(self, future: Future[T]) -> T | None:
        """Return the result that a computation has reached by now, of those that refine theirs.

        None before, and once it is done.
        """
        with self._lock:
            asked = self._asked.get(future)
        return cast("T | None", asked.job.so_far) if asked else None

    def release(self, futures: Iterable[Future[Any]]) -> None:
        """Release a visitor's requests; a computation that nobody waits for is cancelled, or stops at its next pass."""
        with self._lock:
            for future in futures:
                if (asked := self._asked.get(future)) is None:  # done already
                    continue
                asked.wanted -= 1
                if not asked.wanted:
                    self._forget(future)
                    asked.pool.abandon(asked.job)

    def _ask(
        self,
        key: Any,
        variant: Variant | GuestNetwork,
        work: Work[T],
        *,
        on_cpu: Work[T] | None = None,
        kind: Kind = Kind.LONG,
        visitor: Hashable = None,
        picture: torch.Tensor | None = None,
    ) -> Future[T]:
        """Submit work on a variant's network; ``on_cpu`` does the same where the GPU is full, if that is other work."""

        def run(network: Work[T], device: str, job: Job) -> T:
            return self._with_network(variant, device, network, job)

        return self._submit(
            key, partial(run, work), partial(run, on_cpu or work), kind=kind, visitor=visitor, picture=picture
        )

    def _submit(
        self,
        key: Any,
        run: Run[T],
        on_cpu: Run[T] | None,
        *,
        kind: Kind = Kind.LONG,
        visitor: Hashable = None,
        picture: torch.Tensor | None = None,
    ) -> Future[T]:
        """Answer from the cache, join a running computation of the same key, or put one in line.

        Args:
            key: Everything that the result depends on; its second part is the device.
            run: Computes it.
            on_cpu: Computes it on the CPU where the GPU is full; None: that is an error then.
            kind: How urgent it is.
            visitor: Who asks; nobody in particular may have any number of them in line.
            picture: See :class:`_Asked`.

        Raises:
            TooMuchError: If as many of this visitor's are in line as may be.
        """
        with self._lock:
            if running := self._running.get(key):
                running.wanted += 1
                return running.job.future
            found, value = self._results.get(key)
            if found:
                future: Future[T] = Future()
                future.set_result(value)
                return future
            pool = self._pools[key[1]]
            if visitor and pool.waiting(visitor) >= _MOST_WAITING:
                raise TooMuchError(
                    f"You already wait for {_MOST_WAITING} computations; look at this again in a moment."
                )
            job = pool.submit(partial(self._run, key, run, on_cpu), kind=kind, visitor=visitor)
            self._running[key] = self._asked[job.future] = _Asked(key, job, pool, picture=picture)
            return job.future

    def _forget(self, future: Future[Any]) -> None:
        """Drop what is done or abandoned; the lock is held."""
        asked = self._asked.pop(future, None)
        if asked and self._running.get(asked.key) is asked:  # not if it was asked for again since
            del self._running[asked.key]

    def _run(self, key: Any, run: Run[T], on_cpu: Run[T] | None, job: Job) -> T:
        try:
            value = self._on_gpu(key, run, on_cpu, job) if key[1] == "cuda" else self._kept(key, run, job)
        finally:
            with self._lock:
                self._forget(job.future)
        return value

    def _on_gpu(self, key: Any, run: Run[T], on_cpu: Run[T] | None, job: Job) -> T:
        """Compute on the GPU, or where it is full on the CPU: such a result is kept as what it is, the CPU's."""
        try:
            with whole_float32():
                value = self._kept(key, run, job)
            self._gpu.worked()
            return value
        except torch.cuda.OutOfMemoryError:
            self._gpu.ran_out_of_memory()
        # Only now, since the error held what was computed so far.
        with self._lock:
            self._idle = OrderedDict((k, stock) for k, stock in self._idle.items() if k[1] == "cpu")
            self._moved.add(job.future)
        torch.cuda.empty_cache()
        if on_cpu is None:
            raise RuntimeError("the GPU ran out of memory")
        return self._kept((key[0], "cpu", *key[2:]), on_cpu, job)

    def _kept(self, key: Any, run: Run[T], job: Job) -> T:
        """Return the result of a key: the one that is kept, or else a new one, which is kept then."""
        with self._lock:
            found, value = self._results.get(key)
        if not found:
            value = run(key[1], job)
            freeze(value)
            with self._lock:
                self._results.put(key, value)
        return value

    def _with_network(self, variant: Variant | GuestNetwork, device: str, work: Work[T], job: Job) -> T:
        # A short job may run within a long one, in its thread: whatever mode that has set must not reach into this
        # network.
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            float32_by_default(),
            self._borrow(variant, device) as model,
        ):
            if job.kind is Kind.SHORT:
                return work(model, lambda passes=0, so_far=None: None)

            with self._lock:
                pool = self._pools["cuda" if job.future in self._moved else device]  # in whose thread this runs

            # Each pass of a long computation begins by letting short ones go first.
            def pause(passes: int = 0, so_far: Any = None) -> None:
                pool.give_way(job)
                job.passes += passes
                if so_far is not None:
                    freeze(so_far)
                    job.so_far = so_far

            def before_pass(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
                pause(len(inputs[0]))

            hook = model.register_forward_pre_hook(before_pass)
            try:
                return work(model, pause)
            finally:
                hook.remove()

    @contextmanager
    def _borrow(self, variant: Variant | GuestNetwork, device: str) -> Iterator[Any]:
        """Lend a network that no other thread uses; after an error it is not given back to the pool."""
        key = (variant.key, device)
        with self._lock:
            stock = self._idle.get(key)
            model = stock.pop() if stock else None
        if model is None:
            model = optimize(_load(variant)).to(device)
        yield model
        with self._lock:
            self._idle.setdefault(key, []).append(model)
            self._idle.move_to_end(key)
            self._sizes.setdefault(key, size_of(model))
            while self._idle_bytes() > self._model_bytes and len(self._idle) > 1:
                self._idle.popitem(last=False)

    def _idle_bytes(self) -> int:
        return sum(self._sizes[key] * len(stock) for key, stock in self._idle.items())

    def held(self) -> tuple[int, int]:
        """Return the bytes that idle networks and results take now; at most what the engine was given for each."""
        with self._lock:
            return self._idle_bytes(), self._results.used


def _load(variant: Variant | GuestNetwork) -> nn.Module:
    return cast(nn.Module, variant.network) if isinstance(variant, GuestNetwork) else load_network(variant)


def _cores() -> int:
    """Return the cores that this process may use: in a container they may be fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _prepare_thread() -> None:
    """On Linux, where threads have priorities of their own, compute below those that answer visitors."""
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
