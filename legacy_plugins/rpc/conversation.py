"""The terms between a conversation and its owner: limits, how it ended, what comes in.

Data and an interface, nothing that runs; shared by the connection, its reader and its stall watch.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from legacy_plugins.errors import ProtocolError
from legacy_plugins.protocol.framing import DEFAULT_MAX_FRAME_BYTES
from legacy_plugins.protocol.messages import Failure, Notification, Request
from legacy_plugins.protocol.peer import MessageFault
from legacy_plugins.rpc.calls import CallOutcome


@dataclass(frozen=True)
class ConnectionLimits:
    """The bounds of a conversation; bytes, counts, and seconds.

    `message_timeout`, `write_stall` and `notifications_per_second` 0: no bound.
    `send_patience`: how long a sender waits for room when `queue_bytes` are queued, before it gives up. A host never
    waits (0); a plugin, which has nothing to say to anybody else, does.
    """

    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    max_pending: int = 1024
    queue_bytes: int = 4 * 1024 * 1024
    message_timeout: float = 10.0
    write_stall: float = 10.0
    notifications_per_second: int = 0
    send_patience: float = 0.0


@dataclass(frozen=True)
class EndReason:
    """Why a conversation ended. `fault`: the other side broke a rule; None where its stream simply ended."""

    text: str
    fault: Optional[str] = None
    error: Optional[ProtocolError] = None


class ConversationHandler:
    """What the owner of a conversation does with what comes in. Reader thread; must not block or run user code."""

    def on_request(self, request: Request) -> None:
        """The other side calls a method; answer through `Connection.answer` or `refuse`."""

    def on_notification(self, notification: Notification) -> None:
        """The other side tells something (also `$/cancelRequest`, but not `$/progress`)."""

    def on_fault(self, fault: MessageFault) -> None:
        """A message broke the rules; the call that it answered, if any, has failed already."""

    def on_unassigned_error(self, failure: Failure) -> None:
        """An error answer with id null: the other side could not read something that was sent to it."""

    def on_stray_output(self, line: bytes) -> None:
        """A line of other output came before the first frame."""

    def on_end(self, reason: EndReason) -> None:
        """The conversation has ended; called once, by the reader, the writer, the supervising or a calling thread."""

    def on_drained(self) -> None:
        """All that came before the end has been handled; on the reader thread, after `on_end`."""

    def on_outcome(self, outcome: CallOutcome) -> None:
        """A call has ended; on the thread that ended it."""
