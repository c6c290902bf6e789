"""The blueprint under Flask's test client: routing, bodies, answers, hooks; the host is a fake without processes."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, List, Tuple
from urllib.parse import parse_qsl

import pytest
from flask import Blueprint, Flask, Request, g, redirect, request
from flask.testing import FlaskClient
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.test import create_environ, run_wsgi_app

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import HttpPolicy
from legacy_plugins.errors import ConfigError
from legacy_plugins.integrations.flask import create_blueprint
from tests.http.fakes import FakeClient, FakeHost, route

OPEN = HttpPolicy(public_routes=("*",))
ROUTES = (route("/items", "GET", "POST"), route("/files/{path...}"), route("/"))


def _app(http: HttpPolicy = OPEN, prefix: Any = "/api/plugins", authorize: Any = None) -> Tuple[Flask, FakeHost,
                                                                                                FakeClient]:
    host = FakeHost(PluginConfig("shop", "/p", http=http))
    plugin = host.declare("shop", *ROUTES)
    app = Flask("app")
    app.register_blueprint(create_blueprint(host, authorize=authorize), url_prefix=prefix)  # type: ignore[arg-type]
    return app, host, plugin


def _open(client: FlaskClient, path: str, method: str = "GET", **facts: Any) -> Any:
    return client.open(path, method=method, **facts)


@pytest.mark.req("D7", "R21", "R22")
def test_a_route_is_served() -> None:
    """Path, query, headers, client and body reach the plugin; status, headers and body reach the client."""
    app, host, plugin = _app()
    plugin.answer = {"status": 201, "headers": {"ETag": '"1"', "Set-Cookie": "a=b", "vary": ["a", "b"]},
                     "body": {"é": 1}}
    response = _open(app.test_client(), "/api/plugins/shop/items?tag=a&tag=b", "POST", json={"name": "x"},
                     headers={"X-Request-ID": "r-1", "Cookie": "s=1", "Accept": "a/b"},
                     base_url="https://example.org/app",
                     environ_overrides={"REMOTE_ADDR": "203.0.113.9"})
    assert (response.status_code, response.get_json(), response.headers["ETag"]) == (201, {"é": 1}, '"1"')
    assert response.headers.getlist("vary") == ["a", "b"]
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Content-Length"] == str(len(response.data))
    assert response.headers["X-Request-ID"] == "r-1"
    assert "Set-Cookie" not in response.headers
    (call,) = host.calls
    assert call.params["mount"] == "/app/api/plugins/shop"
    assert call.params["query"] == {"tag": ["a", "b"]}
    assert set(call.params["headers"]) - {"user-agent"} == {"accept", "content-type"}
    assert call.params["client"] == {"address": "203.0.113.9", "scheme": "https", "host": "example.org"}
    assert (call.params["body"], call.params["bodyEncoding"]) == ({"name": "x"}, "json")


@pytest.mark.req("R21", "R33")
@pytest.mark.parametrize("prefix", ["/api/plugins", "/ext", "/a/b/c", "/", None])
def test_the_mount_is_what_the_blueprint_is_registered_under(prefix: Any) -> None:
    """Any prefix, none included."""
    app, host, _ = _app(prefix=prefix)
    mount = (prefix or "").rstrip("/")
    assert _open(app.test_client(), f"{mount}/shop/items").status_code == 200
    assert host.calls[0].params["mount"] == f"{mount}/shop"
    assert _open(app.test_client(), f"{mount}/shop").status_code == 200
    assert _open(app.test_client(), f"{mount}/none/items").status_code == 404


@pytest.mark.req("R21")
def test_nested_in_another_blueprint() -> None:
    """The mount is the whole prefix."""
    host = FakeHost(PluginConfig("shop", "/p", http=OPEN))
    host.declare("shop", *ROUTES)
    outer = Blueprint("outer", "outer")
    outer.register_blueprint(create_blueprint(host), url_prefix="/plugins")  # type: ignore[arg-type]
    app = Flask("app")
    app.register_blueprint(outer, url_prefix="/v1")
    assert _open(app.test_client(), "/v1/plugins/shop/items").status_code == 200
    assert host.calls[0].params["mount"] == "/v1/plugins/shop"


@pytest.mark.req("D7")
def test_one_blueprint_in_several_applications() -> None:
    """Each registration has its own mount; the blueprint keeps no application."""
    host = FakeHost(PluginConfig("shop", "/p", http=OPEN))
    host.declare("shop", *ROUTES)
    blueprint = create_blueprint(host)  # type: ignore[arg-type]
    apps = [Flask("one"), Flask("two")]
    for app, prefix in zip(apps, ("/one", "/two")):
        app.register_blueprint(blueprint, url_prefix=prefix)
    for app, prefix in zip(apps, ("/one", "/two")):
        assert _open(app.test_client(), f"{prefix}/shop/items").status_code == 200
    assert [call.params["mount"] for call in host.calls] == ["/one/shop", "/two/shop"]
    assert not any(isinstance(value, Flask) for value in vars(blueprint).values())


def test_prefixes_that_cannot_be_served() -> None:
    """Variables in the prefix, and a routePrefix outside it, are refused when the blueprint is registered."""
    with pytest.raises(ValueError, match="<tenant>"):
        _app(prefix="/<tenant>/plugins")
    host = FakeHost(PluginConfig("shop", "/p", route_prefix="/elsewhere"))
    with pytest.raises(ConfigError, match="/elsewhere"):
        Flask("app").register_blueprint(create_blueprint(host), url_prefix="/api")  # type: ignore[arg-type]


@pytest.mark.fault("R3")
@pytest.mark.parametrize(("path", "status"), [
    ("/api/plugins/shop/items/", 200), ("/api/plugins/shop/", 200), ("/api/plugins/shop", 200),
    ("/api/plugins//shop/items", 400), ("/api/plugins/shop//items", 400), ("/api/plugins/shop/items//", 400),
    ("/api/plugins/shop/../shop/items", 400), ("/api/plugins/shop/%2e%2e/items", 400),
    ("/api/plugins/shop/./items", 400),
    ("/api/plugins/shop/files/a%2fb", 400), ("/api/plugins/shop/files/a%5cb", 400),
    ("/api/plugins/shop/files/a%00b", 400),
    ("/api/plugins/shop/files/a%0ab", 400), ("/api/plugins/shop/files/a%ffb", 400),
    ("/api/plugins/shop/files/%252e", 400),
    ("/api/plugins/shop/files/a%20b;c/%C3%A9", 200), ("/api/plugins/%2e%2e/x", 400), ("/api/plugins/", 404),
    ("/api/plugins/shop/nothing", 404), ("/api/plugins/Shop/items", 404),
])
def test_no_path_is_answered_with_a_redirect(path: str, status: int) -> None:
    """Doubled and trailing slashes, dots, encoded separators: served, 400 or 404, and never redirected."""
    app, host, _ = _app()
    response = _open(app.test_client(), path, environ_overrides={"RAW_URI": path})
    assert response.status_code == status
    assert "Location" not in response.headers
    assert len(host.calls) == (status == 200)


@pytest.mark.fault("R20")
@pytest.mark.parametrize(("method", "status"), [
    ("GET", 200), ("HEAD", 200), ("POST", 200), ("OPTIONS", 204), ("PUT", 405), ("PATCH", 405), ("DELETE", 405),
    ("TRACE", 405), ("CONNECT", 405), ("PROPFIND", 405),
])
def test_methods(method: str, status: int) -> None:
    """Declared methods reach the plugin, the host answers OPTIONS, all others are 405 with Allow."""
    app, host, _ = _app()
    response = _open(app.test_client(), "/api/plugins/shop/items", method)
    assert response.status_code == status
    if status != 200:
        assert host.calls == []
        assert {"GET", "HEAD", "POST", "OPTIONS"} <= set(response.headers["Allow"].split(", "))


@pytest.mark.fault("R10", "R12")
@pytest.mark.parametrize(("method", "answer", "body", "length"), [
    ("GET", {"body": "é", "bodyEncoding": "utf-8", "headers": {"content-length": "50"}}, "é".encode(), "2"),
    ("HEAD", {"body": "12345", "bodyEncoding": "utf-8"}, b"", "5"), ("GET", {"status": 204, "body": "x"}, b"", None),
    ("GET", {"status": 304, "body": "x"}, b"", None), ("GET", {}, b"", "0"),
    ("HEAD", {"status": 404, "body": 1}, b"", "1"),
])
def test_lengths_are_ours(method: str, answer: Any, body: bytes, length: Any) -> None:
    """The length is the body's, whatever the plugin says; no body where there may be none."""
    app, _, plugin = _app()
    plugin.answer = answer
    response = _open(app.test_client(), "/api/plugins/shop/items", method)
    assert (response.data, response.headers.get("Content-Length")) == (body, length)


