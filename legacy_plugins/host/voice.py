"""What a plugin says, on the reader thread: each message goes to who is in charge of it, and nothing is run here.

Requests go to the service desk, acknowledgements to the event queue, published events and faults to the reports,
readiness and ends to the supervising thread. What a plugin may not say is refused or ignored, and reported.
"""
from __future__ import annotations

import logging
from typing import Any, Callable, Optional, Protocol

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.host.events import EventQueue
from legacy_plugins.host.log_lines import decode
from legacy_plugins.host.logs import PluginLog
from legacy_plugins.host.reports import PluginReports
from legacy_plugins.host.services import ServiceDesk
from legacy_plugins.protocol.framing import quote
from legacy_plugins.protocol.handshake import (
    ACK_EVENT,
    CANCEL_REQUEST,
    HANDSHAKE,
    HEALTH,
    PUBLISH_EVENT,
    READY,
    SHUTDOWN,
)
from legacy_plugins.protocol.messages import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    Failure,
    Notification,
    Request,
)
from legacy_plugins.protocol.peer import MessageFault
from legacy_plugins.rpc.calls import CallOutcome
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.conversation import ConversationHandler, EndReason
from legacy_plugins.schemas.compiler import fits

_OWN_METHODS = frozenset((HANDSHAKE, HEALTH, SHUTDOWN))
_NO_REQUEST = "it is a notification, which has no id and gets no answer"
#: Bytes of a broken message that are searched for secrets before its beginning is quoted.
_LOOKED_AT = 1024


class Speaker(Protocol):
    """Who is heard, an incarnation: what it knows of itself, and the steps that it takes for what it has said."""

    connection: Connection
    pid: Optional[int]
    asked_to_end: Optional[str]

    def post(self, step: Callable[..., None], *args: Any) -> None:
        """Take a step on the supervising thread."""

    def ready_declared(self, params: Any) -> None: ...
    def fault_noted(self, text: str) -> None: ...
    def conversation_ended(self, reason: EndReason) -> None: ...
    def reader_drained(self) -> None: ...


class PluginVoice(ConversationHandler):
    """Hears one incarnation, which is told to it by `belongs_to` before its threads start."""

    def __init__(self, config: PluginConfig, desk: ServiceDesk, events: EventQueue, log: PluginLog,
                 reports: PluginReports) -> None:
        self._config = config
        self._desk = desk
        self._events = events
        self._log = log
        self._reports = reports
        self._speaker: Optional[Speaker] = None

    def belongs_to(self, speaker: Speaker) -> None:
        """Whose voice this is."""
        self._speaker = speaker

    def on_request(self, request: Request) -> None:
        connection = self._subject.connection
        if self._subject.asked_to_end is not None:
            connection.refuse(request.id, INTERNAL_ERROR, "the host is shutting this plugin down")
        elif request.method == ACK_EVENT:
            if self._acknowledge(request.params):
                connection.answer(request.id, {})
            else:
                connection.refuse(request.id, INVALID_PARAMS, "no event of that id waits for an acknowledgement")
        elif request.method in (READY, PUBLISH_EVENT):
            self._reports.call_refused(request.method, _NO_REQUEST)
            connection.refuse(request.id, INVALID_REQUEST, _NO_REQUEST)
        else:
            self._desk.handle(request, connection)

    def on_notification(self, notification: Notification) -> None:
        method, params = notification
        if method == READY:
            self._subject.ready_declared(params)
        elif method == ACK_EVENT:
            self._acknowledge(params)
        elif method == PUBLISH_EVENT:
            self._publish(params)
        elif method == CANCEL_REQUEST:
            self._desk.cancel(params)
        elif not method.startswith("$/"):
            self._reports.log(logging.DEBUG, "plugin %r sent an unknown notification %.100r", self._config.name, method)

    def on_handshake_answer(self, answer: Any) -> None:
        """The handshake was answered: from here on the plugin may call the host, if it said that it would."""
        self._desk.declared = isinstance(answer, dict) and answer.get("reverseRpc") is True

    def on_fault(self, fault: MessageFault) -> None:
        text = self._log.clean(str(fault.error))
        self._reports.fault(text, self._quoted(fault.body), self._subject.pid)
        self._subject.post(self._subject.fault_noted, text)

    def on_unassigned_error(self, failure: Failure) -> None:
        self._reports.unassigned_error(failure.code, self._log.clean(failure.message), self._subject.pid)

    def on_stray_output(self, line: bytes) -> None:
        self._log.line(line.rstrip(b"\r\n"), self._subject.pid or 0)

    def on_end(self, reason: EndReason) -> None:
        self._subject.post(self._subject.conversation_ended, reason)

    def on_drained(self) -> None:
        self._subject.post(self._subject.reader_drained)

    def on_outcome(self, outcome: CallOutcome) -> None:
        if outcome.method not in _OWN_METHODS:  # the host's own housekeeping, not the application's calls
            self._reports.call_ended(outcome)

    @property
    def _subject(self) -> Speaker:
        assert self._speaker is not None
        return self._speaker

    def _quoted(self, body: bytes) -> str:
        """The beginning of a message; more than is told is looked at for secrets, which may go on behind it."""
        return quote(self._log.clean(decode(body[:_LOOKED_AT])).encode())

    def _acknowledge(self, params: Any) -> bool:
        event_id = params.get("eventId") if isinstance(params, dict) else None
        return isinstance(event_id, str) and self._events.acknowledge(event_id)

    def _publish(self, params: Any) -> None:
        if not fits("publish-params", params):
            event_type = params.get("eventType") if isinstance(params, dict) else None
            self._reports.not_published(event_type, "it does not fit the schema of plugin/publishEvent")
        elif not self._config.events.may_publish(params["eventType"]):
            self._reports.not_published(params["eventType"],
                                        f"events.publish allows {list(self._config.events.publish)}")
        else:
            self._reports.published(params["eventType"], params.get("payload"), params.get("metadata") or {})
