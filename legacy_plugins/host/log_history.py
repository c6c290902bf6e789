"""A plugin's log through the changes of its policy: the one that counts now, and what earlier ones suppressed."""
from __future__ import annotations

from typing import Callable

from legacy_plugins.config.policies import LogPolicy
from legacy_plugins.host.logs import PluginLog


class LogHistory:
    """`emit`: where every log's lines go. `take`: the supervising thread; everything else: any thread."""

    def __init__(self, policy: LogPolicy, emit: Callable[[int, str, int], None]) -> None:
        self._policy = policy
        self._emit = emit
        self._suppressed_before = 0
        self.current = PluginLog(policy, emit)

    @property
    def suppressed(self) -> int:
        """How many lines were not emitted, by whichever policy."""
        return self._suppressed_before + self.current.suppressed

    def for_policy(self, policy: LogPolicy) -> PluginLog:
        """The log of a process that goes by this policy: the current one, or a new one that does not count yet."""
        return self.current if policy == self._policy else PluginLog(policy, self._emit)

    def take(self, log: PluginLog, policy: LogPolicy) -> None:
        """This log counts from now on."""
        if log is not self.current:
            self._suppressed_before += self.current.suppressed
            self.current, self._policy = log, policy
