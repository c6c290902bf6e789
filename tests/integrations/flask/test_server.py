"""The blueprint behind a real WSGI server, spoken to over a raw socket: what a test client would tidy up first."""
from __future__ import annotations

import json
import socket
import threading
from typing import Any, Iterator, List, NamedTuple, Tuple

import pytest
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.config.policies import HttpPolicy
from legacy_plugins.integrations.flask import create_blueprint
from tests.http.fakes import FakeHost, route


class Answer(NamedTuple):
    """A response as it came over the wire."""

    status: int
    fields: List[Tuple[str, str]]
    body: bytes

    def all(self, name: str) -> List[str]:
        """The values of a field."""
        return [value for field, value in self.fields if field.lower() == name]


class _Quiet(WSGIRequestHandler):
    """Does not write an access log."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        pass


class Server:
    """A running server with the plugin `shop`, whose answers the test chooses."""

    def __init__(self) -> None:
        self.host = FakeHost(PluginConfig("shop", "/p", http=HttpPolicy(public_routes=("*",), max_body_bytes=100)))
        self.plugin = self.host.declare("shop", route("/items", "GET", "POST"), route("/files/{path...}"))
        app = Flask("app")
        app.register_blueprint(create_blueprint(self.host), url_prefix="/api/plugins")  # type: ignore[arg-type]
        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def send(self, head: bytes, body: bytes = b"") -> Answer:
        """Send bytes as they are, and read until the server closes."""
        with socket.create_connection(("127.0.0.1", self._server.server_port), 10) as connection:
            connection.sendall(head + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n" + body)
            received = b""
            while True:
                chunk = connection.recv(65536)
                if not chunk:
                    break
                received += chunk
        top, _, rest = received.partition(b"\r\n\r\n")
        status, *lines = top.decode("latin-1").split("\r\n")
        fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return Answer(int(status.split()[1]), fields, rest)

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    """One server for all tests of this file."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def server(running: Server) -> Server:
    """The server with its plugin's usual answer, and no calls yet."""
    running.plugin.answer = {"body": "ok"}
    running.host.calls.clear()
    return running


@pytest.mark.fault("R3", "G11")
@pytest.mark.parametrize("target", [
    b"/api/plugins/shop/../shop/items", b"/api/plugins/shop/%2e%2e/items", b"/api/plugins/shop/%2E%2E%2fitems",
    b"/api/plugins/shop/files/..%2f..%2fetc", b"/api/plugins/shop/files/a%2fb", b"/api/plugins/shop//items",
    b"/api/plugins//shop/items", b"/api/plugins/shop/items//", b"/api/plugins/shop/files/a\\b",
    b"/api/plugins/shop/files/a%5cb", b"/api/plugins/shop/files/a%00b", b"/api/plugins/shop/files/a%01b",
    b"/api/plugins/shop/files/a%0d%0ab", b"/api/plugins/shop/files/%ff", b"/api/plugins/shop/files/%c0%ae%c0%ae",
    b"/api/plugins/shop/files/%ef%bf%bd", b"/api/plugins/shop/files/%252e%252e", b"/api/plugins/shop/files/%252f",
    b"/api/plugins/shop/files/..;/x", b"/api/plugins/shop/./items", b"/api/plugins/shop/files/%7f",
    b"/api/plugins/shop/files/%c2%85", b"http://localhost/api/plugins/shop/files/a%2fb",
])
def test_hostile_paths_reach_no_plugin(server: Server, target: bytes) -> None:
    """400 with problem details, whatever the server made of the path first."""
    answer = server.send(b"GET " + target + b" HTTP/1.1")
    assert answer.status == 400
    assert json.loads(answer.body)["status"] == 400
    assert server.host.calls == []


