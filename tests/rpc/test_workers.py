"""The bounded pool: as many as allowed at a time, refusals instead of queues, threads that survive their jobs."""
from __future__ import annotations

import logging
import os
import random
import threading
from typing import Any, Callable, Iterator, List

import pytest

from legacy_plugins.rpc.workers import Afterwards, WorkerPool
from tests.plugins.programs import SECONDS, eventually, threads


@pytest.fixture
def pool() -> Iterator[Callable[..., WorkerPool]]:
    """A function that makes pools, whose threads must end when they are closed."""
    made: List[WorkerPool] = []

    def make(max_workers: int, **how: Any) -> WorkerPool:
        made.append(WorkerPool(max_workers, name="pool", **how))
        return made[-1]
    yield make
    for each in made:
        each.close()
    eventually(lambda: not threads("pool"), "the threads end")


class Gate:
    """Jobs that wait until they are let through."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._entered = threading.Semaphore(0)
        self._left = threading.Semaphore(0)

    def job(self) -> None:
        """What the pool runs."""
        self._entered.release()
        assert self._open.wait(SECONDS)
        self._left.release()

    def await_entered(self, count: int = 1) -> None:
        """Wait until so many more jobs have begun."""
        for _ in range(count):
            assert self._entered.acquire(timeout=SECONDS)

    def open(self, count: int = 0) -> None:
        """Let them through, and wait until so many are."""
        self._open.set()
        for _ in range(count):
            assert self._left.acquire(timeout=SECONDS)


@pytest.mark.fault("V4")
def test_all_busy_is_a_refusal(pool: Callable[..., WorkerPool]) -> None:
    """As many jobs as workers run at a time; one more is refused at once, and taken when one has ended."""
    workers, gate = pool(2), Gate()
    assert [workers.submit(gate.job) for _ in range(3)] == [True, True, False]
    gate.await_entered(2)
    assert not workers.submit(gate.job)
    gate.open(2)
    eventually(lambda: workers.submit(gate.job), "a worker is free again")
    gate.open(1)
    assert len(threads("pool")) <= 2


def test_some_may_wait(pool: Callable[..., WorkerPool]) -> None:
    """With `max_waiting`, so many wait their turn, in order."""
    workers, gate = pool(1, max_waiting=3), Gate()
    done: List[int] = []
    assert workers.submit(gate.job)
    assert [workers.submit(done.append, number) for number in range(4)] == [True, True, True, False]
    gate.open(1)
    eventually(lambda: done == [0, 1, 2], "those that waited run")


def test_threads_start_when_they_are_needed(pool: Callable[..., WorkerPool]) -> None:
    """No thread before the first job; no second one while the first is free."""
    workers = pool(4)
    assert not threads("pool")
    for _ in range(20):
        done = threading.Event()
        eventually(lambda: workers.submit(done.set), "the job is taken")  # noqa: B023
        assert done.wait(SECONDS)
        eventually(lambda: workers._running == 0, "the thread is free")
    assert len(threads("pool")) == 1


@pytest.mark.fault("V3")
def test_who_asks_again_at_once_finds_the_thread_free(pool: Callable[..., WorkerPool]) -> None:
    """`Afterwards` runs when the thread counts as free: told then that a job is done, one can submit the next."""
    workers = pool(1)
    incoming, outgoing = os.pipe()  # writing lets other threads run, as an answer does
    for _ in range(500):
        assert workers.submit(lambda: Afterwards(lambda: os.write(outgoing, b"x")))
        assert os.read(incoming, 1)
    os.close(incoming)
    os.close(outgoing)
    ran: List[str] = []
    assert workers.submit(lambda: lambda: ran.append("a function that a job returns is nothing special"))
    workers.close()
    eventually(lambda: not threads("pool"), "the thread ends")
    assert ran == []


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_job_that_raises_costs_nothing(pool: Callable[..., WorkerPool], caplog: pytest.LogCaptureFixture,
                                         error: type) -> None:
    """Whatever a job raises is logged; the thread takes the next job."""
    workers = pool(1, max_waiting=5)

    def fail() -> None:
        raise error("the job's own")
    done = threading.Event()
    with caplog.at_level(logging.ERROR, "legacy_plugins.rpc"):
        assert workers.submit(fail)
        assert workers.submit(lambda: Afterwards(fail))
        assert workers.submit(done.set)
        assert done.wait(SECONDS)
    assert [record.message for record in caplog.records] == ["a job raised in the pool pool"] * 2
    assert len(threads("pool")) == 1


def test_a_closed_pool(pool: Callable[..., WorkerPool]) -> None:
    """Nothing is taken any more, what waits is dropped, what runs is finished; the threads end."""
    workers, gate = pool(1, max_waiting=5), Gate()
    never: List[int] = []
    workers.submit(gate.job)
    workers.submit(never.append, 1)
    gate.await_entered()
    workers.close()
    assert not workers.submit(never.append, 2)
    gate.open(1)
    eventually(lambda: not threads("pool"), "the thread ends")
    assert never == []


@pytest.mark.fault("H9")
def test_no_thread_is_left(pool: Callable[..., WorkerPool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a thread a job is refused, or waits for one that runs; later the pool works as ever."""
    workers, gate = pool(2, max_waiting=1), Gate()
    start = threading.Thread.start

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert not workers.submit(gate.job)
    monkeypatch.setattr(threading.Thread, "start", start)
    assert workers.submit(gate.job)
    gate.await_entered()
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert workers.submit(gate.job)
    monkeypatch.setattr(threading.Thread, "start", start)
    gate.open(2)


def test_many_submit_and_close_at_once(pool: Callable[..., WorkerPool]) -> None:
    """Every job that was taken before the end runs once, under eight submitting threads."""
    workers = pool(3, max_waiting=10_000)
    counted = [0] * 8
    lock = threading.Lock()

    def count(index: int) -> None:
        with lock:
            counted[index] += 1

    def submit(index: int) -> None:
        for _ in range(200):
            assert workers.submit(count, index)
            if random.random() < 0.1:
                threading.Event().wait(0.0001)
    submitting = [threading.Thread(target=submit, args=(index,)) for index in range(8)]
    for thread in submitting:
        thread.start()
    for thread in submitting:
        thread.join(SECONDS)
    eventually(lambda: counted == [200] * 8, "all have run")
