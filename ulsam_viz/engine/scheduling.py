"""A thread pool that is fair between visitors and runs short jobs first."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

T = TypeVar("T")


class Kind(IntEnum):
    """The priority of a job: jobs of an earlier kind always begin before those of a later kind."""

    SHORT = 0  # milliseconds; a running long job lets it pass between its parts
    LONG = 1
    BACKGROUND = 2


@dataclass(eq=False)
class Job:
    """A piece of work, and what becomes of it.

    ``passes`` is how far it says that it has come, ``so_far`` what it has by then.
    """

    work: Callable[[Job], Any]
    kind: Kind
    visitor: Hashable
    future: Future[Any] = field(default_factory=Future)
    abandoned: bool = False
    passes: int = 0
    so_far: Any = None


class FairPool:
    """Runs jobs on a bounded number of threads.

    Short jobs come first. Then each visitor's jobs keep their order, and visitors take turns: who asked for ten
    computations does not stand before who asked for one.

    Args:
        workers: Threads, and so jobs at once.
        name: Of the threads.
        prepare: Called once in each thread.
    """

    def __init__(self, workers: int, name: str, prepare: Callable[[], None]) -> None:
        self._threads = ThreadPoolExecutor(workers, name, initializer=prepare)
        self._lock = threading.Lock()
        self._lines: dict[Kind, OrderedDict[Hashable, deque[Job]]] = {kind: OrderedDict() for kind in Kind}

    def waiting(self, visitor: Hashable) -> int:
        """Return how many jobs of a visitor are in line."""
        with self._lock:
            return sum(not job.abandoned for lines in self._lines.values() for job in lines.get(visitor, ()))

    def submit(self, work: Callable[[Job], Any], *, kind: Kind, visitor: Hashable = None) -> Job:
        """Put work in line; it is called with its own job, for :meth:`give_way`."""
        job = Job(work, kind, visitor)
        with self._lock:
            self._lines[kind].setdefault(visitor, deque()).append(job)
        self._threads.submit(self._run_next)  # whoever is next then, not necessarily this job
        return job

    def give_way(self, job: Job) -> None:
        """Run waiting short jobs first; a long job calls this between its parts, in its own thread.

        Raises:
            CancelledError: If nobody waits for the job any more.
        """
        if job.abandoned:
            raise CancelledError
        while short := self._take(Kind.SHORT):
            _run(short)

    def abandon(self, job: Job) -> None:
        """Cancel a job: a queued one never begins, a running one stops at its next :meth:`give_way`."""
        job.abandoned = True
        job.future.cancel()

    def ahead_of(self, job: Job) -> int | None:
        """Return how many jobs in line begin before this one, if no others come; None if it has begun or is done."""
        with self._lock:
            waiting = {
                kind: {visitor: [j for j in line if not j.abandoned] for visitor, line in self._lines[kind].items()}
                for kind in Kind
            }
            before = sum(len(line) for kind in Kind if kind < job.kind for line in waiting[kind].values())
            lines = waiting[job.kind]
            if job.visitor not in lines or job not in lines[job.visitor]:
                return None
            turn = lines[job.visitor].index(job)
            earlier = True  # visitors whose turn comes before this one's
            for visitor, line in lines.items():
                earlier = earlier and visitor != job.visitor
                before += min(len(line), turn + earlier) if visitor != job.visitor else turn
            return before

    def _take(self, *kinds: Kind) -> Job | None:
        with self._lock:
            for kind in kinds:
                lines = self._lines[kind]
                while lines:
                    visitor, line = lines.popitem(last=False)
                    job = line.popleft()
                    if line:
                        lines[visitor] = line  # to the end: the others' turn
                    if not job.future.cancelled():
                        return job
        return None

    def _run_next(self) -> None:
        if job := self._take(*Kind):
            _run(job)


def _run(job: Job) -> None:
    if not job.future.set_running_or_notify_cancel():
        return
    try:
        result = job.work(job)
    except BaseException as error:  # the future carries it to who waits
        job.future.set_exception(error)
    else:
        job.future.set_result(result)
