"""What is known of a plugin at a moment, as one frozen value, and the counters that it is made from."""
from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Deque, Dict, Mapping, Optional

from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.rpc.calls import ANSWERED, OUTCOMES, CallOutcome
from legacy_plugins.rpc.crash import CrashReport

_LATENCY_SAMPLES = 512

#: What happens to events: queued for the plugin, dropped, not wanted, confirmed, sent again; published by the plugin.
EVENT_OUTCOMES = ("queued", "dropped", "filtered", "acknowledged", "redelivered", "published")


@dataclass(frozen=True)
class PluginStatus:
    """One plugin at one moment.

    `since`: when the state began, in seconds of the Unix epoch. `restarts`: starts after a crash, in this process's
    life. `in_flight`: calls that wait for an answer. `queued`: frames and events that wait to be written. `calls`:
    ended calls by outcome. `latency`: `p50` and `p95` of the last answered calls, in milliseconds. `events`: by
    outcome. `faults`: messages that broke the protocol. `reason`: why the plugin is in its state.
    """

    name: str
    state: PluginState
    pid: Optional[int] = None
    version: Optional[str] = None
    since: float = 0.0
    restarts: int = 0
    last_crash: Optional[CrashReport] = None
    required: bool = False
    in_flight: int = 0
    queued: int = 0
    calls: Mapping[str, int] = field(default_factory=dict)
    latency: Mapping[str, float] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    faults: int = 0
    log_lines_suppressed: int = 0
    reason: str = ""


class PluginCounters:
    """What is counted over all processes that a plugin has had. All methods: any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # guards the mappings; re-entrant for signal handlers
        self._calls: Dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self._events: Dict[str, int] = dict.fromkeys(EVENT_OUTCOMES, 0)
        self._latency: Deque[float] = deque(maxlen=_LATENCY_SAMPLES)
        self.faults = 0

    def call_ended(self, outcome: CallOutcome) -> None:
        """Count a call."""
        with self._lock:
            self._calls[outcome.outcome] += 1
            if outcome.outcome == ANSWERED:
                self._latency.append(outcome.seconds)

    def event(self, outcome: str, count: int = 1) -> None:
        """Count events."""
        with self._lock:
            self._events[outcome] += count

    def fault(self) -> None:
        """Count a message that broke the protocol."""
        with self._lock:
            self.faults += 1

    def calls(self) -> Dict[str, int]:
        """Ended calls by outcome."""
        with self._lock:
            return dict(self._calls)

    def events(self) -> Dict[str, int]:
        """Events by outcome."""
        with self._lock:
            return dict(self._events)

    def latency(self) -> Dict[str, float]:
        """The median and the 95th percentile of the last answered calls, in milliseconds; empty without any."""
        with self._lock:
            samples = sorted(self._latency)
        if not samples:
            return {}
        middle, high = len(samples) // 2, min(len(samples) - 1, len(samples) * 95 // 100)
        return {"p50": samples[middle] * 1000, "p95": samples[high] * 1000}
