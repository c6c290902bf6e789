"""Plugins' answers: what becomes a response, and what never reaches a server."""
from __future__ import annotations

import base64
import os
import socket
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from legacy_plugins.config.policies import HttpPolicy
from legacy_plugins.http.headers import MAX_FIELDS, MAX_HEADER_BYTES
from legacy_plugins.http.messages import HttpResponse
from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.http.responses import response_of

POLICY = HttpPolicy()


def _h(name: str, value: Any) -> Dict[str, Any]:
    return {"headers": {name: value}}


HOSTILE: Dict[str, Any] = {
    "null": None, "a list": [], "a text": "ok", "a number": 200,
    "status true": {"status": True}, "status a float": {"status": 200.0}, "status a text": {"status": "200 OK"},
    "status null": {"status": None}, "status 100": {"status": 100}, "status 101": {"status": 101},
    "status 199": {"status": 199}, "status 600": {"status": 600}, "status -1": {"status": -1},
    "status huge": {"status": 10 ** 50}, "a status line": {"status": "200\r\nX-Injected: 1"},
    "headers a list": {"headers": [["a", "b"]]}, "headers null": {"headers": None},
    "headers a text": {"headers": "a: b"},
    "CR LF in a value": _h("etag", "a\r\nX-Injected: 1"), "LF in a value": _h("etag", "a\nX-Injected: 1"),
    "CR in a value": _h("etag", "a\rX-Injected: 1"), "NUL in a value": _h("etag", "a\x00b"),
    "ESC in a value": _h("etag", "\x1b[31m"), "DEL in a value": _h("etag", "\x7f"),
    "NEL in a value": _h("etag", "a\x85b"),
    "not latin-1": _h("etag", "\u20ac"), "a lone surrogate in a value": _h("etag", "\ud800"),
    "a number for a value": _h("retry-after", 5), "null for a value": _h("etag", None),
    "a nested list": _h("vary", [["a"]]),
    "CR LF in a dropped value": _h("x-other", "a\r\nb"),
    "CR LF in a name": _h("etag\r\nX-Injected", "1"), "a colon in a name": _h("X:A", "1"),
    "a space in a name": _h("x a", "1"),
    "a space behind a name": _h("etag ", "1"), "an empty name": _h("", "1"), "NUL in a name": _h("x\x00", "1"),
    "a non-ASCII name": _h("\xe9", "1"), "a name that is a status line": _h("HTTP/1.1 200 OK", "1"),
    "too many fields": {"headers": {f"x-{index}": "1" for index in range(MAX_FIELDS + 1)}},
    "too many values": _h("vary", ["a"] * (MAX_FIELDS + 1)),
    "a large value": _h("etag", "x" * MAX_HEADER_BYTES), "many large values": _h("vary", ["x" * 1000] * 20),
    "two content types": _h("content-type", ["text/plain", "text/html"]),
    "content types in two spellings": {"headers": {"Content-Type": "text/plain", "content-type": "text/html"},
                                       "body": 1},
    "a list of media types": {**_h("content-type", "text/plain, text/html"), "body": 1},
    "no media type": {**_h("content-type", "html"), "body": 1},
    "two locations": _h("location", ["/a", "/b"]),
    "an absolute location": _h("location", "https://evil.example/"),
    "a location with a host": _h("location", "//evil.example/"),
    "three slashes": _h("location", "///evil.example/"), "a backslash": _h("location", "/\\evil.example/"),
    "a script location": _h("location", "javascript:alert(1)"),
    "a location with a space": _h("location", " //evil.example"),
    "a location with a tab inside": _h("location", "/\t/evil.example"), "an empty location": _h("location", ""),
    "a location that is not ASCII": _h("location", "/\xe9"),
    "an unknown encoding": {"body": "", "bodyEncoding": "hex"}, "encoding null": {"body": "", "bodyEncoding": None},
    "an encoding that cannot be hashed": {"body": "", "bodyEncoding": []},
    "a number as text": {"body": 1, "bodyEncoding": "utf-8"}, "null as text": {"body": None, "bodyEncoding": "utf-8"},
    "a list as base64": {"body": [], "bodyEncoding": "base64"},
    "base64 with spaces": {"body": "aGVs bG8=", "bodyEncoding": "base64"},
    "base64 without padding": {"body": "aGVsbG8", "bodyEncoding": "base64"},
    "base64 that is not ASCII": {"body": "\u20ac", "bodyEncoding": "base64"},
    "URL-safe base64": {"body": "-_-_", "bodyEncoding": "base64"},
    "a lone surrogate in text": {"body": "\ud800", "bodyEncoding": "utf-8"},
    "a lone surrogate in JSON": {"body": {"a": ["\udfff"]}}, "a lone surrogate as a key": {"body": {"\ud800": 1}},
    "NaN": {"body": float("nan")}, "both bodies": {"body": 1, "bodyFile": "/etc/hostname"},
    "a file outside": {"bodyFile": "/etc/passwd"}, "a relative file": {"bodyFile": "etc/passwd"},
    "a file that is a number": {"bodyFile": 1}, "a file null": {"bodyFile": None},
    "NUL in a file": {"bodyFile": "/a\x00b"},
}


