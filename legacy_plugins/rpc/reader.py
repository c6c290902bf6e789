"""The reader thread of a conversation: bytes from the stream, through the peer, to calls and handler.

It reads, ends calls with their answers, and hands everything else to the `ConversationHandler`. It runs no user code
and waits for nothing but the stream, except to let a flood of notifications back up into the pipe.
"""
from __future__ import annotations

import logging
from typing import Any, Callable, List, Optional

from legacy_plugins.errors import ProtocolError, rpc_error
from legacy_plugins.protocol.handshake import PROGRESS
from legacy_plugins.protocol.messages import INVALID_REQUEST, Failure, Notification, Request, Result
from legacy_plugins.protocol.peer import Event, MessageFault, Peer, StrayOutput
from legacy_plugins.rpc.budget import MAX_FLOOD_SECONDS, MessageBudget
from legacy_plugins.rpc.calls import ANSWERED, FAILED, CallTable
from legacy_plugins.rpc.conversation import ConversationHandler, EndReason
from legacy_plugins.rpc.latch import Latch
from legacy_plugins.rpc.stalls import PartialWatch
from legacy_plugins.transport.base import ByteStream

_log = logging.getLogger("legacy_plugins.rpc")


class Reader:
    """`finish(call, outcome, result, error)` ends a taken call; `refuse` answers a malformed request; `end` ends the
    conversation, once for all who say so. `drained` is set when all that will be handled has been."""

    def __init__(self, name: str, stream: ByteStream, peer: Peer, calls: CallTable, handler: ConversationHandler, *,
                 budget: MessageBudget, partial: PartialWatch, finish: Callable[..., None],
                 refuse: Callable[..., None], end: Callable[[EndReason], None]) -> None:
        self._name = name
        self._stream = stream
        self._peer = peer
        self._calls = calls
        self._handler = handler
        self._budget = budget
        self._partial = partial
        self._finish = finish
        self._refuse = refuse
        self._end = end
        self._stop_pause = Latch()
        self.paused = False
        self.late_answers = 0
        self.drained = Latch()

    def stop_pausing(self) -> None:
        """The conversation ends: read on at full speed. Any thread."""
        self._stop_pause.set()

    def run(self) -> None:
        """The thread."""
        reason = EndReason("its stdout ended")
        try:
            error = self._read_all()
            if error is not None:  # one that stops in the middle of a message broke no rule: it has probably crashed
                reason = EndReason(str(error), None if self._peer.truncated else "protocol error", error)
        except BaseException as error:  # noqa: BLE001 - a defect of ours must end this conversation, never hang it
            _log.exception("the reader of plugin %r failed; please report it", self._name)
            reason = EndReason(f"an error in the host's reader: {error!r}", "host error")
        try:
            self._end(reason)
        finally:
            self._partial.update(False, began_anew=False)
            self.drained.set()
            try:
                self._handler.on_drained()
            finally:
                while self._stream.read():  # only the reader may close the descriptor that it blocks on
                    pass

    def _read_all(self) -> Optional[ProtocolError]:
        """Read to the end; what broke the framing, if anything did."""
        while True:
            data = self._stream.read()
            self._take(self._peer.receive(data) if data else self._peer.end())
            if self._peer.error is not None or not data:
                return self._peer.error

    def _take(self, events: List[Event]) -> None:
        cost = 0.0
        if events:  # what was begun is complete: the time that handling it takes is not the peer's
            self._partial.update(False, began_anew=False)
        for event, size in zip(events, self._peer.sizes):
            if self._on_result(event) if type(event) is Result else self._on_other(event):
                cost += self._budget.cost(size)
        self._partial.update(self._peer.partial, began_anew=bool(events))
        pause = self._budget.spend(cost)
        if pause:
            self._pause(pause)

    def _on_result(self, result: Result) -> int:
        """A good answer; 1 where nobody waits for it any more."""
        call = self._calls.take(result.id, ANSWERED)
        if call is None:
            self.late_answers += 1
            return 1
        self._finish(call, ANSWERED, result.result)
        return 0

    def _on_other(self, event: Event) -> int:
        """Everything but a good answer; 1 where it was not asked for."""
        if isinstance(event, Failure):
            return self._on_failure(event)
        if isinstance(event, Notification):
            if event.method == PROGRESS:
                self._on_progress(event.params)
            else:
                self._handler.on_notification(event)
        elif isinstance(event, Request):
            self._handler.on_request(event)
        elif isinstance(event, MessageFault):
            self._on_fault(event)
        elif isinstance(event, StrayOutput):
            self._handler.on_stray_output(event.line)
        return 1

    def _on_failure(self, failure: Failure) -> int:
        """An error answer; 1 where nobody waits for it (any more)."""
        if failure.id is None:
            self._handler.on_unassigned_error(failure)
            return 1
        call = self._calls.take(failure.id, FAILED)
        if call is None:
            self.late_answers += 1
            return 1
        error = rpc_error(failure.code, failure.message, failure.data, plugin=self._name)
        self._finish(call, FAILED, error=error)
        return 0

    def _on_progress(self, params: Any) -> None:
        """`$/progress` of ours is `{id, value}`; a language server's, with a token, is ignored."""
        if isinstance(params, dict) and type(params.get("id")) is int and "value" in params:
            call = self._calls.find(params["id"])
            if call is not None and call.on_progress is not None:
                call.on_progress(params["value"])

    def _on_fault(self, fault: MessageFault) -> None:
        fault.error.plugin = self._name
        if fault.call_id is not None:
            call = self._calls.take(fault.call_id, FAILED)
            if call is not None:
                self._finish(call, FAILED, error=fault.error)
        if fault.request_id is not None:
            self._refuse(fault.request_id, INVALID_REQUEST, str(fault.error))
        self._handler.on_fault(fault)

    def _pause(self, seconds: float) -> None:
        """Let a flood wait in the pipe until the budget allows more."""
        if self._budget.flooded:
            self._end(EndReason(f"it sent more than {self._budget.per_second} notifications and requests a second, or "
                                f"fewer but large ones, for {MAX_FLOOD_SECONDS:g} s (limits.notificationsPerSecond)",
                                "flood"))
            return
        self.paused = True
        self._stop_pause.wait(seconds)
        self.paused = False
        self._partial.restart()
