"""The supervising thread: jobs, timers and descriptors, without a lost wake-up and without polling."""
from __future__ import annotations

import logging
import os
import random
import resource
import select
import signal
import threading
import time
from typing import Any, Callable, Iterator, List, Tuple

import pytest

from legacy_plugins.rpc import reactor as reactor_module
from legacy_plugins.rpc.reactor import Reactor, Timer
from legacy_plugins.transport import descriptors
from tests.plugins.programs import SECONDS, eventually


@pytest.fixture(scope="module")
def reactor() -> Reactor:
    """A reactor of the tests' own; like the process's, its thread idles to the end of the process."""
    return Reactor()


def _run(reactor: Reactor, job: Callable[[], Any]) -> Any:
    """What `job()` returns on the supervising thread."""
    done, results = threading.Event(), []  # type: ignore[var-annotated]
    reactor.post(lambda: (results.append(job()), done.set())[0])
    assert done.wait(SECONDS)
    return results[0]


def test_jobs_run_in_order(reactor: Reactor) -> None:
    """What is posted runs on one thread in the order of posting, with its arguments."""
    ran: List[int] = []
    for number in range(500):
        reactor.post(ran.append, number)
    assert _run(reactor, lambda: list(ran)) == list(range(500))
    assert _run(reactor, reactor.on_thread)
    assert not reactor.on_thread()


def test_nothing_is_lost_between_sleep_and_work(reactor: Reactor) -> None:
    """Jobs from eight threads, with pauses in which the thread falls asleep, all run, at once."""
    ran: List[List[int]] = [[] for _ in range(8)]

    def post(index: int) -> None:
        pause = threading.Event()
        for number in range(300):
            reactor.post(ran[index].append, number)
            if random.random() < 0.05:
                pause.wait(random.random() * 0.002)
    posting = [threading.Thread(target=post, args=(index,)) for index in range(8)]
    for thread in posting:
        thread.start()
    for thread in posting:
        thread.join(SECONDS)
    _run(reactor, lambda: None)
    assert ran == [list(range(300))] * 8


def test_each_single_job_wakes_a_sleeper(reactor: Reactor) -> None:
    """A round trip to a sleeping reactor takes milliseconds, every time."""
    for _ in range(200):
        eventually(lambda: reactor._asleep_until is None or reactor._asleep_until > 0, "it sleeps")
        began = time.monotonic()
        _run(reactor, lambda: None)
        assert time.monotonic() - began < 2.0


def test_timers_run_at_their_time_and_in_order(reactor: Reactor) -> None:
    """Never early; the earlier one first, whichever was made first; a new earliest one wakes the sleeper."""
    ran: List[Tuple[str, float]] = []
    done = threading.Event()
    began = time.monotonic()
    reactor.call_later(0.06, lambda: (ran.append(("late", time.monotonic() - began)), done.set())[0])
    reactor.call_later(0.02, lambda: ran.append(("early", time.monotonic() - began)))
    assert done.wait(SECONDS)
    assert [name for name, _ in ran] == ["early", "late"]
    assert ran[0][1] >= 0.02
    assert 0.06 <= ran[1][1] < 1.0


def test_a_cancelled_timer_does_not_run(reactor: Reactor) -> None:
    """`cancel` before its time is in time; afterwards it changes nothing."""
    ran: List[int] = []
    gate = threading.Event()
    reactor.post(gate.wait, SECONDS)
    timers = [reactor.call_later(0.01, lambda: ran.append(1)), reactor.call_later(0.01, lambda: ran.append(2))]
    timers[0].cancel()
    timers[0].cancel()
    gate.set()
    eventually(lambda: ran, "the other runs")
    timers[1].cancel()
    assert ran == [2]


def test_cancelled_timers_do_not_pile_up(reactor: Reactor) -> None:
    """The timers of ten thousand calls that were answered in time are forgotten long before their time."""
    keep = reactor.call_later(3600, lambda: None)
    for _ in range(10_000):
        reactor.call_later(3600, lambda: None).cancel()
    assert len(reactor._heap) < 2500
    keep.cancel()


@pytest.mark.parametrize("seconds", [1e9, 1e300, float("inf")])
def test_a_timer_of_the_far_future_harms_nobody(seconds: float) -> None:
    """`poll` takes no more than 24 days; whoever asks for more must not end the supervision of all."""
    own = Reactor()
    own.call_later(seconds, lambda: None)
    eventually(lambda: own._asleep_until != 0.0, "it sleeps")
    _run(own, lambda: None)


def test_a_readable_descriptor_is_told_once(reactor: Reactor) -> None:
    """The callback runs when there is something to read, and once only; `unwatch` is in time before that."""
    told: List[str] = []
    (first, first_end), (second, second_end) = descriptors.open_pipe(), descriptors.open_pipe()
    _run(reactor, lambda: (reactor.watch(first, lambda: told.append("first")),
                           reactor.watch(second, lambda: told.append("second"))))
    os.write(first_end, b"x")
    eventually(lambda: told == ["first"], "it is told")
    _run(reactor, lambda: reactor.unwatch(second))
    os.write(second_end, b"x")
    os.write(first_end, b"x")
    _run(reactor, lambda: None)
    _run(reactor, lambda: reactor.unwatch(second))
    assert told == ["first"]
    for fd in (first, first_end, second, second_end):
        descriptors.close(fd)


