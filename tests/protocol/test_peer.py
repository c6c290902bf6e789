"""One side of a conversation: what comes out of a byte stream, which faults concern whom, what goes out."""
from __future__ import annotations

import gc
import random
import re
import weakref
from typing import Any, Callable, List, Tuple, Type

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legacy_plugins.errors import FrameTooLarge, InvalidMessage, ProtocolError
from legacy_plugins.protocol.codec import JsonCodec
from legacy_plugins.protocol.framing import encode_frame
from legacy_plugins.protocol.messages import Failure, Notification, Request, Result
from legacy_plugins.protocol.peer import Event, MessageFault, Peer, StrayOutput

MAX = 64 * 1024
quick = settings(max_examples=80, deadline=None, derandomize=True)


def _at_random(stream: bytes) -> List[bytes]:
    cuts = sorted(random.Random(len(stream)).sample(range(len(stream) + 1), 5))
    return [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)])]


CHUNKINGS = {
    "whole": lambda stream: [stream],
    "bytes": lambda stream: [stream[i:i + 1] for i in range(len(stream))],
    "after-cr-and-lf": lambda stream: re.split(rb"(?<=[\r\n])", stream),
    "random": _at_random,
}


def _peer(issued: int = 10, *, skip_stray: bool = False) -> Peer:
    peer = Peer(MAX, skip_stray=skip_stray)
    for _ in range(issued):
        peer.issue_id()
    return peer


def _receive(peer: Peer, pieces: List[bytes]) -> List[Event]:
    return [event for piece in pieces for event in peer.receive(piece)]


def _frames(*bodies: bytes) -> bytes:
    return b"".join(map(encode_frame, bodies))


@pytest.mark.req("R4", "R6", "R7", "R8")
def test_messages_come_in_order() -> None:
    """Requests, notifications and answers to our requests come out as they were sent, in any chunking."""
    stream = _frames(b'{"jsonrpc":"2.0","id":1,"result":{"a":[1]}}', b'{"jsonrpc":"2.0","method":"b"}',
                     b' {"params": ["\xc3\xa9"], "method": "c", "id": "x", "jsonrpc": "2.0"} ',
                     b'{"jsonrpc":"2.0","id":10,"error":{"code":-32601,"message":"no"}}',
                     b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}')
    for cut in CHUNKINGS.values():
        peer = _peer()
        assert _receive(peer, cut(stream)) == [
            Result(1, {"a": [1]}), Notification("b", None), Request("x", "c", ["é"]), Failure(10, -32601, "no", None),
            Failure(None, -32700, "what?", None)]
        assert peer.error is None
        assert not peer.partial


# (fault, body, class of the error, call concerned, request to be answered, what the error says)
FAULTS: List[Tuple[str, bytes, Type[ProtocolError], Any, Any, str]] = [
    ("J1", b"", ProtocolError, None, None, "not valid JSON"),
    ("J1", b"{", ProtocolError, None, None, "not valid JSON"),
    ("J1", b'{"jsonrpc":"2.0","id":7,"result":}', ProtocolError, 7, None, "not valid JSON"),
    ("J1", b'{"id":7,"result":tru', ProtocolError, 7, None, "not valid JSON"),
    ("J1", b' {\n"id" : 7 ,\t"jsonrpc" : "2.0" , "error" :{', ProtocolError, 7, None, "not valid JSON"),
    ("J1", b'{"id":"7","result":}', ProtocolError, None, None, "not valid JSON"),
    ("J1", b'{"id":7.0,"result":}', ProtocolError, None, None, "not valid JSON"),
    ("J1", b'{"id":7,"method":"a","params":}', ProtocolError, None, None, "not valid JSON"),
    ("J1", b'{"result":{"id":7,"result":}', ProtocolError, None, None, "not valid JSON"),
    ("J1", b'["x",{"id":7,"result":}', ProtocolError, None, None, "not valid JSON"),
    ("J1", b" " * 300 + b'{"id":7,"result":}', ProtocolError, None, None, "not valid JSON"),
    ("J2", b'{"id":7,"result":"\xff"}', ProtocolError, 7, None, "not UTF-8"),
    ("J2", b'\xef\xbb\xbf{"id":7,"result":1}', ProtocolError, None, None, "byte order mark"),
    ("J3", b'{"id":7,"result":' + b"[" * 5000 + b"]" * 5000 + b"}", ProtocolError, 7, None, "5001 levels deep"),
    ("J4", b'{"jsonrpc":"2.0","id":7,"result":' + b"1" * 101 + b"}", ProtocolError, 7, None, "101 digits"),
    ("J5", b'{"jsonrpc":"2.0","id":7,"result":NaN}', ProtocolError, 7, None, "NaN is not JSON"),
    ("J8", b'[{"jsonrpc":"2.0","id":7,"result":1}]', InvalidMessage, None, None, "a batch"),
    ("J8", b"7", InvalidMessage, None, None, "a JSON number"),
    ("J9", b'{"id":7,"result":1}', InvalidMessage, 7, None, "`jsonrpc` is missing"),
    ("J10", b'{"jsonrpc":"2.0","id":11,"result":1}', InvalidMessage, None, None,
     "answers id 11, which was never issued (the last one was 10)"),
    ("J10", b'{"jsonrpc":"2.0","id":0,"result":1}', InvalidMessage, None, None, "id 0, which was never issued"),
    ("J10", b'{"jsonrpc":"2.0","id":-1,"error":{"code":1,"message":""}}', InvalidMessage, None, None, "id -1, which"),
    *[("J12", b'{"jsonrpc":"2.0","id":%b,"result":1}' % bad, InvalidMessage, None, None, "ids we issue are integers")
      for bad in (b'"1"', b"true", b"1.0", b"[1]", b"{}", b"null", b"1e0")],
    ("J13", b'{"jsonrpc":"2.0","id":7,"result":1,"error":{}}', InvalidMessage, 7, None, "both"),
    ("J13", b'{"jsonrpc":"2.0","id":7}', InvalidMessage, 7, None, "neither"),
    ("J16", b'{"jsonrpc":"2.0","id":null,"method":"a"}', InvalidMessage, None, None, "`id` is null"),
    ("J18", b'{"jsonrpc":"2.0","id":7,"method":"a","params":1}', InvalidMessage, None, 7, "`params` is 1"),
    ("J18", b'{"jsonrpc":"2.0","id":"x","method":[]}', InvalidMessage, None, "x", "`method` is a JSON array"),
    ("J6", b'{"id":7,"result":1,"id":"x","jsonrpc":"2.0"}', InvalidMessage, None, None, '`id` is "x"'),
]


