"""What comes in: to whom each message goes, what a wrong one costs, when reading pauses, how the end is told."""
from __future__ import annotations

import threading
import time
from typing import Any, Callable, List

import pytest

from legacy_plugins.errors import ProtocolError
from legacy_plugins.protocol.messages import Notification, Request
from legacy_plugins.rpc import budget
from legacy_plugins.rpc.conversation import ConnectionLimits, EndReason
from tests.plugins.programs import SECONDS, eventually
from tests.rpc.conftest import Heard, Talk

Begin = Callable[..., Talk]


# ---- messages


@pytest.mark.req("R8", "R9")
def test_requests_and_notifications_go_to_the_handler(talk: Begin) -> None:
    """In their order, with ids as they came; `$/cancelRequest` too, but not progress."""
    _, heard, far = talk()
    far.send(method="one", params={"a": 1})
    far.send(id="x", method="two", params=[2])
    far.send(method="$/cancelRequest", params={"id": "x"})
    far.send(method="$/progress", params={"token": 1, "value": 2})
    far.send(id=0, method="three")
    heard.wait(lambda: len(heard.requests) == 2)
    assert heard.requests == [Request("x", "two", [2]), Request(0, "three", None)]
    assert heard.notifications == [Notification("one", {"a": 1}), Notification("$/cancelRequest", {"id": "x"})]
    assert not heard.faults


@pytest.mark.fault("F1")
def test_other_output_before_the_first_frame(talk: Begin) -> None:
    """Where it is allowed the handler gets it line by line, and also a last line without an end."""
    _, heard, far = talk(skip_stray=True)
    far.raw(b"banner 1\nbanner 2\n")
    far.send(method="one")
    heard.wait(lambda: heard.notifications)
    assert heard.stray == [b"banner 1\n", b"banner 2\n"]
    _, heard, far = talk(skip_stray=True)
    far.raw(b"cannot start: no such file")
    far.close()
    heard.wait(lambda: heard.drained)
    assert heard.stray == [b"cannot start: no such file"]
    assert heard.ends[0].fault is None


@pytest.mark.fault("J1", "J4", "J5", "J9", "J13")
@pytest.mark.parametrize("body", [
    '{"jsonrpc":"2.0","id":1,"result":', '{"jsonrpc":"2.0","id":1,"result":NaN}', '{"jsonrpc":"2.0","id":1}',
    '{"jsonrpc":"2.0","id":1,"result":' + "9" * 101 + "}", '{"jsonrpc":"2.0","id":1,"result":1,"error":{}}',
    '{"jsonrpc":"2.0","id":1,"error":"no"}', '{"jsonrpc":"1.0","id":1,"result":1}'])
def test_a_wrong_answer_fails_its_call_at_once(talk: Begin, body: str) -> None:
    """The call concerned gets the fault as its error, which names the plugin; the conversation goes on."""
    connection, heard, far = talk()
    call, other = connection.submit("m"), connection.submit("n")
    far.take()
    far.take()
    far.body(body)
    error = call.exception(SECONDS)
    assert isinstance(error, ProtocolError)
    assert error.plugin == "far"
    heard.wait(lambda: heard.faults)
    assert (heard.faults[0].call_id, heard.faults[0].error, heard.faults[0].body) == (1, error, body.encode())
    assert connection.calls.outcomes["failed"] == 1
    far.send(id=2, result="goes on")
    assert other.result(SECONDS) == "goes on"
    assert not heard.ends


@pytest.mark.fault("J8", "J10", "J12", "J16")
@pytest.mark.parametrize("body", [
    "[]", "3", '{"jsonrpc":"2.0","id":99,"result":1}', '{"jsonrpc":"2.0","id":"1","result":1}',
    '{"jsonrpc":"2.0","id":true,"result":1}', '{"jsonrpc":"2.0","id":1.0,"result":1}',
    '{"jsonrpc":"2.0","id":null,"method":"m"}', '{"jsonrpc":"2.0","id":[1],"result":1}'])
