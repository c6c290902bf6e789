"""From what the host asks or tells to the job that handles it: which user code, with which arguments.

Owns the reading of params and the calling conventions of handlers. Jobs are made on the reader thread, and their work
is done where the executor runs them. Must not send answers: `runner` does.
"""
from __future__ import annotations

import logging
from typing import Any, Callable, List, Optional

from legacy_plugins.protocol.messages import INVALID_PARAMS, Request, RequestId
from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.sdk import http
from legacy_plugins.sdk.declarations import Declarations
from legacy_plugins.sdk.error import Error
from legacy_plugins.sdk.events import Event, EventHandler
from legacy_plugins.sdk.jobs import Job
from legacy_plugins.sdk.log_format import users_part

_log = logging.getLogger("legacy_plugins.sdk")


class Handlers:
    """Jobs for what was declared. `acknowledge(event_id)` tells the host that an event was handled."""

    def __init__(self, declared: Declarations, acknowledge: Callable[[str], None]) -> None:
        self._declared = declared
        self._acknowledge = acknowledge

    def call_job(self, method: str, params: Any, request_id: Optional[RequestId] = None) -> Optional[Job]:
        """The job for a method; None where there is none of that name."""
        function = self._declared.methods.get(method)
        if function is None:
            return None
        work = function
        return Job(f"the method {method!r}", lambda: work({} if params is None else params), request_id=request_id)

    def http_job(self, request: Request) -> Job:
        """The job for a `plugin/handleRequest`; raises `Error` for params that are none."""
        params = request.params
        if not isinstance(params, dict) or not isinstance(params.get("route"), str):
            raise Error(INVALID_PARAMS, "the params of plugin/handleRequest have no `route`")
        milliseconds = params.get("deadlineMs")
        deadline = Deadline(milliseconds / 1000) if isinstance(milliseconds, (int, float)) else None
        asked = http.Request.parse(params, deadline)
        return Job(f"the route {asked.method} {asked.route}", lambda: self._serve(asked), request_id=request.id,
                   deadline=deadline, trace=asked.request_id)

    def event_job(self, params: Any) -> Optional[Job]:
        """The job for a `plugin/onEvent`; None where nobody wants the event."""
        try:
            event = Event.parse(params, self._acknowledge)
        except ValueError as error:
            _log.warning("an event was ignored: %s", error)
            return None
        handlers = self._declared.subscriptions.handlers(event.type)
        if not handlers and not self._declared.ack_events:
            return None
        return Job(f"the event {event.type} {event.id}", lambda: self._handle(event, handlers), event=True)

    def _serve(self, request: http.Request) -> Any:
        handler = self._declared.routes.find(request.route, request.method)
        return http.result_of(handler(request))

    def _handle(self, event: Event, handlers: List[EventHandler]) -> None:
        """Run an event's handlers, each whatever the others do; acknowledge it where all of them returned."""
        failed = 0
        for handler in handlers:
            try:
                handler(event)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - user code; the other handlers must run
                failed += 1
                _log.error("a handler of the event %s %s failed", event.type, event.id, exc_info=users_part(error))
        if self._declared.ack_events and not failed:
            event.ack()