@pytest.mark.req("R3", "R4")
@pytest.mark.parametrize(
    ("body", "kind", "call_id", "request_id", "reason"),
    [pytest.param(*case[1:], marks=pytest.mark.fault(case[0])) for case in FAULTS],
    ids=[f"{case[0]}-{index}" for index, case in enumerate(FAULTS)])
def test_message_faults(body: bytes, kind: Type[ProtocolError], call_id: Any, request_id: Any, reason: str) -> None:
    """A bad message is a fault that tells whom it concerns; those before and after it are not affected."""
    good = b'{"jsonrpc":"2.0","method":"good"}'
    for cut in CHUNKINGS.values():
        peer = _peer()
        first, fault, last = _receive(peer, cut(_frames(good, body, good)))
        assert first == last == Notification("good", None)
        assert isinstance(fault, MessageFault)
        assert (fault.body, fault.call_id, fault.request_id) == (body, call_id, request_id)
        assert type(fault.call_id) in (int, type(None))
        assert isinstance(fault.error, kind)
        assert reason in str(fault.error)
        assert peer.error is None


def test_a_fault_keeps_only_its_body() -> None:
    """A fault may be kept for a report; its error does not hold on to the text that was made of the body."""
    class Text(str):
        __slots__ = ("__weakref__",)

    class Watched(JsonCodec):
        def decode(self, body: bytes) -> Any:
            text = Text(body.decode())
            texts.append(weakref.ref(text))
            try:
                raise ValueError(text)
            except ValueError:
                raise ProtocolError("no") from None

    texts: List[weakref.ref[Text]] = []
    fault = Peer(codec=Watched()).receive(encode_frame(b"{}"))[0]
    gc.collect()
    assert isinstance(fault, MessageFault)
    assert texts[0]() is None


@pytest.mark.fault("F14", "F19")
def test_a_framing_error_ends_the_conversation() -> None:
    """What came before the break is delivered, the error stays, and nothing after it is read."""
    good = _frames(b'{"jsonrpc":"2.0","method":"good"}')
    for cut in CHUNKINGS.values():
        peer = _peer()
        assert _receive(peer, cut(good + b"!" * 8 + b"\n" + good)) == [Notification("good", None)]
        error = peer.error
        assert "non-protocol data" in str(error)
        assert peer.receive(good) == []
        assert peer.end() == []
        assert peer.error is error


@pytest.mark.fault("F8")
def test_a_frame_over_the_limit() -> None:
    """The limit holds for what comes and for what goes."""
    peer = _peer()
    assert peer.receive(b"Content-Length: %d\r\n\r\n" % (MAX + 1)) == []
    assert isinstance(peer.error, FrameTooLarge)
    text = '"' + "x" * MAX + '"'
    frames: List[Callable[[], bytes]] = [
        lambda: peer.request_frame(1, "a", text), lambda: peer.notification_frame("a", text),
        lambda: peer.result_frame(1, text), lambda: peer.error_frame(1, 5, text),
        lambda: peer.error_frame(1, 5, "", text)]
    for frame in frames:
        with pytest.raises(FrameTooLarge, match=r"limits\.maxFrameBytes"):
            frame()


