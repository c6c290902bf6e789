"""`request`: through a WSGI application, whatever framework it is of."""
from __future__ import annotations

from typing import Any, Dict, List

import pytest

from legacy_plugins.commands import WrongUsage, request
from tests.http.fakes import FakeHost


class Application:
    """Answers every request alike, and keeps what it got."""

    def __init__(self, status: str = "200 OK", body: bytes = b"ok\n") -> None:
        self.status = status
        self.body = body
        self.seen: List[Dict[str, Any]] = []

    def __call__(self, environ: Dict[str, Any], start_response: Any) -> List[bytes]:
        """One request."""
        self.seen.append({**environ, "body": environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))})
        start_response(self.status, [("Content-Type", "a/b"), ("X-Y", "1"), ("X-Y", "2")])
        return [self.body]


def _request(application: Application, **more: Any) -> Any:
    facts = {"data": None, "headers": (), **more}
    host: Any = FakeHost()
    answer = request(host, application, "post", "/x?a=1", **facts)
    assert host.log == [("start", True), ("stop",)]
    return answer


def test_an_answer_is_printed_whole() -> None:
    """Status line, fields, an empty line, the body; bytes that are no text are escaped."""
    answer = _request(Application())
    assert (answer.text, answer.exit_code) == ("200 OK\nContent-Type: a/b\nX-Y: 1\nX-Y: 2\n\nok", 0)
    assert _request(Application(body=b"\xff\x00")).text.endswith("\n\n\\xff\\x00")
    assert _request(Application(body=b"a\r\nb\tc\x1b[2J\n\n")).text.endswith("\n\na\nb\tc\\x1b[2J")
    assert _request(Application("404 NOT FOUND")).exit_code == 1
    assert _request(Application("399 ODD")).exit_code == 0


@pytest.mark.parametrize(("more", "content_type", "body"), [
    ({}, None, b""), ({"data": "{}"}, "application/json", b"{}"),
    ({"data": "x", "headers": ["content-type: text/plain"]}, "text/plain", b"x"),
])
def test_what_is_sent(more: Any, content_type: Any, body: bytes) -> None:
    """The method in upper case; a body is JSON unless a field says otherwise."""
    application = Application()
    _request(application, **more)
    (seen,) = application.seen
    assert (seen["REQUEST_METHOD"], seen["PATH_INFO"], seen["QUERY_STRING"]) == ("POST", "/x", "a=1")
    assert (seen.get("CONTENT_TYPE") or None, seen["body"]) == (content_type, body)


def test_where_it_is_sent() -> None:
    """Scheme, host and mount are the application's to say."""
    application = Application()
    _request(application, base_url="https://example.org/app", headers=["X-Z: 1"])
    (seen,) = application.seen
    assert (seen["wsgi.url_scheme"], seen["HTTP_HOST"], seen["SCRIPT_NAME"], seen["HTTP_X_Z"]) == (
        "https", "example.org", "/app", "1")


def test_a_cookie_arrives() -> None:
    """It is a field like any other."""
    application = Application()
    _request(application, headers=["Cookie: sessionid=abc; csrftoken=x"])
    (seen,) = application.seen
    assert seen["HTTP_COOKIE"] == "sessionid=abc; csrftoken=x"


def test_a_malformed_field_starts_nothing() -> None:
    """It is wrong usage."""
    host: Any = FakeHost()
    with pytest.raises(WrongUsage):
        request(host, Application(), "GET", "/", data=None, headers=["nonsense"])
    assert host.log == []
