"""The one door by which facts leave the host: from where they happen, through the dispatch thread, to signal receivers.

`announce` may be called from any thread and never runs a receiver there. What nobody listens to costs one look.
"""
from __future__ import annotations

import logging
from typing import Any

from blinker import Signal

from legacy_plugins import signals
from legacy_plugins.rpc.dispatcher import Dispatcher

_log = logging.getLogger("legacy_plugins.host")


class Notices:
    """Sends a host's signals. `dropped` counts those that found the dispatch queue full."""

    def __init__(self, sender: Any, dispatcher: Dispatcher) -> None:
        self._sender = sender
        self._dispatcher = dispatcher
        self.dropped = 0

    def announce(self, signal: Signal, plugin: Any, **facts: Any) -> None:
        """Send `signal` to its receivers, on the dispatch thread."""
        if signal.receivers and not self._dispatcher.offer(self.send_now, signal, plugin, facts):
            self.dropped += 1

    def send_now(self, signal: Signal, plugin: Any, facts: Any) -> None:
        """On the dispatch thread: run the receivers; one that raises does not keep the others from running."""
        for receiver in list(signal.receivers_for(self._sender)):
            try:
                receiver(self._sender, plugin=plugin, **facts)
            except Exception:  # noqa: BLE001 - receivers are the application's code
                _log.exception("a receiver of %r raised", getattr(signal, "name", signal))

    def alarm(self, plugin: str, reason: str, error: BaseException) -> None:
        """The alarm: in the log, and as a signal."""
        _log.error("plugin %r is unavailable: %s", plugin, reason, extra={"plugin": plugin})
        self.announce(signals.plugin_unavailable, plugin, reason=reason, error=error)
