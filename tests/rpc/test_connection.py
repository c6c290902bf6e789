"""A conversation over sockets, which are no pipes: asking, telling, giving up, ending, in every order."""
from __future__ import annotations

import concurrent.futures
import itertools
import math
import queue
import socket
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any, Callable, Dict, List, Optional

import pytest

from legacy_plugins.errors import (
    FrameTooLarge,
    InternalError,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    ParseError,
    PluginBusy,
    PluginCrashed,
    PluginNotRunning,
    PluginTimeout,
    RpcError,
)
from legacy_plugins.rpc.calls import CANCELLED, CRASHED, TIMED_OUT, Call, CallOutcome, CallTable
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.conversation import ConnectionLimits, ConversationHandler, EndReason
from legacy_plugins.rpc.latch import Latch
from legacy_plugins.rpc.outbox import OutboxClosed
from tests.plugins.far_end import SocketStream
from tests.plugins.interruption import interrupt_each_line
from tests.plugins.programs import SECONDS, descriptors, eventually, threads
from tests.rpc.conftest import Heard, Talk

Begin = Callable[..., Talk]


class Asking(threading.Thread):
    """A request on a thread of its own; `outcome` is its result or what it raised."""

    def __init__(self, connection: Connection, *args: Any, **how: Any) -> None:
        super().__init__(daemon=True)
        self._job = lambda: connection.request(*args, **how)
        self._outcome: Any = None
        self.start()

    def run(self) -> None:
        """Ask."""
        try:
            self._outcome = self._job()
        except Exception as error:  # noqa: BLE001 - whatever it is, is the outcome
            self._outcome = error

    @property
    def outcome(self) -> Any:
        """Waits for it."""
        self.join(SECONDS)
        assert not self.is_alive(), "the request has not ended"
        return self._outcome


# ---- asking and telling


@pytest.mark.req("R4", "R7", "D1")
def test_a_request_and_its_answer(talk: Begin) -> None:
    """The far end gets id, method and params; the caller its result; the outcome is told."""
    connection, heard, far = talk()
    asking = Asking(connection, "add", {"a": 1, "b": [True, None, "é"]})
    assert far.answer({"sum": 3}) == {"id": 1, "method": "add", "params": {"a": 1, "b": [True, None, "é"]}}
    assert asking.outcome == {"sum": 3}
    heard.wait(lambda: heard.outcomes)
    assert heard.outcomes[0][:2] == ("add", "answered")
    assert 0 <= heard.outcomes[0].seconds < SECONDS
    Asking(connection, "bare", None)
    assert far.answer() == {"id": 2, "method": "bare"}


@pytest.mark.req("R5")
@pytest.mark.parametrize(("code", "kind"), [
    (-32700, ParseError), (-32600, InvalidRequest), (-32601, MethodNotFound), (-32602, InvalidParams),
    (-32603, InternalError), (-32000, RpcError), (404, RpcError), (7, RpcError)])
def test_an_error_answer(talk: Begin, code: int, kind: type) -> None:
    """Each code has its class; code, message, data and the plugin's name come along."""
    connection, heard, far = talk()
    asking = Asking(connection, "m")
    request = far.take()
    assert request is not None
    far.send(id=request["id"], error={"code": code, "message": "no", "data": [1]})
    error = asking.outcome
    assert type(error) is kind
    assert (error.code, error.message, error.data, error.plugin) == (code, "no", [1], "far")
    heard.wait(lambda: [outcome.outcome for outcome in heard.outcomes] == ["failed"])


@pytest.mark.req("R8")
def test_notifications(talk: Begin) -> None:
    """They carry no id, and are written in order with requests of the same thread."""
    connection, _, far = talk()
    connection.notify("one", [1])
    connection.notify("two")
    call = connection.submit("three")
    connection.notify("four", {})
    taken = [far.take() for _ in range(4)]
    assert taken == [{"method": "one", "params": [1]}, {"method": "two"}, {"id": 1, "method": "three"},
                     {"method": "four", "params": {}}]
    call.cancel()