def test_an_answer_without_a_body_has_no_content_type() -> None:
    """Flask's default of text/html is not put on it."""
    app, _, plugin = _app()
    plugin.answer = {"status": 202}
    _, status, headers = run_wsgi_app(app, create_environ("/api/plugins/shop/items"))
    assert status == "202 ACCEPTED"
    assert "Content-Type" not in headers


@pytest.mark.fault("R5")
def test_the_applications_own_limit_holds_too() -> None:
    """A body over the plugin's limit is 413; so is one over MAX_CONTENT_LENGTH where werkzeug looks when reading."""
    app, host, _ = _app(http=replace(OPEN, max_body_bytes=100))
    client = app.test_client()
    assert _open(client, "/api/plugins/shop/items", "POST", data=b"x" * 101).status_code == 413
    assert _open(client, "/api/plugins/shop/items", "POST", data=b"x" * 100).status_code == 200
    app.config["MAX_CONTENT_LENGTH"] = 50
    own = _open(client, "/api/plugins/shop/items", "POST", data=b"x" * 100)
    with app.test_request_context(method="POST", data=b"x" * 100):
        try:
            expected = 200 if request.stream.read() else 500
        except RequestEntityTooLarge:
            expected = 413
    assert own.status_code == expected
    assert _open(client, "/api/plugins/shop/items", "POST", data=b"x" * 50).status_code == 200


