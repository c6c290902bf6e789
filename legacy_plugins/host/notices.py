"""The one door by which facts leave the host: through the dispatch thread, to signal receivers and log handlers.

Both are other people's code and may block or raise, so `announce` and `log` may be called from any thread and never run
any of it there. What nobody listens to costs one look.
"""
from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Optional

from blinker import Signal

from legacy_plugins import signals
from legacy_plugins.host.log_lines import escape
from legacy_plugins.rpc.dispatcher import Dispatcher

ReceiverContext = Callable[[], ContextManager[Any]]

_log = logging.getLogger("legacy_plugins.host")


class Notices:
    """Sends a host's signals and log records. `dropped` counts those that found the dispatch queue full.

    `context()`: what each receiver runs in.
    """

    def __init__(self, sender: Any, dispatcher: Dispatcher, context: ReceiverContext = nullcontext) -> None:
        self._sender = sender
        self._dispatcher = dispatcher
        self._context = context
        self._telling = False
        self._told = 0
        self.dropped = 0

    def announce(self, signal: Signal, plugin: Optional[str], **facts: Any) -> None:
        """Send `signal` to its receivers, on the dispatch thread."""
        if signal.receivers and not self._dispatcher.offer(self.send_now, signal, plugin, facts):
            self._drop()

    def send_now(self, signal: Signal, plugin: Optional[str], facts: Any) -> None:
        """On the dispatch thread: run the receivers; one that raises does not keep the others from running."""
        for receiver in list(signal.receivers_for(self._sender)):
            try:
                with self._context():
                    receiver(self._sender, plugin=plugin, **facts)
            except BaseException:  # noqa: BLE001 - the application's code, which may even say sys.exit()
                _log.exception("a receiver of %r raised", getattr(signal, "name", signal))

    def log(self, level: int, text: str, *args: Any, plugin: Optional[str] = None, pid: Optional[int] = None,
            error: Optional[BaseException] = None) -> None:
        """Write a record to the host's logger, on the dispatch thread. `error`: its traceback goes along."""
        if _log.isEnabledFor(level) and not log_later(self._dispatcher, level, text, *args, plugin=plugin, pid=pid,
                                                      error=error):
            self._drop()

    def alarm(self, plugin: str, reason: str, error: BaseException) -> None:
        """The alarm: in the log, and as a signal."""
        self.log(logging.ERROR, "plugin %r is unavailable: %s", plugin, reason, plugin=plugin)
        self.announce(signals.plugin_unavailable, plugin, reason=reason, error=error)

    def _drop(self) -> None:
        """Count, and see to it that the log tells once there is room again."""
        self.dropped += 1
        if not self._telling:
            self._telling = True
            self._dispatcher.post(self._tell_dropped)

    def _tell_dropped(self) -> None:
        self._telling = False
        dropped, self._told = self.dropped - self._told, self.dropped
        _log.error("%d notices were dropped: receivers of signals, or log handlers, are too slow", dropped)


def log_later(dispatcher: Dispatcher, level: int, text: str, *args: Any, plugin: Optional[str] = None,
              pid: Optional[int] = None, error: Optional[BaseException] = None) -> bool:
    """Write a record to the host's logger, on the dispatch thread; False when too much waits there."""
    trace = None if error is None else (type(error), error, error.__traceback__)
    facts = {key: value for key, value in (("plugin", plugin), ("pid", pid)) if value is not None}
    return dispatcher.offer(_write, level, text, args, trace, facts)


def _write(level: int, text: str, args: Any, trace: Any, facts: Any) -> None:
    message = text % args if args else text
    safe = escape(message)
    if safe != message:  # whatever a plugin was quoted with, one record stays one line
        text, args = "%s", (safe,)
    _log.log(level, text, *args, exc_info=trace, extra=facts)
