"""What a plugin may answer that no client must get: the table of hostile answers, and what becomes of each."""
from __future__ import annotations

import base64
import json
from typing import Any, Dict, Mapping, NamedTuple, Optional

EVIL = "evil\r\nX-Injected: 1\r\nSet-Cookie: a=b\r\n\r\n<script>alert(1)</script>"
PNG = base64.b64encode(bytes(range(256))).decode()


class Lie(NamedTuple):
    """A message that answers a request, and what the client must get for it.

    `message`: the whole message's text, `%ID%` standing for the request's id. `others`: the header fields of the answer
    that are the plugin's. `body`: None for problem details.
    """

    message: str
    status: int = 502
    body: Optional[bytes] = None
    others: Mapping[str, str] = {}
    method: bytes = b"GET"


def _raw(text: str, **expected: Any) -> Lie:
    return Lie('{"jsonrpc": "2.0", "id": %ID%, "result": ' + text + "}", **expected)


def _result(result: Any, **expected: Any) -> Lie:
    return _raw(json.dumps(result), **expected)


def _field(name: str, value: Any, **expected: Any) -> Lie:
    return _result({"headers": {name: value}, "body": "x", "bodyEncoding": "utf-8"}, **expected)


def _dropped(name: str, value: Any) -> Lie:
    """A field that is well-formed and not the plugin's to set: the answer is sent without it."""
    return _field(name, value, status=200, body=b"x")


def _file(path: str) -> Lie:
    """A file that must not be sent; `%FILES%` is the folder of those that may."""
    return _result({"bodyFile": path})


