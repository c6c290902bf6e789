"""A small bounded pool of daemon threads for requests that the other side makes of us.

Threads start when they are first needed. Only so many jobs wait as its owner says, by default none: what finds all
threads busy is refused then, so that a flood of requests becomes answers that say "busy" instead of memory.
`concurrent.futures.ThreadPoolExecutor` is not used: it blocks the interpreter's exit, and refuses work during it.
"""
from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import Any, Callable, Deque, NamedTuple, Tuple

from legacy_plugins.transport.greenlets import service_thread

_log = logging.getLogger("legacy_plugins.rpc")


class Afterwards(NamedTuple):
    """What is left to be done by a thread that takes the next job already."""

    run: Callable[[], Any]


class WorkerPool:
    """At most `max_workers` jobs at a time, and `max_waiting` more that wait. All methods: any thread.

    A job may return `Afterwards(fn)`: `fn()` is called on the same thread when that counts as free again. A job whose
    end somebody waits for who then asks again tells it there; told earlier, they might find the thread still busy.
    """

    def __init__(self, max_workers: int, *, name: str, max_waiting: int = 0) -> None:
        self._owner = os.getpid()  # gevent's greenlets live on in a forked child; they take no job there
        self._lock = threading.RLock()  # guards everything below
        self._changed = threading.Condition(self._lock)
        self._jobs: Deque[Tuple[Callable[..., Any], Tuple[Any, ...]]] = deque()
        self._max_workers = max_workers
        self._max_waiting = max_waiting
        self._name = name
        self._threads = 0
        self._running = 0
        self._closed = False

    def submit(self, job: Callable[..., Any], *args: Any) -> bool:
        """Run `job(*args)` on a thread of the pool; False when all are busy, or the pool is closed."""
        with self._lock:
            if self._closed or self._running + len(self._jobs) >= self._max_workers + self._max_waiting:
                return False
            self._jobs.append((job, args))
            if self._threads - self._running < len(self._jobs) and self._threads < self._max_workers:
                return self._start() or self._threads > 0
            self._changed.notify()
        return True

    def _start(self) -> bool:
        """With the lock held: one more thread; without any the newest job is taken back."""
        self._threads += 1
        try:
            service_thread(self._run, f"{self._name}-{self._threads}").start()
        except RuntimeError:  # no thread is left, or the interpreter ends
            self._threads -= 1
            if not self._threads:
                self._jobs.pop()
            return False
        return True

    def close(self) -> None:
        """Take no more jobs; idle threads end at once, busy ones when their job is done. Does not wait."""
        with self._lock:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if not self._jobs or self._owner != os.getpid():
                    self._threads -= 1
                    return
                job, args = self._jobs.popleft()
                self._running += 1
            afterwards = self._do(job, args)
            del job, args
            with self._lock:
                self._running -= 1
            if isinstance(afterwards, Afterwards):
                self._do(afterwards.run, ())
            del afterwards

    def _do(self, job: Callable[..., Any], args: Tuple[Any, ...]) -> Any:
        try:
            return job(*args)
        except BaseException:  # noqa: BLE001 - user code, which may even say sys.exit(); the thread must live
            _log.exception("a job raised in the pool %s", self._name)
            return None
