"""A moment until which something may take, as an object that is handed down instead of a shrinking time-out."""
from __future__ import annotations

import time


class Deadline:
    """`seconds` from now on the monotonic clock; a jump of the wall clock changes nothing."""

    __slots__ = ("seconds", "at")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.at - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self.at
