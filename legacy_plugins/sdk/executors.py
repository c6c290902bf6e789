"""On which threads handlers run: on the one that called `Plugin.run`, or on a pool.

With one worker, everything that the host asks or tells is handled on the main thread, one thing after the other, in the
order in which it came: what was opened in `on_start` may be used without locks, also where it insists on its thread
(SQLite connections, graphics toolkits). With more, calls run side by side on a pool, and events, which keep their
order, on a thread of their own. How many may wait is decided by whoever submits.
"""
from __future__ import annotations

import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import Any, Callable, Deque, Tuple

from legacy_plugins.rpc.workers import WorkerPool

_Work = Callable[[Any], None]


class Executor(ABC):
    """Runs `work(job)` for calls and events. All methods but `serve`: any thread."""

    @abstractmethod
    def submit_call(self, work: _Work, job: Any) -> bool:
        """Run a call, or a notification; False where the system has no thread left for it."""

    @abstractmethod
    def submit_event(self, work: _Work, job: Any) -> bool:
        """Run an event's handlers; events run one after the other. False as in `submit_call`."""

    @abstractmethod
    def serve(self) -> None:
        """Give the calling thread to the work, until `close`; what was submitted before is run or running then."""

    @abstractmethod
    def close(self) -> None:
        """Let `serve` return."""


class MainThread(Executor):
    """The thread in `serve` does everything."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # guards _waiting and _closed
        self._waiting: Deque[Tuple[_Work, Any]] = deque()
        self._closed = False

    def submit_call(self, work: _Work, job: Any) -> bool:
        with self._changed:
            self._waiting.append((work, job))
            self._changed.notify()
        return True

    def submit_event(self, work: _Work, job: Any) -> bool:
        return self.submit_call(work, job)

    def serve(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                work, job = self._waiting.popleft()
            work(job)
            del work, job  # do not keep a call's data alive while waiting

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()


class Pool(Executor):
    """`max_workers` threads for calls, one for events; they start when they are first needed."""

    def __init__(self, max_workers: int, name: str) -> None:
        self._calls = WorkerPool(max_workers, name=f"{name}-worker", max_waiting=sys.maxsize)
        self._events = WorkerPool(1, name=f"{name}-events", max_waiting=sys.maxsize)
        self._closed = threading.Event()

    def submit_call(self, work: _Work, job: Any) -> bool:
        return self._calls.submit(work, job)

    def submit_event(self, work: _Work, job: Any) -> bool:
        return self._events.submit(work, job)

    def serve(self) -> None:
        self._closed.wait()

    def close(self) -> None:
        self._closed.set()
