"""How one plugin's log lines and events become records, counters and signals. Called from any thread."""
from __future__ import annotations

import logging
import threading
import time

from legacy_plugins import signals
from legacy_plugins.host.events import EncodedEvent
from legacy_plugins.host.logs import log_record
from legacy_plugins.host.notices import Notices
from legacy_plugins.host.status import PluginCounters
from legacy_plugins.rpc.dispatcher import Dispatcher

_log = logging.getLogger("legacy_plugins.host")
_WARN_SECONDS = 10.0


class PluginReports:
    """Where a plugin's `PluginLog` and `EventQueue` report to."""

    def __init__(self, plugin: str, counters: PluginCounters, notices: Notices, dispatcher: Dispatcher) -> None:
        self._plugin = plugin
        self._counters = counters
        self._notices = notices
        self._dispatcher = dispatcher
        self._logger = logging.getLogger(f"legacy_plugins.plugin.{plugin}")
        self._lock = threading.Lock()  # guards the two below
        self._drops = 0
        self._warn_after = 0.0

    def log_line(self, level: int, message: str, pid: int) -> None:
        """A line of stderr; handlers and receivers run on the dispatch thread. Raises when its queue is full."""
        if not self._dispatcher.offer(self._write_line, level, message, pid):
            raise OverflowError("the dispatch queue is full")  # the log counts the line as suppressed

    def _write_line(self, level: int, message: str, pid: int) -> None:
        log_record(self._logger, self._plugin, level, message, pid)
        if signals.plugin_log.receivers:
            self._notices.send_now(signals.plugin_log, self._plugin, {"level": level, "message": message, "pid": pid})

    def event(self, outcome: str, event: EncodedEvent, reason: str) -> None:
        """Something became of an event."""
        self._counters.event(outcome)
        if outcome == "dropped":
            self._notices.announce(signals.event_dropped, self._plugin, event_type=event.event_type, reason=reason)
            self._warn(event, reason)
        elif outcome == "acknowledged":
            self._notices.announce(signals.event_acknowledged, self._plugin, event_id=event.event_id)

    def _warn(self, event: EncodedEvent, reason: str) -> None:
        """Log dropped events, but not as many lines as a storm has events."""
        now = time.monotonic()
        with self._lock:
            self._drops += 1
            if now < self._warn_after:
                return
            drops, self._drops, self._warn_after = self._drops, 0, now + _WARN_SECONDS
        _log.warning("%d event(s) dropped for plugin %r, the last one %.100r: %s", drops, self._plugin,
                     event.event_type, reason, extra={"plugin": self._plugin})
