"""The dispatch thread: in order, never dropped (but offers), whatever user code does."""
from __future__ import annotations

import gc
import logging
import threading
import weakref
from typing import List

import pytest

from legacy_plugins.rpc.dispatcher import Dispatcher, surround_jobs
from tests.plugins.programs import SECONDS


@pytest.fixture
def dispatcher() -> Dispatcher:
    """A dispatcher of the test's own; like the process's, its thread idles to the end of the process."""
    return Dispatcher(max_offers=3)


@pytest.mark.fault("B11")
def test_jobs_run_in_order_on_one_thread(dispatcher: Dispatcher) -> None:
    """Whatever is posted runs, one after the other, in the order of posting, on a thread that is nobody else's."""
    ran: List[int] = []
    names = set()

    def job(number: int) -> None:
        ran.append(number)
        names.add(threading.current_thread().name)
    for number in range(1000):
        dispatcher.post(job, number)
    assert dispatcher.flush(SECONDS)
    assert ran == list(range(1000))
    assert names == {"legacy-plugins-dispatch"}


@pytest.mark.fault("B11", "E3")
@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_job_that_raises_stops_no_other(dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture,
                                          error: type) -> None:
    """Whatever user code raises is logged, even what would end a thread; the next job runs."""
    def fail() -> None:
        raise error("the callback's own")
    with caplog.at_level(logging.ERROR, "legacy_plugins.rpc"):
        dispatcher.post(fail)
        assert dispatcher.flush(SECONDS)
    assert [record.message for record in caplog.records] == ["a callback raised on the dispatch thread"]


@pytest.mark.fault("B11")
def test_offers_are_bounded_posts_are_not(dispatcher: Dispatcher) -> None:
    """Behind a slow receiver so many offers wait, and more are refused; posts always wait."""
    gate, ran = threading.Event(), []  # type: ignore[var-annotated]
    begun = threading.Event()
    dispatcher.post(lambda: (begun.set(), gate.wait(SECONDS)))
    assert begun.wait(SECONDS)
    assert [dispatcher.offer(ran.append, number) for number in range(5)] == [True, True, True, False, False]
    for number in range(100, 200):
        dispatcher.post(ran.append, number)
    gate.set()
    assert dispatcher.flush(SECONDS)
    assert ran == [0, 1, 2, *range(100, 200)]
    assert dispatcher.offer(ran.append, 5)
    assert dispatcher.flush(SECONDS)
    assert ran[-1] == 5


def test_flush_has_a_limit_and_is_not_for_the_thread_itself(dispatcher: Dispatcher) -> None:
    """It says False after its time, and at once on the dispatch thread, which would wait for itself."""
    gate = threading.Event()
    inside: List[bool] = []
    dispatcher.post(lambda: inside.append(dispatcher.flush(SECONDS)))
    dispatcher.post(gate.wait, SECONDS)
    assert not dispatcher.flush(0.02)
    gate.set()
    assert dispatcher.flush(SECONDS)
    assert inside == [False]


def test_a_job_that_has_run_is_forgotten(dispatcher: Dispatcher) -> None:
    """An idle dispatcher keeps no callback and no argument alive."""
    class Big:
        pass
    big = Big()
    gone = weakref.ref(big)
    dispatcher.post(id, big)
    del big
    assert dispatcher.flush(SECONDS)
    gc.collect()
    assert gone() is None


def test_jobs_post_jobs(dispatcher: Dispatcher) -> None:
    """A callback may post; it runs later."""
    done = threading.Event()
    dispatcher.post(lambda: dispatcher.post(done.set))
    assert done.wait(SECONDS)


@pytest.mark.fault("H9")
def test_no_thread_is_left(dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Posting never raises for want of a thread, or at the interpreter's end; the next post tries again."""
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")
    ran: List[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        dispatcher.post(ran.append, 1)
        assert dispatcher.offer(ran.append, 2)
    assert ran == []
    dispatcher.post(ran.append, 3)
    assert dispatcher.flush(SECONDS)
    assert ran == [1, 2, 3]


def test_from_many_threads(dispatcher: Dispatcher) -> None:
    """Nothing is lost, and each thread's jobs keep their order."""
    ran: List[List[int]] = [[] for _ in range(8)]

    def post(index: int) -> None:
        for number in range(500):
            dispatcher.post(ran[index].append, number)
    posting = [threading.Thread(target=post, args=(index,)) for index in range(8)]
    for thread in posting:
        thread.start()
    for thread in posting:
        thread.join(SECONDS)
    assert dispatcher.flush(SECONDS)
    assert ran == [list(range(500))] * 8


def test_steps_around_each_job(dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch,
                               caplog: pytest.LogCaptureFixture) -> None:
    """A framework's steps run before and after every job, once each; one that raises, or a job, disturbs none."""
    monkeypatch.setattr("legacy_plugins.rpc.dispatcher._around", [])
    ran: List[str] = []

    def fails() -> None:
        raise ZeroDivisionError

    def step() -> None:
        ran.append("step")

    for _ in range(2):
        surround_jobs(fails)
        surround_jobs(step)
    dispatcher.post(ran.append, "job")
    dispatcher.post(fails)
    last = threading.Event()
    dispatcher.post(last.set)
    assert last.wait(SECONDS)
    assert ran[:5] == ["step", "job", "step", "step", "step"]
    assert "a callback raised" in caplog.text
