"""JSON-RPC 2.0 messages as values: what they are, how a JSON value becomes one, how they are written.

Pure: called from any thread, keeps no state; must not import I/O, threads, clocks or logging.
"""
from __future__ import annotations

import json
from typing import Any, Dict, NamedTuple, Optional, Union

from legacy_plugins.errors import InvalidMessage
from legacy_plugins.protocol.codec import has_utf8_form, in_utf8_form, quoted

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
#: "Server error" range of JSON-RPC 2.0: too many requests at once, or a request that was not finished in time.
BUSY = -32000
TIMED_OUT = -32001
#: LSP 3.17 `RequestCancelled`.
CANCELLED = -32800

#: The longest text that a peer may give to its request as an id, in characters.
MAX_ID_LENGTH = 256

#: An id that a peer gave to its request; ours are always integers.
RequestId = Union[int, str]


class Request(NamedTuple):
    """A method call that wants an answer."""

    id: RequestId
    method: str
    params: Any


class Notification(NamedTuple):
    """A message without an answer."""

    method: str
    params: Any


class Result(NamedTuple):
    """A good answer to our request `id`."""

    id: int
    result: Any


class Failure(NamedTuple):
    """An error answer; `id` is None where the peer could not tell which request it answers."""

    id: Optional[int]
    code: int
    message: str
    data: Any


Message = Union[Request, Notification, Result, Failure]


class MalformedRequest(InvalidMessage):
    """A request that we can still answer with -32600, since its id is readable."""

    def __init__(self, message: str, request_id: RequestId) -> None:
        super().__init__(message)
        self.request_id = request_id


class MalformedResponse(InvalidMessage):
    """A response that is wrong but names the call that it answers."""

    def __init__(self, message: str, call_id: int) -> None:
        super().__init__(message)
        self.call_id = call_id


def parse_message(value: Any) -> Message:
    """The message that a decoded JSON document is.

    Raises `InvalidMessage`, as `MalformedRequest` or `MalformedResponse` where the document still tells its id.
    """
    if type(value) is not dict:
        what = "a batch; batches are not part of this protocol" if type(value) is list else f"a JSON {_kind(value)}"
        raise InvalidMessage(f"the message is {what}, not an object")
    if value.get("jsonrpc") != "2.0":
        raise _malformed(value, f"`jsonrpc` is {_member(value, 'jsonrpc')}, not \"2.0\"")
    if "method" in value:
        return _parse_call(value)
    return _parse_response(value)


def _parse_call(value: Dict[str, Any]) -> Message:
    """A document with a method: a request where it has an id, else a notification."""
    method, params = value["method"], value.get("params")
    if "result" in value or "error" in value:
        raise _malformed(value, "the message has a method and a result or error")
    if type(method) is not str or method.startswith("rpc.") or not has_utf8_form(method):
        raise _malformed(value, f"`method` is {_short(method)}, not a name outside `rpc.`")
    if params is not None and type(params) not in (dict, list):
        raise _malformed(value, f"`params` is {_short(params)}, not an object or array")
    if "id" not in value:
        return Notification(method, params)
    if not _is_request_id(value["id"]):
        raise InvalidMessage(f"the request's `id` is {_short(value['id'])}, not an integer or a string of at most "
                             f"{MAX_ID_LENGTH} characters")
    return Request(value["id"], method, params)


def _parse_response(value: Dict[str, Any]) -> Message:
    """A document without a method: an answer to one of our requests."""
    if "id" not in value:
        raise InvalidMessage("the message has neither a method nor an id")
    call_id = value["id"]
    if ("result" in value) == ("error" in value):
        which = "both" if "result" in value else "neither"
        raise _malformed(value, f"the response has {which} of result and error")
    if "result" in value:
        if type(call_id) is not int:
            raise InvalidMessage(f"the response's `id` is {_short(call_id)}; the ids we issue are integers")
        return Result(call_id, value["result"])
    return _parse_error(value, call_id)


def _parse_error(value: Dict[str, Any], call_id: Any) -> Failure:
    error = value["error"]
    if call_id is not None and type(call_id) is not int:
        raise InvalidMessage(f"the error response's `id` is {_short(call_id)}; the ids we issue are integers")
    if type(error) is not dict:
        raise _malformed(value, f"`error` is {_short(error)}, not an object")
    code, message = error.get("code"), error.get("message")
    if type(code) is not int:
        raise _malformed(value, f"the error's `code` is {_member(error, 'code')}, not an integer")
    if type(message) is not str:
        raise _malformed(value, f"the error's `message` is {_member(error, 'message')}, not a string")
    return Failure(call_id, code, in_utf8_form(message), error.get("data"))


def _malformed(value: Dict[str, Any], message: str) -> InvalidMessage:
    """The most useful class for a malformed object: one that names the request or the call concerned, if any.

    What holds a result or an error counts as an answer, even if it has a method: better that a call fails at once.
    """
    given: Any = value.get("id")
    if "method" in value and "result" not in value and "error" not in value:
        return MalformedRequest(message, given) if _is_request_id(given) else InvalidMessage(message)
    return MalformedResponse(message, given) if type(given) is int else InvalidMessage(message)


def _is_request_id(value: Any) -> bool:
    return type(value) is int or (type(value) is str and len(value) <= MAX_ID_LENGTH and has_utf8_form(value))


def _kind(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null", list: "array"}
    return names.get(type(value), "object")


def _member(value: Dict[str, Any], name: str) -> str:
    return _short(value[name]) if name in value else "missing"


def _short(value: Any) -> str:
    """A JSON value for a message: scalars as JSON, in ASCII, of bounded length."""
    if isinstance(value, (dict, list)):
        return f"a JSON {_kind(value)}"
    text = json.dumps(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:60] + "..."


def request_body(call_id: int, method: str, params: Optional[str]) -> bytes:
    """The body of a request; `params` is JSON text already, None leaves it out. Raises `ValueError` for a method's name
    that UTF-8 cannot write."""
    rest = "" if params is None else f',"params":{params}'
    return f'{{"jsonrpc":"2.0","id":{call_id},"method":{quoted(method)}{rest}}}'.encode()


def notification_body(method: str, params: Optional[str]) -> bytes:
    """The body of a notification; otherwise as `request_body`."""
    rest = "" if params is None else f',"params":{params}'
    return f'{{"jsonrpc":"2.0","method":{quoted(method)}{rest}}}'.encode()


def result_body(request_id: RequestId, result: str) -> bytes:
    """The body of a good answer to the peer's request; `result` is JSON text already."""
    return f'{{"jsonrpc":"2.0","id":{_id_text(request_id)},"result":{result}}}'.encode()


def error_body(request_id: Optional[RequestId], code: int, message: str, data: Optional[str] = None) -> bytes:
    """The body of an error answer to the peer's request; `data` is JSON text already, None leaves it out.

    Any `message` can be sent: of a file name that is not UTF-8, for example, lone surrogates are written as escapes.
    """
    rest = "" if data is None else f',"data":{data}'
    text = json.dumps(in_utf8_form(message), ensure_ascii=False)
    error = f'{{"code":{code},"message":{text}{rest}}}'
    return f'{{"jsonrpc":"2.0","id":{_id_text(request_id)},"error":{error}}}'.encode()


def _id_text(request_id: Optional[RequestId]) -> str:
    if isinstance(request_id, str):
        return json.dumps(request_id, ensure_ascii=False)
    return "null" if request_id is None else str(request_id)