@pytest.mark.fault("R9", "R11", "R13", "R15", "J7")
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_answers_are_the_plugins_fault(case: str) -> None:
    """An answer that is malformed in any part is 502, with a bounded reason for the log and none for clients."""
    with pytest.raises(HttpProblem) as raised:
        response_of(HOSTILE[case], POLICY)
    assert raised.value.status == 502
    assert raised.value.detail == "the plugin's answer was not valid"
    assert raised.value.headers == ()
    assert raised.value.reason is not None
    assert len(raised.value.reason) < 500


def _fields(response: HttpResponse) -> Dict[str, List[str]]:
    fields: Dict[str, List[str]] = {}
    for name, value in response.headers:
        fields.setdefault(name, []).append(value)
    return fields


@pytest.mark.req("R22")
@pytest.mark.parametrize(("result", "status", "content_type", "body"), [
    ({"body": {"a": "é"}}, 200, "application/json", '{"a":"é"}'.encode()),
    ({"body": None}, 200, "application/json", b"null"),
    ({"status": 201, "body": []}, 201, "application/json", b"[]"),
    ({"status": 599, "body": "é", "bodyEncoding": "utf-8"}, 599, "text/plain; charset=utf-8", "é".encode()),
    ({"body": base64.b64encode(b"\x00\xff").decode(), "bodyEncoding": "base64"}, 200, "application/octet-stream",
     b"\x00\xff"),
    ({"body": "a,b", "bodyEncoding": "utf-8", "headers": {"Content-Type": "text/csv"}}, 200, "text/csv", b"a,b"),
    ({"body": {}, "headers": {"content-type": 'application/x; a="b,c"; d=e'}}, 200, 'application/x; a="b,c"; d=e',
     b"{}"),
    ({"body": "", "bodyEncoding": "utf-8"}, 200, "text/plain; charset=utf-8", b""),
])
def test_an_answer_becomes_a_response(result: Any, status: int, content_type: str, body: bytes) -> None:
    """Status, body by its encoding, and a content type: the plugin's own, or the encoding's."""
    response = response_of(result, POLICY)
    assert (response.status, response.body, response.file) == (status, body, None)
    assert _fields(response)["content-type"] == [content_type]
    assert _fields(response)["x-content-type-options"] == ["nosniff"]


def test_an_answer_without_a_body_has_none() -> None:
    """All parts are optional; without `body` there is neither body nor content type."""
    response = response_of({}, POLICY)
    assert (response.status, response.body, response.header("content-type")) == (200, b"", None)


@pytest.mark.fault("R10", "R13")
def test_only_allowed_header_fields_leave() -> None:
    """Fields of the connection and lengths never do, listed or not; cookies and the like only where listed."""
    dropped = ["content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "trailer", "te", "date",
               "server", "proxy-authenticate", "set-cookie", "access-control-allow-origin", "strict-transport-security",
               "clear-site-data", "content-security-policy", "x-shop", "x-request-id", "x-content-type-options"]
    result = {"headers": {**dict.fromkeys(dropped, "5"), "ETag": '"v1"', "vary": ["accept", "cookie"],
                          "Cache-Control": "a"}}
    kept = {"etag": ['"v1"'], "vary": ["accept", "cookie"], "cache-control": ["a"],
            "x-content-type-options": ["nosniff"]}
    assert _fields(response_of(result, POLICY)) == kept
    everything = HttpPolicy(response_headers=tuple(dropped))
    opened = _fields(response_of(result, everything))
    assert set(opened) == {"set-cookie", "access-control-allow-origin", "strict-transport-security", "clear-site-data",
                           "content-security-policy", "x-shop", "x-content-type-options"}
    assert opened["x-content-type-options"] == ["nosniff"]


@pytest.mark.parametrize("location", ["/items/1", "items/1", "../x?a=http://b", "?page=2", "#top", "/a:b", "./a:b",
                                      "/%09/x"])
def test_relative_locations_leave(location: str) -> None:
    """A reference that stays on the origin passes unchanged."""
    assert response_of({"status": 303, **_h("location", location)}, POLICY).header("location") == location


