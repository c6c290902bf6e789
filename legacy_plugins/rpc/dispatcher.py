"""The process's one thread for other people's code: done-callbacks, signal receivers, log handlers.

User code may block or raise; here it holds up nothing but other user code, never a reader or the supervision. Callbacks
of Futures are never dropped; offers (signals, log records) are dropped and reported as such when too many wait.

One per process, made at first use, never at import; a forked child makes its own. Where the parent's goes on in the
child (gevent's greenlets do), it ends there without running anything more.
"""
from __future__ import annotations

import logging
import os
import queue
import threading
from typing import Any, Callable, List, Optional, Tuple

from legacy_plugins.rpc.latch import Latch
from legacy_plugins.transport.greenlets import service_thread
from legacy_plugins.transport.per_process import PerProcess

#: How many jobs may wait for offers to be taken.
MAX_OFFERS = 10_000

_log = logging.getLogger("legacy_plugins.rpc")
_Job = Tuple[Callable[..., Any], Tuple[Any, ...]]


class Dispatcher:
    """Runs jobs one after the other on its own thread. All methods may be called from any thread."""

    def __init__(self, max_offers: int = MAX_OFFERS) -> None:
        self._owner = os.getpid()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()  # no lock: a signal handler may post, or raise
        self._max_offers = max_offers
        self._lock = threading.RLock()  # guards _thread; held while it is started
        self._thread: Optional[threading.Thread] = None

    def post(self, callback: Callable[..., Any], *args: Any) -> None:
        """Run `callback(*args)`; never dropped."""
        self._jobs.put((callback, args))
        if self._thread is None:
            self._start()

    def offer(self, callback: Callable[..., Any], *args: Any) -> bool:
        """Run `callback(*args)`, unless too much waits already; False when it was dropped."""
        if self._jobs.qsize() >= self._max_offers:
            return False
        self.post(callback, *args)
        return True

    def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until all that was posted before has run; not from the thread itself."""
        if threading.current_thread() is self._thread:
            return False
        done = Latch()
        self.post(done.set)
        return done.wait(timeout)

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            self._thread = service_thread(self._run, "legacy-plugins-dispatch")
            try:
                self._thread.start()
            except RuntimeError:  # no thread is left: the next job tries again. Or the interpreter ends: none will run
                self._thread = None
            except BaseException:  # a signal handler: perhaps it runs, but then it learns below that it is not the one
                self._thread = None
                raise

    def _run(self) -> None:
        with self._lock:
            if self._thread is not threading.current_thread():
                return
        while True:
            callback, args = self._jobs.get()
            if self._owner != os.getpid():
                return
            for step in _around:
                _do(step)
            _do(callback, *args)
            for step in _around:
                _do(step)
            del callback, args  # do not keep a result alive while waiting


def _do(callback: Callable[..., Any], *args: Any) -> None:
    try:
        callback(*args)
    except BaseException:  # noqa: BLE001 - user code, which may even say sys.exit(); the next job must run
        _log.exception("a callback raised on the dispatch thread")


def surround_jobs(step: Callable[[], Any]) -> None:
    """Call `step()` on the dispatch thread before each job and after it, in this process and its forks.

    For a framework that keeps things by thread, such as database connections. Adding the same again does nothing.
    """
    if step not in _around:
        _around.append(step)


_around: List[Callable[[], Any]] = []
_dispatchers = PerProcess(Dispatcher)


def shared_dispatcher() -> Dispatcher:
    """This process's dispatcher."""
    return _dispatchers.get()
