"""The file descriptors that this process must not share with its forked children.

A forked child that keeps the write end of a plugin's stdin, or of the guard's lifeline, keeps the plugin from ever
seeing EOF when the parent dies. So every such descriptor is entered here, opened, closed and spawned with under one
lock that `os.fork` waits for, and a child closes them all at once, before any other code of it runs. Where a server
forks in C without Python's fork hooks (uWSGI), `abandon_inherited` is called by the first public entry in the child.

Called from any thread. The lock is made at first use in a process, never at import: a lock made before a fork or
before gevent patches `threading` dead-locks.
"""
from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import Dict, Iterator, Set, Tuple

_hooked = False


class _Book:
    """The descriptors of one process. `lock` guards `open`, and is held while one is opened, closed or inherited."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.open: Set[int] = set()


_books: Dict[int, _Book] = {}


def lock() -> threading.RLock:  # type: ignore[valid-type]
    """The lock under which descriptors are opened and processes spawned; forks wait for it."""
    return _book().lock


def open_pipe() -> Tuple[int, int]:
    """A pipe as (read end, write end), both entered and not inheritable."""
    book = _book()
    with book.lock:
        ends = os.pipe()
        book.open.update(ends)
    return ends


def enter(fd: int) -> int:
    """Enter a descriptor that was opened under `lock()`; returns it."""
    book = _book()
    with book.lock:
        book.open.add(fd)
    return fd


@contextmanager
def spawning(*fds: int) -> Iterator[None]:
    """While a child is spawned that gets the entered descriptors `fds`.

    Nothing forks meanwhile: a forked child would inherit the pipe on which `Popen` waits for the spawned one. And as
    gevent's `Popen` forks through the hooks below, these leave `fds` alone.
    """
    book = _book()
    with book.lock:
        book.open.difference_update(fds)
        try:
            yield
        finally:
            book.open.update(fds)


def close(fd: int) -> None:
    """Close an entered descriptor; one that is not entered (any more) is left alone."""
    book = _book()
    with book.lock:
        if fd in book.open:
            book.open.discard(fd)
            os.close(fd)


def abandon_inherited() -> None:
    """In a forked child: close what the parent had entered. Does nothing in the process that entered it."""
    pid = os.getpid()
    for owner in [pid_ for pid_ in list(_books) if pid_ != pid]:
        book = _books.pop(owner, None)
        for fd in () if book is None else tuple(book.open):
            try:
                os.close(fd)
            except OSError:
                pass


def _book() -> _Book:
    pid = os.getpid()
    book = _books.get(pid)
    if book is None:
        abandon_inherited()
        book = _books.setdefault(pid, _Book())  # one atomic step: two threads get the same book
        _hook_forks()
    return book


def _hook_forks() -> None:
    """Once in a line of processes: hooks are inherited by forked children."""
    global _hooked
    if not _hooked and hasattr(os, "register_at_fork"):
        _hooked = True
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=abandon_inherited)


def _before_fork() -> None:
    _book().lock.acquire()  # made if need be: another thread may need it first while this one forks


def _after_fork() -> None:
    _book().lock.release()
