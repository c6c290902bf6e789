"""JSON-RPC 2.0 messages: which values are messages, what is said of the others, how messages are written."""
from __future__ import annotations

import json
import pickle
from typing import Any, Dict, List, Optional, Tuple, Type

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legacy_plugins.errors import InvalidMessage
from legacy_plugins.protocol import messages
from legacy_plugins.protocol.messages import (
    Failure,
    MalformedRequest,
    MalformedResponse,
    Notification,
    Request,
    Result,
    error_body,
    notification_body,
    parse_message,
    request_body,
    result_body,
)

quick = settings(max_examples=80, deadline=None, derandomize=True)


def _message(**members: Any) -> Dict[str, Any]:
    return {"jsonrpc": "2.0", **members}


GOOD: List[Tuple[Dict[str, Any], Any]] = [
    (_message(id=1, method="a", params={"b": 1}), Request(1, "a", {"b": 1})),
    (_message(id="x-1", method="a", params=[1]), Request("x-1", "a", [1])),
    (_message(id=0, method="a"), Request(0, "a", None)),
    (_message(id=-7, method="", params=None), Request(-7, "", None)),
    (_message(id="", method="é/😀"), Request("", "é/😀", None)),
    (_message(id="\0\n", method="$/x"), Request("\0\n", "$/x", None)),
    (_message(id="i" * 256, method="rpc"), Request("i" * 256, "rpc", None)),
    (_message(method="a", params={}), Notification("a", {})),
    (_message(method="a"), Notification("a", None)),
    (_message(id=1, result=None), Result(1, None)),
    (_message(id=1, result={"a": [True]}), Result(1, {"a": [True]})),
    (_message(id=1, error={"code": -32601, "message": "no"}), Failure(1, -32601, "no", None)),
    (_message(id=1, error={"code": 5, "message": "", "data": [1], "more": 2}), Failure(1, 5, "", [1])),
    (_message(id=None, error={"code": -32700, "message": "what?"}), Failure(None, -32700, "what?", None)),
    (_message(id=1, result=0, unknown="ignored", params="ignored"), Result(1, 0)),
]


@pytest.mark.req("R4", "R7", "R8")
@pytest.mark.fault("J15")
@pytest.mark.parametrize(("value", "message"), GOOD)
def test_good_messages(value: Dict[str, Any], message: Any) -> None:
    """Requests, notifications and both kinds of answer are told apart by their members alone."""
    parsed = parse_message(value)
    assert parsed == message
    assert type(parsed) is type(message)


