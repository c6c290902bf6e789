"""One side of a JSON-RPC conversation as a value machine: bytes in, events out; requests in, frames out.

Owns the order of the checks on what comes in (framing, JSON policy, message shape, ids) and the ids of what goes out.
Framing errors are final (`error`); a message that is wrong in itself becomes a `MessageFault`, and the conversation
goes on. `receive` belongs to one reader thread; `issue_id` to whoever holds the lock of the table of pending calls; the
`*_frame` methods keep no state and may be called from any thread.

Must not import I/O, threads, clocks or logging.
"""
from __future__ import annotations

import re
from typing import Any, List, NamedTuple, Optional, Union

from legacy_plugins.errors import InvalidMessage, ProtocolError
from legacy_plugins.protocol import messages
from legacy_plugins.protocol.codec import JsonCodec
from legacy_plugins.protocol.framing import DEFAULT_MAX_FRAME_BYTES, FrameDecoder, encode_frame
from legacy_plugins.protocol.messages import Message, RequestId

# The head of an answer whose JSON we refuse: enough to tell which call it was for, so that the call fails at once.
_ANSWER_HEAD = re.compile(
    rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*([0-9]{1,18})\s*,\s*'
    rb'(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"(?:result|error)"\s*:')
_HEAD_BYTES = 256


class MessageFault(NamedTuple):
    """A well-framed message that breaks the rules. `call_id`: the call it was meant to answer, where that can be told;
    `request_id`: the peer's request that it was meant to be, which then deserves an error answer."""

    error: ProtocolError
    body: bytes
    call_id: Optional[int] = None
    request_id: Optional[RequestId] = None


class StrayOutput(NamedTuple):
    """A line of other output that came before the first frame and was skipped."""

    line: bytes


Event = Union[Message, MessageFault, StrayOutput]


class Peer:
    """See the file's first paragraph. `skip_stray`: allow other output before the first frame."""

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES, *, skip_stray: bool = False,
                 codec: Optional[JsonCodec] = None) -> None:
        self.codec = codec or JsonCodec()
        self.max_frame_bytes = max_frame_bytes
        self.last_id = 0
        self.sizes: List[int] = []  # of what the last `receive` or `end` returned, in bytes
        self._decoder = FrameDecoder(max_frame_bytes, skip_stray=skip_stray)

    @property
    def error(self) -> Optional[ProtocolError]:
        """What broke the framing, for good; None while all is well."""
        return self._decoder.error

    @property
    def truncated(self) -> bool:
        """Whether that is the end of the stream inside a message: the other side broke off, but broke no rule."""
        return self._decoder.truncated

    @property
    def partial(self) -> bool:
        """Whether a message has begun and is not complete yet."""
        return self._decoder.partial

    def issue_id(self) -> int:
        """The id of the next request: an integer, never used again in this conversation."""
        self.last_id += 1
        return self.last_id

    def receive(self, data: bytes) -> List[Event]:
        """What the next bytes of the stream mean; check `error` afterwards."""
        bodies = self._decoder.feed(data)
        events: List[Event] = self._stray()
        for body in bodies:
            events.append(self._event(body))
            self.sizes.append(len(body))
        return events

    def end(self) -> List[Event]:
        """Tell that the stream has ended: a message cut short sets `error`; a last line of other output is returned."""
        self._decoder.finish()
        return self._stray()

    def _stray(self) -> List[Event]:
        lines = self._decoder.take_stray()
        self.sizes = [len(line) for line in lines]
        return [StrayOutput(line) for line in lines]

    def request_frame(self, call_id: int, method: str, params: Optional[str]) -> bytes:
        """The frame of a request. `params`: JSON text or None. Raises `FrameTooLarge`, `ValueError` for a bad name."""
        return encode_frame(messages.request_body(call_id, method, params), self.max_frame_bytes)

    def notification_frame(self, method: str, params: Optional[str]) -> bytes:
        """The frame of a notification. `params`: JSON text or None. Raises as `request_frame` does."""
        return encode_frame(messages.notification_body(method, params), self.max_frame_bytes)

    def result_frame(self, request_id: RequestId, result: Any) -> bytes:
        """The frame of a good answer. Raises `TypeError` or `ValueError` for what is not JSON, `FrameTooLarge`."""
        return encode_frame(messages.result_body(request_id, self.codec.encode(result)), self.max_frame_bytes)

    def error_frame(self, request_id: Optional[RequestId], code: int, message: str, data: Any = None) -> bytes:
        """The frame of an error answer. Any `message` can be sent; raises as `result_frame` does for `data`."""
        text = None if data is None else self.codec.encode(data)
        return encode_frame(messages.error_body(request_id, code, message, text), self.max_frame_bytes)

    def _event(self, body: bytes) -> Event:
        try:
            message = messages.parse_message(self.codec.decode(body))
        except messages.MalformedResponse as error:
            return _fault(error, body, call_id=error.call_id)
        except messages.MalformedRequest as error:
            return _fault(error, body, request_id=error.request_id)
        except InvalidMessage as error:
            return _fault(error, body)
        except ProtocolError as error:
            return _fault(error, body, call_id=_answered_call(body))
        if isinstance(message, (messages.Result, messages.Failure)) and message.id is not None:
            if not 1 <= message.id <= self.last_id:
                return _fault(InvalidMessage(f"the response answers id {message.id}, which was never issued (the last "
                                             f"one was {self.last_id})"), body)
        return message


def _fault(error: ProtocolError, body: bytes, call_id: Optional[int] = None,
           request_id: Optional[RequestId] = None) -> MessageFault:
    """The fault; its error is a value now, and must not keep the decoder's frames and their copies of `body` alive."""
    error.__traceback__ = error.__context__ = None
    return MessageFault(error, body, call_id, request_id)


def _answered_call(body: bytes) -> Optional[int]:
    """The call that a document which is not JSON was meant to answer, if its head tells."""
    head = _ANSWER_HEAD.match(body[:_HEAD_BYTES])
    return int(head.group(1)) if head else None
