"""The life cycle as values: the states, which may follow which, and what a crash leads to.

Pure: no clock, thread, I/O or logging; times come in as arguments. The supervising thread asks, everybody may read.
"""
from __future__ import annotations

import enum
from typing import Dict, FrozenSet, NamedTuple, Optional

from legacy_plugins.config.policies import RestartPolicy


class PluginState(enum.Enum):
    """Where a plugin is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    FAILED = "failed"
    DISABLED = "disabled"


S = PluginState
#: What may follow each state. `failed` means given up, or unable to start: only a restart or a reload leaves it.
TRANSITIONS: Dict[PluginState, FrozenSet[PluginState]] = {
    S.STOPPED: frozenset((S.STARTING, S.DISABLED)),
    S.STARTING: frozenset((S.READY, S.BACKOFF, S.FAILED, S.STOPPING)),
    S.READY: frozenset((S.BACKOFF, S.FAILED, S.STOPPING)),
    S.BACKOFF: frozenset((S.STARTING, S.STOPPED, S.DISABLED)),
    S.STOPPING: frozenset((S.STOPPED, S.DISABLED, S.STARTING)),
    S.FAILED: frozenset((S.STARTING, S.STOPPED, S.DISABLED)),
    S.DISABLED: frozenset((S.STARTING, S.STOPPED)),
}


class NextStart(NamedTuple):
    """What follows a crash: restart number `attempt` after `delay` seconds, or, with a delay of None, giving up."""

    attempt: int
    delay: Optional[float]


class RestartBudget:
    """Counts restarts against a policy; the count starts afresh after the plugin has been ready long enough."""

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self.attempts = 0

    def after_crash(self, ready_seconds: Optional[float], random: float) -> NextStart:
        """What to do after a crash. `ready_seconds`: how long the plugin had been ready, None: it never was.

        `random`: a number from 0 up to but not including 1, for the jitter.
        """
        if ready_seconds is not None and ready_seconds * 1000 >= self.policy.reset_after_ms:
            self.attempts = 0
        if not self.policy.enabled or self.attempts >= self.policy.max_retries:
            return NextStart(self.attempts, None)
        self.attempts += 1
        return NextStart(self.attempts, self.policy.delay_ms(self.attempts, random) / 1000)

    def reset(self) -> None:
        """A start that was asked for: the count starts afresh."""
        self.attempts = 0
