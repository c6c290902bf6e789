"""The clocks on a conversation, on a clock that the test moves: when they strike, when not, what they cost."""
from __future__ import annotations

import heapq
import itertools
from typing import Any, Callable, List, Optional, Tuple

import pytest

from legacy_plugins.rpc import stalls
from legacy_plugins.rpc.conversation import EndReason
from legacy_plugins.rpc.stalls import PartialWatch, StallWatch


class Clock:
    """Time, and the timers that a reactor would run."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: List[Tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """As `Reactor.call_later`."""
        heapq.heappush(self.timers, (self.now + seconds, next(self._order), callback))

    def advance(self, seconds: float) -> None:
        """Let time pass, and the timers run at their time."""
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            self.now, _, callback = heapq.heappop(self.timers)
            callback()
        self.now = end


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands until it is moved."""
    made = Clock()
    monkeypatch.setattr(stalls, "time", made)
    return made


class Partial:
    """A watch on incomplete messages, with what it told."""

    def __init__(self, clock: Any, timeout: float = 10.0) -> None:
        self.ends: List[EndReason] = []
        self.pausing = False
        self.watch = PartialWatch(clock, timeout, paused=lambda: self.pausing, end=self.ends.append)


@pytest.mark.fault("F16")
def test_a_message_must_become_complete(clock: Clock) -> None:
    """The time runs from the first byte; further bytes of the same message do not prolong it."""
    partial = Partial(clock)
    partial.watch.update(True, began_anew=False)
    for _ in range(9):
        clock.advance(1.0)
        partial.watch.update(True, began_anew=False)
    assert not partial.ends
    clock.advance(1.0)
    assert [end.fault for end in partial.ends] == ["message time-out"]
    assert "limits.messageTimeoutMs" in partial.ends[0].text
    assert not clock.timers


@pytest.mark.fault("F16")
def test_a_complete_message_stops_the_clock_another_starts_it_anew(clock: Clock) -> None:
    """Each message has the whole time, also one whose first bytes came with the last of another."""
    partial = Partial(clock)
    for _ in range(10):
        partial.watch.update(True, began_anew=True)
        clock.advance(7.0)
    partial.watch.update(False, began_anew=False)
    clock.advance(3.0)
    partial.watch.update(True, began_anew=False)
    clock.advance(9.9)
    assert not partial.ends
    clock.advance(0.2)
    assert len(partial.ends) == 1


@pytest.mark.fault("F16", "B9")
def test_while_we_do_not_read_the_clock_stands(clock: Clock) -> None:
    """A pause of ours is not the sender's fault."""
    partial = Partial(clock)
    partial.watch.update(True, began_anew=True)
    partial.pausing = True
    clock.advance(60.0)
    partial.pausing = False
    partial.watch.restart()
    clock.advance(9.9)
    assert not partial.ends
    clock.advance(0.2)
    assert len(partial.ends) == 1


@pytest.mark.fault("G13")
def test_complete_messages_cost_no_timers(clock: Clock) -> None:
    """However many messages come in pieces, one timer is under way, and none after a quiet while."""
    partial = Partial(clock)
    for _ in range(1000):
        partial.watch.update(True, began_anew=True)
        partial.watch.update(False, began_anew=True)
    assert len(clock.timers) == 1
    clock.advance(30.0)
    assert not clock.timers
    partial.watch.update(True, began_anew=True)
    clock.advance(10.0)
    assert len(partial.ends) == 1


def test_no_time_out(clock: Clock) -> None:
    """0 means that a message may take for ever, and a peer need not read."""
    partial, stall = Partial(clock, 0.0), Stall(clock, 0.0)
    partial.watch.update(True, began_anew=True)
    stall.begin()
    assert not clock.timers


class Stall:
    """A watch on a peer that does not read, with what it told."""

    def __init__(self, clock: Any, timeout: float = 10.0) -> None:
        self._clock = clock
        self.ends: List[EndReason] = []
        self.since: Optional[float] = None
        self.busy = False
        self.watch = StallWatch(clock, timeout, stalled_since=lambda: self.since, busy=self._is_busy,
                                end=self.ends.append)

    def _is_busy(self, since: float) -> bool:
        assert since == self.since
        return self.busy

    def begin(self) -> None:
        """The pipe is full."""
        self.since = self._clock.now
        self.watch.begin()


@pytest.mark.fault("B5")
def test_a_peer_that_does_not_read_is_hung(clock: Clock) -> None:
    """After the time without one byte taken, and no earlier."""
    stall = Stall(clock)
    stall.begin()
    clock.advance(9.9)
    assert not stall.ends
    clock.advance(0.2)
    assert [end.fault for end in stall.ends] == ["write stall"]
    assert "limits.writeStallMs" in stall.ends[0].text
    assert not clock.timers


@pytest.mark.fault("B5")
def test_a_peer_that_reads_slowly_is_not_hung(clock: Clock) -> None:
    """Each stall has the whole time."""
    stall = Stall(clock)
    for _ in range(20):
        stall.begin()
        clock.advance(8.0)
        stall.since = None
    assert not stall.ends
    clock.advance(20.0)
    assert not clock.timers


@pytest.mark.fault("B5", "P8")
def test_a_peer_that_works_on_a_call_is_not_hung(clock: Clock) -> None:
    """While a call is within its time the peer need not read; afterwards it must."""
    stall = Stall(clock)
    stall.busy = True
    stall.begin()
    clock.advance(60.0)
    assert not stall.ends
    stall.busy = False
    clock.advance(0.5)
    assert len(stall.ends) == 1


@pytest.mark.fault("B5", "G13")
def test_stall_after_stall_costs_one_timer(clock: Clock) -> None:
    """Under steady back-pressure the watch does not multiply."""
    stall = Stall(clock)
    for _ in range(10_000):
        stall.begin()
        clock.advance(0.01)
        stall.since = None
        stall.begin()
    assert len(clock.timers) == 1


@pytest.mark.fault("B5")
def test_a_stall_that_begins_during_the_look_is_watched(clock: Clock) -> None:
    """The look that finds nothing and a stall that begins just then, on the writer thread, do not miss each other."""
    stall = Stall(clock)

    def since() -> Optional[float]:
        found, stall.since = stall.since, clock.now  # it begins after the look has looked
        stall.watch.begin()
        stall.watch._stalled_since = lambda: stall.since
        return found
    stall.begin()
    stall.since = None
    stall.watch._stalled_since = since
    clock.advance(10.0)
    assert not stall.ends
    clock.advance(10.1)
    assert len(stall.ends) == 1
    assert not clock.timers


@pytest.mark.fault("F16")
def test_two_chains_become_one(clock: Clock) -> None:
    """A look that goes on and one that was armed meanwhile are one again after the next round."""
    stall = Stall(clock)

    def since() -> Optional[float]:
        stall.watch._stalled_since = lambda: stall.since
        stall.begin()
        return stall.since
    stall.begin()
    stall.busy = True
    stall.watch._stalled_since = since
    clock.advance(10.0)
    assert len(clock.timers) == 2
    clock.advance(30.0)
    assert len(clock.timers) == 1