def test_a_fault_that_concerns_no_call(talk: Begin, body: str) -> None:
    """It is told, nothing else: the call that waits gets its own answer."""
    connection, heard, far = talk()
    call = connection.submit("m")
    far.take()
    far.body(body)
    far.send(id=1, result="mine")
    assert call.result(SECONDS) == "mine"
    assert len(heard.faults) == 1
    assert heard.faults[0].body == body.encode()


@pytest.mark.fault("J18")
def test_a_malformed_request_is_refused(talk: Begin) -> None:
    """Who asks wrongly is answered -32600 under his id."""
    _, heard, far = talk()
    far.send(id="x", method="rpc.reserved")
    answer = far.take()
    assert answer is not None
    assert (answer["id"], answer["error"]["code"]) == ("x", -32600)
    heard.wait(lambda: len(heard.faults) == 1)
    assert not heard.requests


@pytest.mark.fault("J11", "J14", "J15")
def test_answers_that_nobody_waits_for(talk: Begin) -> None:
    """Duplicates are counted, the first one wins; an error without an id is the handler's; neither is a fault."""
    connection, heard, far = talk()
    call = connection.submit("m")
    far.take()
    far.send(id=1, result="first")
    far.send(id=1, result="second")
    far.send(id=1, error={"code": 1, "message": "third"})
    far.send(id=None, error={"code": -32700, "message": "did not understand"})
    far.send(method="end")
    heard.wait(lambda: heard.notifications)
    assert call.result(0) == "first"
    assert connection.late_answers == 2
    assert not heard.faults
    assert [(failure.code, failure.message) for failure in heard.unassigned] == [(-32700, "did not understand")]


# ---- the end


@pytest.mark.fault("F1", "F14")
def test_a_framing_error_is_the_end(talk: Begin) -> None:
    """What came whole before it counts, nothing after it does; the reason quotes what broke the rules."""
    connection, heard, far = talk()
    call, other = connection.submit("m"), connection.submit("n")
    far.take()
    far.take()
    far.send(id=1, result="before")
    far.raw(b"print('debug')\n")
    heard.wait(lambda: heard.drained)
    try:
        far.send(id=2, result="after")
    except OSError:
        pass  # it need not be read
    assert call.result(0) == "before"
    assert not other.done()
    assert (len(heard.ends), heard.ends[0].fault) == (1, "protocol error")
    assert "print('debug')" in heard.ends[0].text
    assert heard.ends[0].error is not None


@pytest.mark.fault("F17")
def test_a_truncated_frame_is_told(talk: Begin) -> None:
    """A stream that ends inside a body says how far it came; that breaks no rule, since a crash looks like this."""
    _, heard, far = talk()
    far.raw(b'Content-Length: 100\r\n\r\n{"jsonrpc"')
    far.close()
    heard.wait(lambda: heard.drained)
    assert heard.ends[0].fault is None
    assert isinstance(heard.ends[0].error, ProtocolError)
    assert "10 of 100 bytes" in heard.ends[0].text


@pytest.mark.fault("F19")
def test_the_end_comes_after_everything_else(talk: Begin) -> None:
    """All that came before EOF is handled before `on_end`, and `drained` is set before `on_drained`."""
    order: List[Any] = []

    class Ordered(Heard):
        def on_notification(self, notification: Notification) -> None:
            order.append(notification.params[0])

        def on_end(self, reason: EndReason) -> None:
            order.append("end")

        def on_drained(self) -> None:
            order.append(connection.drained.is_set())
            super().on_drained()
    heard = Ordered()
    connection, _, far = talk(handler=heard)
    for number in range(3000):
        far.send(method="n", params=[number])
    far.close()
    heard.wait(lambda: heard.drained)
    assert order == [*range(3000), "end", True]


