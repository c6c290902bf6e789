"""How many unasked messages a second the other side may send before reading from it pauses.

A flood of notifications costs the host a core if it is read as fast as it comes. So over the budget the reader pauses
as long as it takes for the budget to recover, and the pipe pushes back on the sender. A large message costs as much as
several small ones, since its decoding holds up all other threads. Answers to our own requests never count. Reader
thread only.
"""
from __future__ import annotations

import time
from typing import Callable, Optional

#: How long a flood may hold the reader at its budget without a break, in seconds, before it counts as a fault.
MAX_FLOOD_SECONDS = 30.0
_MIN_PAUSE_SECONDS = 0.005
#: A message of so many bytes counts once, one of twice as many twice.
BYTES_PER_MESSAGE = 4096


class MessageBudget:
    """A token bucket of `per_second` messages and as many at once; 0 means no bound."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self._rate = float(per_second)
        self._clock = clock
        self._tokens = self._rate
        self._filled_at = clock()
        self._flood_since: Optional[float] = None

    def cost(self, size: int) -> float:
        """As how many messages one of `size` bytes counts: never as more than a second's worth."""
        return max(1.0, min(size / BYTES_PER_MESSAGE, self._rate))

    def spend(self, count: float) -> float:
        """Count messages; how many seconds reading must pause now, 0.0 when within the budget."""
        if not self._rate or not count:
            return 0.0
        now = self._clock()
        self._tokens = min(self._rate, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens >= self._rate * 0.5:
            self._flood_since = None  # it had time to recover: a break
        self._tokens -= count
        if self._tokens >= 0:
            return 0.0
        if self._flood_since is None:
            self._flood_since = now
        return max(_MIN_PAUSE_SECONDS, -self._tokens / self._rate)

    @property
    def flooded(self) -> bool:
        """Whether the flood has lasted too long."""
        return self._flood_since is not None and self._clock() - self._flood_since > MAX_FLOOD_SECONDS