@pytest.mark.req("R9")
def test_answering(talk: Begin) -> None:
    """`answer` and `refuse` answer the far end's request by its own id."""
    connection, heard, far = talk()
    far.send(id="a", method="give", params=[1])
    heard.wait(lambda: heard.requests)
    connection.answer("a", {"x": 1})
    connection.refuse(7, -32601, "unknown", {"why": 1})
    connection.refuse(None, -32700, "what?")
    assert heard.requests == [("a", "give", [1])]
    assert far.take() == {"id": "a", "result": {"x": 1}}
    assert far.take() == {"id": 7, "error": {"code": -32601, "message": "unknown", "data": {"why": 1}}}
    assert far.take() == {"id": None, "error": {"code": -32700, "message": "what?"}}
    with pytest.raises(TypeError):
        connection.answer("a", object())


@pytest.mark.fault("B8")
def test_two_connections_face_to_face() -> None:
    """Both sides ask each other at once, with more than any buffer holds, over sockets: no dead-lock, every answer."""
    before = descriptors()
    near, far = socket.socketpair()
    ends: List[Connection] = []

    class Echo(ConversationHandler):
        """Answers with the params, on the reader thread: that never blocks."""

        def __init__(self, index: int) -> None:
            self._index = index

        def on_request(self, request: Any) -> None:
            ends[self._index].answer(request.id, request.params)
    for index, end in enumerate((near, far)):
        limits = ConnectionLimits(queue_bytes=64 * 1024 * 1024)
        ends.append(Connection(SocketStream(end), Echo(index), name="facing", limits=limits))
    for each in ends:
        each.start()
    text = "x" * 3_000_000
    calls = [(number, each.submit("echo", [number, text], SECONDS)) for number in range(2) for each in ends]
    for number, call in calls:
        assert call.result(SECONDS) == [number, text]
    ends[0].close_writing()
    eventually(lambda: ends[1].ended, "the other side sees EOF")
    ends[1].close_writing()
    eventually(lambda: not threads("facing"), "all threads end")
    eventually(lambda: len(descriptors() - before) <= 2, "no descriptor is left but the reactor's two")


# ---- what cannot be sent


@pytest.mark.fault("J22")
@pytest.mark.parametrize(("params", "error"), [
    ([math.nan], ValueError), ([math.inf], ValueError), (["\ud800"], ValueError), ([object()], TypeError),
    ({(1, 2): 3}, TypeError), ("text", TypeError), (5, TypeError), ({1, 2}, TypeError)])
def test_params_that_are_not_json(talk: Begin, params: Any, error: type) -> None:
    """The caller is told before an id is used or a byte queued, by all three ways of asking."""
    connection, heard, far = talk()
    cycle: List[Any] = []
    cycle.append(cycle)
    for bad in (params, cycle):
        for ask in (connection.request, connection.submit, connection.notify):
            with pytest.raises((error, ValueError)):
                ask("m", bad)
    assert len(connection.calls) == 0
    assert not heard.outcomes
    Asking(connection, "good")
    assert far.answer() == {"id": 1, "method": "good"}


def test_a_frame_over_the_limit(talk: Begin) -> None:
    """It is refused before a byte is sent, counts as nothing, and leaves no call; the peer's own limit counts too."""
    connection, heard, far = talk(ConnectionLimits(max_frame_bytes=1000))
    for ask in (connection.request, connection.submit, connection.notify):
        with pytest.raises(FrameTooLarge):
            ask("m", ["x" * 1000])
    connection.limit_outgoing(100)
    with pytest.raises(FrameTooLarge):
        connection.submit("m", ["x" * 100])
    assert (len(connection.calls), heard.outcomes) == (0, [])
    connection.notify("small")
    assert far.take() == {"method": "small"}


@pytest.mark.parametrize("timeout", [math.inf, math.nan])
def test_a_time_out_is_finite(talk: Begin, timeout: float) -> None:
    """A call that would wait for ever is refused."""
    connection, *_ = talk()
    for ask in (connection.request, connection.submit):
        with pytest.raises(ValueError, match="finite"):
            ask("m", None, timeout)
    assert len(connection.calls) == 0