@pytest.mark.fault("H11")
@pytest.mark.parametrize("method", ["on_notification", "on_request", "on_fault", "on_end", "on_drained"])
def test_a_handler_that_raises(talk: Begin, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """A defect in the owner ends this conversation, with its reason; never silently, and the descriptors are closed."""
    reported: List[Any] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)
    heard = Heard()
    original = getattr(heard, method)

    def fail(*args: Any) -> None:
        original(*args)
        raise KeyError("a defect")
    monkeypatch.setattr(heard, method, fail)
    connection, _, far = talk(handler=heard)
    far.send(method="n")
    far.send(id=1, method="m")
    far.body("[]")
    far.close()
    heard.wait(lambda: heard.drained)
    assert connection.drained.is_set()
    assert len(heard.ends) == 1
    if method in ("on_end", "on_drained"):
        eventually(lambda: reported, "the error is reported")
    else:
        assert heard.ends[0].fault == "host error"
        assert "a defect" in heard.ends[0].text


@pytest.mark.fault("F16")
def test_a_message_that_does_not_become_complete(talk: Begin) -> None:
    """It ends the conversation when its time is over, though other bytes come."""
    _, heard, far = talk(ConnectionLimits(message_timeout=0.15))
    far.send(method="whole")
    far.raw(b"Content-Length: 100\r\n\r\n{")
    began = time.monotonic()
    while not heard.ends and time.monotonic() - began < 2:
        far.raw(b" ") if time.monotonic() - began < 0.1 else None
        threading.Event().wait(0.01)
    heard.wait(lambda: heard.ends)
    assert 0.14 <= time.monotonic() - began < 2.0
    assert heard.ends[0].fault == "message time-out"


@pytest.mark.fault("F16")
def test_handling_a_message_is_not_receiving_it(talk: Begin) -> None:
    """However long a complete message takes to be handled, which a declaration may, its sender is not blamed."""
    class Slow(Heard):
        def on_notification(self, notification: Notification) -> None:
            super().on_notification(notification)
            threading.Event().wait(0.6)

    _, heard, far = talk(ConnectionLimits(message_timeout=0.3), handler=Slow())
    body = b'{"jsonrpc":"2.0","method":"declared"}'
    head = b"Content-Length: %d\r\n\r\n" % len(body)
    far.raw(head + body[:9])
    threading.Event().wait(0.05)  # so that the reader has seen the first part alone
    far.raw(body[9:])
    heard.wait(lambda: heard.notifications)
    far.raw(head + body)
    heard.wait(lambda: len(heard.notifications) == 2)
    far.close()
    heard.wait(lambda: heard.drained)
    assert [end.fault for end in heard.ends] == [None]


def test_interrupting_reads_the_last_words(talk: Begin) -> None:
    """An owner that knows of the end makes the reader handle what has arrived, though the stream stays open."""
    connection, heard, far = talk()
    far.send(method="last words")
    assert connection.interrupt_reader()
    heard.wait(lambda: heard.drained)
    assert [notification.method for notification in heard.notifications] == ["last words"]
    assert heard.ends[0].fault is None


# ---- floods


@pytest.mark.fault("B9")
@pytest.mark.req("R42")
def test_a_flood_is_left_in_the_pipe(talk: Begin) -> None:
    """Over the budget reading pauses, so that the sender has to wait; all comes in the end, answers in between."""
    connection, heard, far = talk(ConnectionLimits(notifications_per_second=2000))
    call = connection.submit("m")
    far.take()
    flooding = threading.Thread(target=lambda: far.raw(_notifications(4000) + _answer(1)))
    began = time.monotonic()
    flooding.start()
    assert call.result(SECONDS) == "through"
    taken = time.monotonic() - began
    heard.wait(lambda: len(heard.notifications) == 4000)
    flooding.join(SECONDS)
    assert 0.3 < taken < SECONDS
    assert not heard.ends


def _notifications(count: int) -> bytes:
    body = b'{"jsonrpc":"2.0","method":"n","params":[0]}'
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body) * count


