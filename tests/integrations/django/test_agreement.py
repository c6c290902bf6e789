"""Flask and Django answer the same requests alike, byte by byte: the same WSGI environ goes through both skins."""
from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import pytest
from django.core.handlers.wsgi import WSGIHandler
from flask import Flask
from werkzeug.test import create_environ, run_wsgi_app

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import PluginTimeout
from legacy_plugins.integrations.flask import create_blueprint
from tests.http.fakes import FakeHost
from tests.integrations.django.conftest import OPEN, ROUTES, MakeSite

ITEMS = "/api/plugins/shop/items"
FILES = "/api/plugins/shop/files/"


class Answer(NamedTuple):
    """What a server would send, and what the plugin was asked."""

    status: str
    headers: List[Tuple[str, str]]
    body: bytes
    params: List[Any]


def _answer(application: Any, environ: Dict[str, Any], host: FakeHost) -> Answer:
    body, status, headers = run_wsgi_app(application, environ, buffered=True)
    fields = sorted((name.lower(), value.strip()) for name, value in headers if name.lower() != "date")
    params = [{key: value for key, value in call.params.items() if key != "deadlineMs"} for call in host.calls]
    return Answer(status.partition(" ")[0], fields, b"".join(body), params)


@pytest.fixture
def both(make_site: MakeSite, tmp_path: Path) -> Any:
    """A function that sends one request to a Flask application and to a Django project and gives both answers."""
    (tmp_path / "data.txt").write_bytes(b"0123456789")
    http = replace(OPEN, file_roots=(str(tmp_path),), max_body_bytes=100,
                   response_headers=("etag", "x-a", "set-cookie"))

    def send(path: str, method: str, data: bytes, extra: Dict[str, Any], result: Any) -> Tuple[Answer, Answer]:
        if isinstance(result, dict) and "bodyFile" in result:
            result = {**result, "bodyFile": str(tmp_path / result["bodyFile"])}
        flask_host = FakeHost(PluginConfig("shop", "/p", http=http))
        flask_host.declare("shop", *ROUTES).answer = result
        app = Flask("app")
        app.register_blueprint(create_blueprint(flask_host), url_prefix="/api/plugins")  # type: ignore[arg-type]
        site = make_site(http=http, MIDDLEWARE=["django.middleware.common.CommonMiddleware"], own={"CSRF": "browsers"})
        site.plugin.answer = result
        answers = []
        for application, host in ((app, flask_host), (WSGIHandler(), site.host)):
            environ = create_environ(path, method=method, input_stream=io.BytesIO(data), base_url="http://localhost/")
            environ.update({"CONTENT_LENGTH": str(len(data)), "RAW_URI": path, "HTTP_X_REQUEST_ID": "r-1", **extra})
            answers.append(_answer(application, environ, host))
        return answers[0], answers[1]

    return send


@pytest.mark.req("D7", "R21", "R22")
@pytest.mark.parametrize(("path", "method", "data", "extra", "result"), [
    (ITEMS, "GET", b"", {}, {"body": {"é": [1, None]}}),
    (f"{ITEMS}?a=1&a=&b=%C3%A9&c=%ff&d=x+y&e", "GET", b"", {}, {"body": 1}),
    (ITEMS, "POST", b'{"a": 1}', {"CONTENT_TYPE": "application/json"}, {"status": 201, "body": "x"}),
    (ITEMS, "POST", b"a=1&b=2", {"CONTENT_TYPE": "application/x-www-form-urlencoded"}, {"body": None}),
    (ITEMS, "POST", b"x" * 101, {"CONTENT_TYPE": "text/plain"}, {"body": 1}),
    (ITEMS, "POST", b"{", {"CONTENT_TYPE": "application/json"}, {"body": 1}),
    (ITEMS, "POST", b"hello", {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}, {"body": 1}),
    (ITEMS, "POST", b"hello", {"CONTENT_LENGTH": ""}, {"body": 1}),
    (ITEMS, "POST", b"hell", {"CONTENT_LENGTH": "5"}, {"body": 1}),
    (ITEMS, "POST", b"hello", {"CONTENT_LENGTH": "abc"}, {"body": 1}),
    (ITEMS, "HEAD", b"", {}, {"body": "12345", "bodyEncoding": "utf-8"}),
    (ITEMS, "OPTIONS", b"", {}, {}), (ITEMS, "DELETE", b"", {}, {}), (ITEMS, "TRACE", b"", {}, {}),
    (ITEMS, "GET", b"", {}, {"status": 204}), (ITEMS, "GET", b"", {}, {"status": 304, "headers": {"etag": '"1"'}}),
    (ITEMS, "GET", b"", {}, {"status": 205}), (ITEMS, "GET", b"", {}, {"status": 202}),
    (ITEMS, "GET", b"", {}, {"body": "AP8=", "bodyEncoding": "base64"}),
    (ITEMS, "GET", b"", {}, {"body": 1, "headers": {"x-a": "Jos\xe9", "etag": "\r\n"}}),
    (ITEMS, "GET", b"", {}, {"body": 1, "headers": {"x-a": "Jos\xe9", "set-cookie": ["a=1; Path=/", "b=2"]}}),
    (ITEMS, "GET", b"", {}, {"status": True}), (ITEMS, "GET", b"", {}, PluginTimeout("slow")),
    *((f"{FILES}{rest}", "GET", b"", {}, {}) for rest in (
        "a%2fb", "a%ffb", "a%25ffb", "a%25FFb", "/a//b", "%C3%A9/x", "a%0a", "a;b", "%7Ex", "x/", "a%5cb")),
    ("/api/plugins/none/x", "GET", b"", {}, {}), ("/api/plugins/", "GET", b"", {}, {}),
    (f"{FILES}x", "GET", b"", {"SCRIPT_NAME": "/app"}, {"body": 1}),
    *((f"{FILES}x", "GET", b"", {name: value}, {"bodyFile": "data.txt"}) for name, value in (
        ("HTTP_X", ""), ("HTTP_RANGE", "bytes=2-4"), ("HTTP_RANGE", "bytes=50-60"), ("HTTP_RANGE", "bytes=0-1,4-5"),
        ("HTTP_RANGE", "bytes=-3"), ("HTTP_IF_MODIFIED_SINCE", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ("HTTP_IF_NONE_MATCH", "*"), ("HTTP_IF_MATCH", '"other"'))),
    (f"{FILES}x", "HEAD", b"", {}, {"bodyFile": "data.txt"}),
    (f"{FILES}x", "GET", b"", {}, {"bodyFile": "none.txt"}), (f"{FILES}x", "GET", b"", {}, {"bodyFile": "/etc/passwd"}),
])
def test_one_request_two_frameworks(both: Any, path: str, method: str, data: bytes, extra: Any, result: Any) -> None:
    """Status, header fields, body, and what the plugin was told."""
    flask, django = both(path, method, data, extra, result)
    assert django == flask
