"""Turns at the cores: short work first, visitors one after the other, and work that nobody waits for stops."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from functools import partial

import pytest

from tests.patience import PATIENCE
from ulsam_viz.engine.scheduling import FairPool, Job, Kind


@pytest.fixture
def blocked() -> tuple[FairPool, threading.Event]:
    """A pool of one thread that is busy until the event is set, so that a line forms."""
    pool, go = FairPool(1, "test", lambda: None), threading.Event()
    started = threading.Event()

    def wait(_: Job) -> None:
        started.set()
        go.wait(PATIENCE)

    pool.submit(wait, kind=Kind.LONG, visitor="first")
    assert started.wait(PATIENCE)
    return pool, go


def test_visitors_take_turns_and_keep_their_own_order(blocked: tuple[FairPool, threading.Event]) -> None:
    pool, go = blocked
    done: list[str] = []
    jobs = [
        pool.submit(partial(lambda name, _: done.append(name), n), kind=Kind.LONG, visitor=n[0])
        for n in ("a1", "a2", "a3", "b1", "c1", "b2")
    ]
    assert [pool.ahead_of(job) for job in jobs] == [0, 3, 5, 1, 2, 4]  # a1 b1 c1 a2 b2 a3
    go.set()
    for job in jobs:
        job.future.result(PATIENCE)
    assert done == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert [pool.ahead_of(job) for job in jobs] == [None] * 6


def test_short_work_comes_first_and_background_work_last(blocked: tuple[FairPool, threading.Event]) -> None:
    pool, go = blocked
    done: list[Kind] = []
    kinds = (Kind.BACKGROUND, Kind.LONG, Kind.SHORT, Kind.BACKGROUND, Kind.SHORT)
    jobs = [pool.submit(lambda job: done.append(job.kind), kind=k, visitor=i) for i, k in enumerate(kinds)]
    assert [pool.ahead_of(job) for job in jobs] == [3, 2, 0, 4, 1]
    go.set()
    for job in jobs:
        job.future.result(PATIENCE)
    assert done == sorted(kinds)


def test_a_long_job_lets_short_ones_pass_between_its_parts() -> None:
    pool = FairPool(1, "test", lambda: None)
    order: list[str] = []
    asked, parts = threading.Event(), threading.Event()

    def long(job: Job) -> None:
        order.append("part 1")
        parts.set()
        asked.wait(PATIENCE)
        pool.give_way(job)
        order.append("part 2")

    slow = pool.submit(long, kind=Kind.LONG)
    assert parts.wait(PATIENCE)
    quick = pool.submit(lambda _: order.append("short"), kind=Kind.SHORT)
    other = pool.submit(lambda _: order.append("other"), kind=Kind.LONG)
    asked.set()
    for job in (slow, quick, other):
        job.future.result(PATIENCE)
    assert order == ["part 1", "short", "part 2", "other"]


def test_abandoned_work_never_begins_or_stops_at_its_next_part(blocked: tuple[FairPool, threading.Event]) -> None:
    pool, go = blocked
    begun: list[int] = []
    waiting = pool.submit(lambda _: begun.append(1), kind=Kind.LONG)
    behind = pool.submit(lambda _: None, kind=Kind.LONG)
    assert pool.ahead_of(behind) == 1
    pool.abandon(waiting)
    assert pool.ahead_of(behind) == 0
    go.set()
    assert waiting.future.cancelled()
    started, resume = threading.Event(), threading.Event()

    def long(job: Job) -> None:
        started.set()
        resume.wait(PATIENCE)
        pool.give_way(job)
        begun.append(2)

    running = pool.submit(long, kind=Kind.LONG)
    assert started.wait(PATIENCE)
    pool.abandon(running)
    resume.set()
    with pytest.raises(CancelledError):
        running.future.result(PATIENCE)
    pool.submit(lambda _: begun.append(3), kind=Kind.LONG).future.result(PATIENCE)
    assert begun == [3]


def test_an_error_is_the_asking_ones_alone() -> None:
    pool = FairPool(1, "test", lambda: None)

    def fails(_: Job) -> None:
        raise ValueError("no")

    bad, good = pool.submit(fails, kind=Kind.SHORT), pool.submit(lambda _: 7, kind=Kind.SHORT)
    with pytest.raises(ValueError, match="no"):
        bad.future.result(PATIENCE)
    assert good.future.result(PATIENCE) == 7