@pytest.mark.fault("F1", "F19")
def test_other_output_comes_before_the_messages() -> None:
    """Skipped lines are events of their own, in the order of the stream."""
    for cut in CHUNKINGS.values():
        peer = _peer(skip_stray=True)
        assert _receive(peer, cut(b"hello\n\xff\r\n" + _frames(b'{"jsonrpc":"2.0","id":1,"result":null}'))) == [
            StrayOutput(b"hello\n"), StrayOutput(b"\xff\r\n"), Result(1, None)]
        assert peer.end() == []
        assert peer.error is None


@pytest.mark.fault("F17")
def test_the_end_of_the_stream() -> None:
    """A last line of other output is told, a message cut short is an error."""
    peer = _peer(skip_stray=True)
    assert peer.receive(b"no licence") == []
    assert peer.end() == [StrayOutput(b"no licence")]
    assert peer.error is None
    peer = _peer()
    assert peer.receive(b"Content-Length: 7\r\n\r\n{") == []
    assert peer.partial
    assert peer.end() == []
    assert "after 1 of 7 bytes" in str(peer.error)


@pytest.mark.req("R7")
@pytest.mark.fault("J11", "J14")
def test_ids_are_never_used_again() -> None:
    """Ids count up from 1; an answer to any of them is a good one, for the caller may have given up since."""
    peer = Peer(MAX)
    assert [peer.issue_id() for _ in range(5)] == [1, 2, 3, 4, 5]
    answers = [Result(call_id, None) for call_id in (5, 1, 1)]
    bodies = [b'{"jsonrpc":"2.0","id":%d,"result":null}' % answer.id for answer in answers]
    assert peer.receive(_frames(*bodies)) == answers
    peer.receive(_frames(b'{"jsonrpc":"2.0","method":"a"}', b"{"))
    assert peer.issue_id() == 6


@pytest.mark.req("R4", "R5", "R6", "R7", "R8", "R9")
def test_two_peers_understand_each_other() -> None:
    """What one side writes the other reads: calls, notifications, both answers, in both directions."""
    host, plugin = Peer(MAX), Peer(MAX)
    call_id = host.issue_id()
    asked = plugin.receive(host.request_frame(call_id, "a", '{"b":"é"}') + host.notification_frame("n", None))
    assert asked == [Request(1, "a", {"b": "é"}), Notification("n", None)]
    answers = host.receive(plugin.result_frame(1, ["é", None]) + plugin.error_frame(1, 409, "busy", {"c": 1})
                           + plugin.error_frame(None, -32700, "what?") + plugin.error_frame(1, 5, "\udcff"))
    assert answers == [Result(1, ["é", None]), Failure(1, 409, "busy", {"c": 1}), Failure(None, -32700, "what?", None),
                       Failure(1, 5, "\\udcff", None)]


@pytest.mark.fault("J5", "J22")
@pytest.mark.parametrize("value", [float("nan"), "\ud800", {1, 2}], ids=["nan", "surrogate", "set"])
def test_an_answer_that_is_not_json_is_the_answerer_s_error(value: Any) -> None:
    """It is raised where the answer is made; there is no frame then."""
    peer = Peer(MAX)
    with pytest.raises((TypeError, ValueError)):
        peer.result_frame(1, value)
    with pytest.raises((TypeError, ValueError)):
        peer.error_frame(1, 5, "m", value)


# ---- properties

_bodies = st.one_of(
    st.binary(max_size=30), st.sampled_from([case[1] for case in FAULTS if len(case[1]) < 100]),
    st.sampled_from([b'{"jsonrpc":"2.0","id":3,"result":[]}', b'{"jsonrpc":"2.0","method":"m","params":{}}']),
    st.binary(max_size=12).map(lambda junk: b'{"jsonrpc":"2.0","id":1,"result":' + junk + b"}"))


@pytest.mark.fault("F18")
@quick
@given(bodies=st.lists(_bodies, max_size=5), junk=st.binary(max_size=6),
       cuts=st.lists(st.integers(0, 10_000), max_size=8), skip_stray=st.booleans())
def test_chunking_changes_no_event(bodies: List[bytes], junk: bytes, cuts: List[int], skip_stray: bool) -> None:
    """Any frames, with any bytes after or before them, mean the same in every chunking, and raise nothing."""
    def outcome(pieces: List[bytes]) -> Tuple[Any, ...]:
        peer = _peer(3, skip_stray=skip_stray)
        events = _receive(peer, pieces) + peer.end()
        # errors are compared by their text: two of them are never equal
        return [event._replace(error=str(event.error)) if isinstance(event, MessageFault) else event  # type: ignore[arg-type]
                for event in events], type(peer.error), peer.partial

    for stream in (_frames(*bodies) + junk, junk + _frames(*bodies)):
        places = sorted(cut % (len(stream) + 1) for cut in cuts)
        pieces = [stream[begin:end] for begin, end in zip([0, *places], [*places, len(stream)])]
        assert outcome(pieces) == outcome([stream])
