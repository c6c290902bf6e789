"""One conversation over one byte stream: a reader thread, a writer thread, and the calls between them.

The only place where bytes and messages meet. Callers write inline where they can, and wait on their own call with a
deadline. What the other side asks or tells, and how the conversation ends, goes to a `ConversationHandler`.

An end is told once (`on_end`) and decides nothing: the owner sees to the process first, and then fails what is pending
with `fail_pending`, so that callers find a state and a crash report that are true.
"""
from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, Optional, Union

from legacy_plugins.errors import PluginBusy, PluginError, PluginNotRunning, PluginTimeout
from legacy_plugins.protocol.handshake import CANCEL_REQUEST
from legacy_plugins.protocol.messages import RequestId
from legacy_plugins.protocol.peer import Peer
from legacy_plugins.rpc.budget import MessageBudget
from legacy_plugins.rpc.calls import (
    CANCELLED,
    CRASHED,
    TIMED_OUT,
    Call,
    CallOutcome,
    CallTable,
    TableClosed,
    TooManyCalls,
)
from legacy_plugins.rpc.conversation import ConnectionLimits, ConversationHandler, EndReason
from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.rpc.dispatcher import shared_dispatcher
from legacy_plugins.rpc.outbox import Entry, Outbox, OutboxClosed, OutboxFull
from legacy_plugins.rpc.progress import PostedProgress, WaitingProgress
from legacy_plugins.rpc.reactor import shared_reactor
from legacy_plugins.rpc.reader import Reader
from legacy_plugins.rpc.stalls import PartialWatch, StallWatch
from legacy_plugins.transport.base import ByteStream
from legacy_plugins.transport.greenlets import service_thread

_log = logging.getLogger("legacy_plugins.rpc")


