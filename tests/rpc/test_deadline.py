"""Deadlines are kept on the monotonic clock, and are always finite."""
from __future__ import annotations

import math
import time

import pytest

from legacy_plugins.rpc import deadline as deadline_module
from legacy_plugins.rpc.deadline import Deadline


class Clock:
    """A monotonic clock that stands until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(deadline_module.time, "monotonic", lambda: self.now)


def test_time_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """`left` shrinks to 0 and never below; `expired` turns True at the very moment."""
    clock = Clock(monkeypatch)
    deadline = Deadline(2.5)
    assert (deadline.left(), deadline.expired, deadline.seconds) == (2.5, False, 2.5)
    clock.now += 2.4
    assert deadline.left() == pytest.approx(0.1)
    assert not deadline.expired
    clock.now = deadline.at
    assert (deadline.left(), deadline.expired) == (0.0, True)
    clock.now += 100
    assert deadline.left() == 0.0


def test_a_deadline_is_handed_down() -> None:
    """Whoever gets one goes by it, and by what was first asked for; whoever gets seconds makes one."""
    deadline = Deadline(2.5)
    assert Deadline.of(deadline) is deadline
    assert Deadline.of(2.5).seconds == 2.5


@pytest.mark.fault("P22")
def test_the_wall_clock_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour's jump of the wall clock changes nothing."""
    deadline = Deadline(5.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 4.0 < deadline.left() <= 5.0


@pytest.mark.parametrize("seconds", [0, -1, -1e300])
def test_no_time_at_all(seconds: float) -> None:
    """Zero and less have expired from the beginning."""
    assert Deadline(seconds).expired
    assert Deadline(seconds).left() == 0.0


@pytest.mark.parametrize("seconds", [math.inf, -math.inf, math.nan])
def test_nothing_waits_for_ever(seconds: float) -> None:
    """Infinity and NaN are refused."""
    with pytest.raises(ValueError, match="finite number of seconds"):
        Deadline(seconds)


def test_a_time_no_system_can_wait_for() -> None:
    """A huge time-out is one that the system's waits still take."""
    deadline = Deadline(1e300)
    assert deadline.seconds == 1e300
    assert 1e8 < deadline.left() < 9e9
