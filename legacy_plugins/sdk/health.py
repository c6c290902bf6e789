"""What the plugin says about its health, asked on a thread of its own.

A plugin without a health function is healthy as long as its reader thread answers.
"""
from __future__ import annotations

import logging
import threading
from typing import Any, Callable, Dict

from legacy_plugins.protocol.messages import BUSY, Request
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.workers import WorkerPool
from legacy_plugins.sdk.declarations import Declarations
from legacy_plugins.sdk.log_format import users_part

_STATES = ("ok", "degraded", "failing")
_MAX_WAITING = 8
_log = logging.getLogger("legacy_plugins.sdk")


class Health:
    """Answers `plugin/health` from the declared function. It is not called before `started` is set: it may need what
    `on_start` prepares."""

    def __init__(self, connection: Connection, declared: Declarations, started: threading.Event) -> None:
        self._connection = connection
        self._declared = declared
        self._started = started
        self._pool = WorkerPool(1, name=f"{declared.name}-health", max_waiting=_MAX_WAITING)

    def receive(self, request: Request) -> None:
        """`plugin/health` came. Reader thread."""
        function = self._declared.health
        if function is None or not self._started.is_set():
            self._connection.answer(request.id, {"status": "ok"})
        elif not self._pool.submit(self._ask, function, request):
            self._connection.refuse(request.id, BUSY, "the health function has not returned from earlier calls")

    def _ask(self, function: Callable[[], Any], request: Request) -> None:
        try:
            answer = health_of(function())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code: whatever it raises is an answer
            _log.error("the health function failed", exc_info=users_part(error))
            answer = _failing(f"{type(error).__name__}: {error}")
        try:
            self._connection.answer(request.id, answer)
        except (TypeError, ValueError) as error:
            self._connection.answer(request.id, _failing(f"the health function's answer is not JSON: {error}"))


def health_of(returned: Any) -> Dict[str, Any]:
    """The answer for what a health function returned: None is well, a text one of the states, a dict as it is."""
    if returned is None:
        return {"status": "ok"}
    answer = {"status": returned} if isinstance(returned, str) else returned
    if not isinstance(answer, dict) or answer.get("status") not in _STATES:
        return _failing(f"the health function returned {returned!r:.200}, not None, one of {', '.join(_STATES)}, or a "
                        "dict with one as its `status`")
    return answer


def _failing(message: str) -> Dict[str, Any]:
    return {"status": "failing", "message": message[:4000]}