def _answer(number: int) -> bytes:
    body = b'{"jsonrpc":"2.0","id":%d,"result":"through"}' % number
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.fault("B9")
def test_large_unasked_messages_are_a_flood_though_they_are_few(talk: Begin) -> None:
    """What is decoded for nothing counts by its size: eight answers that nobody asked for are 0.5 s over the budget."""
    connection, heard, far = talk(ConnectionLimits(notifications_per_second=200))
    first, last = connection.submit("m"), connection.submit("m")
    far.take(), far.take()
    large = b'{"jsonrpc":"2.0","id":1,"result":"%s"}' % (b"x" * 4096 * 40)
    frame = b"Content-Length: %d\r\n\r\n%s" % (len(large), large)
    flooding = threading.Thread(target=lambda: far.raw(frame * 9 + _answer(2)))
    began = time.monotonic()
    flooding.start()
    assert last.result(SECONDS) == "through"
    assert time.monotonic() - began > 0.3
    flooding.join(SECONDS)
    assert first.done()
    assert not heard.ends


@pytest.mark.fault("B9")
def test_answers_cost_nothing_but_late_ones_do(talk: Begin) -> None:
    """A thousand answers pass a budget of ten; a thousand copies of one do not."""
    connection, heard, far = talk(ConnectionLimits(notifications_per_second=10))
    calls = [connection.submit("m", None, 60.0) for _ in range(1000)]
    far.raw(b"".join(map(_answer, range(1, 1001))))
    for call in calls:
        call.result(SECONDS)
    assert not connection._reader.paused
    far.raw(_answer(1) * 1000)
    eventually(lambda: connection._reader.paused, "reading pauses")
    assert connection.late_answers > 0
    assert not heard.ends


@pytest.mark.fault("B9", "P4")
def test_a_paused_reader_ends_at_once(talk: Begin) -> None:
    """The end of the conversation ends a pause that would take minutes; the last words are read."""
    connection, heard, far = talk(ConnectionLimits(notifications_per_second=1))
    far.raw(_notifications(500))
    eventually(lambda: connection._reader.paused, "reading pauses")
    far.send(method="last")
    connection.end(EndReason("it exited"))
    assert connection.interrupt_reader()
    heard.wait(lambda: heard.drained)
    assert heard.notifications[-1].method == "last"
    assert len(heard.notifications) == 501


@pytest.mark.fault("B10")
def test_a_flood_that_never_breaks_is_a_fault(talk: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time for floods the conversation ends, and says which limit was broken."""
    monkeypatch.setattr(budget, "MAX_FLOOD_SECONDS", 0.1)
    connection, heard, far = talk(ConnectionLimits(notifications_per_second=1000))

    def flood() -> None:
        try:
            while not heard.ends:
                far.raw(_notifications(100))
        except OSError:
            pass  # the test is over
    flooding = threading.Thread(target=flood)
    flooding.start()
    heard.wait(lambda: heard.ends)
    assert heard.ends[0].fault == "flood"
    assert "limits.notificationsPerSecond" in heard.ends[0].text
    connection.interrupt_reader()
    flooding.join(SECONDS)
    assert not flooding.is_alive()


@pytest.mark.fault("B9", "F16")
def test_a_pause_of_ours_is_not_the_senders_fault(talk: Begin) -> None:
    """A message whose rest we leave in the pipe does not time out."""
    connection, heard, far = talk(ConnectionLimits(notifications_per_second=100, message_timeout=0.2))
    data = _notifications(150) + b"Content-Length: 40\r\n\r\n"
    far.raw(data)
    eventually(lambda: connection._reader.paused, "reading pauses")
    far.raw(b'{"jsonrpc":"2.0","method":"n","params":1}'[:-1] + b" ")
    heard.wait(lambda: len(heard.notifications) == 150)
    eventually(lambda: not connection._reader.paused, "reading goes on")
    assert not [end for end in heard.ends if end.fault == "message time-out"]
