"""HTTP as route handlers see it: what came in, and what goes out.

Owns both translations: `plugin/handleRequest` params to a `Request`, a handler's return value to the result. Values
without state; any thread.
"""
from __future__ import annotations

import base64
import binascii
import json as _json
import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.sdk.error import Error

#: A header's value, or its values where the field is repeated.
HeaderValue = Union[str, Sequence[str]]

_UNSUPPORTED_MEDIA_TYPE = 415
_BAD_REQUEST = 400


@dataclass(frozen=True)
class Request:
    """An HTTP request for one of the plugin's routes.

    `path`: below `mount`, decoded; `path_params`: the parts of it that `{name}` stood for. `query`: every value is a
    list. `headers`: lower-case names; only those that the operator forwards. `body`, `body_encoding`: as they came over
    the wire; use `json`, `text` or `data`. `user`: who the host's authentication says it is, None without one.
    `client`: `address`, `scheme` and `host` in the host's view. `deadline`: when the host stops waiting. `request_id`,
    `traceparent`: for logs and traces (`traceparent` as in W3C Trace Context, section 3.2).
    """

    method: str
    path: str
    path_params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, List[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    body_encoding: Optional[str] = None
    user: Optional[Mapping[str, Any]] = None
    client: Mapping[str, Any] = field(default_factory=dict)
    mount: str = ""
    route: str = ""
    request_id: Optional[str] = None
    deadline: Optional[Deadline] = None
    traceparent: Optional[str] = None

    @classmethod
    def parse(cls, params: Mapping[str, Any], deadline: Optional[Deadline]) -> Request:
        """The request that `plugin/handleRequest` params are."""
        route = str(params.get("route", ""))
        return cls(str(params.get("method", "GET")).upper(), str(params.get("path", route)),
                   params.get("pathParams") or {}, params.get("query") or {}, params.get("headers") or {},
                   params.get("body"), params.get("bodyEncoding"), params.get("user"), params.get("client") or {},
                   str(params.get("mount") or ""), route, params.get("requestId"), deadline, params.get("traceparent"))

    @property
    def json(self) -> Any:
        """The parsed body, None without one. Raises `Error` 415 where the client did not send JSON."""
        if self.body_encoding not in (None, "json"):
            raise Error(_UNSUPPORTED_MEDIA_TYPE, f"the body is {self._media_type}, not JSON")
        return self.body

    @property
    def text(self) -> str:
        """The body as text, "" without one. Raises `Error` 400 where it is not UTF-8."""
        if self.body_encoding == "utf-8" and isinstance(self.body, str):
            return self.body
        try:
            return self.data.decode("utf-8")
        except UnicodeDecodeError:
            raise Error(_BAD_REQUEST, f"the body is {self._media_type}, not text in UTF-8") from None

    @property
    def data(self) -> bytes:
        """The body's bytes, b"" without one. A JSON body is written anew: equal, though not byte for byte."""
        if self.body_encoding is None:
            return b""
        if self.body_encoding == "json":
            return _json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
        text = self.body if isinstance(self.body, str) else ""
        if self.body_encoding != "base64":
            return text.encode("utf-8")
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise Error(_BAD_REQUEST, "the body is not valid base64") from None

    @property
    def _media_type(self) -> str:
        return str(self.headers.get("content-type") or "of an unknown type")


class Response:
    """An answer whose status, headers or kind of body matter; a handler may also return the body alone.

    `body`: bytes, text, anything that is JSON, or None for no body. `status`: 200 to 599. `headers`: names to a value
    or to a list of values; text and bytes bring a `content-type` unless one is given. `file`: instead of a body, the
    path of a file for the host to send, ranges included; it must be inside one of the operator's `http.fileRoots`.

    Raises `ValueError` or `TypeError` for what no HTTP response can be.
    """

    def __init__(self, body: Any = None, status: int = 200, headers: Optional[Mapping[str, HeaderValue]] = None, *,
                 file: Union[str, os.PathLike[str], None] = None) -> None:
        if type(status) is not int or not 200 <= status <= 599:
            raise ValueError(f"a response's status is an integer from 200 to 599, not {status!r}")
        if file is not None and body is not None:
            raise ValueError("a response has a body or a file, not both")
        self.body = body
        self.status = status
        self.headers: Dict[str, HeaderValue] = {name: _header(name, value) for name, value in (headers or {}).items()}
        self.file = None if file is None else os.path.abspath(os.fspath(file))

    def to_wire(self) -> Dict[str, Any]:
        """The result of `plugin/handleRequest`."""
        wire: Dict[str, Any] = {"status": self.status}
        headers = dict(self.headers)
        if self.file is not None:
            wire["bodyFile"] = self.file
        elif isinstance(self.body, (bytes, bytearray, memoryview)):
            wire.update(body=base64.b64encode(self.body).decode("ascii"), bodyEncoding="base64")
            _default_type(headers, "application/octet-stream")
        elif isinstance(self.body, str):
            wire.update(body=self.body, bodyEncoding="utf-8")
            _default_type(headers, "text/plain; charset=utf-8")
        elif self.body is not None:
            wire.update(body=self.body, bodyEncoding="json")
        if headers:
            wire["headers"] = headers
        return wire


def result_of(returned: Any) -> Dict[str, Any]:
    """The result for what a route handler returned: a `Response`, a body, or None for 204 (No Content)."""
    if isinstance(returned, Response):
        return returned.to_wire()
    return Response(returned, 204 if returned is None else 200).to_wire()


def _default_type(headers: Dict[str, HeaderValue], media_type: str) -> None:
    if not any(name.lower() == "content-type" for name in headers):
        headers["content-type"] = media_type


def _header(name: str, value: HeaderValue) -> HeaderValue:
    """The value, checked: a line break in it would begin another header (RFC 9110, section 5.5)."""
    values: List[Any] = list(value) if isinstance(value, (list, tuple)) else [value]
    for text in (name, *values):
        if not isinstance(text, str):
            raise TypeError(f"the header {name!r} has the value {value!r}; headers are strings or lists of strings")
        if any(char in text for char in "\r\n\0"):
            raise ValueError(f"the header {name!r} has a line break or a null character in it: {value!r}")
    return value if isinstance(value, str) else values
