"""What everybody may know of a plugin at a moment, and the waiting for it to change.

`View` is a value that only the supervising thread makes; `Availability` swaps it whole, wakes who waits, and answers
the question that every call asks first: where do I go, or why is there nowhere to go?
"""
from __future__ import annotations

import copy
import threading
import time
from typing import Callable, NamedTuple, Optional

from legacy_plugins.errors import (
    ConfigError,
    PluginError,
    PluginNotRunning,
    PluginStartFailed,
    PluginTimeout,
    PluginUnavailable,
)
from legacy_plugins.host.lifecycle import TRANSITIONS, PluginState
from legacy_plugins.protocol.handshake import HandshakeResult
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.rpc.latch import Bell

S = PluginState
_DOWN = (S.STOPPED, S.DISABLED, S.STOPPING)


class View(NamedTuple):
    """What everybody may know. `connection`: where calls go, None: nowhere. `retry_at`: monotonic time.

    `start_follows`: a start comes without further ado once the last process is gone.
    """

    state: PluginState
    reason: str = ""
    since: float = 0.0
    connection: Optional[Connection] = None
    metadata: Optional[HandshakeResult] = None
    pid: Optional[int] = None
    retry_at: Optional[float] = None
    error: Optional[PluginError] = None
    start_follows: bool = False


class Availability:
    """The current view of one plugin. Reading and waiting: any thread; `change`, `update`: the supervising thread."""

    def __init__(self, name: str, state: PluginState) -> None:
        self._name = name
        # Guards view, _asked. Re-entrant: a signal handler may interrupt a thread that holds it, and start a plugin.
        self._lock = threading.RLock()
        self._changed = Bell()  # both, as far as waiting for them goes
        self._asked = 0  # starts that were asked for and that the supervising thread has not carried out yet
        self.view = View(state, since=time.time())

    def change(self, view: View) -> View:
        """The plugin enters a state (or enters it anew); the view until now."""
        with self._lock:
            old = self.view
            if view.state is not old.state and view.state not in TRANSITIONS[old.state]:
                raise RuntimeError(f"plugin {self._name!r} cannot go from {old.state.value!r} to {view.state.value!r}")
            self.view = view
        self._changed.ring()
        return old

    def update(self, **facts: object) -> None:
        """Facts within the state have changed."""
        with self._lock:
            self.view = self.view._replace(**facts)  # type: ignore[arg-type]
        self._changed.ring()

    def start_asked(self) -> None:
        """A start was asked for: calls wait for it from now on. Any thread; `start_seen` follows."""
        with self._lock:
            self._asked += 1

    def start_seen(self) -> None:
        """A start that was asked for was carried out, or turned out to be none."""
        with self._lock:
            self._asked -= 1
        self._changed.ring()

    @property
    def coming(self) -> bool:
        """Whether a start is under way; a ready plugin without a connection is about to change its state."""
        if self._asked > 0:  # looked at first: where it is not so, the view below is what came of it
            return True
        view = self.view
        return view.state in (S.STARTING, S.READY) or view.start_follows

    def wait(self, wanted: Callable[[], bool], timeout: Optional[float]) -> bool:
        """Wait until `wanted()`, at most `timeout` seconds; whether it is so."""
        return self._changed.wait_for(wanted, timeout)

    def settled(self) -> bool:
        """Whether every start that was asked for has led to a plugin that can be called, or to none."""
        return self._asked <= 0 and self._answerable()

    def _answerable(self) -> bool:
        return self.view.connection is not None or not self.coming

    def connection(self, deadline: Deadline) -> Connection:
        """Where calls go. Waits for a start that is under way, until the deadline. Raises why there is nowhere."""
        connection = self.view.connection
        if connection is not None:
            return connection
        while self.wait(self._answerable, deadline.left()):
            coming = self.coming  # before the view, which is at least as new then
            view = self.view
            if view.connection is not None:
                return view.connection
            if not coming:
                raise self.error(view)
        raise PluginTimeout(f"plugin {self._name!r} was still starting after {deadline.seconds:g} s", plugin=self._name)

    def error(self, view: View) -> PluginError:
        """Why there is nothing to call, as a new error."""
        if view.state is S.FAILED and isinstance(view.error, (ConfigError, PluginStartFailed)):
            return copy.copy(view.error)
        retry = None if view.retry_at is None else max(0.0, view.retry_at - time.monotonic())
        what = "waiting to be restarted" if view.state is S.BACKOFF else view.state.value
        text = f"plugin {self._name!r} is {what}" + (f": {view.reason}" if view.reason else "")
        text += "" if retry is None else f"; the next start is due in {retry:.1f} s"
        kind = PluginNotRunning if view.state in _DOWN else PluginUnavailable
        return kind(self._name, view.state, retry, message=text)
