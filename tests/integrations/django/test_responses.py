"""What Django sends for an answer: lengths, types, fields, cookies, files; also behind the middleware that meddles."""
from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from legacy_plugins.errors import PluginTimeout, PluginUnavailable
from legacy_plugins.http import HttpResponse
from legacy_plugins.integrations.django.responses import django_response
from tests.integrations.django.conftest import OPEN, MakeSite, Site

MEDDLING = ["django.middleware.gzip.GZipMiddleware", "django.middleware.http.ConditionalGetMiddleware",
            "django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]


@pytest.mark.fault("R10", "R12")
@pytest.mark.parametrize(("method", "answer", "body", "length"), [
    ("GET", {"body": "é", "bodyEncoding": "utf-8", "headers": {"content-length": "50"}}, "é".encode(), "2"),
    ("HEAD", {"body": "12345", "bodyEncoding": "utf-8"}, b"", "5"), ("GET", {"status": 204, "body": "x"}, b"", None),
    ("GET", {"status": 304, "body": "x"}, b"", None), ("GET", {}, b"", "0"),
    ("HEAD", {"status": 404, "body": 1}, b"", "1"), ("GET", {"status": 205, "body": "x"}, b"", "0"),
])
@pytest.mark.parametrize("middleware", [[], MEDDLING])
def test_lengths_are_ours(make_site: MakeSite, middleware: Any, method: str, answer: Any, body: bytes,
                          length: Any) -> None:
    """The length is the body's, whatever plugin and middleware say; no body and no length where there may be none."""
    site = make_site(MIDDLEWARE=middleware)
    site.plugin.answer = answer
    response = site.send("/api/plugins/shop/items", method)
    assert (response.content, response.get("Content-Length")) == (body, length)


def test_an_answer_without_a_body_has_no_content_type(make_site: MakeSite) -> None:
    """Django's default of text/html is not put on it."""
    site = make_site()
    site.plugin.answer = {"status": 202}
    assert "Content-Type" not in site.send("/api/plugins/shop/items").headers


@pytest.mark.parametrize(("answer", "status", "lines"), [
    (PluginUnavailable("shop"), 503, 0), (PluginTimeout("slow", plugin="shop"), 504, 0),
    ({"status": 500, "body": 1}, 500, 1), ({"status": 404, "body": 1}, 404, 1), ({"body": 1}, 200, 0),
])
def test_failures_are_logged_once(make_site: MakeSite, caplog: pytest.LogCaptureFixture, answer: Any, status: int,
                                  lines: int) -> None:
    """What our own log tells is no error of Django's, which mails them; what a plugin answers is as any view's."""
    site = make_site()
    site.plugin.answer = answer
    assert site.send("/api/plugins/shop/items").status_code == status
    assert len([record for record in caplog.records if record.name == "django.request"]) == lines


def test_cookies_that_the_operator_lets_pass(make_site: MakeSite) -> None:
    """Each is sent as it came, several of them, also one with a name that Python does not take."""
    cookies = ["a=1; Path=/; HttpOnly", "b=2; SameSite=None", "c:d=3"]
    site = make_site(http=replace(OPEN, response_headers=("set-cookie",)))
    site.plugin.answer = {"headers": {"set-cookie": cookies}}
    response = site.send("/api/plugins/shop/items")
    assert [cookie.output(header="").strip() for cookie in response.cookies.values()] == cookies
    assert "Set-Cookie" not in response.headers
    copies = [pickle.loads(pickle.dumps(cookie)) for cookie in response.cookies.values()]
    assert [cookie.output(header="").strip() for cookie in copies] == cookies


@pytest.fixture
def file_site(make_site: MakeSite, tmp_path: Path) -> Any:
    """A site whose plugin answers with a text file of ten bytes."""
    (tmp_path / "data.txt").write_bytes(b"0123456789")

    def make(middleware: Any = (), **answer: Any) -> Site:
        site = make_site(http=replace(OPEN, file_roots=(str(tmp_path),)), MIDDLEWARE=list(middleware))
        site.plugin.answer = {"bodyFile": str(tmp_path / "data.txt"), **answer}
        return site

    return make


def _content(response: Any) -> bytes:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    response.close()
    return bytes(content)


@pytest.mark.req("R22")
def test_a_file_is_sent_with_ranges_and_conditions(file_site: Any) -> None:
    """Whole, in parts, not at all when the client has it, and without a body for HEAD."""
    site = file_site(headers={"cache-control": "max-age=60", "etag": '"plugin"', "content-type": "text/csv"})
    path = "/api/plugins/shop/files/x"
    whole = site.send(path)
    assert (whole.status_code, _content(whole), whole["Content-Length"]) == (200, b"0123456789", "10")
    assert (whole["Content-Type"], whole["Cache-Control"], whole["X-Content-Type-Options"]) == (
        "text/csv", "max-age=60", "nosniff")
    assert "X-Request-ID" in whole
    assert whole["ETag"] != '"plugin"'
    part = site.send(path, HTTP_RANGE="bytes=2-4")
    assert (part.status_code, _content(part), part["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert part["Content-Length"] == "3"
    known = site.send(path, HTTP_IF_NONE_MATCH=whole["ETag"])
    assert (known.status_code, _content(known)) == (304, b"")
    assert "Content-Length" not in known
    assert "Content-Type" not in known
    head = site.send(path, "HEAD")
    assert (head.status_code, _content(head), head["Content-Length"]) == (200, b"", "10")
    stale = site.send(path, HTTP_RANGE="bytes=2-4", HTTP_IF_RANGE='"other"')
    assert (stale.status_code, _content(stale)) == (200, b"0123456789")


@pytest.mark.req("R22")
def test_a_range_outside_the_file(file_site: Any) -> None:
    """416 with the length that there is."""
    response = file_site().send("/api/plugins/shop/files/x", HTTP_RANGE="bytes=50-60", HTTP_X_REQUEST_ID="r-1")
    assert (response.status_code, response["Content-Range"]) == (416, "bytes */10")
    assert json.loads(response.content)["requestId"] == "r-1"


def test_a_part_of_a_file_is_not_compressed(file_site: Any) -> None:
    """GZipMiddleware leaves a range as it is; a whole file it may compress."""
    site = file_site(MEDDLING)
    part = site.send("/api/plugins/shop/files/x", HTTP_RANGE="bytes=2-4", HTTP_ACCEPT_ENCODING="gzip")
    assert (part.status_code, _content(part)) == (206, b"234")
    assert "Content-Encoding" not in part.headers
    whole = site.send("/api/plugins/shop/files/x", HTTP_ACCEPT_ENCODING="gzip")
    assert whole.headers["Content-Encoding"] == "gzip"
    whole.close()
    known = site.send("/api/plugins/shop/files/x", HTTP_IF_NONE_MATCH=part["ETag"], HTTP_ACCEPT_ENCODING="gzip")
    assert (known.status_code, _content(known)) == (304, b"")
    assert "Content-Encoding" not in known.headers


def test_a_file_under_another_status(file_site: Any) -> None:
    """An error page from a file keeps its status, and conditions do not apply to it."""
    response = file_site(status=404).send("/api/plugins/shop/files/x", HTTP_RANGE="bytes=2-4")
    assert (response.status_code, _content(response)) == (404, b"0123456789")


@pytest.mark.fault("R22")
def test_a_file_that_goes_meanwhile_is_502(file_site: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Between the check and the sending a file may be removed."""
    site = file_site()
    monkeypatch.setattr("legacy_plugins.http.responses.checked_file", lambda path, roots: str(tmp_path / "gone"))
    response = site.send("/api/plugins/shop/files/x")
    assert (response.status_code, response.json()["status"]) == (502, 502)
    assert site.send("/api/plugins/shop/files/x", "HEAD").content == b""


def test_a_file_over_asgi(file_site: Any, tmp_path: Path) -> None:
    """It is sent piece by piece, whole and in part, and closed."""
    file_site()
    (tmp_path / "data.txt").write_bytes(b"0123456789" * 10_000)
    client = AsyncClient()

    @async_to_sync
    async def send(**headers: str) -> Any:
        response = await client.generic("GET", "/api/plugins/shop/files/x", **headers)
        pieces = [piece async for piece in response] if hasattr(response, "__aiter__") else list(response)
        response.close()
        return response.status_code, pieces

    status, pieces = send()
    assert (status, b"".join(pieces)) == (200, b"0123456789" * 10_000)
    assert len(pieces) > 1
    assert send(range="bytes=2-4") == (206, [b"234"])


def test_a_response_without_its_own_request(make_site: MakeSite) -> None:
    """Field values may be repeated and in Latin-1, as HTTP has them."""
    make_site()
    request = Client().get("/").wsgi_request
    answer = HttpResponse(200, (("vary", "a"), ("vary", "b"), ("x-name", "Jos\xe9")), b"1")
    response = django_response(request, answer)
    assert (response["vary"], response["x-name"]) == ("a, b", "Jos\xe9")
