"""Clocks on a conversation: a message that does not get complete, a peer that does not read.

The reader and the writer only note when something began; the checks run on the supervising thread, and only while there
is something to check, so that an idle conversation wakes nobody.
"""
from __future__ import annotations

import time
from typing import Callable, Optional

from legacy_plugins.rpc.conversation import EndReason
from legacy_plugins.rpc.reactor import Reactor

_RECHECK_SECONDS = 0.5


class _Check:
    """One chain of looks: `look()` says in how many seconds to look again, None: no more until the next `arm`.

    `arm` and the looks run on different threads without a lock: whichever of two chains was begun last goes on alone.
    """

    def __init__(self, reactor: Reactor, look: Callable[[], Optional[float]]) -> None:
        self._reactor = reactor
        self._look = look
        self._chain: Optional[object] = None

    def arm(self, seconds: float) -> None:
        """Look in so many seconds, unless a look is due anyway. Called after what there is to see was noted."""
        if self._chain is None:
            self._continue(object(), seconds)

    def _continue(self, chain: object, seconds: float) -> None:
        self._chain = chain
        self._reactor.call_later(seconds, lambda: self._run(chain))

    def _run(self, chain: object) -> None:
        if self._chain is chain:
            self._chain = None  # first: what is noted from here on arms anew, and what was noted before is seen now
            seconds = self._look()
            if seconds is not None:
                self._continue(chain, seconds)


class PartialWatch:
    """A message must be complete within `timeout` seconds of its first byte; while `paused()` the clock stands.

    `timeout` 0: it may take for ever.
    """

    def __init__(self, reactor: Reactor, timeout: float, *, paused: Callable[[], bool],
                 end: Callable[[EndReason], None]) -> None:
        self._timeout = timeout
        self._paused = paused
        self._end = end
        self._since: Optional[float] = None
        self._check = _Check(reactor, self._look)

    def update(self, partial: bool, *, began_anew: bool) -> None:
        """After each read, on the reader thread: whether a message is incomplete, and whether it is another one."""
        if not partial or not self._timeout:
            self._since = None
            return
        if self._since is None or began_anew:
            self._since = time.monotonic()
        self._check.arm(self._timeout)

    def restart(self) -> None:
        """After a pause in reading, on the reader thread."""
        if self._since is not None:
            self._since = time.monotonic()

    def _look(self) -> Optional[float]:
        since = self._since
        if since is None:
            return None
        left = self._timeout - (time.monotonic() - since)
        if left > 0 or self._paused():
            return max(left, _RECHECK_SECONDS / 10)
        self._end(EndReason(f"a message was not complete {self._timeout:g} s after its first byte "
                            "(limits.messageTimeoutMs)", "message time-out"))
        return None


class StallWatch:
    """A peer that has not read for `timeout` seconds is hung, unless it is busy with a call that may take long.

    `busy(since)`: whether it has been at one since before `since`; calls that came later prove nothing.
    `timeout` 0: it is never taken for hung.
    """

    def __init__(self, reactor: Reactor, timeout: float, *, stalled_since: Callable[[], Optional[float]],
                 busy: Callable[[float], bool], end: Callable[[EndReason], None]) -> None:
        self._timeout = timeout
        self._stalled_since = stalled_since
        self._busy = busy
        self._end = end
        self._check = _Check(reactor, self._look)

    def begin(self) -> None:
        """The pipe is full; on the writer thread."""
        if self._timeout:
            self._check.arm(self._timeout)

    def _look(self) -> Optional[float]:
        since = self._stalled_since()
        if since is None:
            return None
        stalled = time.monotonic() - since
        if stalled < self._timeout or self._busy(since):
            return max(_RECHECK_SECONDS, self._timeout - stalled)
        self._end(EndReason(f"it has not read from its stdin for {stalled:.1f} s (limits.writeStallMs)", "write stall"))
        return None