LIES: Dict[str, Lie] = {
    # header fields that are none
    "cr-lf-in-a-value": _field("etag", EVIL), "lf-in-a-value": _field("etag", "a\nX-Injected: 1"),
    "cr-in-a-value": _field("etag", "a\rX-Injected: 1"), "nul-in-a-value": _field("etag", "a\0b"),
    "obs-fold-in-a-value": _field("etag", "a\r\n b"), "escape-in-a-value": _field("etag", "\x1b[2J"),
    "cr-lf-in-a-dropped-value": _field("x-whatever", EVIL), "nel-in-a-value": _field("etag", "a\x85b"),
    "not-latin-1-in-a-value": _field("etag", "\u20ac"), "line-separator-in-a-value": _field("etag", "a\u2028b"),
    "cr-lf-through-narrowing": _field("etag", "a\u010d\u010aX-Injected: 1"),
    "surrogate-in-a-value": _field("etag", "\ud800"),
    "cr-lf-in-a-name": _field(f"etag: {EVIL}", "1"), "nul-in-a-name": _field("etag\0", "1"),
    "colon-in-a-name": _field("X-Injected:A", "1"), "space-in-a-name": _field("X-Injected A", "1"),
    "space-behind-a-name": _field("etag ", "1"), "empty-name": _field("", "X-Injected: 1"),
    "status-line-for-a-name": _field("HTTP/1.1 200 OK", "1"), "name-not-ascii": _field("\xe9tag", "1"),
    "value-a-number": _field("etag", 1), "value-null": _field("etag", None),
    "value-an-object": _field("etag", {"a": 1}),
    "nested-lists": _field("vary", [["a"]]), "headers-a-list": _result({"headers": [["etag", "1"]]}),
    "headers-a-text": _result({"headers": "etag: 1"}), "headers-null": _result({"headers": None}),
    "more-than-64-fields": _result({"headers": {f"x-{number}": "1" for number in range(65)}}),
    "64-values": _field("vary", ["a"] * 65), "100-kB-value": _field("etag", "x" * 100_000),
    "100-kB-in-many-values": _field("vary", ["x" * 2000] * 50), "two-types": _field("content-type", ["a/b", "c/d"]),
    "a-list-of-types": _field("content-type", "text/plain, text/html"), "no-type": _field("content-type", "html"),
    # header fields that are not a plugin's to set
    "length-too-long": _dropped("Content-Length", "50"), "length-too-short": _dropped("content-length", "0"),
    "length-twice": _dropped("content-length", ["1", "0"]),
    "transfer-encoding": _dropped("Transfer-Encoding", "chunked"),
    "connection": _dropped("Connection", "keep-alive, Content-Length"),
    "keep-alive": _dropped("Keep-Alive", "timeout=9"),
    "upgrade": _dropped("Upgrade", "websocket"), "trailer": _dropped("Trailer", "etag"),
    "te": _dropped("TE", "trailers"),
    "server": _dropped("Server", "lies/1.0"), "date": _dropped("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    "proxy": _dropped("Proxy-Authenticate", "Basic"), "request-id": _dropped("X-Request-ID", "forged"),
    "cookie": _dropped("Set-Cookie", "session=stolen; Domain=localhost"),
    "cors": _dropped("Access-Control-Allow-Origin", "*"),
    "hsts": _dropped("Strict-Transport-Security", "max-age=1"), "clear": _dropped("Clear-Site-Data", '"*"'),
    "sendfile": _dropped("X-Sendfile", "/etc/passwd"), "accel": _dropped("X-Accel-Redirect", "/etc/passwd"),
    "refresh": _dropped("Refresh", "0; url=//evil.example"), "nosniff": _dropped("X-Content-Type-Options", "none"),
    "csp": _dropped("Content-Security-Policy", "script-src *"), "encoding": _dropped("Content-Encoding", "gzip"),
    "html-with-a-csp": _result(
        {"headers": {"Content-Type": "text/html", "Content-Security-Policy": "script-src *"}, "body": "<script>",
         "bodyEncoding": "utf-8"}, status=200, body=b"<script>", others={"content-security-policy": "sandbox"}),
    "location-absolute": _field("location", "https://evil.example/"),
    "location-host": _field("Location", "//evil.example"),
    "location-backslash": _field("location", "/\\evil.example"), "location-script": _field("location", "javascript:1"),
    "location-tab": _field("location", "/\t/evil.example"), "location-cr-lf": _field("location", "/a\r\nX-Injected: 1"),
    # statuses
    "status-true": _result({"status": True}), "status-a-float": _result({"status": 200.0}),
    "status-1.5": _result({"status": 1.5}), "status-a-text": _result({"status": "200"}),
    "status-a-line": _result({"status": f"200 OK\r\n{EVIL}"}), "status-99": _result({"status": 99}),
    "status-100": _result({"status": 100}), "status-101": _result({"status": 101}),
    "status-199": _result({"status": 199}),
    "status-600": _result({"status": 600}), "status-negative": _result({"status": -200}),
    "status-huge": _result({"status": 10 ** 60}), "status-null": _result({"status": None}),
    "status-a-list": _result({"status": [200]}), "status-0": _result({"status": 0}),
    # bodies
    "204-with-a-body": _result({"status": 204, "body": EVIL, "bodyEncoding": "utf-8"}, status=204, body=b""),
    "304-with-a-body": _result({"status": 304, "body": EVIL, "bodyEncoding": "utf-8"}, status=304, body=b""),
    "205-with-a-body": _result({"status": 205, "body": "x", "bodyEncoding": "utf-8"}, status=205, body=b""),
    "head-with-a-body": _result({"body": EVIL, "bodyEncoding": "utf-8"}, status=200, body=b"", method=b"HEAD"),
    "head-with-a-bad-answer": _result({"status": True}, body=b"", method=b"HEAD"),
    "head-with-a-length": _result({"headers": {"content-length": "7"}, "body": "x", "bodyEncoding": "utf-8"},
                                  status=200, body=b"", method=b"HEAD"),
    "body-a-number": _result({"body": 1, "bodyEncoding": "utf-8"}),
    "body-an-object": _result({"body": {}, "bodyEncoding": "base64"}),
    "unknown-encoding": _result({"body": "x", "bodyEncoding": "gzip"}),
    "encoding-a-list": _result({"body": "x", "bodyEncoding": []}),
    "base64-with-line-breaks": _result({"body": PNG[:76] + "\n" + PNG[76:], "bodyEncoding": "base64"}),
    "base64-without-padding": _result({"body": "QQ", "bodyEncoding": "base64"}),
    "base64-not-ascii": _result({"body": "\u20ac===", "bodyEncoding": "base64"}),
    "surrogate-in-text": _result({"body": "\ud800", "bodyEncoding": "utf-8"}),
    "surrogate-in-json": _result({"body": ["\udfff"]}),
    "surrogate-in-a-key": _result({"body": {"\ud800": 1}}),
    "body-and-file": _result({"body": 1, "bodyFile": "%FILES%/page"}),
    "an-answer-in-the-body": _result({"body": f"HTTP/1.1 200 OK\r\n{EVIL}", "bodyEncoding": "utf-8"}, status=200,
                                     body=f"HTTP/1.1 200 OK\r\n{EVIL}".encode()),
    # files
    "file-outside": _file("/etc/passwd"), "file-through-dots": _file("%FILES%/../secret"),
    "file-through-a-link": _file("%FILES%/link"), "file-through-a-folder's-link": _file("%FILES%/up/secret"),
    "file-a-fifo": _file("%FILES%/fifo"), "file-a-directory": _file("%FILES%/folder"),
    "file-the-root": _file("%FILES%"),
    "file-a-device": _file("/dev/zero"), "file-missing": _file("%FILES%/missing"), "file-relative": _file("files/page"),
    "file-with-nul": _file("%FILES%/page\0"), "file-of-a-process": _file("/proc/self/environ"),
    "file-a-number": _result({"bodyFile": 0}), "file-null": _result({"bodyFile": None}),
    "file-a-surrogate": _file("%FILES%/\ud800"),
    # results and messages
    "result-null": _raw("null"), "result-a-list": _raw("[]"), "result-a-text": _raw('"ok"'),
    "result-a-number": _raw("200"),
    "result-false": _raw("false"), "result-missing": Lie('{"jsonrpc": "2.0", "id": %ID%}'),
    "result-and-error": Lie('{"jsonrpc": "2.0", "id": %ID%, "result": {}, "error": {"code": 1, "message": "x"}}'),
    "deep-json": _raw('{"body": ' + "[" * 200 + "]" * 200 + "}"), "very-deep-json": _raw("[" * 100_000 + "]" * 100_000),
    "nan": _raw('{"body": NaN}'), "infinity": _raw('{"body": 1e999}'),
    "huge-integer": _raw('{"body": ' + "1" * 5000 + "}"),
    "no-json": _raw("{'body': 1}"), "no-version": Lie('{"id": %ID%, "result": {}}'),
    "error-with-a-traceback": Lie('{"jsonrpc": "2.0", "id": %ID%, "error": {"code": -32603, "message": '
                                  '"Traceback (most recent call last): secret"}}'),
    "error-with-a-line": Lie('{"jsonrpc": "2.0", "id": %ID%, "error": {"code": 404, "message": ' + json.dumps(EVIL) +
                             "}}", status=404),
    "error-code-true": Lie('{"jsonrpc": "2.0", "id": %ID%, "error": {"code": true, "message": "x"}}'),
    "error-code-200": Lie('{"jsonrpc": "2.0", "id": %ID%, "error": {"code": 200, "message": "x"}}'),
    "error-a-text": Lie('{"jsonrpc": "2.0", "id": %ID%, "error": "x"}'),
}
#: A file that may be sent.
TRUTH = _result({"bodyFile": "%FILES%/data.bin"})
#: What ends the plugin's process when it is written instead of an answer.
DEADLY: Dict[str, Lie] = {
    "over-the-limit": Lie("Content-Length: 1100000\r\n\r\n" + "x" * 1_100_000),
    "a-print": Lie("Traceback (most recent call last): secret\n"),
    "an-http-answer": Lie("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    "two-lengths": Lie("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
}
