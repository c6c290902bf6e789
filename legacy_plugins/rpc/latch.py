"""Waiting for another thread, with nothing that a signal handler could leave taken.

A handler that raises in the main thread (Ctrl-C, a task queue's time limit) hits `threading.Condition` and `Event` in
code written in Python: entered, but not yet inside of the `with`, they stay locked for ever, and the thread that was
waited for hangs in its turn. Here nobody takes a lock that anybody else needs: each waiter has a raw lock of its own,
and what is waited for is a fact that others read.

Any thread, also within a signal handler. Works on gevent's locks too.
"""
from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, Optional


class Bell:
    """Wakes those who wait until something is so. Whoever changes it rings afterwards."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: Dict[Any, None] = {}  # locks that are taken while their makers wait; each step is atomic

    def ring(self) -> None:
        """Have everybody look again. Never waits."""
        for waiter in list(self._waiting):
            try:
                waiter.release()
            except RuntimeError:  # somebody else rang, and it has not looked yet
                pass

    def wait_for(self, wanted: Callable[[], bool], timeout: Optional[float]) -> bool:
        """Wait until `wanted()`, at most `timeout` seconds (None: for ever); whether it is so."""
        if wanted():
            return True
        until = None if timeout is None else time.monotonic() + timeout
        waiter = threading.Lock()
        waiter.acquire()
        try:
            self._waiting[waiter] = None
            while not wanted():
                if until is None:
                    waiter.acquire()
                    continue
                left = until - time.monotonic()
                if left <= 0:
                    return False
                waiter.acquire(True, left)
        finally:
            self._waiting.pop(waiter, None)
        return True


class Latch(Bell):
    """Something that happens once; an `Event` that is never cleared."""

    __slots__ = ("_set",)

    def __init__(self) -> None:
        self._waiting = {}
        self._set = False

    def set(self) -> None:
        """It has happened. Never waits."""
        self._set = True
        self.ring()

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._set

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait for it, at most `timeout` seconds (None: for ever); whether it has happened."""
        return self._set or self.wait_for(self.is_set, timeout)
