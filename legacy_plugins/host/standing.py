"""A plugin's state as it changes: everybody who waits is woken, everybody who listens is told.

Supervising thread. Which state follows is decided elsewhere; which may follow is in `lifecycle`.
"""
from __future__ import annotations

import logging
import time
from typing import Any, Callable, Optional

from legacy_plugins import signals
from legacy_plugins.errors import PluginError
from legacy_plugins.host.availability import Availability, View
from legacy_plugins.host.lifecycle import NextStart, PluginState
from legacy_plugins.host.log_lines import escape
from legacy_plugins.host.notices import Notices
from legacy_plugins.rpc.crash import CrashReport

S = PluginState


class Standing:
    """See the file's first paragraph. `routes_changed`: to be told when the plugin becomes ready, or ceases to be."""

    def __init__(self, plugin: str, available: Availability, notices: Notices,
                 routes_changed: Callable[[], None]) -> None:
        self._plugin = plugin
        self._available = available
        self._notices = notices
        self._routes_changed = routes_changed

    @property
    def state(self) -> PluginState:
        """Where it stands."""
        return self._available.view.state

    @property
    def down(self) -> bool:
        """Whether nothing runs, and nothing will by itself."""
        return self.state in (S.STOPPED, S.DISABLED, S.FAILED) and not self._available.view.start_follows

    def become(self, state: PluginState, reason: str, **facts: Any) -> None:
        """Enter a state, or enter it anew. `facts`: of the new `View`; all others are forgotten."""
        reason = escape(reason)  # it may quote the plugin
        since = self._available.view.since if state is self.state else time.time()
        old = self._available.change(View(state, reason, since, **facts))
        if S.READY in (state, old.state):
            self._routes_changed()
        if state is not old.state:
            if state not in (S.BACKOFF, S.FAILED):  # of those the alarm tells
                self._notices.log(logging.INFO, "plugin %r: %s -> %s (%s)", self._plugin, old.state.value,
                                  state.value, reason, plugin=self._plugin, pid=facts.get("pid"))
            self._notices.announce(signals.plugin_state_changed, self._plugin, old=old.state, new=state,
                                   reason=reason)

    def back_off(self, following: NextStart, max_retries: int, error: PluginError) -> None:
        """It is down, and is started again after `following.delay` seconds."""
        delay = following.delay or 0.0
        self.become(S.BACKOFF, str(error), retry_at=time.monotonic() + delay, error=error)
        text = f"restart {following.attempt} of {max_retries} in {delay:.1f} s"
        self._notices.alarm(self._plugin, f"{error}; {text}", error)
        self._notices.announce(signals.plugin_restarting, self._plugin, attempt=following.attempt, delay=delay)

    def give_up(self, attempts: int, error: PluginError, crash: Optional[CrashReport]) -> None:
        """It is down, and stays down until somebody does something. `attempts`: restarts that were tried."""
        self.become(S.FAILED, str(error), error=error)
        text = f"given up after {attempts} restarts" if attempts else "given up"
        self._notices.alarm(self._plugin, f"{error}; {text}", error)
        self._notices.announce(signals.plugin_gave_up, self._plugin, attempts=attempts, crash=crash)
