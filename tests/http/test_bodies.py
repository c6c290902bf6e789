"""Bodies of requests: the bound on reading, and what they are decoded to."""
from __future__ import annotations

import base64
from typing import Any, Dict, List, Optional, Tuple

import pytest

from legacy_plugins.http.bodies import NO_BODY, Body, decode_body, read_body
from legacy_plugins.http.problems import HttpProblem
from tests.http.fakes import request

LIMIT = 1000


class _Stream:
    """A client that would send for ever; counts what was taken from it."""

    def __init__(self) -> None:
        self.taken = 0

    def read(self, size: int) -> bytes:
        self.taken += size
        return b"x" * size


@pytest.mark.fault("R5")
def test_a_stated_length_over_the_limit_is_refused_unread() -> None:
    """413 before a byte is read."""
    stream = _Stream()
    with pytest.raises(HttpProblem) as raised:
        read_body(request("POST", content_length=LIMIT + 1, read_body=stream.read), LIMIT)
    assert (raised.value.status, stream.taken) == (413, 0)


@pytest.mark.fault("R5")
@pytest.mark.parametrize("limit", [0, 1, LIMIT, 65536, 200_000])
def test_an_endless_chunked_body_is_cut_off(limit: int) -> None:
    """Without a stated length at most one byte beyond the limit is read."""
    stream = _Stream()
    with pytest.raises(HttpProblem) as raised:
        read_body(request("POST", content_length=None, read_body=stream.read), limit)
    assert raised.value.status == 413
    assert stream.taken <= limit + 1


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("size", [0, 1, 6, 7, 8, LIMIT])
def test_a_body_within_the_limit_is_read_whole(size: int, chunked: bool) -> None:
    """Up to the limit, in whatever pieces it comes, with or without a stated length."""
    body = bytes(range(256)) * 4
    assert read_body(request("POST", body=body[:size], chunked=chunked), LIMIT) == body[:size]


def test_a_body_that_ends_early_is_refused() -> None:
    """Fewer bytes than stated: the client went away, and half a body is none."""
    with pytest.raises(HttpProblem) as raised:
        read_body(request("POST", body=b"half", content_length=8), LIMIT)
    assert raised.value.status == 400
    assert "4 of 8" in raised.value.detail


@pytest.mark.fault("R5")
@pytest.mark.parametrize(("fields", "length", "status"), [
    ({"Content-Length": "5", "Transfer-Encoding": "chunked"}, 5, 400),
    ({"Content-Length": "5", "Transfer-Encoding": "chunked"}, None, 400),
    ({"Transfer-Encoding": "gzip, chunked"}, None, 400), ({"Transfer-Encoding": "identity"}, None, 400),
    ({"Transfer-Encoding": "xchunked"}, 0, 400),
    ({"Transfer-Encoding": "chunked"}, 0, 411), ({"Content-Length": "+5"}, 0, 400),
    ({"Content-Length": "5, 5"}, 0, 400),
    ({"Content-Length": "-5"}, 0, 400), ({"Content-Length": "0x5"}, 0, 400), ({"Content-Length": "5_0"}, 0, 400),
    ({"Content-Length": "\u0665"}, 0, 400), ({"Content-Length": "abc"}, 0, 400),
])
def test_a_body_says_once_where_it_ends(fields: Dict[str, str], length: Optional[int], status: int) -> None:
    """Anything else is refused unread, whatever the server made of it."""
    stream = _Stream()
    with pytest.raises(HttpProblem) as raised:
        read_body(request("POST", headers=list(fields.items()), content_length=length, read_body=stream.read), LIMIT)
    assert (raised.value.status, stream.taken) == (status, 0)


@pytest.mark.parametrize(("field", "chunked"), [(("TRANSFER-ENCODING", " Chunked"), True),
                                                (("CONTENT-LENGTH", "005"), False)])
def test_a_plain_framing_is_taken(field: Tuple[str, str], chunked: bool) -> None:
    """Chunked where the server ends the stream, or one number."""
    assert read_body(request("POST", body=b"hello", headers=[field], chunked=chunked), LIMIT) == b"hello"


@pytest.mark.fault("R5")
@pytest.mark.parametrize("error", [ConnectionResetError("gone"), TimeoutError("slow"), OSError("invalid chunk"),
                                   type("InvalidChunkSize", (Exception,), {"__module__": "gunicorn.http.errors"})()])
def test_a_body_that_cannot_be_read_is_the_clients_fault(error: Exception) -> None:
    """What a server raises for a client that left, stalled or sent bad chunks is 400, not an application's error."""
    def read(size: int) -> bytes:
        raise error

    with pytest.raises(HttpProblem) as raised:
        read_body(request("POST", content_length=5, read_body=read), LIMIT)
    assert raised.value.status == 400


def test_other_errors_of_reading_are_the_applications() -> None:
    """A framework's own refusal of a body reaches the framework."""
    def read(size: int) -> bytes:
        raise LookupError("the framework's")

    with pytest.raises(LookupError):
        read_body(request("POST", content_length=5, read_body=read), LIMIT)