@pytest.mark.fault("R14")
@pytest.mark.parametrize(("content_type", "active"), [
    ("text/html", True), ("TEXT/HTML; charset=utf-8", True), ("image/svg+xml", True), ("application/xml", True),
    ("application/xhtml+xml", True), ("application/atom+xml;type=entry", True), ("text/xsl", True),
    ("multipart/x-mixed-replace; boundary=x", True), ("text/plain", False), ("application/json", False),
    ("image/png", False),
])
def test_active_content_is_sandboxed(content_type: str, active: bool) -> None:
    """HTML, SVG and XML cannot run scripts on the application's origin, unless the operator says so."""
    result = {"body": "<script>", "bodyEncoding": "utf-8", **_h("content-type", content_type)}
    assert response_of(result, POLICY).header("content-security-policy") == ("sandbox" if active else None)
    trusted = response_of(result, HttpPolicy(html_sandbox=False))
    assert trusted.header("content-security-policy") is None
    assert trusted.header("x-content-type-options") == "nosniff"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file root with files, links out of it, and things that are no files; a secret beside it."""
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "page.html").write_text("<p>")
    (folder / "sub" / "data.bin").write_bytes(b"\x00")
    (folder / "notes.txt").write_text("text")
    (folder / "dump.tar.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "root-evil").mkdir()
    (tmp_path / "root-evil" / "file").write_text("evil")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "inside").symlink_to(folder / "sub" / "data.bin")
    os.mkfifo(str(folder / "fifo"))
    return folder


@pytest.mark.fault("R22")
@pytest.mark.parametrize("name", ["../secret", "out", "up/secret", "fifo", "sub", ".", "missing", "loop",
                                  "../root-evil/file",
                                  "sub/../../secret", "page.html/x"])
def test_files_that_never_leave(root: Path, name: str) -> None:
    """What is outside by its real path, missing, or no regular file is 502; a fifo does not block the thread."""
    with pytest.raises(HttpProblem) as raised:
        response_of({"bodyFile": f"{root}/{name}"}, HttpPolicy(file_roots=(str(root),)))
    assert raised.value.status == 502


@pytest.mark.fault("R22")
def test_a_socket_is_no_file(root: Path) -> None:
    """A Unix socket inside the root is refused."""
    with socket.socket(socket.AF_UNIX) as server:
        path = root / "s"
        server.bind(str(path))
        with pytest.raises(HttpProblem, match="not valid"):
            response_of({"bodyFile": str(path)}, HttpPolicy(file_roots=(str(root),)))


@pytest.mark.parametrize(("name", "real", "content_type", "sandbox"), [
    ("page.html", "page.html", "text/html; charset=utf-8", "sandbox"),
    ("notes.txt", "notes.txt", "text/plain; charset=utf-8", None),
    ("sub/data.bin", "sub/data.bin", "application/octet-stream", None),
    ("inside", "sub/data.bin", "application/octet-stream", None),
    ("dump.tar.gz", "dump.tar.gz", "application/octet-stream", None),
])
def test_files_inside_a_root_are_sent(root: Path, name: str, real: str, content_type: str, sandbox: Any) -> None:
    """The response has the real path, a type by its name, and none of what the framework states about files itself."""
    result = {"bodyFile": f"{root}/{name}", "headers": {"etag": '"mine"', "last-modified": "x",
                                                        "cache-control": "private"}}
    response = response_of(result, HttpPolicy(file_roots=("/nowhere", str(root))))
    expected: Tuple[Any, ...] = (str((root / real).resolve()), content_type, sandbox, None, "private")
    assert (response.file, response.header("content-type"), response.header("content-security-policy"),
            response.header("etag"), response.header("cache-control")) == expected


def test_without_roots_no_file_leaves(root: Path) -> None:
    """The default, no root at all, refuses every file."""
    with pytest.raises(HttpProblem):
        response_of({"bodyFile": str(root / "page.html")}, POLICY)


@pytest.mark.fault("R12")
@pytest.mark.parametrize(("method", "status", "body", "length"), [
    ("GET", 200, b"12345", "5"), ("HEAD", 200, b"", "5"), ("HEAD", 404, b"", "5"), ("GET", 204, b"", None),
    ("GET", 304, b"", None), ("HEAD", 304, b"", None), ("GET", 205, b"", "0"), ("HEAD", 205, b"", "0"),
])
def test_bodies_are_suppressed_where_there_may_be_none(method: str, status: int, body: bytes, length: Any) -> None:
    """204, 205, 304 and HEAD send no body; HEAD still states the length of what GET would send."""
    finished = HttpResponse(status, (), b"12345").finished(method, "r-1")
    assert (finished.body, finished.header("content-length")) == (body, length)


def test_the_framework_states_the_length_of_a_file() -> None:
    """A file goes on as it is, but for statuses without a body."""
    identified = (("X-Request-ID", "r-1"),)
    assert HttpResponse(200, file="/f").finished("HEAD", "r-1") == HttpResponse(200, identified, file="/f")
    assert HttpResponse(304, file="/f").finished("GET", "r-1") == HttpResponse(304, identified)
    assert HttpResponse(205, file="/f").finished("GET", "r-1").file is None
