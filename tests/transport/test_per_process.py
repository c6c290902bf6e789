"""What a process has once: made when it is asked for, the same for everybody, never a forked child's."""
from __future__ import annotations

import os
import threading
from types import SimpleNamespace
from typing import List

import pytest

from legacy_plugins.host.orphans import shared_guard
from legacy_plugins.rpc.dispatcher import shared_dispatcher
from legacy_plugins.rpc.reactor import shared_reactor
from legacy_plugins.transport.per_process import PerProcess


class Thing:
    """Something that a process has."""


def test_it_is_made_when_it_is_asked_for() -> None:
    """Nothing is made before, `peek` makes nothing, and all get the same."""
    made: List[Thing] = []

    def make() -> Thing:
        made.append(Thing())
        return made[-1]
    things = PerProcess(make)
    assert things.peek() is None
    assert made == []
    assert things.get() is things.get() is things.peek() is made[0]
    assert len(made) == 1


@pytest.mark.fault("H1")
def test_a_forked_child_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """In another process there is another, and the parent's is abandoned, once, before it is made."""
    abandoned: List[Thing] = []
    things = PerProcess(Thing, abandoned.append)
    parents = things.get()
    things.abandon_inherited()
    assert abandoned == []
    pid = os.getpid()
    monkeypatch.setattr("legacy_plugins.transport.per_process.os", SimpleNamespace(getpid=lambda: pid + 1))
    assert things.peek() is None
    assert things.get() is not parents
    things.abandon_inherited()
    assert abandoned == [parents]
    monkeypatch.setattr("legacy_plugins.transport.per_process.os", SimpleNamespace(getpid=lambda: pid))
    assert things.peek() is None


@pytest.mark.fault("H15")
def test_other_threads_other_things(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made before the threads were replaced is not used after that: its locks are of the old kind."""
    things = PerProcess(Thing)
    before = things.get()
    monkeypatch.setattr(threading, "Lock", threading.RLock)
    assert things.peek() is None
    assert things.get() is not before


def test_many_that_ask_at_once_get_the_same() -> None:
    """Whoever is slower gets what the other has made."""
    barrier = threading.Barrier(4)

    def make() -> Thing:
        barrier.wait(10)  # each of them has found nothing
        return Thing()
    things = PerProcess(make)
    found: List[Thing] = []
    threads = [threading.Thread(target=lambda: found.append(things.get())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 4
    assert len(set(found)) == 1


def test_the_librarys_own() -> None:
    """Supervising thread, dispatch thread and guard are there once in a process."""
    assert shared_reactor() is shared_reactor()
    assert shared_dispatcher() is shared_dispatcher()
    assert shared_guard() is shared_guard()
