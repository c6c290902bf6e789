"""A moment until which something may take, as an object that is handed down instead of a shrinking time-out."""
from __future__ import annotations

import math
import time
from typing import Union

_LONGEST = 1e9  # seconds; the system's own waits take no more than about ten times that


class Deadline:
    """`seconds` from now on the monotonic clock; a jump of the wall clock changes nothing.

    Raises `ValueError` for infinity and NaN: nothing here waits for ever.
    """

    __slots__ = ("seconds", "at")

    def __init__(self, seconds: float) -> None:
        if not -math.inf < seconds < math.inf:
            raise ValueError(f"a time-out is a finite number of seconds, not {seconds!r}")
        self.seconds = seconds
        self.at = time.monotonic() + min(seconds, _LONGEST)

    @classmethod
    def of(cls, timeout: Union[float, Deadline]) -> Deadline:
        """`timeout` seconds from now, or the deadline that was given already."""
        return timeout if isinstance(timeout, cls) else cls(timeout)  # type: ignore[arg-type]

    def left(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self.at - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self.at