class Connection:
    """See the file's first paragraph. `name` is the other side's, `kind` what it is, for errors and thread names. Any
    thread."""

    def __init__(self, stream: ByteStream, handler: ConversationHandler, *, name: str,
                 limits: ConnectionLimits = ConnectionLimits(), skip_stray: bool = False, kind: str = "plugin"
                 ) -> None:
        self.name = name
        self._who = f"{kind} {name!r}"
        self.limits = limits
        self._stream = stream
        self._handler = handler
        self._reactor = reactor = shared_reactor()
        self._dispatcher = shared_dispatcher()
        self._end_lock = threading.RLock()  # guards _end; re-entrant for signal handlers
        self._end: Optional[EndReason] = None
        self._peer = Peer(limits.max_frame_bytes, skip_stray=skip_stray)
        self.calls = CallTable(self._peer.issue_id, limits.max_pending, self._dispatcher, given_up=self._given_up)
        self._stalls = StallWatch(reactor, limits.write_stall, stalled_since=lambda: self.outbox.stalled_since,
                                  busy=lambda since: self.at_work_since(since) or self._reader.paused, end=self.end)
        self.outbox = Outbox(stream, limits.queue_bytes, on_broken=self._on_broken, on_stall=self._stalls.begin)
        self._reader = Reader(
            name, stream, self._peer, self.calls, handler, budget=MessageBudget(limits.notifications_per_second),
            partial=PartialWatch(reactor, limits.message_timeout, paused=lambda: self._reader.paused, end=self.end),
            finish=self._finish, refuse=self.refuse, end=self.end)
        #: Set once nothing more will be read: all last words have been handled.
        self.drained = self._reader.drained

    def at_work_since(self, moment: float) -> bool:
        """Whether a call that was made before `moment` (monotonic clock) waits yet: it may legally take so long."""
        oldest = self.calls.pending_since()
        return oldest is not None and oldest < moment

    @property
    def late_answers(self) -> int:
        """Answers that came when nobody waited for them any more."""
        return self._reader.late_answers

    def start(self) -> None:
        """Start the writer and the reader. Raises `RuntimeError`, with the stream closed, when no thread is left."""
        writer = service_thread(self.outbox.run, f"{self.name}-writer")
        reader = service_thread(self._reader.run, f"{self.name}-reader")
        try:
            writer.start()
            reader.start()
        except RuntimeError:
            self.outbox.close(0.0)
            if not writer.is_alive():
                self._stream.close_write()
            self._stream.interrupt()
            while self._stream.read():
                pass
            raise

    # ---- asking

    def request(self, method: str, params: Any = None, timeout: Union[float, Deadline] = 5.0,
                on_progress: Optional[Callable[[Any], None]] = None) -> Any:
        """Call a method and wait for its result, at most `timeout` seconds. `on_progress` runs in this thread.

        Raises `RpcError` as the other side answered, `PluginTimeout`, `PluginBusy`, what the owner failed the call with
        when the conversation ended, `TypeError`/`ValueError` for params that are not JSON.
        """
        call = self.calls.make(method, Deadline.of(timeout))
        progress = None if on_progress is None else WaitingProgress(call, on_progress)
        if progress is not None:
            call.on_progress = progress.put
        try:
            self._send(call, params)
            if progress is None:
                self._wait(call)
            else:
                call.add_internal_callback(lambda _: progress.end())
                progress.relay()
        except BaseException as error:  # noqa: BLE001 - a time-out, but also KeyboardInterrupt, at any point
            return self._give_up(call, error)
        return call.result()

    def submit(self, method: str, params: Any = None, timeout: Union[float, Deadline] = 5.0,
               on_progress: Optional[Callable[[Any], None]] = None) -> Call:
        """Call a method without waiting; the Future fails with `PluginTimeout` by itself after `timeout` seconds."""
        relay = None if on_progress is None else PostedProgress(self._dispatcher, on_progress).put
        call = self.calls.make(method, Deadline.of(timeout), relay)
        try:
            self._send(call, params)
            call.timer = self._reactor.call_later(call.deadline.left(), lambda: self._expire(call))
        except BaseException as error:
            self._give_up(call, error)
            raise
        if self.calls.find(call.id) is not call:  # whoever ended it may have looked for the timer too early
            call.timer.cancel()
        return call

    def notify(self, method: str, params: Any = None) -> None:
        """Tell something; no answer comes. Raises `PluginBusy` when the queue is full."""
        self.post_frame(self._peer.notification_frame(method, self._params_text(params)))

    def post_frame(self, frame: bytes) -> Entry:
        """Queue a frame that was made by `notification_frame`. Raises `PluginBusy`, or what ended the conversation."""
        try:
            return self.outbox.post(frame, self.limits.send_patience)
        except OutboxFull:
            raise self._busy() from None
        except OutboxClosed:
            raise self._closed_error() from None

    def notification_frame(self, method: str, params: str) -> bytes:
        """A frame for `post_frame`; `params` is JSON text. Raises `FrameTooLarge`."""
        return self._peer.notification_frame(method, params)

    # ---- answering

    def answer(self, request_id: RequestId, result: Any) -> None:
        """Answer the other side's request. Raises `TypeError`/`ValueError`/`FrameTooLarge` when that cannot be sent."""
        self._send_quietly(self._peer.result_frame(request_id, result))

    def refuse(self, request_id: Optional[RequestId], code: int, message: str, data: Any = None) -> None:
        """Answer the other side's request with an error; id None where the request could not be read."""
        self._send_quietly(self._peer.error_frame(request_id, code, message, data))

    def _send_quietly(self, frame: bytes) -> None:
        """Send an answer; one that a peer which does not read has no room for is lost with the peer's stall."""
        try:
            self.outbox.send(frame, self.limits.send_patience)
        except OutboxFull:
            self.end(EndReason(f"it does not read its answers: {self.outbox.queued_bytes} bytes wait", "write stall"))
        except OutboxClosed:
            pass

    def limit_outgoing(self, max_frame_bytes: int) -> None:
        """Send no larger frames than these from now on: the other side told what it takes."""
        self._peer.max_frame_bytes = max_frame_bytes

    # ---- ending

    @property
    def ended(self) -> Optional[EndReason]:
        """Why the conversation ended; None while it goes on."""
        return self._end

    def end(self, reason: EndReason) -> None:
        """End the conversation: nothing more is sent, `on_end` is told once. Pending calls stay pending."""
        with self._end_lock:
            if self._end is not None:
                return
            self._end = reason
        self._reader.stop_pausing()
        self._handler.on_end(reason)

    def close_writing(self, flush: float = 0.5) -> None:
        """Write what is queued for at most `flush` seconds, then tell the other side EOF. Does not wait."""
        self.outbox.close(flush)

    def interrupt_reader(self) -> bool:
        """Make the reader drain what has arrived and end. False: it could not be woken, call again later."""
        self._reader.stop_pausing()
        return self._stream.interrupt()

    def fail_pending(self, make_error: Callable[[], PluginError]) -> int:
        """Fail every pending call with an error of its own, and refuse new ones; how many there were."""
        calls = self.calls.close(make_error)
        for call in calls:
            if call.timer is not None:
                call.timer.cancel()
            self._finish(call, CRASHED, error=make_error())
        return len(calls)

    # ---- calls

    def _send(self, call: Call, params: Any) -> None:
        """Make the call pending and send it. Unless it was, it is pending no more when this raises an `Exception`."""
        text = self._params_text(params)
        try:
            self.calls.open(call)
        except TooManyCalls:
            raise PluginBusy(self.name, message=f"{self._who} has {self.limits.max_pending} calls pending, "
                             "the limit (limits.maxPending); try again later or raise the limit") from None
        except TableClosed as closed:
            raise closed.error() from None
        try:
            frame = self._peer.request_frame(call.id, call.method, text)
            call.entry = self.outbox.send(frame, min(self.limits.send_patience, call.deadline.left()))
        except (OutboxFull, OutboxClosed) as error:
            if self.calls.forget(call.id):  # else it has failed already, for a better reason
                raise (self._busy() if isinstance(error, OutboxFull) else self._closed_error()) from None
        except Exception:
            self.calls.forget(call.id)
            raise

    def _params_text(self, params: Any) -> Optional[str]:
        if params is None:
            return None
        if not isinstance(params, (dict, list, tuple)):
            raise TypeError("params must be a dict, a list or None (JSON-RPC 2.0, section 4.2), "
                            f"not {type(params).__name__}")
        return self._peer.codec.encode(params)

    def _wait(self, call: Call) -> None:
        """Raises `TimeoutError` when the call's time is over, by our clock: a lock's may differ, or jump."""
        while not call.over.wait(call.deadline.left()):
            if call.deadline.expired:
                raise TimeoutError

    def _give_up(self, call: Call, cause: BaseException) -> Any:
        """The caller stops waiting: it ends the call itself, unless an answer is just being set."""
        timed_out = isinstance(cause, TimeoutError) and call.deadline.expired
        outcome = TIMED_OUT if timed_out else CANCELLED
        if self.calls.take(call.id, outcome) is None:
            if timed_out and call.id:
                return call.result()
            raise cause
        self._given_up(call, outcome)
        raise (self._timeout_error(call) if timed_out else cause) from None

    def _expire(self, call: Call) -> None:
        """On the supervising thread: a submitted call's time is over."""
        if self.calls.take(call.id, TIMED_OUT) is not None:
            call.set_exception(self._timeout_error(call))
            self._given_up(call, TIMED_OUT)

    def _given_up(self, call: Call, outcome: str) -> None:
        """Nobody waits for this call any more: take it back, or tell the other side to cancel."""
        if call.entry is not None and not call.entry.sent and self.outbox.discard(call.entry):
            pass
        else:
            try:
                self.outbox.post(self._peer.notification_frame(CANCEL_REQUEST, f'{{"id":{call.id}}}'))
            except (OutboxFull, OutboxClosed):
                pass  # best effort: the other side is stuck or gone
        self._report(call, outcome)

    def _finish(self, call: Call, outcome: str, result: Any = None, error: Optional[BaseException] = None) -> None:
        if error is not None:
            call.set_exception(error)
        else:
            call.set_result(result)
        self._report(call, outcome)

    def _report(self, call: Call, outcome: str) -> None:
        try:
            self._handler.on_outcome(CallOutcome(call.method, outcome, time.monotonic() - call.started))
        except Exception:  # noqa: BLE001 - whoever ends calls has others to end
            _log.exception("an outcome could not be reported; please report it")

    def _timeout_error(self, call: Call) -> PluginTimeout:
        return PluginTimeout(f"{self._who} did not answer {call.method!r} within {call.deadline.seconds:g} s; "
                             "it was told to cancel, but may have done the work", plugin=self.name)

    def _busy(self) -> PluginBusy:
        return PluginBusy(self.name, message=f"{self._who} does not read fast enough: "
                          f"{self.outbox.queued_bytes} bytes wait, the limit (limits.queueBytes) is "
                          f"{self.limits.queue_bytes}; nothing was sent")

    def _closed_error(self) -> PluginError:
        why = self._end.text if self._end is not None else "it is being stopped"
        return PluginNotRunning(self.name, message=f"the conversation with {self._who} has ended: {why}")

    def _on_broken(self, text: str, fault: Optional[str]) -> None:
        """On a writing thread: nothing more can be sent."""
        if fault is not None:
            self.end(EndReason(text, fault))
            return
        reason = EndReason(f"it closed its stdin ({text})", "closed stdin")
        try:  # usually it is dead, and the reader says more
            self._reactor.call_later(0.05, lambda: self.end(reason))
        except (AttributeError, OSError, RuntimeError):  # the reactor never ran, and cannot: no thread left, or Windows
            self.end(reason)
