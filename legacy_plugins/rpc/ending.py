"""How a program and its conversation end: seeing the exit, the stop ladder, and the teardown that tells the truth.

Order matters in a teardown. The exit is seen without reaping; what the program said last is drained, within a bound;
the owner draws up its report; only then do pending calls fail, so that whoever wakes finds a state and a report that
are true; then the rest of the process group is killed, descriptors are given back, the process is reaped. A program
whose grandchild holds its pipes open must not delay any of it, so nothing waits for EOF.

Everything here runs on the supervising thread.
"""
from __future__ import annotations

import logging
import signal
from typing import Callable, Optional

from legacy_plugins.errors import PluginCrashed, PluginError
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.conversation import EndReason
from legacy_plugins.rpc.reactor import Reactor, Timer
from legacy_plugins.transport.base import ExitStatus, Process
from legacy_plugins.transport.process import KILL
from legacy_plugins.transport.stderr import LogPump

_log = logging.getLogger("legacy_plugins.rpc")
#: How long a program whose stdout has ended may take to exit before it counts as one that only closed it, in seconds.
EXIT_GRACE_SECONDS = 0.1
#: How long the last words may take to be read, in seconds.
DRAIN_SECONDS = 0.2
_TICK_SECONDS = 0.05
_RETRY_SECONDS = 0.005
#: How long a killed process may take to be gone before it counts as unkillable (in the kernel's hands), in seconds.
REAP_SECONDS = 1.0


class ExitWatch:
    """Calls `on_exit()` once when the process has exited: by its descriptor, else by looking twenty times a second."""

    def __init__(self, reactor: Reactor, process: Process, on_exit: Callable[[], None]) -> None:
        self._reactor = reactor
        self._process = process
        self._on_exit = on_exit
        self._active = True
        if process.exit_fd is not None:
            reactor.watch(process.exit_fd, self._readable)
        else:
            self._tick()

    def stop(self) -> None:
        """Look no more; before the process is released."""
        if self._active and self._process.exit_fd is not None:
            self._reactor.unwatch(self._process.exit_fd)
        self._active = False

    def _readable(self) -> None:
        self._active = False
        self._on_exit()

    def _tick(self) -> None:
        if not self._active:
            return
        if self._process.exit_status() is not None:
            self._readable()
        else:
            self._reactor.call_later(_TICK_SECONDS, self._tick)


class StopLadder:
    """Ends a program that was told to: EOF on its stdin, SIGTERM after `grace` seconds, SIGKILL after half of it again.

    `farewell(done)`, where given, is the first rung: it says goodbye in the program's own protocol and calls `done`
    when that was heard; EOF follows then, or after half the grace at the latest.
    """

    def __init__(self, reactor: Reactor, process: Process, connection: Connection, grace: float,
                 farewell: Optional[Callable[[Callable[[], None]], None]] = None) -> None:
        self._process = process
        self._connection = connection
        self._timers = [
            reactor.call_later(grace, lambda: process.send_signal(signal.SIGTERM)),
            reactor.call_later(grace * 1.5, lambda: process.send_signal(KILL)),
        ]
        if farewell is None:
            self._close_stdin()
        else:
            self._timers.append(reactor.call_later(grace / 2, self._close_stdin))
            farewell(self._close_stdin)

    def cancel(self) -> None:
        """The program is gone."""
        for timer in self._timers:
            timer.cancel()

    def _close_stdin(self) -> None:
        self._connection.close_writing()


class Teardown:
    """From the end of a conversation to the end of its process.

    `conclude(status, reason)` is called once, when the last words are in; it returns what makes the error that each
    pending call fails with. `releasing()` is called while the process's number is still its own, `done()` when all is
    over.
    """

    def __init__(self, reactor: Reactor, process: Process, connection: Connection, pump: Optional[LogPump], *,
                 conclude: Callable[[Optional[ExitStatus], EndReason], Callable[[], PluginError]],
                 done: Callable[[], None], releasing: Callable[[], None] = lambda: None) -> None:
        self._reactor = reactor
        self._process = process
        self._connection = connection
        self._releasing = releasing
        self._pump = pump
        self._conclude = conclude
        self._done = done
        self._reason: Optional[EndReason] = None
        self._concluded = False
        self._draining = False
        self._timer: Optional[Timer] = None
        self._watch = ExitWatch(reactor, process, self._exited)

    @property
    def begun(self) -> bool:
        """Whether the end has come."""
        return self._reason is not None

    def begin(self, reason: EndReason) -> None:
        """The conversation has ended for this reason; the first one counts."""
        if self._reason is not None:
            return
        self._reason = reason
        self._connection.end(reason)
        if reason.fault is not None:
            self._process.send_signal(KILL)  # it broke a rule: whatever it does now must not be waited for
        if self._process.exit_status() is not None:
            self._drain()
        else:
            self._timer = self._reactor.call_later(EXIT_GRACE_SECONDS, self._drain)

    def progress(self) -> None:
        """One of the reading threads has come to its end."""
        if self._draining and self._drained:
            self._finish()

    @property
    def _drained(self) -> bool:
        return self._connection.drained.is_set() and (self._pump is None or self._pump.ended.is_set())

    def _exited(self) -> None:
        self._connection.end(EndReason("it exited"))  # its owner hears of it, and begins
        if self.begun:
            self._drain()

    def _drain(self) -> None:
        """The process is dead, or as good as: end both readers with what has arrived."""
        if self._draining:
            return
        self._draining = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._reactor.call_later(DRAIN_SECONDS, self._finish)
        self._interrupt()
        self.progress()

    def _interrupt(self) -> None:
        woken = self._connection.interrupt_reader()
        if self._process.log_stream is not None:
            woken = self._process.log_stream.interrupt() and woken
        if not woken:  # no descriptor is left to wake them with: try again until one is
            self._reactor.call_later(_RETRY_SECONDS, self._interrupt)

    def _finish(self) -> None:
        if self._concluded:
            return
        self._concluded = True
        assert self._reason is not None
        if self._timer is not None:
            self._timer.cancel()
        self._connection.fail_pending(self._make_error(self._reason))
        self._connection.close_writing(0.0)
        self._process.send_signal(KILL)  # the group: children that it left behind
        self._reap(REAP_SECONDS)

    def _make_error(self, reason: EndReason) -> Callable[[], PluginError]:
        try:
            return self._conclude(self._process.exit_status(), reason)
        except Exception:  # noqa: BLE001 - whatever the owner's trouble is, callers must not wait for ever
            _log.exception("the owner of %r failed at its end; please report it", self._connection.name)
            return lambda: PluginCrashed(plugin=self._connection.name)

    def _reap(self, left: float) -> None:
        """Give everything back, once the kill has taken effect."""
        if self._process.exit_status() is None and left > 0:
            self._reactor.call_later(_RETRY_SECONDS, lambda: self._reap(left - _RETRY_SECONDS))
            return
        self._watch.stop()
        self._releasing()
        self._process.release()
        self._done()