@pytest.mark.fault("B2")
def test_too_many_calls(talk: Begin) -> None:
    """`max_pending` calls may wait; the next is busy, and names the limit; after an answer there is room."""
    connection, _, far = talk(ConnectionLimits(max_pending=2))
    calls = [connection.submit("m"), connection.submit("m")]
    for ask in (connection.request, connection.submit):
        with pytest.raises(PluginBusy, match=r"'far' has 2 calls pending.*limits\.maxPending"):
            ask("m")
    connection.notify("is no call")
    far.answer(1)
    assert calls[0].result(SECONDS) == 1
    calls.append(connection.submit("m"))
    assert calls[2].id == 3


@pytest.mark.fault("B1", "B2")
def test_a_peer_that_does_not_read(talk: Begin) -> None:
    """The queue fills to its bound, then every way of sending is busy at once; what was let in arrives."""
    connection, heard, far = talk(ConnectionLimits(queue_bytes=20_000), buffer_bytes=4096)
    sent, stalled, busy = 0, False, None
    while busy is None or not stalled:  # until nothing moves any more
        stalled = connection.outbox.stalled_since is not None
        try:
            connection.notify("n", ["x" * 1000])
            sent, busy = sent + 1, None
        except PluginBusy as error:
            busy = error
    assert "limits.queueBytes) is 20000; nothing was sent" in str(busy)
    assert 18_900 <= connection.outbox.queued_bytes <= 20_000
    began = time.monotonic()
    for ask in (connection.request, connection.submit, connection.notify):
        with pytest.raises(PluginBusy):
            ask("m", ["x" * 2000])
    assert time.monotonic() - began < 1.0
    assert len(connection.calls) == 0
    for _ in range(sent):
        assert far.take() == {"method": "n", "params": ["x" * 1000]}
    eventually(lambda: connection.outbox.queued_bytes == 0, "all is written")
    assert not heard.ends


def test_patience(talk: Begin) -> None:
    """A side with patience waits for room instead of being busy, but no longer than a call's own time."""
    connection, _, far = talk(ConnectionLimits(queue_bytes=1000, send_patience=SECONDS), buffer_bytes=4096)
    sending = threading.Thread(target=lambda: [connection.notify("n", ["x" * 900]) for _ in range(50)])
    sending.start()
    eventually(lambda: connection.outbox.stalled_since and connection.outbox._senders_waiting, "the sender waits")
    with pytest.raises(PluginBusy):
        connection.request("m", ["x" * 900], 0.02)
    for _ in range(50):
        assert far.take() == {"method": "n", "params": ["x" * 900]}
    sending.join(SECONDS)


@pytest.mark.fault("V7")
def test_a_peer_that_does_not_read_its_answers(talk: Begin) -> None:
    """When no answer fits any more the conversation ends as stalled; memory stays bounded."""
    connection, heard, far = talk(ConnectionLimits(queue_bytes=20_000), buffer_bytes=4096)
    for number in itertools.count():
        connection.answer(number, "x" * 1000)
        if heard.ends:
            break
    assert heard.ends[0].fault == "write stall"
    assert connection.outbox.queued_bytes <= 20_000
    far.close()


# ---- giving up


@pytest.mark.fault("J14")
@pytest.mark.req("R37")
def test_a_time_out(talk: Begin) -> None:
    """The caller gets `PluginTimeout`, the peer a cancellation, the late answer is dropped and counted."""
    connection, heard, far = talk()
    began = time.monotonic()
    with pytest.raises(PluginTimeout, match=r"'far' did not answer 'slow' within 0\.05 s") as caught:
        connection.request("slow", None, 0.05)
    assert 0.05 <= time.monotonic() - began < 1.0
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, concurrent.futures.TimeoutError)
    assert caught.value.plugin == "far"
    assert far.take() == {"id": 1, "method": "slow"}
    assert far.take() == {"method": "$/cancelRequest", "params": {"id": 1}}
    far.send(id=1, result="late")
    eventually(lambda: connection.late_answers == 1, "the late answer is counted")
    far.send(id=1, error={"code": 1, "message": "later"})
    eventually(lambda: connection.late_answers == 2, "and the second")
    assert [outcome.outcome for outcome in heard.outcomes] == [TIMED_OUT]
    assert not heard.faults


