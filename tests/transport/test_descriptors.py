"""The book of descriptors: what is entered is closed in forked children, and forks wait for whoever opens one."""
from __future__ import annotations

import os
import threading
from types import SimpleNamespace
from typing import Callable, List

import pytest

from legacy_plugins.transport import descriptors
from legacy_plugins.transport.per_process import PerProcess
from tests.plugins.programs import SECONDS

pytestmark = [pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork"),
              pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")]  # of fork, from Python 3.12 on


def _in_a_child(check: Callable[[], bool]) -> bool:
    """What `check()` says in a forked child."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = 0 if check() else 1
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_a_pipe_is_entered_and_not_inheritable() -> None:
    """Both ends are closed on exec, and `close` closes each exactly once."""
    ends = descriptors.open_pipe()
    assert not any(map(os.get_inheritable, ends))
    for fd in ends:
        descriptors.close(fd)
        assert not _is_open(fd)


def test_a_number_that_is_used_again_is_left_alone() -> None:
    """Closing a descriptor a second time does not close what has got its number meanwhile."""
    first, second = descriptors.open_pipe()
    descriptors.close(first)
    other = os.open(os.devnull, os.O_RDONLY)  # the lowest number that is free
    assert other == first
    descriptors.close(first)
    assert _is_open(other)
    os.close(other)
    descriptors.close(second)


@pytest.mark.fault("H1", "H3")
def test_a_forked_child_has_none_of_them() -> None:
    """After `os.fork` the child's copies are closed, the parent's are not."""
    ends = [*descriptors.open_pipe(), descriptors.enter(os.open(os.devnull, os.O_RDONLY))]
    assert _in_a_child(lambda: not any(map(_is_open, ends)))
    assert all(map(_is_open, ends))
    for fd in ends:
        descriptors.close(fd)


@pytest.mark.fault("H1", "H3")
def test_a_child_of_a_child_closes_its_parents() -> None:
    """The hooks work for every generation, each with a book of its own."""
    ours = descriptors.open_pipe()

    def in_child() -> bool:
        theirs = descriptors.open_pipe()  # the same numbers, as ours are free in the child
        return _in_a_child(lambda: not any(map(_is_open, theirs))) and all(map(_is_open, theirs))
    assert _in_a_child(in_child)
    for fd in ours:
        descriptors.close(fd)


@pytest.mark.fault("H1")
def test_a_fork_without_hooks_is_noticed_at_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a server forks in C, `abandon_inherited` and every other entry close what the parent had."""
    books = PerProcess(descriptors._Book, descriptors._Book.abandon)
    monkeypatch.setattr(descriptors, "_books", books)  # not those that this process needs
    ends = descriptors.open_pipe()
    parent = os.getpid()
    child = SimpleNamespace(getpid=lambda: parent + 1)  # what one without hooks sees
    monkeypatch.setattr("legacy_plugins.transport.per_process.os", child)
    descriptors.abandon_inherited()
    assert not any(map(_is_open, ends))
    for fd in ends:
        descriptors.close(fd)  # not entered any more: nothing happens


@pytest.mark.fault("H1")
def test_forks_wait_for_whoever_opens() -> None:
    """While a thread holds the lock no other thread forks, so a child never has what is not entered yet."""
    holding, release = threading.Event(), threading.Event()
    results: List[bool] = []

    def hold() -> None:
        with descriptors.lock():
            fd = os.open(os.devnull, os.O_RDONLY)
            holding.set()
            release.wait(SECONDS)
            descriptors.enter(fd)
            fds.append(fd)

    fds: List[int] = []
    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(SECONDS)
    forker = threading.Thread(target=lambda: results.append(_in_a_child(lambda: not _is_open(fds[0]))))
    forker.start()
    forker.join(0.05)
    assert forker.is_alive()
    release.set()
    forker.join(SECONDS)
    holder.join(SECONDS)
    assert results == [True]
    descriptors.close(fds[0])


def test_what_is_handed_to_a_spawned_child_stays_open_in_it() -> None:
    """A `Popen` that forks through the hooks (gevent's) leaves the child the descriptors that it was given."""
    given, kept = descriptors.open_pipe()
    with descriptors.spawning(given):
        assert _in_a_child(lambda: _is_open(given) and not _is_open(kept))
    assert _in_a_child(lambda: not _is_open(given))
    descriptors.close(given)
    descriptors.close(kept)


@pytest.mark.fault("H1")
def test_a_book_that_is_made_while_another_thread_forks() -> None:
    """A child inherits the hooks but no book; when it forks while its first descriptor is entered, nothing breaks."""
    def in_child() -> bool:
        descriptors._before_fork()
        other = threading.Thread(target=descriptors.enter, args=(-1,), daemon=True)
        other.start()
        other.join(0.05)
        descriptors._after_fork()
        other.join(SECONDS)
        return not other.is_alive()
    assert _in_a_child(in_child)
