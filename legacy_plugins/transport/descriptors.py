"""The file descriptors, and the programs, that this process must not share with its forked children.

A forked child that keeps the write end of a plugin's stdin, or of the guard's lifeline, keeps the plugin from ever
seeing EOF when the parent dies. So every such descriptor is entered here, opened, closed and spawned with under one
lock that `os.fork` waits for, and a child closes them all at once, before any other code of it runs. Where a server
forks in C without Python's fork hooks (uWSGI), `abandon_inherited` is called by the first public entry in the child.

Called from any thread. The lock is made at first use in a process, never at import: a lock made before a fork or
before gevent patches `threading` dead-locks.
"""
from __future__ import annotations

import os
import signal
import subprocess
import threading
import weakref
from contextlib import contextmanager
from typing import Iterator, Set, Tuple

from legacy_plugins.transport.per_process import PerProcess

_hooked = False


class _Book:
    """What one process has. `lock` guards the rest, and is held while a descriptor is opened, closed or inherited."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.open: Set[int] = set()
        self.programs: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()
        _hook_forks()

    def abandon(self) -> None:
        """In a forked child."""
        for fd in tuple(self.open):
            try:
                os.close(fd)
            except OSError:
                pass
        for program in self.programs:
            program.returncode = 0  # not our child: keep `Popen` from looking after it


_books = PerProcess(_Book, _Book.abandon)


def lock() -> threading.RLock:  # type: ignore[valid-type]
    """The lock under which descriptors are opened and processes spawned; forks wait for it."""
    return _books.get().lock


def open_pipe() -> Tuple[int, int]:
    """A pipe as (read end, write end), both entered and not inheritable."""
    book = _books.get()
    with book.lock:
        ends = os.pipe()
        book.open.update(ends)
    return ends


def enter(fd: int) -> int:
    """Enter a descriptor that was opened under `lock()`; returns it."""
    book = _books.get()
    with book.lock:
        book.open.add(fd)
    return fd


@contextmanager
def spawning(*fds: int) -> Iterator[None]:
    """While a child is spawned that gets the entered descriptors `fds`.

    Nothing forks meanwhile: a forked child would inherit the pipe on which `Popen` waits for the spawned one. And as
    gevent's `Popen` forks through the hooks below, these leave `fds` alone. The child blocks no signals, see below.
    """
    book = _books.get()
    with book.lock:
        book.open.difference_update(fds)
        try:
            with _nothing_blocked():
                yield
        finally:
            book.open.update(fds)


@contextmanager
def _nothing_blocked() -> Iterator[None]:
    """In this thread no signal is blocked, so that a child which is spawned meanwhile blocks none either.

    A child inherits its spawner's mask, and that thread got it from whichever used plugins first: uWSGI's, for one,
    block everything. SIGTERM would never reach a plugin then, and the guard's `wait` never return. What is pending at
    this moment stays blocked: someone is about to take it with `sigwait`, and it must not strike here. What comes in
    between does what it would do in the main thread, where Python's handlers run anyway.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    signal.pthread_sigmask(signal.SIG_SETMASK, before & signal.sigpending())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def close(fd: int) -> None:
    """Close an entered descriptor; one that is not entered (any more) is left alone."""
    book = _books.get()
    with book.lock:
        if fd in book.open:
            book.open.discard(fd)
            os.close(fd)


def enter_program(program: subprocess.Popen[bytes]) -> None:
    """Enter a program that was started under `spawning`: forked children leave it alone."""
    book = _books.get()
    with book.lock:
        book.programs.add(program)


def abandon_inherited() -> None:
    """In a forked child: close and forget what the parent had entered. Does nothing in the process that entered it."""
    _books.abandon_inherited()


def _hook_forks() -> None:
    """Once in a line of processes: hooks are inherited by forked children."""
    global _hooked
    if not _hooked and hasattr(os, "register_at_fork"):
        _hooked = True
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=abandon_inherited)


def _before_fork() -> None:
    _books.get().lock.acquire()  # made if need be: another thread may need it first while this one forks


def _after_fork() -> None:
    _books.get().lock.release()
