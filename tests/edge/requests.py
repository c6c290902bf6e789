"""Requests that no honest client sends: the table of their bytes, and what a plugin may get of each."""
from __future__ import annotations

from typing import Dict, NamedTuple, Optional, Tuple

PREFIX = b"/api/plugins/liar"
SMUGGLED = b"GET " + PREFIX + b"/files/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"
NEVER: Tuple[Optional[str], ...] = ()


class Request(NamedTuple):
    """The bytes of a request, `%ID%` standing for its id; and the bodies that a plugin may get, none for never."""

    data: bytes
    bodies: Tuple[Optional[str], ...]


def _post(fields: bytes, body: bytes, *bodies: Optional[str]) -> Request:
    return Request(b"POST " + PREFIX + b"/echo HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: %ID%\r\n"
                   b"Content-Type: text/plain\r\n" + fields + b"\r\n\r\n" + body, bodies)


def _get(fields: bytes, *, method: bytes = b"GET", host: bytes = b"Host: localhost\r\n",
         bodies: Tuple[Optional[str], ...] = (None,)) -> Request:
    return Request(method + b" " + PREFIX + b"/echo HTTP/1.1\r\n" + host + b"X-Request-ID: %ID%\r\n" + fields +
                   b"\r\n\r\n", bodies)


def _te(value: bytes, body: bytes = CHUNKED, *bodies: Optional[str]) -> Request:
    return _post(b"Transfer-Encoding: " + value, body, *bodies)


def _length(value: bytes, *bodies: Optional[str]) -> Request:
    return _post(b"Content-Length: " + value + b"\r\nConnection: close", b"hello", *bodies)


