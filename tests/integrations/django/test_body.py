"""Request bodies: within both limits, wherever a middleware has left them, and with an upload's form kept whole."""
from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any, Callable

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest
from werkzeug.test import create_environ, run_wsgi_app

from tests.integrations.django.conftest import OPEN, MakeSite

ITEMS = "/api/plugins/shop/items"
FORM = (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="f.txt"\r\n\r\ncontents\r\n--x--\r\n')
MULTIPART = "multipart/form-data; boundary=x"


@pytest.mark.fault("R5")
@pytest.mark.parametrize(("size", "own", "status"), [
    (100, None, 200), (101, None, 413), (50, 50, 200), (51, 50, 413), (101, 200, 413),
])
def test_the_projects_own_limit_holds_too(make_site: MakeSite, size: int, own: Any, status: int) -> None:
    """A body over the plugin's limit is 413; so is one over DATA_UPLOAD_MAX_MEMORY_SIZE."""
    site = make_site(http=replace(OPEN, max_body_bytes=100), DATA_UPLOAD_MAX_MEMORY_SIZE=own)
    response = site.send(ITEMS, "POST", b"x" * size)
    assert (response.status_code, len(site.host.calls)) == (status, status == 200)
    if status == 413:
        assert response.json()["status"] == 413


@pytest.mark.fault("R5")
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", MULTIPART, "application/json"])
@pytest.mark.parametrize("size", [60, 200])
def test_a_body_that_is_too_large_for_the_csrf_check_too(make_site: MakeSite, content_type: str, size: int) -> None:
    """Whoever finds out first refuses it: the form's length, the form, the token; no limit is a server's error."""
    site = make_site(http=replace(OPEN, max_body_bytes=100), DATA_UPLOAD_MAX_MEMORY_SIZE=50, csrf=True)
    site.client.cookies["csrftoken"] = "a" * 32
    expected = {"application/x-www-form-urlencoded": 413, MULTIPART: 413, "application/json": 403}
    assert site.send(ITEMS, "POST", b"x" * size, content_type).status_code == expected[content_type]
    assert site.host.calls == []


def _reads_body(request: HttpRequest) -> None:
    _ = request.body


def _reads_form(request: HttpRequest) -> None:
    _ = request.POST.get("token")


class Reads:
    """A middleware that looks into the body, as loggers and checks of signatures do."""

    look: Callable[[HttpRequest], Any] = staticmethod(_reads_body)

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        """Look, and go on."""
        type(self).look(request)
        return self._get_response(request)


@pytest.mark.req("R22")
@pytest.mark.parametrize("look", [_reads_body, _reads_form, lambda request: None])
@pytest.mark.parametrize(("content_type", "data"), [
    ("application/x-www-form-urlencoded", b"token=1&a=%C3%A9&a=2"), ("application/json", b'{"a": 1}'),
])
def test_a_middleware_may_have_read_the_body(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, look: Any,
                                             content_type: str, data: bytes) -> None:
    """A check that looked into the form, or a logger that read the body, does not take it from the plugin."""
    monkeypatch.setattr(Reads, "look", staticmethod(look))
    site = make_site(MIDDLEWARE=[f"{__name__}.Reads"])
    assert site.send(ITEMS, "POST", data, content_type).status_code == 200
    body = site.host.calls[0].params["body"]
    assert body == (json.loads(data) if content_type == "application/json" else data.decode())


@pytest.mark.req("R22")
@pytest.mark.parametrize("look", [lambda request: request.read(3), _reads_form])
def test_a_middleware_that_took_the_body_away(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch,
                                              caplog: pytest.LogCaptureFixture, look: Any) -> None:
    """500, and the log says what to do; the plugin does not get half a body."""
    monkeypatch.setattr(Reads, "look", staticmethod(look))
    site = make_site(MIDDLEWARE=[f"{__name__}.Reads"])
    assert site.send(ITEMS, "POST", FORM, MULTIPART).status_code == 500
    assert "request.body" in caplog.text
    assert site.host.calls == []


@pytest.mark.req("R22")
def test_an_upload_survives_the_csrf_check(make_site: MakeSite) -> None:
    """Django parses the form for its token, and the plugin gets its bytes."""
    site = make_site(csrf=True)
    token = "a" * 32
    site.client.cookies["csrftoken"] = token
    form = FORM.replace(b'"a"', b'"csrfmiddlewaretoken"').replace(b"\r\n1\r\n", b"\r\n" + token.encode() + b"\r\n")
    assert site.send(ITEMS, "POST", form, MULTIPART).status_code == 200
    assert site.host.calls[0].params["bodyEncoding"] == "base64"
    assert site.send(ITEMS, "POST", form.replace(b"a" * 32, b"b" * 32), MULTIPART).status_code == 403


@pytest.mark.fault("R5")
@pytest.mark.parametrize("content_type", [MULTIPART, "application/x-www-form-urlencoded"])
def test_a_form_over_the_limit_is_not_parsed(make_site: MakeSite, content_type: str) -> None:
    """No byte of it is read (that would be an error here): a check for its token would write it to disk."""
    make_site(http=replace(OPEN, max_body_bytes=100), csrf=True, DATA_UPLOAD_MAX_MEMORY_SIZE=None)
    environ = create_environ(ITEMS, method="POST", content_type=content_type,
                             headers={"Cookie": "csrftoken=" + "a" * 32})
    environ.update({"wsgi.input": _Unread(), "CONTENT_LENGTH": "101"})
    assert run_wsgi_app(WSGIHandler(), environ)[1].startswith("413")


class _Unread(io.RawIOBase):
    """A stream that nobody may read."""

    def read(self, size: int = -1) -> bytes:
        raise AssertionError("it was read")


class _Broken(io.RawIOBase):
    """A stream whose client goes away."""

    def read(self, size: int = -1) -> bytes:
        raise OSError("gone")


@pytest.mark.fault("R5")
@pytest.mark.parametrize("content_type", [MULTIPART, "text/plain"])
@pytest.mark.parametrize("csrf", ["always", "browsers"])
def test_a_client_that_goes_away_while_it_sends(make_site: MakeSite, content_type: str, csrf: str) -> None:
    """400 for nobody, without an error in the log, and the plugin hears nothing."""
    site = make_site(own={"CSRF": csrf})
    environ = create_environ(ITEMS, method="POST", content_type=content_type)
    environ.update({"wsgi.input": _Broken(), "CONTENT_LENGTH": str(len(FORM))})
    _, status, _ = run_wsgi_app(WSGIHandler(), environ)
    assert status.startswith(("400", "403"))
    assert site.host.calls == []


@pytest.mark.fault("R5")
def test_a_body_that_is_too_large_is_not_read(make_site: MakeSite) -> None:
    """A stated length over the project's limit is refused before the first byte, which would be an error here."""
    site = make_site(own={"CSRF": "browsers"}, DATA_UPLOAD_MAX_MEMORY_SIZE=50)
    environ = create_environ(ITEMS, method="POST", content_type="text/plain")
    environ.update({"wsgi.input": _Broken(), "CONTENT_LENGTH": "51"})
    _, status, _ = run_wsgi_app(WSGIHandler(), environ)
    assert status.startswith("413")
    assert site.host.calls == []


@pytest.mark.fault("R5")
@pytest.mark.parametrize(("terminated", "size", "status", "calls"), [
    (True, 5, "200", ["xxxxx"]), (True, 101, "413", []), (False, 5, "200", [None]),
])
def test_bodies_without_a_length(make_site: MakeSite, terminated: bool, size: int, status: str, calls: Any) -> None:
    """Where the server ends the stream itself they are read, as nowhere else in Django; elsewhere there is none."""
    site = make_site(http=replace(OPEN, max_body_bytes=100), MIDDLEWARE=[f"{__name__}.Reads"], own={"CSRF": "browsers"})
    environ = create_environ(ITEMS, method="POST", content_type="text/plain", input_stream=io.BytesIO(b"x" * size))
    environ.pop("CONTENT_LENGTH", None)
    environ.update({"wsgi.input_terminated": True} if terminated else {})
    assert run_wsgi_app(WSGIHandler(), environ)[1].startswith(status)
    assert [call.params["body"] for call in site.host.calls] == calls
