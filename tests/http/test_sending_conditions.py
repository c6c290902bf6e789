"""Files on their way: ranges and conditions as RFC 9110 has them, with whatever werkzeug there is."""
from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import pytest
from werkzeug.test import create_environ
from werkzeug.utils import send_file

from legacy_plugins.http.messages import HttpResponse
from legacy_plugins.http.sending import file_environ, sent_file

OLD, NEW = "Thu, 01 Jan 1970 00:00:00 GMT", "Sat, 01 Jan 2050 00:00:00 GMT"
_HEADERS = (("x-content-type-options", "nosniff"), ("content-type", "text/plain"), ("X-Request-ID", "r-1"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of ten bytes from the year 2001."""
    path = tmp_path / "data.txt"
    path.write_bytes(b"0123456789")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


def _sent(path: Path, method: str = "GET", status: int = 200, **fields: str) -> Tuple[int, bytes, Dict[str, str]]:
    """Status, body and header fields of what is sent to a client that sends these fields."""
    sent_fields = {f"HTTP_{name.upper()}": value for name, value in fields.items()}
    environ = file_environ({**create_environ(method=method), **sent_fields}, str(path))
    answer = HttpResponse(status, _HEADERS, file=str(path))
    sent: Any = sent_file(answer, method, functools.partial(send_file, environ=environ))
    if isinstance(sent, HttpResponse):
        return sent.status, sent.body, {name.lower(): value for name, value in sent.headers}
    try:
        body = b"".join(sent.get_app_iter(environ))
        return sent.status_code, body, {name.lower(): value for name, value in sent.get_wsgi_headers(environ)}
    finally:
        sent.close()


@pytest.mark.req("R22")
@pytest.mark.parametrize(("wanted", "part", "content_range"), [
    ("bytes=2-4", b"234", "bytes 2-4/10"), ("bytes=8-", b"89", "bytes 8-9/10"), ("bytes=-3", b"789", "bytes 7-9/10"),
    ("bytes=0-0", b"0", "bytes 0-0/10"), ("bytes=0-99", b"0123456789", "bytes 0-9/10"),
    ("bytes=-10", b"0123456789", "bytes 0-9/10"),
])
def test_one_range_is_sent(path: Path, wanted: str, part: bytes, content_range: str) -> None:
    """206 with the part, its length, and where it lies."""
    status, body, fields = _sent(path, range=wanted)
    assert (status, body, fields["content-range"]) == (206, part, content_range)
    assert fields["content-length"] == str(len(part))


@pytest.mark.parametrize("wanted", [
    "bytes=0-0,5-6", "bytes=0-0, 99-", "bytes=abc", "bytes=", "bytes=4-2", "items=0-1", "0-1", "bytes=1-2x", "bytes=-",
    "bytes=--1", "bytes=+1-2", "bytes=1-\u0662", f"bytes=0-{'9' * 50}", "bytes=-11", "bytes=-0"])
def test_ranges_that_are_ignored(path: Path, wanted: str) -> None:
    """Several at once, another unit, no syntax, the last bytes of a shorter file: the whole, as if nobody had asked."""
    status, body, fields = _sent(path, range=wanted)
    assert (status, body, fields.get("content-range")) == (200, b"0123456789", None)


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=99-100"])
def test_a_range_outside_is_refused(path: Path, wanted: str) -> None:
    """416 as problem details, with the length to ask for ranges of."""
    status, body, fields = _sent(path, range=wanted)
    assert (status, fields["content-range"], fields["content-type"]) == (416, "bytes */10", "application/problem+json")
    assert b"0123456789" not in body


@pytest.mark.req("R22")
@pytest.mark.parametrize(("fields", "status", "body"), [
    ({"if_none_match": "%ETAG%"}, 304, b""), ({"if_none_match": "W/%ETAG%"}, 304, b""),
    ({"if_none_match": "*"}, 304, b""), ({"if_none_match": '"other"'}, 200, None),
    ({"if_none_match": '"other"', "if_modified_since": NEW}, 200, None), ({"if_modified_since": NEW}, 304, b""),
    ({"if_modified_since": OLD}, 200, None), ({"if_modified_since": "x"}, 200, None),
    ({"range": "bytes=0-1", "if_range": "%ETAG%"}, 206, b"01"), ({"if_match": "%ETAG%"}, 200, None),
    ({"range": "bytes=0-1", "if_range": '"other"'}, 200, None), ({"range": "bytes=0-1", "if_range": OLD}, 200, None),
])
def test_conditions(path: Path, fields: Dict[str, str], status: int, body: Optional[bytes]) -> None:
    """The client's copy is good (304), a part still belongs to the file (206), or the whole file is sent."""
    etag = _sent(path)[2]["etag"]
    sent = _sent(path, **{name: value.replace("%ETAG%", etag) for name, value in fields.items()})
    assert sent[:2] == (status, b"0123456789" if body is None else body)
    assert sent[2]["x-content-type-options"] == "nosniff"
    if status == 304:
        assert not {"content-type", "content-length"} & set(sent[2])


def test_a_precondition_that_does_not_hold(path: Path) -> None:
    """412 as problem details, without the file."""
    status, body, fields = _sent(path, if_match='"other"')
    assert (status, fields["content-type"]) == (412, "application/problem+json")
    assert b"0123456789" not in body


@pytest.mark.parametrize("fields", [{"range": "bytes=0-1"}, {"if_none_match": "*"}, {"if_modified_since": NEW}])
def test_other_methods_and_statuses_know_no_conditions(path: Path, fields: Dict[str, str]) -> None:
    """A POST's answer and an error page are sent whole."""
    assert _sent(path, "POST", **fields)[:2] == (200, b"0123456789")
    assert _sent(path, status=404, **fields)[:2] == (404, b"0123456789")


def test_a_head_states_the_length(path: Path) -> None:
    """Of the whole, or of the part."""
    assert _sent(path, "HEAD")[2]["content-length"] == "10"
    assert _sent(path, "HEAD", range="bytes=2-4")[2]["content-length"] == "3"