NOBODY, CALL, REQUEST = InvalidMessage, MalformedResponse, MalformedRequest
NOT_IDS: List[Any] = ["1", True, False, 1.0, [], {}, [1], ""]
NOT_REQUEST_IDS: List[Any] = [True, 1.0, [], {}, "i" * 257, "\ud800"]
NOT_OURS = "the ids we issue are integers"
# (fault, value, class, the id that the error tells, what the error says)
BAD: List[Tuple[str, Any, Type[InvalidMessage], Any, str]] = [
    ("J8", None, NOBODY, None, "the message is a JSON null, not an object"),
    ("J8", True, NOBODY, None, "a JSON boolean"),
    ("J8", 7, NOBODY, None, "a JSON number"),
    ("J8", 7.5, NOBODY, None, "a JSON number"),
    ("J8", "text", NOBODY, None, "a JSON string"),
    ("J8", [], NOBODY, None, "a batch; batches are not part of this protocol"),
    ("J8", [_message(id=1, result=1)], NOBODY, None, "a batch"),
    ("J9", {}, NOBODY, None, '`jsonrpc` is missing, not "2.0"'),
    ("J9", {"jsonrpc": "1.0", "method": "a"}, NOBODY, None, '`jsonrpc` is "1.0", not "2.0"'),
    ("J9", {"jsonrpc": 2.0, "id": 3, "result": 1}, CALL, 3, "`jsonrpc` is 2.0"),
    ("J9", {"jsonrpc": ["2.0"], "id": 3, "method": "a"}, REQUEST, 3, "`jsonrpc` is a JSON array"),
    ("J9", {"jsonrpc": None, "id": "3", "method": "a"}, REQUEST, "3", "`jsonrpc` is null"),
    ("J9", {"id": True, "result": 1}, NOBODY, None, "`jsonrpc` is missing"),
    *[("J12", _message(id=bad, result=1), NOBODY, None, NOT_OURS)
      for bad in (*NOT_IDS, None)],
    *[("J12", _message(id=bad, error={"code": 1, "message": "m"}), NOBODY, None, NOT_OURS)
      for bad in NOT_IDS],
    ("J12", _message(id=1.0, result=1), NOBODY, None, "`id` is 1.0;"),
    ("J12", _message(id=True, result=1), NOBODY, None, "`id` is true;"),
    ("J13", _message(id=1, result=1, error={"code": 1, "message": "m"}), CALL, 1, "both of result and error"),
    ("J13", _message(id=1, result=1, error=None), CALL, 1, "both of result and error"),
    ("J13", _message(id=1), CALL, 1, "neither of result and error"),
    ("J13", _message(id=[], result=1, error=1), NOBODY, None, "both"),
    ("J13", _message(result=1), NOBODY, None, "neither a method nor an id"),
    ("J13", _message(), NOBODY, None, "neither a method nor an id"),
    *[("J13", _message(id=1, error=bad), CALL, 1, f"`error` is {said}, not an object")
      for bad, said in ((None, "null"), ("text", '"text"'), ([1], "a JSON array"), (1, "1"))],
    *[("J13", _message(id=1, error={"code": bad, "message": "m"}), CALL, 1, f"`code` is {said}, not an integer")
      for bad, said in ((1.0, "1.0"), ("1", '"1"'), (True, "true"), (None, "null"))],
    ("J13", _message(id=1, error={"message": "m"}), CALL, 1, "the error's `code` is missing"),
    ("J13", _message(id=1, error={"code": 1}), CALL, 1, "the error's `message` is missing"),
    ("J13", _message(id=1, error={"code": 1, "message": None}), CALL, 1, "the error's `message` is null"),
    ("J13", _message(id=None, error={"code": 1}), NOBODY, None, "`message` is missing"),
    ("J13", _message(id=1, method="a", result=1), CALL, 1, "a method and a result or error"),
    ("J13", _message(id="1", method="a", error={}), NOBODY, None, "a method and a result or error"),
    ("J16", _message(id=None, method="a"), NOBODY, None, "the request's `id` is null, not an integer or a string"),
    *[("J16", _message(id=bad, method="a"), NOBODY, None, "not an integer or a string of at most 256 characters")
      for bad in NOT_REQUEST_IDS],
    *[("J18", _message(id=4, method=bad), REQUEST, 4, f"`method` is {said}, not a name outside `rpc.`")
      for bad, said in ((None, "null"), (1, "1"), (["a"], "a JSON array"), ({}, "a JSON object"), ("rpc.", '"rpc."'))],
    ("J18", _message(method=1), NOBODY, None, "`method` is 1"),
    ("J18", _message(id=True, method=1), NOBODY, None, "`method` is 1"),
    *[("J18", _message(id="q", method="a", params=bad), REQUEST, "q", f"`params` is {said}, not an object or array")
      for bad, said in (("text", '"text"'), (0, "0"), (False, "false"), ("", '""'), (1.5, "1.5"))],
    ("J7", _message(id=4, method="a\ud800"), REQUEST, 4, r'`method` is "a\ud800"'),
]


@pytest.mark.req("R4")
@pytest.mark.parametrize(
    ("value", "kind", "told", "reason"), [pytest.param(*case[1:], marks=pytest.mark.fault(case[0])) for case in BAD],
    ids=[f"{case[0]}-{index}" for index, case in enumerate(BAD)])
def test_bad_messages(value: Any, kind: Type[InvalidMessage], told: Any, reason: str) -> None:
    """Each fault is named, with the id of the call or the request concerned where that can be told."""
    with pytest.raises(InvalidMessage) as caught:
        parse_message(value)
    error = caught.value
    assert type(error) is kind
    assert getattr(error, "call_id", getattr(error, "request_id", None)) == told
    assert reason in str(error)


@pytest.mark.fault("J13", "J18")
def test_complaints_are_short() -> None:
    """However long a wrong member is, what is said of it is short and in ASCII."""
    for value in ("é" * (1 << 20), 10 ** 99, "a" * 61):
        with pytest.raises(InvalidMessage) as caught:
            parse_message(_message(id=1, error=value))
        assert len(str(caught.value)) < 120
        assert str(caught.value).isascii()


def test_the_errors_survive_pickling() -> None:
    """The ids that the two errors tell go with them from process to process."""
    assert pickle.loads(pickle.dumps(MalformedRequest("no", "x"))).request_id == "x"
    assert pickle.loads(pickle.dumps(MalformedResponse("no", 5))).call_id == 5


@pytest.mark.req("R5")
def test_the_codes_are_the_standard_s() -> None:
    """JSON-RPC 2.0, section 5.1, and LSP 3.17 for -32800; our own lie in the range for servers."""
    assert (messages.PARSE_ERROR, messages.INVALID_REQUEST, messages.METHOD_NOT_FOUND, messages.INVALID_PARAMS,
            messages.INTERNAL_ERROR, messages.CANCELLED) == (-32700, -32600, -32601, -32602, -32603, -32800)
    assert all(-32099 <= code <= -32000 for code in (messages.BUSY, messages.TIMED_OUT))