@pytest.mark.fault("J14")
def test_a_submitted_call_expires_by_itself(talk: Begin) -> None:
    """The Future fails with `PluginTimeout`; the peer is told; nobody needs to wait for it."""
    connection, heard, far = talk()
    call = connection.submit("slow", None, 0.05)
    assert concurrent.futures.wait([call], SECONDS).done == {call}
    assert isinstance(call.exception(0), PluginTimeout)
    assert [far.take(), far.take()] == [{"id": 1, "method": "slow"},
                                       {"method": "$/cancelRequest", "params": {"id": 1}}]
    heard.wait(lambda: [outcome.outcome for outcome in heard.outcomes] == [TIMED_OUT])


def test_a_submitted_call_is_cancelled(talk: Begin) -> None:
    """`cancel` tells the peer, and counts."""
    connection, heard, far = talk()
    call = connection.submit("slow")
    assert call.cancel()
    assert call.cancel()
    assert [far.take(), far.take()] == [{"id": 1, "method": "slow"},
                                       {"method": "$/cancelRequest", "params": {"id": 1}}]
    assert [outcome.outcome for outcome in heard.outcomes] == [CANCELLED]
    assert call.timer is not None
    assert call.timer.callback is None


@pytest.mark.fault("B3")
def test_what_was_not_sent_is_taken_back_what_was_begun_is_finished(talk: Begin) -> None:
    """Of three calls that time out with a full pipe the begun one arrives whole, and its cancellation, no other."""
    connection, heard, far = talk(buffer_bytes=4096)
    begun = Asking(connection, "begun", ["x" * 500_000], 0.1)
    eventually(lambda: connection.outbox.stalled_since, "the pipe is full")
    others = [Asking(connection, "unsent", ["x"], 0.1), Asking(connection, "unsent", ["x"], 0.1)]
    for asking in (begun, *others):
        assert isinstance(asking.outcome, PluginTimeout)
    assert len(connection.calls) == 0
    connection.notify("next")
    assert far.take() == {"id": 1, "method": "begun", "params": ["x" * 500_000]}
    assert far.take() == {"method": "$/cancelRequest", "params": {"id": 1}}
    assert far.take() == {"method": "next"}
    assert connection.outbox.queued_bytes == 0
    assert [outcome.outcome for outcome in heard.outcomes] == [TIMED_OUT] * 3


@pytest.mark.fault("B1")
def test_a_cancellation_for_which_there_is_no_room(talk: Begin) -> None:
    """It is best effort: giving up a call that was sent works though nothing more fits into the queue."""
    connection, heard, far = talk(ConnectionLimits(queue_bytes=10), buffer_bytes=4096)
    call = connection.submit("sent")
    assert far.take() == {"id": 1, "method": "sent"}
    connection.notify("stuck", ["x" * 500_000])
    eventually(lambda: connection.outbox.stalled_since, "the pipe is full")
    assert call.cancel()
    assert connection.outbox.queued == 1
    heard.wait(lambda: [outcome.outcome for outcome in heard.outcomes] == [CANCELLED])


