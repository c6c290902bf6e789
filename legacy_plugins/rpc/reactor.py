"""The process's one supervising thread: timers, commands, and descriptors that become readable (process exits).

Everything that supervises runs here, one thing after the other, so what only it touches needs no lock. It never polls:
it sleeps until the next timer, a command, or a descriptor. What runs here must not block. A callback that raises is
logged, and the thread goes on.

One per process, made at first use, never at import; a forked child makes its own. Where the parent's goes on in the
child (gevent's greenlets do), it ends there without running anything more.
"""
from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from legacy_plugins.transport import descriptors
from legacy_plugins.transport.greenlets import check_threads, service_thread
from legacy_plugins.transport.per_process import PerProcess

_log = logging.getLogger("legacy_plugins.rpc")
_LONGEST_SLEEP_SECONDS = 24 * 3600.0  # `poll` takes no more than 24 days


class Timer:
    """Something to do later; `cancel` from any thread."""

    __slots__ = ("at", "callback", "_reactor")

    def __init__(self, at: float, callback: Callable[[], None], reactor: Reactor) -> None:
        self.at = at
        self.callback: Optional[Callable[[], None]] = callback
        self._reactor = reactor

    def cancel(self) -> None:
        """Forget it; does nothing when it has run already."""
        if self.callback is not None:
            self.callback = None  # frees what it would have used; the heap's entry goes when its time comes
            self._reactor.timer_cancelled()


class Reactor:
    """See the file's first paragraph. All methods may be called from any thread, unless said otherwise."""

    def __init__(self) -> None:
        # Guards everything below but _poll and _watched. Re-entrant: a signal handler may interrupt a thread that holds
        # it, and stop a host, which posts.
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._jobs: Deque[Callable[[], None]] = deque()
        self._heap: List[Tuple[float, int, Timer]] = []
        self._cancelled = 0
        self._order = itertools.count()
        self._asleep_until: Optional[float] = 0.0  # 0.0: awake; None: no timer
        self._thread: Optional[threading.Thread] = None
        self._starting = False
        self._wake = -1
        self._watched: Dict[int, Callable[[], None]] = {}
        self._poll: Any = None

    def start(self) -> None:
        """Start the thread, if it does not run. Where it does, nothing here ever raises.

        Raises `OSError` or `RuntimeError` when the system has no descriptor or thread left, or the interpreter ends;
        `PluginStartFailed` where this process's threads are a mixture that cannot work.
        """
        with self._lock:
            if self._thread is None and not self._starting:
                self._starting = True
                try:
                    self._start()
                finally:
                    self._starting = False

    def post(self, callback: Callable[..., None], *args: Any) -> None:
        """Run `callback(*args)` on the supervising thread, in the order of posting. Raises as `start` does."""
        with self._lock:
            self.start()
            self._jobs.append((lambda: callback(*args)) if args else callback)
            self._wake_by(0.0)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Run `callback()` in `delay` seconds. Raises as `start` does."""
        timer = Timer(time.monotonic() + delay, callback, self)
        with self._lock:
            self.start()
            heapq.heappush(self._heap, (timer.at, next(self._order), timer))
            self._wake_by(timer.at)
        return timer

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Run `callback()` once when `fd` becomes readable. On the supervising thread."""
        self._watched[fd] = callback
        self._poll.register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor, before it is closed. On the supervising thread."""
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def on_thread(self) -> bool:
        """Whether the calling thread is the supervising one."""
        return threading.current_thread() is self._thread

    def timer_cancelled(self) -> None:
        """Keep cancelled timers from piling up (called by `Timer.cancel`)."""
        with self._lock:
            self._cancelled += 1
            if self._cancelled > 1000 and self._cancelled * 2 > len(self._heap):
                self._heap = [entry for entry in self._heap if entry[2].callback is not None]
                heapq.heapify(self._heap)
                self._cancelled = 0

    def _start(self) -> None:
        """With the lock held."""
        check_threads()
        wake = descriptors.open_pipe()
        thread = service_thread(self._run, "legacy-plugins-supervisor", wake[0])
        try:
            for fd in wake:
                os.set_blocking(fd, False)
            self._wake, self._thread = wake[1], thread
            thread.start()
        except BaseException:  # a signal handler may raise when it runs already: it learns that it is not the one
            self._wake, self._thread = -1, None
            for fd in wake:
                descriptors.close(fd)
            raise

    def _wake_by(self, at: float) -> None:
        """With the lock held: make sure that the thread is awake at `at`."""
        if (self._asleep_until is None or self._asleep_until > at) and self._owner == os.getpid():
            self._asleep_until = 0.0
            try:
                os.write(self._wake, b"\0")
            except BlockingIOError:
                pass  # full of wake-ups already

    def _run(self, wake: int) -> None:
        with self._lock:  # whoever starts this thread holds it
            if self._thread is not threading.current_thread():
                return
        self._poll = select.poll()
        self._poll.register(wake, select.POLLIN)
        while True:
            for callback in self._due():
                self._call(callback)
            ready = self._sleep()
            if self._owner != os.getpid():
                return
            if wake in ready:
                _swallow(wake)
            for fd, callback in [(fd, self._watched[fd]) for fd in ready if fd != wake]:
                if self._watched.get(fd) is callback:  # not forgotten meanwhile, nor another's by now
                    self.unwatch(fd)
                    self._call(callback)

    def _due(self) -> List[Callable[[], None]]:
        """What is to be run now: all posted jobs, then all timers whose time has come."""
        now = time.monotonic()
        with self._lock:
            due = list(self._jobs)
            self._jobs.clear()
            while self._heap and self._heap[0][0] <= now:
                timer = heapq.heappop(self._heap)[2]
                callback, timer.callback = timer.callback, None
                if callback is not None:
                    due.append(callback)
                else:
                    self._cancelled = max(0, self._cancelled - 1)
        return due

    def _sleep(self) -> List[int]:
        """Wait for the next timer, a wake-up or a watched descriptor; the descriptors that are readable."""
        with self._lock:
            until = self._heap[0][0] if self._heap else None
            if self._jobs:
                until = 0.0
            self._asleep_until = until
        timeout = None if until is None else min(max(0.0, until - time.monotonic()), _LONGEST_SLEEP_SECONDS) * 1000
        ready = self._poll.poll(timeout)
        with self._lock:
            self._asleep_until = 0.0
        return [fd for fd, _ in ready]

    def _call(self, callback: Callable[[], None]) -> None:
        if self._owner != os.getpid():
            return
        try:
            callback()
        except BaseException:  # noqa: BLE001 - one plugin's trouble must not end the supervision of the others
            _log.exception("an error in the supervising thread; please report it")


def _swallow(wake: int) -> None:
    """Take the wake-ups out of their pipe."""
    try:
        os.read(wake, 4096)
    except BlockingIOError:
        pass


_reactors = PerProcess(Reactor)


def shared_reactor() -> Reactor:
    """This process's reactor."""
    return _reactors.get()