# ---- writing

@pytest.mark.req("R4", "R7", "R8")
@pytest.mark.parametrize(("body", "text"), [
    (request_body(7, "a/b", '{"c":1}'), '{"jsonrpc":"2.0","id":7,"method":"a/b","params":{"c":1}}'),
    (request_body(7, 'é"', None), '{"jsonrpc":"2.0","id":7,"method":"é\\""}'),
    (notification_body("a", "[1]"), '{"jsonrpc":"2.0","method":"a","params":[1]}'),
    (notification_body("a", None), '{"jsonrpc":"2.0","method":"a"}'),
    (result_body(7, "null"), '{"jsonrpc":"2.0","id":7,"result":null}'),
    (result_body('"\n', '"é"'), '{"jsonrpc":"2.0","id":"\\"\\n","result":"é"}'),
    (error_body(7, -32601, 'no "x"'), '{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no \\"x\\""}}'),
    (error_body(None, 5, "é", "[1]"), '{"jsonrpc":"2.0","id":null,"error":{"code":5,"message":"é","data":[1]}}'),
])
def test_bodies(body: bytes, text: str) -> None:
    """Messages are written in one compact form."""
    assert body.decode() == text


@pytest.mark.fault("J22")
def test_a_name_that_utf8_cannot_write_is_refused() -> None:
    """A method's name with a lone surrogate is the caller's error."""
    with pytest.raises(ValueError, match="lone surrogate"):
        request_body(1, "\ud800", None)
    with pytest.raises(ValueError, match="lone surrogate"):
        notification_body("\ud800", None)


@pytest.mark.fault("J7")
def test_any_error_text_can_be_sent_and_received() -> None:
    """An error about a file whose name is not UTF-8 reaches the other side, with the name escaped by either."""
    escaped = Failure(1, -32603, r"no such file: 'caf\udce9'", None)
    assert parse_message(json.loads(error_body(1, -32603, "no such file: 'caf\udce9'"))) == escaped
    foreign = '{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"no such file: \'caf\\udce9\'"}}'
    assert parse_message(json.loads(foreign)) == escaped


# ---- properties

_texts = st.text(alphabet='ab/$."\\{é\u2028😀\0\n', max_size=12)
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), _texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_texts, inner, max_size=3)), max_leaves=8)
_methods = st.one_of(_texts, st.just("plugin/health"))
_params = st.one_of(st.none(), st.lists(_json, max_size=3), st.dictionaries(_texts, _json, max_size=3))
_ids = st.one_of(st.integers(), _texts)


def _text(value: Any) -> Optional[str]:
    return None if value is None else json.dumps(value)


@pytest.mark.req("R4", "R7", "R8")
@quick
@given(call_id=st.integers(1), peer_id=_ids, method=_methods, params=_params, result=_json, code=st.integers(),
       message=_texts)
def test_what_is_written_is_read_back(call_id: int, peer_id: Any, method: str, params: Any, result: Any, code: int,
                                      message: str) -> None:
    """Every kind of message is read as it was written."""
    def read(body: bytes) -> Any:
        return parse_message(json.loads(body))

    assert read(request_body(call_id, method, _text(params))) == Request(call_id, method, params)
    assert read(notification_body(method, _text(params))) == Notification(method, params)
    assert read(result_body(call_id, json.dumps(result))) == Result(call_id, result)
    assert read(error_body(call_id, code, message, _text(result))) == Failure(call_id, code, message, result)
    assert json.loads(result_body(peer_id, "1"))["id"] == peer_id
    assert json.loads(error_body(peer_id, code, message))["id"] == peer_id


_members = st.dictionaries(
    st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]),
    st.one_of(st.just("2.0"), _json, st.floats(), st.fixed_dictionaries({"code": st.integers(), "message": _texts})))


@pytest.mark.fault("J12", "J13")
@settings(quick, max_examples=150)
@given(value=st.one_of(_json, _members, _members.map(lambda members: {**members, "jsonrpc": "2.0"})))
def test_nothing_but_invalid_messages(value: Any) -> None:
    """Any JSON value is a message of well-typed members, or an `InvalidMessage`."""
    message: Any = None
    fault: Any = None
    try:
        message = parse_message(value)
    except InvalidMessage as error:
        fault = error
    if fault is not None:
        assert type(getattr(fault, "call_id", 0)) is int
        assert type(getattr(fault, "request_id", 0)) in (int, str)
    elif isinstance(message, (Request, Notification)):
        assert type(message.method) is str
        assert message.params is None or type(message.params) in (dict, list)
    else:
        assert type(message.id) is int or (message.id is None and isinstance(message, Failure))
        assert ("result" in value) != ("error" in value)