@pytest.mark.fault("P22", "J19")
def test_a_lock_that_wakes_too_early(talk: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits of Python 3.8 follow the wall clock: one that ends before our deadline is no time-out."""
    connection, _, far = talk()
    waits: List[Optional[float]] = []
    real = Latch.wait

    def early(self: Latch, timeout: Optional[float] = None) -> bool:
        waits.append(timeout)
        return len(waits) >= 3 and real(self, timeout)
    monkeypatch.setattr(Latch, "wait", early)
    asking = Asking(connection, "m")
    far.answer("in time")
    assert asking.outcome == "in time"
    assert len(waits) == 3

    class EarlyQueue(SimpleQueue):  # type: ignore[type-arg]
        """Gives up at once, the first few times."""

        def get(self, block: bool = True, timeout: Any = None) -> Any:
            waits.append(timeout)
            if len(waits) < 6:
                raise Empty
            return super().get(block, timeout)
    monkeypatch.setattr(queue, "SimpleQueue", EarlyQueue)
    asking = Asking(connection, "m", on_progress=lambda _: None)
    far.answer("with progress")
    assert asking.outcome == "with progress"
    assert connection.calls.outcomes["timed_out"] == connection.calls.outcomes["cancelled"] == 0


@pytest.mark.fault("J19")
def test_answers_race_with_time_outs(talk: Begin) -> None:
    """An answer at the very moment of the time-out is one or the other, never both, never a hang; nothing stays."""
    connection, heard, far = talk()
    results = {"answered": 0, "timed_out": 0}
    stop = threading.Event()

    def serve() -> None:
        while True:
            message = far.take()
            if message is None or stop.is_set():
                return
            if "id" in message:
                stop.wait(0.0019)
                far.send(id=message["id"], result=message["id"])
    server = threading.Thread(target=serve, daemon=True)
    server.start()
    for _ in range(150):
        try:
            connection.request("m", None, 0.003)
            results["answered"] += 1
        except PluginTimeout:
            results["timed_out"] += 1
    assert sum(results.values()) == 150
    assert len(connection.calls) == 0
    counted = connection.calls.outcomes
    assert {key: counted[key] for key in results} == results
    assert sum(counted.values()) == len(heard.outcomes) == 150
    stop.set()
    connection.notify("end")
    server.join(SECONDS)


# ---- progress


def test_progress_runs_in_the_calling_thread(talk: Begin) -> None:
    """Each value in order, before `request` returns; what comes for other calls, or after the end, is ignored."""
    connection, _, far = talk()
    told: List[Any] = []

    def serve() -> None:
        request = far.take()
        assert request is not None
        for value in (1, {"two": 2}, None):
            far.send(method="$/progress", params={"id": request["id"], "value": value})
        far.send(method="$/progress", params={"id": 99, "value": "not ours"})
        far.send(method="$/progress", params={"token": "t", "value": "a language server's"})
        far.send(method="$/progress", params=[1])
        far.send(id=request["id"], result="done")
        far.send(method="$/progress", params={"id": request["id"], "value": "late"})
    server = threading.Thread(target=serve)
    server.start()
    here = threading.current_thread()
    assert connection.request("m", on_progress=lambda value: told.append((value, threading.current_thread()))) == "done"
    server.join(SECONDS)
    assert told == [(1, here), ({"two": 2}, here), (None, here)]


def test_progress_does_not_prolong(talk: Begin) -> None:
    """A call with progress times out as any other."""
    connection, _, far = talk()

    def serve() -> None:
        request = far.take()
        assert request is not None
        message: Any = {}
        while message is not None and message.get("method") != "$/cancelRequest":
            far.send(method="$/progress", params={"id": request["id"], "value": 0})
            message = far.take() if len(told) > 10 else {}
    told: List[Any] = []
    server = threading.Thread(target=serve)
    server.start()
    with pytest.raises(PluginTimeout):
        connection.request("m", None, 0.1, on_progress=told.append)
    server.join(SECONDS)
    assert told


def test_a_progress_function_that_raises_gives_the_call_up(talk: Begin) -> None:
    """Its error reaches the caller, the peer is told, nothing stays pending; also a `TimeoutError` of its own."""
    connection, heard, far = talk()
    for number, error in enumerate((KeyError("mine"), TimeoutError("mine")), 1):
        asking = Asking(connection, "m", None, SECONDS, lambda value, error=error: _raise(error))  # type: ignore[misc]
        far.take()
        far.send(method="$/progress", params={"id": number, "value": 0})
        assert asking.outcome is error
        assert far.take() == {"method": "$/cancelRequest", "params": {"id": number}}
    assert [outcome.outcome for outcome in heard.outcomes] == [CANCELLED] * 2


def _raise(error: BaseException) -> None:
    raise error


def test_progress_of_a_submitted_call(talk: Begin) -> None:
    """It runs on the dispatch thread, before the done-callback."""
    connection, _, far = talk()
    told: List[Any] = []
    call = connection.submit("m", None, SECONDS, lambda value: told.append((value, threading.current_thread().name)))
    call.add_done_callback(lambda ended: told.append((ended.result(0), threading.current_thread().name)))
    far.take()
    far.send(method="$/progress", params={"id": 1, "value": "half"})
    far.send(id=1, result="all")
    assert call.result(SECONDS) == "all"
    eventually(lambda: len(told) == 2, "the callback runs")
    assert told == [("half", "legacy-plugins-dispatch"), ("all", "legacy-plugins-dispatch")]


# ---- the end


@pytest.mark.fault("P4", "F19")
def test_the_end_of_the_stream(talk: Begin) -> None:
    """It is told once, after the last words; pending calls stay pending until the owner fails them with his error."""
    connection, heard, far = talk()
    calls = [connection.submit("m") for _ in range(21)]
    for _ in range(21):
        far.take()
    far.send(id=1, result="last words")
    far.send(method="goodbye")
    far.close()
    heard.wait(lambda: heard.drained)
    assert [(end.text, end.fault) for end in heard.ends] == [("its stdout ended", None)]
    assert calls[0].result(0) == "last words"
    assert [notification.method for notification in heard.notifications] == ["goodbye"]
    assert connection.ended is heard.ends[0]
    assert connection.drained.is_set()
    assert len(connection.calls) == 20
    assert connection.fail_pending(lambda: PluginCrashed(plugin="far")) == 20
    errors = [call.exception(0) for call in calls[1:]]
    assert all(type(error) is PluginCrashed for error in errors)
    assert len(set(map(id, errors))) == 20
    assert [outcome.outcome for outcome in heard.outcomes[1:]] == [CRASHED] * 20
    assert connection.fail_pending(lambda: PluginCrashed(plugin="far")) == 0
    for ask in (connection.request, connection.submit):
        with pytest.raises(PluginCrashed):
            ask("m")
    assert len(heard.outcomes) == 21


def test_an_end_is_told_once(talk: Begin) -> None:
    """Whoever comes first says why; eight threads say it at once."""
    connection, heard, _ = talk()
    ending = [threading.Thread(target=connection.end, args=(EndReason(str(number)),)) for number in range(8)]
    for thread in ending:
        thread.start()
    for thread in ending:
        thread.join(SECONDS)
    assert len(heard.ends) == 1
    assert connection.ended is heard.ends[0]


@pytest.mark.fault("P4", "G2")
def test_waiting_callers_wake_when_the_owner_fails_their_calls(talk: Begin) -> None:
    """All at once, whatever is left of their time."""
    connection, *_ = talk()
    asking = [Asking(connection, "m", None, 60.0) for _ in range(20)]
    eventually(lambda: len(connection.calls) == 20, "all wait")
    began = time.monotonic()
    connection.fail_pending(lambda: PluginCrashed(plugin="far"))
    assert all(isinstance(each.outcome, PluginCrashed) for each in asking)
    assert time.monotonic() - began < 2.0


@pytest.mark.fault("H11")
def test_a_handler_that_raises_at_an_outcome(talk: Begin, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; all other calls end all the same."""
    class Wrong(Heard):
        def on_outcome(self, outcome: CallOutcome) -> None:
            raise ValueError("a defect")
    connection, _, far = talk(handler=Wrong())
    calls = [connection.submit("m") for _ in range(5)]
    far.answer("one")
    assert calls[0].result(SECONDS) == "one"
    connection.fail_pending(lambda: PluginCrashed(plugin="far"))
    assert all(isinstance(call.exception(0), PluginCrashed) for call in calls[1:])
    eventually(lambda: caplog.text.count("please report it") == 5, "all are logged")


@pytest.mark.fault("J17")
def test_a_conversation_that_is_being_stopped_takes_nothing(talk: Begin) -> None:
    """After `close_writing` what was queued arrives, then EOF; senders are told; answers are dropped silently."""
    connection, heard, far = talk()
    call = connection.submit("m")
    connection.close_writing()
    for ask in (connection.request, connection.submit, connection.notify):
        with pytest.raises(PluginNotRunning, match="the conversation with plugin 'far' has ended: it is being stopped"):
            ask("m")
    connection.answer(1, "nobody hears it")
    assert far.take() == {"id": 1, "method": "m"}
    assert far.take() is None
    far.send(id=1, result="but we still listen")
    assert call.result(SECONDS) == "but we still listen"
    assert not heard.ends


@pytest.mark.fault("P7")
def test_a_peer_that_takes_no_more(talk: Begin) -> None:
    """A writer that hears of it ends the conversation a moment later; an EOF that comes meanwhile says more."""
    connection, heard, far = talk()
    far.socket.shutdown(socket.SHUT_RD)
    connection.notify("m")
    heard.wait(lambda: heard.ends)
    assert heard.ends[0].fault == "closed stdin"
    again, heard, far = talk()
    far.close()
    again.notify("m")
    heard.wait(lambda: heard.drained)
    assert [(end.text, end.fault) for end in heard.ends] == [("its stdout ended", None)]
    late = again.submit("m")  # lost, like what is in a dead one's pipe: the owner will fail it
    assert not late.done()


def test_a_call_that_fails_while_it_is_being_sent(talk: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the owner fails it between its registration and its sending, that error counts, not "is being stopped"."""
    connection, heard, _ = talk()

    def send(frame: bytes, patience: float = 0.0) -> Any:
        connection.fail_pending(lambda: PluginCrashed(plugin="far", message="the true reason"))
        raise OutboxClosed
    monkeypatch.setattr(connection.outbox, "send", send)
    with pytest.raises(PluginCrashed, match="the true reason"):
        connection.request("m")
    assert [outcome.outcome for outcome in heard.outcomes] == [CRASHED]


def test_an_answer_before_the_timer_is_set(talk: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submitted call that is answered at once leaves no timer behind."""
    connection, _, far = talk()
    real = CallTable.open
    taken: List[Call] = []

    def open_call(self: CallTable, call: Call) -> None:
        real(self, call)
        taken.append(call)
    monkeypatch.setattr(CallTable, "open", open_call)
    real_later = connection._reactor.call_later

    def later(delay: float, callback: Callable[[], None]) -> Any:
        connection.calls.take(taken[0].id, "answered")  # the reader has it, but has not answered yet
        return real_later(delay, callback)
    monkeypatch.setattr(connection._reactor, "call_later", later)
    call = connection.submit("m", None, 3600)
    assert call.timer is not None
    assert call.timer.callback is None
    far.take()


# ---- signal handlers that raise


@pytest.mark.fault("J20")
@pytest.mark.parametrize("way", ["request", "progress", "submit"])
def test_a_caller_is_interrupted_anywhere(talk: Begin, way: str) -> None:
    """Wherever Ctrl-C or a time limit hits a caller, no call stays pending, and the conversation works, or is over."""
    current: List[Talk] = []
    over = fine = 0

    def prepare() -> Callable[[], Any]:
        if not current or current[0].heard.ends:
            current[:] = [talk()]
            threading.Thread(target=_serve, args=(current[0].far,), daemon=True).start()
        connection = current[0].connection
        if way == "submit":
            return lambda: connection.submit("m", [1], 60.0)
        return lambda: connection.request("m", [1], SECONDS, (lambda _: None) if way == "progress" else None)
    for where in interrupt_each_line(prepare, {"connection.py", "calls.py", "outbox.py", "reactor.py", "deadline.py"}):
        connection, heard, _ = current[0]
        eventually(lambda: len(connection.calls) == 0 or connection.ended, where)  # noqa: B023
        if connection.outbox._broken_off:
            heard.wait(lambda: heard.ends, where)  # noqa: B023
            over += 1
            assert "Interrupted" in heard.ends[0].text
        else:
            fine += 1
            assert connection.request("m", [2], SECONDS) == [2], where
    assert over <= 2
    assert fine > 40


def _serve(far: Any) -> None:
    try:
        while True:
            message: Dict[str, Any] = far.take() or _raise(EOFError())  # type: ignore[func-returns-value]
            if "id" in message:
                far.send(method="$/progress", params={"id": message["id"], "value": 1})
                far.send(id=message["id"], result=message["params"])
    except (OSError, EOFError, AssertionError):
        pass  # the test is over


# ---- starting


@pytest.mark.fault("P21")
@pytest.mark.parametrize("role", ["reader", "writer"])
def test_no_thread_is_left(monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    """`start` raises, and leaves neither thread nor descriptor."""
    before = descriptors()
    near, far = socket.socketpair()
    connection = Connection(SocketStream(near), Heard(), name="starved")
    start = threading.Thread.start

    def starve(self: threading.Thread) -> None:
        if self.name == f"starved-{role}":
            raise RuntimeError("can't start new thread")
        start(self)
    monkeypatch.setattr(threading.Thread, "start", starve)
    with pytest.raises(RuntimeError, match="new thread"):
        connection.start()
    eventually(lambda: not threads("starved"), "the other thread ends")
    assert far.recv(1) == b""
    far.close()
    eventually(lambda: descriptors() <= before, "no descriptor is left")