def test_reading_stops_at_the_stated_length() -> None:
    """Bytes behind the stated length belong to somebody else."""
    stream = _Stream()
    assert read_body(request("POST", content_length=5, read_body=stream.read), LIMIT) == b"xxxxx"
    assert stream.taken == 5


def _decoded(data: bytes, content_type: Optional[str], *, needs_json: bool = False) -> Body:
    return decode_body(request("POST", content_type=content_type), data, needs_json=needs_json)


@pytest.mark.req("R22")
@pytest.mark.parametrize(("content_type", "data", "value", "encoding"), [
    ("application/json", b'{"a": [1, null]}', {"a": [1, None]}, "json"),
    ("Application/JSON; charset=UTF-8", b'"\xc3\xa9"', "é", "json"),
    ("text/json", b"1.5", 1.5, "json"),
    ("application/vnd.api+json; version=1", b"[]", [], "json"),
    ("application/json", b'{"a": 1, "a": 2}', {"a": 2}, "json"),
    ("application/json", b'"\\ud83d\\ude00"', "😀", "json"),
    ("application/json", b'"\\\\ud800"', "\\ud800", "json"),
    ("text/plain", b"\xc3\xa9", "é", "utf-8"),
    ('text/plain; charset="iso-8859-1"', b"\xe9", "é", "utf-8"),
    ("text/csv; charset=windows-1252", b"\x80", "€", "utf-8"),
    ("application/x-www-form-urlencoded", b"a=1&b=%C3%A9", "a=1&b=%C3%A9", "utf-8"),
    ("application/octet-stream", b"\x00\xff", base64.b64encode(b"\x00\xff").decode(), "base64"),
    ("multipart/form-data; boundary=x", b"--x", base64.b64encode(b"--x").decode(), "base64"),
    (None, b"{}", base64.b64encode(b"{}").decode(), "base64"),
    ("nonsense", b"{}", base64.b64encode(b"{}").decode(), "base64"),
])
def test_the_media_type_says_how_a_body_is_passed_on(content_type: Optional[str], data: bytes, value: Any,
                                                     encoding: str) -> None:
    """JSON is parsed, text and forms are text, all else is base64."""
    assert _decoded(data, content_type) == Body(value, encoding, len(data))


def test_no_body_is_null() -> None:
    """Without a byte there is no body, whatever the media type says."""
    assert _decoded(b"", "application/json") == NO_BODY
    assert (NO_BODY.value, NO_BODY.encoding) == (None, None)


@pytest.mark.parametrize("data", [
    b"{",
    b"{'a': 1}", b"[1,]", b"NaN", b"[Infinity]", b"1e999", b"\xff", b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"),
    b'"\\ud800"', b'{"\\uDFFF": 1}', b'["\\ud800\\ud800"]', b"[" * 129 + b"]" * 129, b"[" * 5000,
    b"[" * 126 + b"]" * 126, b"[" + b"[]," * 248_000 + b"[]]", b"1" * 101, b"{} {}", b"null x",
], ids=lambda data: repr(data[:20]))
@pytest.mark.fault("J7")
def test_malformed_json_is_400(data: bytes) -> None:
    """What the policy on JSON refuses is the client's fault; there is room left for the message round the body."""
    with pytest.raises(HttpProblem) as raised:
        _decoded(data, "application/json")
    assert raised.value.status == 400
    (fault,) = raised.value.faults
    assert fault["pointer"] == ""
    assert 0 < len(fault["detail"]) <= 200


@pytest.mark.parametrize(("content_type", "data", "status"), [
    ("text/plain", b"\xff", 400), ("text/plain; charset=us-ascii", b"\xff", 400),
    ("text/plain; charset=utf-16", b"a\x00", 415), ("text/plain; charset=punycode", b"a", 415),
    ("text/plain; charset=zlib", b"a", 415), ("application/json; charset=latin-1", b"{}", 415),
    ("application/json; charset=utf-16", b"{}", 415),
])
def test_charsets(content_type: str, data: bytes, status: int) -> None:
    """Text that is not in its charset is malformed; charsets that are not taken, codecs that are none: 415."""
    with pytest.raises(HttpProblem) as raised:
        _decoded(data, content_type)
    assert raised.value.status == status


@pytest.mark.parametrize("content_type", ["text/plain", None, "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_route_with_a_schema_takes_json_alone(content_type: Optional[str]) -> None:
    """Any other media type is 415."""
    with pytest.raises(HttpProblem) as raised:
        _decoded(b"{}", content_type, needs_json=True)
    assert raised.value.status == 415


@pytest.mark.parametrize(("coding", "taken"), [("gzip", False), ("Identity", True), ("gzip, identity", False)])
def test_content_codings_are_refused(coding: str, taken: bool) -> None:
    """A plugin never gets compressed bytes under the media type of what is inside."""
    sent = request("POST", content_type="text/plain", headers=[("Content-Encoding", coding)])
    statuses: List[int] = []
    try:
        decode_body(sent, b"a", needs_json=False)
    except HttpProblem as problem:
        statuses.append(problem.status)
    assert statuses == ([] if taken else [415])