@pytest.mark.req("R22")
@pytest.mark.parametrize("hook", ["nothing", "get_data", "form", "json"])
@pytest.mark.parametrize(("content_type", "data"), [
    ("application/x-www-form-urlencoded", b"token=1&a=%C3%A9&a=2"), ("application/json", b'{"a": 1}'),
])
def test_a_hook_may_have_read_the_body(hook: str, content_type: str, data: bytes) -> None:
    """A CSRF check that looked into the form, or a logger that read the body, does not take it from the plugin."""
    app, host, _ = _app()

    @app.before_request
    def look() -> None:
        if hook == "get_data":
            g.body = request.get_data()
        elif hook == "form":
            g.token = request.form.get("token")
        elif hook == "json":
            g.json = request.get_json(silent=True)

    assert _open(app.test_client(), "/api/plugins/shop/items", "POST", data=data,
                 content_type=content_type).status_code == 200
    body = host.calls[0].params["body"]
    assert body == (json.loads(data) if content_type == "application/json" else data.decode())


@pytest.mark.req("R22")
@pytest.mark.parametrize("data", ["note=caf\u00e9&amount=100", "name=O'Neil(x)&q=1", "a=%20b", "a=%7Ex", "a=1&&b=2"])
def test_a_form_that_was_read_is_whole(data: str) -> None:
    """Its encoding may have another length than the client's; it means the same, to the last field."""
    app, host, _ = _app()
    app.before_request(lambda: request.form.get("none"))
    assert _open(app.test_client(), "/api/plugins/shop/items", "POST", data=data.encode(),
                 content_type="application/x-www-form-urlencoded").status_code == 200
    assert parse_qsl(host.calls[0].params["body"]) == parse_qsl(data)


@pytest.mark.req("R22")
@pytest.mark.parametrize(("where", "content_type"), [
    ("hook", "multipart/form-data; boundary=x"), ("authorize", "multipart/form-data; boundary=x"),
    ("authorize", "application/x-www-form-urlencoded"),
])
def test_a_form_whose_bytes_are_gone(where: str, content_type: str, caplog: pytest.LogCaptureFixture) -> None:
    """500, and the log says what to do, which helps; the plugin does not get half a body."""
    keep = False

    def look(*_args: Any) -> Any:
        if keep:
            request.get_data()
        return None if request.form.get("none") else {}

    app, host, _ = _app(authorize=look if where == "authorize" else None,
                        http=HttpPolicy() if where == "authorize" else OPEN)
    if where == "hook":
        app.before_request(lambda: (look(), None)[1])
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
    facts = {"data": part if content_type.startswith("multipart") else b"a=1", "content_type": content_type}
    assert _open(app.test_client(), "/api/plugins/shop/items", "POST", **facts).status_code == 500
    assert "request.get_data()" in caplog.text
    assert host.calls == []
    keep = True
    assert _open(app.test_client(), "/api/plugins/shop/items", "POST", **facts).status_code == 200
    assert len(host.calls) == 1


def test_the_method_is_the_one_that_the_hooks_see() -> None:
    """A request class that overrides it decides for the plugin too."""
    seen = []

    class Overridden(Request):
        @property
        def method(self) -> str:  # type: ignore[override]
            return self.headers.get("X-HTTP-Method-Override") or "POST"

        @method.setter
        def method(self, value: str) -> None:
            """What the environ says counts for nothing."""

    app, host, _ = _app(http=HttpPolicy(), authorize=lambda native, *_: seen.append(native.method) or {})
    app.request_class = Overridden
    response = _open(app.test_client(), "/api/plugins/shop/items", "POST", headers={"X-HTTP-Method-Override": "GET"})
    assert (response.status_code, seen, host.calls[0].params["method"]) == (200, ["GET"], "GET")


