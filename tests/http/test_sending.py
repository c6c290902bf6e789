"""Files on their way to clients, as every skin sends them."""
from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import create_environ
from werkzeug.utils import send_file
from werkzeug.wrappers import Response

from legacy_plugins.http import HttpResponse
from legacy_plugins.http.sending import file_environ, sent_file


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Ten bytes."""
    (tmp_path / "data.txt").write_bytes(b"0123456789")
    return str(tmp_path / "data.txt")


def _sent(file: str, status: int = 200, headers: Any = (), method: str = "GET", **fields: str) -> Any:
    environ = create_environ("/", method=method, headers={name.replace("_", "-"): value
                                                          for name, value in fields.items()})
    answer = HttpResponse(status, (("content-type", "text/csv"), ("X-Request-ID", "r-1"), *headers), file=file)
    return sent_file(answer, method, functools.partial(send_file, environ=file_environ(environ, file)))


@pytest.mark.req("R22")
def test_our_fields_win(file: str) -> None:
    """Over those that werkzeug makes, each with all its values."""
    with _sent(file, headers=(("vary", "a"), ("vary", "b"), ("cache-control", "no-store"))) as response:
        assert isinstance(response, Response)
        assert response.headers.getlist("vary") == ["a", "b"]
        assert response.headers.getlist("cache-control") == ["no-store"]
        assert response.headers.getlist("content-type") == ["text/csv"]
        assert response.status_code == 200


@pytest.mark.req("R22")
@pytest.mark.parametrize(("fields", "status"), [
    ({"Range": "bytes=1-2"}, 206), ({"Range": "bytes=-1"}, 206), ({"Range": "lines=1-2"}, 200), ({}, 200),
    ({"Range": "bytes=0-1,4-5"}, 200), ({"Range": "nonsense"}, 200), ({"Range": "bytes=a-b"}, 200),
])
def test_ranges(file: str, fields: Any, status: int) -> None:
    """One range is a part, none and an unknown unit the whole."""
    with _sent(file, **fields) as response:
        assert response.status_code == status


@pytest.mark.req("R22")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_range_outside_is_416(file: str, method: str) -> None:
    """Problem details with the length that there is, and the request's id."""
    answer = _sent(file, method=method, Range="bytes=50-60")
    assert isinstance(answer, HttpResponse)
    assert (answer.status, answer.header("content-range"), answer.header("x-request-id")) == (416, "bytes */10", "r-1")
    assert (json.loads(answer.body)["requestId"] == "r-1") if method == "GET" else answer.body == b""


@pytest.mark.fault("R22")
def test_a_file_that_is_gone_is_502(tmp_path: Path) -> None:
    """The plugin named it, so it is the plugin's."""
    answer = _sent(str(tmp_path / "gone"))
    assert isinstance(answer, HttpResponse)
    assert (answer.status, answer.header("content-type")) == (502, "application/problem+json")


def test_another_status_knows_no_conditions(file: str) -> None:
    """An error page in a file is sent whole, as an error."""
    with _sent(file, status=404, Range="bytes=1-2") as response:
        assert (response.status_code, b"".join(response.iter_encoded())) == (404, b"0123456789")