def test_a_descriptor_that_is_forgotten_meanwhile_is_not_told(reactor: Reactor) -> None:
    """Of two that are readable at once, the first one's callback closes the second, whose number gets another."""
    pairs = [descriptors.open_pipe() for _ in range(2)]
    told: List[str] = []
    fresh: List[int] = []

    def close_the_other(index: int) -> None:
        other = pairs[1 - index]
        told.append("first")
        reactor.unwatch(other[0])
        for fd in other:
            descriptors.close(fd)
        fresh.extend(descriptors.open_pipe())  # the same numbers, with nothing to read
        assert fresh[0] in other
        reactor.watch(fresh[0], lambda: told.append("wrong"))

    def prepare() -> None:
        for index, pair in enumerate(pairs):
            os.write(pair[1], b"x")
            reactor.watch(pair[0], lambda index=index: close_the_other(index))  # type: ignore[misc]
    _run(reactor, prepare)
    eventually(lambda: told, "one is told")
    _run(reactor, lambda: None)
    _run(reactor, lambda: None)
    assert told == ["first"]
    _run(reactor, lambda: reactor.unwatch(fresh[0]))
    for fd in {*pairs[0], *pairs[1], *fresh}:
        descriptors.close(fd)


def test_descriptors_are_looked_at_between_jobs(reactor: Reactor) -> None:
    """A reactor that always has a job still sees what is readable."""
    told = threading.Event()
    fd, end = descriptors.open_pipe()

    def again() -> None:
        if not told.is_set():
            reactor.post(again)
    _run(reactor, lambda: reactor.watch(fd, told.set))
    reactor.post(again)
    os.write(end, b"x")
    assert told.wait(SECONDS)
    descriptors.close(fd)
    descriptors.close(end)


@pytest.mark.fault("H11")
@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_an_error_ends_nothing(reactor: Reactor, caplog: pytest.LogCaptureFixture, error: type) -> None:
    """Whatever a job, a timer or a watch raises is logged; the thread goes on."""
    def fail() -> None:
        raise error("a defect")
    fd, end = descriptors.open_pipe()
    os.write(end, b"x")
    with caplog.at_level(logging.ERROR, "legacy_plugins.rpc"):
        reactor.post(fail)
        reactor.call_later(0.0, fail)
        _run(reactor, lambda: reactor.watch(fd, fail))
        eventually(lambda: len(caplog.records) == 3, "all are logged")
    _run(reactor, lambda: None)
    descriptors.close(fd)
    descriptors.close(end)


@pytest.mark.fault("G13")
def test_an_idle_reactor_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without timers it waits without a time-out; many posts are one wake-up."""
    waits: List[Any] = []
    real = select.poll

    class Poll:
        """Keeps the time-outs."""

        def __init__(self) -> None:
            self._real = real()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def poll(self, timeout: Any = None) -> Any:
            waits.append(timeout)
            return self._real.poll(timeout)
    monkeypatch.setattr(reactor_module.select, "poll", Poll)
    own = Reactor()
    own.start()
    eventually(lambda: waits, "it waits")
    assert waits == [None]
    gate = threading.Event()
    own.post(gate.wait, SECONDS)
    for _ in range(100):
        own.post(lambda: None)
    gate.set()
    _run(own, lambda: None)
    eventually(lambda: own._asleep_until is None, "it sleeps")
    assert len(waits) < 10
    assert waits[-1] is None


# ---- starting


@pytest.mark.fault("P21", "H9")
def test_what_cannot_start_raises_and_can_later() -> None:
    """Without a descriptor the first use raises, keeps no job, and a later one works."""
    own = Reactor()
    ran: List[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="open files"):
            own.post(ran.append, 1)
        with pytest.raises(OSError, match="open files"):
            own.call_later(0.0, lambda: ran.append(2))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    own.post(ran.append, 3)
    assert _run(own, lambda: list(ran)) == [3]


@pytest.mark.fault("H9")
def test_no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a thread the first use raises, and leaves no descriptor; a later one works."""
    own = Reactor()
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="new thread"):
            own.post(lambda: None)
    if before:
        assert set(os.listdir("/proc/self/fd")) == before
    assert _run(own, lambda: 5) == 5


def test_a_signal_handler_may_raise_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at the very first use leaves a reactor that works: its thread ends, and the next use starts another."""
    own = Reactor()
    before = threading.active_count()
    start = threading.Thread.start

    def interrupted(self: threading.Thread) -> None:
        start(self)
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            own.post(lambda: None)
    eventually(lambda: threading.active_count() == before, "it has ended")
    assert _run(own, own.on_thread)
    assert threading.active_count() == before + 1


def test_a_signal_handler_may_post() -> None:
    """A handler that interrupts a thread which holds the lock posts too, instead of waiting for itself."""
    own = Reactor()
    ran: List[str] = []
    before = signal.signal(signal.SIGUSR2, lambda *_: own.post(ran.append, "handler"))
    try:
        with own._lock:
            signal.raise_signal(signal.SIGUSR2)
            own.post(ran.append, "after")
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert _run(own, lambda: list(ran)) == ["handler", "after"]


def test_a_timer_knows_its_time(reactor: Reactor) -> None:
    """`at` is on the monotonic clock."""
    timer: Timer = reactor.call_later(10, lambda: None)
    assert 9 < timer.at - time.monotonic() <= 10
    timer.cancel()


@pytest.fixture(autouse=True)
def _no_noise(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A test that did not ask for it finds nothing in the log."""
    yield
    quiet = [record for record in caplog.records if "please report it" not in record.message]
    assert not quiet
