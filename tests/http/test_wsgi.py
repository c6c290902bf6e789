"""Reading a WSGI environ, as every skin on WSGI does."""
from __future__ import annotations

import io
import sys
from typing import Any, Dict

import pytest
from werkzeug.test import create_environ

from legacy_plugins.http.wsgi import content_length, header_fields, query, request_target, text, wsgi_request


def test_a_request_is_read_whole() -> None:
    """Everything that the bridge wants to know, in its own terms."""
    environ = create_environ("/app/api/x?a=1", method="post", data=b"hello", content_type="text/plain",
                             headers={"X-Request-ID": "r-1", "Accept": "a/b"},
                             environ_overrides={"RAW_URI": "/api/x?a=1", "REMOTE_ADDR": "203.0.113.9"})
    native = object()
    request = wsgi_request(environ, method="post", path="/api/x", script_root="/app/", scheme="https",
                           host="example.org", read_body=io.BytesIO(b"hello").read, native=native)
    assert (request.method, request.path, request.raw_path, request.script_root) == ("POST", "/api/x", "/api/x?a=1",
                                                                                    "/app")
    assert (request.scheme, request.host, request.client_address) == ("https", "example.org", "203.0.113.9")
    assert (request.content_type, request.content_length, request.read_body(9)) == ("text/plain", 5, b"hello")
    assert (request.query, request.request_id, request.native) == ({"a": ["1"]}, "r-1", native)
    assert ("ACCEPT", "a/b") in request.headers
    assert request.client_gone is None


@pytest.mark.parametrize(("value", "expected"), [
    ("/caf\xc3\xa9", "/café"), ("/a\xffb", "/a\ufffdb"), ("//a", "//a"), ("", ""),
])
def test_texts_stand_for_bytes(value: str, expected: str) -> None:
    """UTF-8 where it is, U+FFFD where it is not (PEP 3333)."""
    assert text(value) == expected


@pytest.mark.parametrize(("value", "expected"), [
    ("", {}), ("a=1&b=2&a=3", {"a": ["1", "3"], "b": ["2"]}), ("a=&b", {"a": [""], "b": [""]}),
    ("q=%C3%A9+x", {"q": ["é x"]}), ("q=\xc3\xa9", {"q": ["é"]}), ("q=%ff", {"q": ["\ufffd"]}),
    ("a=1;b=2", {"a": ["1;b=2"]}),
])
def test_queries(value: str, expected: Dict[str, Any]) -> None:
    """Every value in order, blank ones too; `&` alone parts them, and broken bytes stay visible."""
    assert query({"QUERY_STRING": value}) == expected
    assert query({}) == {}


@pytest.mark.fault("R5", "R10")
@pytest.mark.parametrize(("environ", "expected"), [
    ({}, 0), ({"CONTENT_LENGTH": ""}, 0), ({"CONTENT_LENGTH": "7"}, 7), ({"CONTENT_LENGTH": "-7"}, 0),
    ({"CONTENT_LENGTH": "+7"}, 0), ({"CONTENT_LENGTH": "7x"}, 0), ({"CONTENT_LENGTH": "\u0667"}, 0),
    ({"CONTENT_LENGTH": "9" * 5000}, sys.maxsize), ({"wsgi.input_terminated": True}, None),
    ({"wsgi.input_terminated": True, "CONTENT_LENGTH": "7"}, 7),
    ({"wsgi.input_terminated": True, "CONTENT_LENGTH": "7", "HTTP_TRANSFER_ENCODING": "Chunked"}, None),
    ({"HTTP_TRANSFER_ENCODING": "chunked"}, 0),
])
def test_lengths(environ: Dict[str, Any], expected: Any) -> None:
    """A stated length counts, in digits; None only where the server ends the stream by itself."""
    assert content_length(environ) == expected


def test_targets_and_fields() -> None:
    """The target by whichever name the server has for it; fields with the two that WSGI keeps elsewhere."""
    assert request_target({"RAW_URI": "", "REQUEST_URI": "/x"}) == "/x"
    assert request_target({"RAW_URI": "/y", "REQUEST_URI": "/x"}) == "/y"
    assert request_target({"PATH_INFO": "/x"}) is None
    assert header_fields({"HTTP_X_Y": "1", "CONTENT_TYPE": "a/b", "CONTENT_LENGTH": "", "SERVER_NAME": "x"}) == [
        ("X-Y", "1"), ("CONTENT-TYPE", "a/b")]