@pytest.mark.fault("R9", "R10", "R11", "G11")
@pytest.mark.parametrize("result", [
    {"headers": {"etag\r\nX-Injected": "1"}}, {"headers": {"etag": "a\r\nX-Injected: 1"}},
    {"headers": {"X:Injected": "1"}},
    {"status": "200 OK\r\nX-Injected: 1"}, {"status": True}, {"status": 101}, {"headers": {"etag": "a\x00"}},
    {"headers": {"location": "//evil.example"}}, {"body": "\ud800"},
])
def test_hostile_answers_inject_nothing(server: Server, result: Any) -> None:
    """502 with exactly our own header fields."""
    server.plugin.answer = result
    answer = server.send(b"GET /api/plugins/shop/items HTTP/1.1")
    assert answer.status == 502
    assert {name.lower() for name, _ in answer.fields} - {"connection"} == {
        "server", "date", "content-type", "x-content-type-options", "x-request-id", "content-length"}
    assert answer.all("content-length") == [str(len(answer.body))]


@pytest.mark.fault("R10", "R12")
@pytest.mark.parametrize(("method", "result", "status", "body", "length"), [
    (b"GET", {"body": "é", "bodyEncoding": "utf-8", "headers": {"content-length": "50"}}, 200, "é".encode(), ["2"]),
    (b"HEAD", {"body": "12345", "bodyEncoding": "utf-8"}, 200, b"", ["5"]),
    (b"GET", {"status": 204, "body": "x"}, 204, b"", []), (b"GET", {"status": 304, "body": "x"}, 304, b"", []),
    (b"HEAD", {"status": 500, "body": "x"}, 500, b"", ["3"]),
])
def test_lengths_on_the_wire(server: Server, method: bytes, result: Any, status: int, body: bytes,
                             length: List[str]) -> None:
    """One Content-Length, the right one, and no body where there may be none."""
    server.plugin.answer = {**result, "headers": {**result.get("headers", {}), "transfer-encoding": "chunked"}}
    answer = server.send(method + b" /api/plugins/shop/items HTTP/1.1")
    assert (answer.status, answer.body, answer.all("content-length")) == (status, body, length)
    assert answer.all("transfer-encoding") == []


@pytest.mark.fault("R5")
def test_bodies_on_the_wire(server: Server) -> None:
    """A stated length over the limit is refused before the body is sent; chunked bodies are read, and cut off."""
    head = b"POST /api/plugins/shop/items HTTP/1.1\r\nContent-Type: text/plain\r\n"
    assert server.send(head + b"Content-Length: 101").status == 413
    assert server.send(head + b"Content-Length: 5", b"hello").status == 200
    chunked = head + b"Transfer-Encoding: chunked"
    assert server.send(chunked, b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n").status == 200
    assert server.send(chunked, b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n").status == 413
    assert [call.params["body"] for call in server.host.calls] == ["hello", "hello!"]


@pytest.mark.fault("R6", "R7", "R8")
def test_header_fields_on_the_wire(server: Server) -> None:
    """Credentials, identities and what Connection names stay behind."""
    answer = server.send(b"GET /api/plugins/shop/items HTTP/1.1\r\nCookie: a=1\r\nAuthorization: Basic eA==\r\n"
                         b"X-Plugin-User: root\r\nX_Plugin_User: root\r\nX-Forwarded-For: 10.0.0.1\r\nAccept: a/b\r\n"
                         b"Range: bytes=0-1\r\nConnection: range")
    assert answer.status == 200
    (call,) = server.host.calls
    assert call.params["headers"] == {"accept": "a/b"}
    assert call.params["client"]["address"] == "127.0.0.1"
    assert call.params["user"] is None


@pytest.mark.fault("R20")
@pytest.mark.parametrize("method", [b"TRACE", b"CONNECT", b"PROPFIND", b"get"])
def test_methods_that_reach_nobody(server: Server, method: bytes) -> None:
    """405, or for a method in lower case what werkzeug makes of it; the plugin hears of GET and POST alone."""
    answer = server.send(method + b" /api/plugins/shop/items HTTP/1.1")
    assert answer.status == (200 if method == b"get" else 405)
    assert {call.params["method"] for call in server.host.calls} <= {"GET"}