REQUESTS: Dict[str, Request] = {
    # where a body ends: two answers to that are two requests
    "length-and-chunks": _post(b"Content-Length: %d\r\nTransfer-Encoding: chunked" % (5 + len(SMUGGLED)),
                               b"0\r\n\r\n" + SMUGGLED),
    "chunks-and-length": _post(b"Transfer-Encoding: chunked\r\nContent-Length: %d" % (5 + len(SMUGGLED)),
                               b"0\r\n\r\n" + SMUGGLED),
    "coding-unknown": _te(b"xchunked"), "coding-gzip": _te(b"gzip, chunked"), "coding-not-last": _te(b"chunked, gzip"),
    "coding-twice": _te(b"chunked, chunked"), "coding-in-two-fields": _te(b"chunked\r\nTransfer-Encoding: identity"),
    "coding-identity": _te(b"identity\r\nContent-Length: 5", b"hello"),
    "coding-vertical-tab": _te(b"\x0bchunked\r\nContent-Length: 5", b"hello"),
    "coding-folded": _te(b"\r\n chunked\r\nContent-Length: 5", b"hello"),
    "coding-with-a-space": _post(b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\nConnection: close", b"hello",
                                 "hello", None),
    "coding-in-capitals": _te(b"CHUNKED", CHUNKED, "hello"),
    "coding-underscore": _post(b"Transfer_Encoding: chunked\r\nContent-Length: 5", b"hello", "hello"),
    "length-underscore": _post(b"Content_Length: 500\r\nContent-Length: 5", b"hello", "hello"),
    "length-two": _post(b"Content-Length: 5\r\nContent-Length: 6", b"hello!", "hello!"),
    "length-twice": _post(b"Content-Length: 5\r\nContent-Length: 5", b"hello", "hello"),
    "length-list": _length(b"5, 5"), "length-plus": _length(b"+5"), "length-minus": _length(b"-5"),
    "length-hex": _length(b"0x5"), "length-text": _length(b"five"), "length-underline": _length(b"0_5"),
    "length-float": _length(b"5.0"), "length-arabic": _length("\u0665".encode()),
    "length-zeros": _length(b"005", "hello"),
    "length-huge": _length(b"9" * 30), "length-over": _length(b"2000000000"),
    "chunk-size-text": _te(b"chunked", b"zz\r\nhello\r\n0\r\n\r\n"),
    "chunk-size-minus": _te(b"chunked", b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk-size-prefix": _te(b"chunked", b"0x5\r\nhello\r\n0\r\n\r\n", "hello"),
    "chunk-without-end": _te(b"chunked\r\nConnection: close", b"5\r\nhelloXX0\r\n\r\n"),
    "chunk-extension": _te(b"chunked", b"5;a=b\r\nhello\r\n0\r\n\r\n", "hello"),
    "chunk-trailer": _te(b"chunked", b"5\r\nhello\r\n0\r\nX-Plugin-User: root\r\n\r\n", "hello"),
    "chunks-over": _te(b"chunked", b"61a80\r\n" + b"x" * 400_000 + b"\r\n0\r\n\r\n"),
    "body-of-a-get": _post(b"Content-Length: 5", b"hello", "hello")._replace(data=_post(
        b"Content-Length: 5", b"hello").data.replace(b"POST", b"GET", 1)),
    # fields
    "identities": _get(b"X-Plugin-User: root\r\nX_Plugin_User: root\r\nX-Plugin-Anything: 1\r\n"
                       b"X-Forwarded-For: 10.9.9.9\r\n"
                       b"X-Forwarded-Host: evil.example\r\nX-Forwarded-Prefix: /evil\r\nX-Real-IP: 10.9.9.9\r\n"
                       b"Forwarded: for=10.9.9.9;host=evil.example\r\nRemote-User: root\r\nRemote_Addr: 10.9.9.9\r\n"
                       b"X-Remote-User: root\r\nScript-Name: /evil\r\nSCRIPT_NAME: /evil\r\nCookie: a=1\r\n"
                       b"Authorization: x"),
    "connection": _get(b"Connection: Range, X-Secret, Accept\r\nRange: bytes=0-1\r\nX-Secret: 1\r\nAccept: a/b\r\n"
                       b"Keep-Alive: 1\r\nTE: trailers\r\nTrailer: etag\r\nProxy-Authorization: x\r\n"
                       b"Proxy-Connection: x"),
    "cookie-of-100-kB": _get(b"Cookie: " + b"a=b; " * 20_000), "field-of-100-kB": _get(b"Accept: " + b"a" * 100_000),
    "2000-fields": _get(b"\r\n".join(b"X-%d: 1" % number for number in range(2000))),
    "nul": _get(b"Accept: a\0b", bodies=NEVER), "carriage-return": _get(b"Accept: a\rb"),
    "line-feed": _get(b"Accept: a\nX-Secret: b"), "folded": _get(b"Accept: a\r\n b"),
    "controls": _get(b"Accept: \x01\x7f", bodies=NEVER),
    "latin-1": _get(b"Accept: \xff\xe9"), "utf-8": _get("Accept: \u20ac".encode()), "no-colon": _get(b"Accept"),
    "space-before-the-colon": _get(b"Accept : a"), "no-name": _get(b": a"),
    "types": _get(b"Content-Type: a/b\r\nContent-Type: c/d"),
    "request-id-folded": _get(b"X-Request-ID: a\r\n b"),
    "trace-context": _get(b"traceparent: 00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"),
    "two-hosts": _get(b"Host: evil.example"), "host-odd": _get(b"Accept: a", host=b"Host: a/b?c@d:e\"<>\r\n"),
    "no-host": _get(b"Accept: a", host=b""),
    "host-empty": _get(b"Accept: a", host=b"Host:\r\n"), "host-latin-1": _get(b"Accept: a", host=b"Host: \xff\r\n"),
    "upgrade": _get(b"Connection: Upgrade\r\nUpgrade: websocket"),
    "h2c": _get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x"),
    "expect-nonsense": _post(b"Expect: 200-ok\r\nContent-Length: 5", b"hello", "hello"),
    "content-coding": _post(b"Content-Encoding: gzip\r\nContent-Length: 5", b"hello"),
    "not-utf-8": _post(b"Content-Length: 2", b"\xff\xfe"),
    "nul-in-the-body": _post(b"Content-Length: 3", b"a\0b", "a\0b"),
    # methods
    "trace": _get(b"Max-Forwards: 0", method=b"TRACE", bodies=NEVER),
    "connect": _get(b"Accept: a", method=b"CONNECT", bodies=NEVER),
    "small-letters": _get(b"Accept: a", method=b"get"), "quoted": _get(b"Accept: a", method=b'G"T', bodies=NEVER),
    "propfind": _get(b"Depth: 1", method=b"PROPFIND", bodies=NEVER),
    "long-method": _get(b"Accept: a", method=b"A" * 5000, bodies=NEVER),
    "override": _get(b"X-HTTP-Method-Override: DELETE\r\nX-Method: DELETE"),
}