@pytest.mark.req("R23")
def test_what_authorize_may_answer() -> None:
    """Anything that a view may return is sent as it is; a mapping becomes the user; None is 403."""
    verdicts: List[Any] = [redirect("/login"), ("no", 401, {"WWW-Authenticate": "Basic"}), {"id": "7"}, True, None]
    seen: List[Any] = []

    def authorize(native: Any, plugin: str, declared: Any) -> Any:
        seen.append((native is request._get_current_object(), plugin, declared.path))  # type: ignore[attr-defined]
        return verdicts.pop(0)

    app, host, _ = _app(http=HttpPolicy(), authorize=authorize)
    client = app.test_client()
    answers = [_open(client, "/api/plugins/shop/items") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [302, 401, 200, 200, 403]
    assert answers[0].headers["Location"].endswith("/login")
    assert answers[1].headers["WWW-Authenticate"] == "Basic"
    assert [call.params["user"] for call in host.calls] == [{"id": "7"}, None]
    assert seen == [(True, "shop", "/items")] * 5


def test_an_exception_of_the_hook_is_the_applications() -> None:
    """It reaches Flask's own error handling."""
    app, host, _ = _app(http=HttpPolicy(), authorize=lambda *_: 1 / 0)
    app.register_error_handler(ZeroDivisionError, lambda error: ("ours", 418))
    assert _open(app.test_client(), "/api/plugins/shop/items").status_code == 418
    assert host.calls == []


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A file root with one text of ten bytes."""
    (tmp_path / "data.txt").write_bytes(b"0123456789")
    return tmp_path


def _file_app(files: Path, **answer: Any) -> FlaskClient:
    app, _, plugin = _app(http=replace(OPEN, file_roots=(str(files),)))
    plugin.answer = {"bodyFile": str(files / "data.txt"), **answer}
    return app.test_client()


@pytest.mark.req("R22")
def test_a_file_is_sent_with_ranges_and_conditions(files: Path) -> None:
    """Whole, in parts, not at all when the client has it, and without a body for HEAD."""
    client = _file_app(files, headers={"cache-control": "max-age=60", "etag": '"plugin"', "content-type": "text/csv"})
    with _open(client, "/api/plugins/shop/files/x") as whole:
        assert (whole.status_code, whole.data, whole.headers["Content-Length"]) == (200, b"0123456789", "10")
        assert whole.headers.getlist("Content-Type") == ["text/csv"]
        assert whole.headers.getlist("Cache-Control") == ["max-age=60"]
        assert whole.headers["X-Content-Type-Options"] == "nosniff"
        assert "X-Request-ID" in whole.headers
        etag = whole.headers["ETag"]
        assert etag != '"plugin"'
    with _open(client, "/api/plugins/shop/files/x", headers={"Range": "bytes=2-4"}) as part:
        assert (part.status_code, part.data, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    with _open(client, "/api/plugins/shop/files/x", headers={"If-None-Match": etag}) as known:
        assert (known.status_code, known.data) == (304, b"")
    with _open(client, "/api/plugins/shop/files/x", headers={"Range": "bytes=50-60"}) as outside:
        assert outside.status_code == 416
    with _open(client, "/api/plugins/shop/files/x", "HEAD") as head:
        assert (head.status_code, head.data, head.headers["Content-Length"]) == (200, b"", "10")


def test_a_file_under_another_status(files: Path) -> None:
    """An error page from a file keeps its status, and conditions do not apply to it."""
    client = _file_app(files, status=404)
    with _open(client, "/api/plugins/shop/files/x", headers={"Range": "bytes=2-4"}) as response:
        assert (response.status_code, response.data) == (404, b"0123456789")


@pytest.mark.fault("R22")
def test_a_file_that_goes_meanwhile_is_502(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the check and the sending a file may be removed."""
    client = _file_app(files)
    monkeypatch.setattr("legacy_plugins.http.responses.checked_file", lambda path, roots: str(files / "gone"))
    assert _open(client, "/api/plugins/shop/files/x").status_code == 502


def test_urls_can_be_built() -> None:
    """The endpoint is named after the blueprint, for `url_for`."""
    app, _, _ = _app()
    (rule,) = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("plugins.")]
    assert rule.endpoint == "plugins.request"
    with app.test_request_context():
        from flask import url_for
        assert url_for("plugins.request", path="shop/items") == "/api/plugins/shop/items"
