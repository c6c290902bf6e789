"""How what happens to one plugin becomes records, counters and signals. Called from any thread, runs nobody's code."""
from __future__ import annotations

import logging
import threading
import time
from typing import Any, Dict, Mapping, Optional

from legacy_plugins import signals
from legacy_plugins.host.events import EncodedEvent
from legacy_plugins.host.log_lines import escape
from legacy_plugins.host.logs import log_record
from legacy_plugins.host.notices import Notices
from legacy_plugins.host.status import PluginCounters
from legacy_plugins.rpc.calls import CallOutcome
from legacy_plugins.rpc.dispatcher import Dispatcher

#: How often a warning is repeated that a plugin can cause at will, in seconds.
WARN_SECONDS = 10.0


class PluginReports:
    """Where the parts of one plugin report to."""

    def __init__(self, plugin: str, counters: PluginCounters, notices: Notices, dispatcher: Dispatcher) -> None:
        self._plugin = plugin
        self._counters = counters
        self._notices = notices
        self._dispatcher = dispatcher
        self._logger = logging.getLogger(f"legacy_plugins.plugin.{plugin}")
        self._lock = threading.RLock()  # guards the two below; re-entrant for signal handlers
        self._untold: Dict[str, int] = {}
        self._quiet_until: Dict[str, float] = {}

    def log_line(self, level: int, message: str, pid: int) -> None:
        """A line of stderr; handlers and receivers run on the dispatch thread. Raises when its queue is full."""
        if not self._dispatcher.offer(self._write_line, level, message, pid):
            raise OverflowError("the dispatch queue is full")  # the log counts the line as suppressed

    def _write_line(self, level: int, message: str, pid: int) -> None:
        log_record(self._logger, self._plugin, level, message, pid)
        if signals.plugin_log.receivers:
            self._notices.send_now(signals.plugin_log, self._plugin, {"level": level, "message": message, "pid": pid})

    def call_ended(self, outcome: CallOutcome) -> None:
        """A call of the application has ended."""
        self._counters.call_ended(outcome)
        self._notices.announce(signals.request_finished, self._plugin, method=outcome.method, outcome=outcome.outcome,
                               duration=outcome.seconds)

    def fault(self, text: str, beginning: str, pid: Optional[int]) -> None:
        """A message broke the protocol. `beginning`: of the message, made safe to read."""
        self._counters.fault()
        self._warn("fault", "%d message(s) of plugin %r broke the protocol, the last one: %s; the message began %s",
                   text, beginning, pid=pid)

    def event(self, outcome: str, event: EncodedEvent, reason: str) -> None:
        """Something became of an event for the plugin. `refused`: dropped, since somebody wants the plugin down."""
        self._counters.event("dropped" if outcome == "refused" else outcome)
        if outcome in ("dropped", "refused"):
            self._notices.announce(signals.event_dropped, self._plugin, event_type=event.event_type, reason=reason)
        if outcome == "dropped":
            self._warn("drop", "%d event(s) dropped for plugin %r, the last one %.100r: %s", event.event_type, reason)
        elif outcome == "acknowledged":
            self._notices.announce(signals.event_acknowledged, self._plugin, event_id=event.event_id)

    def published(self, event_type: str, payload: Any, metadata: Mapping[str, Any]) -> None:
        """The plugin published an event."""
        self._counters.event("published")
        self._notices.announce(signals.plugin_event, self._plugin, event_type=event_type, payload=payload,
                               metadata=metadata)

    def not_published(self, event_type: Any, reason: str) -> None:
        """The plugin published an event that it may not."""
        self._notices.announce(signals.event_dropped, self._plugin, event_type=event_type, reason=reason)
        self._warn("publish", "%d event(s) published by plugin %r were refused, the last one %.100r: %s", event_type,
                   reason)

    def call_refused(self, method: str, reason: str) -> None:
        """The plugin called a service that it may not call, or that is not there."""
        self._warn("call", "%d call(s) of plugin %r to the host were refused, the last one %.100r: %s", method, reason)

    def unassigned_error(self, code: int, message: str, pid: Optional[int]) -> None:
        """The plugin could not read something that it was sent, and does not know what."""
        self._warn("unassigned", "%d error answer(s) of plugin %r named no call, the last one with code %d: %s", code,
                   escape(message[:200]), pid=pid)

    def log(self, level: int, text: str, *args: Any, error: Optional[BaseException] = None) -> None:
        """Write a record about the plugin to the host's logger."""
        self._notices.log(level, text, *args, plugin=self._plugin, error=error)

    def _warn(self, kind: str, text: str, *args: Any, pid: Optional[int] = None) -> None:
        """Warn of this and of what was not told since the last time: a storm makes few lines."""
        now = time.monotonic()
        with self._lock:
            count = self._untold.get(kind, 0) + 1
            quiet = now < self._quiet_until.get(kind, 0.0)
            self._untold[kind] = count if quiet else 0
            if quiet:
                return
            self._quiet_until[kind] = now + WARN_SECONDS
        self._notices.log(logging.WARNING, text, count, self._plugin, *args, plugin=self._plugin, pid=pid)
