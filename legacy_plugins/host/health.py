"""Periodic `plugin/health` requests to one process, and when their outcome means that it is not well.

Supervising thread. A plugin without the method is alive. A check that gets no answer does not count while a call that
was made before it is within its deadline: a single-threaded plugin in a long legal call is busy, not dead.
"""
from __future__ import annotations

import logging
import time
from typing import Any, Callable, Optional

from legacy_plugins.config.policies import HealthPolicy
from legacy_plugins.errors import MethodNotFound, PluginBusy, PluginError, PluginTimeout
from legacy_plugins.host.log_lines import escape
from legacy_plugins.host.notices import Notices
from legacy_plugins.protocol.handshake import HEALTH
from legacy_plugins.rpc.calls import Call
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.reactor import Timer
from legacy_plugins.schemas.compiler import fits

#: Characters that are passed on of what a plugin says of its health.
_MAX_TOLD = 500


class HealthCheck:
    """Calls `on_sick(text)` once, after `failures` failed checks in a row.

    `post(step, *args)`, `later(delay, step)`: take a step on the supervising thread, now or in `delay` seconds.
    `clean(text)`: what the plugin said, as it may be logged.
    """

    def __init__(self, connection: Connection, policy: HealthPolicy, notices: Notices, *, post: Callable[..., None],
                 later: Callable[[float, Callable[[], None]], Timer], on_sick: Callable[[str], None],
                 clean: Callable[[str], str] = escape) -> None:
        self._connection = connection
        self._policy = policy
        self._notices = notices
        self._post = post
        self._later = later
        self._on_sick = on_sick
        self._clean = clean
        self._failures = 0
        self._asked_at = 0.0
        self._timer: Optional[Timer] = None
        self._stopped = False

    def start(self) -> None:
        """Begin, with the first check after one interval."""
        self._timer = self._later(self._policy.interval_ms / 1000, self._ask)

    def stop(self) -> None:
        """Check no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _ask(self) -> None:
        if self._stopped:
            return
        self._asked_at = time.monotonic()
        try:
            call = self._connection.submit(HEALTH, {}, self._policy.timeout_ms / 1000)
        except PluginError as error:
            self._judge(None, error)
            return
        call.add_internal_callback(lambda _: self._post(self._answered, call))

    def _answered(self, call: Call) -> None:
        error = call.exception(0) if not call.cancelled() else None
        self._judge(None if error else call.result(0), error)

    def _judge(self, result: Any, error: Optional[BaseException]) -> None:
        if self._stopped:
            return
        if isinstance(error, (PluginTimeout, PluginBusy)) and self._connection.at_work_since(self._asked_at):
            self.start()  # it is busy: nothing can be told
            return
        trouble = self._trouble(result, error)
        self._failures = 0 if trouble is None else self._failures + 1
        if trouble is not None:
            self._warn("health check %d of %d of plugin %r failed: %s", self._failures, self._policy.failures,
                       self._connection.name, trouble)
        if self._failures < self._policy.failures:
            self.start()
        else:
            self._stopped = True
            self._on_sick(f"{self._failures} health checks in a row failed, the last one: {trouble}")

    def _trouble(self, result: Any, error: Optional[BaseException]) -> Optional[str]:
        """What is wrong; None when all is well."""
        if isinstance(error, MethodNotFound):
            return None
        if error is not None:
            return self._clean(str(error))[:_MAX_TOLD]
        if not fits("health-result", result):
            return "the answer does not fit its schema (status: ok, degraded or failing)"
        told = self._clean(result.get("message", ""))[:_MAX_TOLD]
        if result["status"] == "degraded":
            self._warn("plugin %r is degraded: %s", self._connection.name, told)
        return f"it says that it is failing: {told}" if result["status"] == "failing" else None

    def _warn(self, text: str, *args: Any) -> None:
        self._notices.log(logging.WARNING, text, *args, plugin=self._connection.name)
