"""Waits that a signal handler may interrupt anywhere, and that never leave anything taken."""
from __future__ import annotations

import threading
import time
from typing import Any, Callable, List

import pytest

from legacy_plugins.rpc.latch import Bell, Latch
from tests.plugins.interruption import interrupt_each_line
from tests.plugins.programs import SECONDS


def test_a_latch_is_set_once_and_for_all() -> None:
    """All who wait wake, who comes later does not wait, and setting it again changes nothing."""
    latch, woken = Latch(), []  # type: ignore[var-annotated]
    assert not latch.is_set()
    waiting = [threading.Thread(target=lambda: woken.append(latch.wait(SECONDS))) for _ in range(5)]
    for thread in waiting:
        thread.start()
    latch.set()
    latch.set()
    for thread in waiting:
        thread.join(SECONDS)
    assert woken == [True] * 5
    assert latch.is_set()
    assert latch.wait(0)


def test_a_wait_has_a_limit() -> None:
    """What does not come is waited for so long, however often somebody rings for other reasons."""
    bell, stop = Bell(), threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            bell.ring()
    disturber = threading.Thread(target=disturb)
    disturber.start()
    began = time.monotonic()
    try:
        assert not bell.wait_for(lambda: False, 0.05)
    finally:
        stop.set()
        disturber.join(SECONDS)
    assert time.monotonic() - began >= 0.05
    assert not Latch().wait(0.01)
    assert not Latch().wait(0)
    assert not bell._waiting


def test_no_ring_is_missed() -> None:
    """Whatever the threads' order, a wait that may take for ever ends when its fact has come."""
    for _ in range(300):
        latch = Latch()
        setter = threading.Thread(target=latch.set)
        setter.start()
        assert latch.wait()
        setter.join(SECONDS)


@pytest.mark.fault("J20")
@pytest.mark.parametrize("act", [lambda latch: latch.wait(SECONDS), lambda latch: latch.set()])
def test_a_signal_handler_may_raise_anywhere(act: Callable[[Latch], Any]) -> None:
    """Wherever it raises, the latch can be set and waited for afterwards, and nobody is remembered."""
    latches: List[Latch] = []
    setters: List[threading.Thread] = []

    def prepare() -> Callable[[], Any]:
        latches.append(Latch())
        setters.append(threading.Thread(target=latches[-1].set))
        setters[-1].start()
        return lambda: act(latches[-1])
    interrupted = 0
    for where in interrupt_each_line(prepare, {"latch.py"}):
        latches[-1].set()
        assert latches[-1].wait(SECONDS), where
        setters[-1].join(SECONDS)
        assert not latches[-1]._waiting, where
        interrupted += 1
    assert interrupted >= 1
    for setter in setters:
        setter.join(SECONDS)
