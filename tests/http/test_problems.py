"""Problem details: statuses and texts for every error of the library."""
from __future__ import annotations

import json
from typing import Any, Optional, Tuple

import pytest

from legacy_plugins import errors
from legacy_plugins.http.problems import HttpProblem, problem_of, problem_response, retry_after

SECRET = "/opt/secret/path traceback"


@pytest.mark.fault("R2")
@pytest.mark.parametrize(("error", "status", "header"), [
    (errors.UnknownPlugin(SECRET), 404, None),
    (errors.PluginTimeout(SECRET), 504, None),
    (errors.ProtocolError(SECRET), 502, None),
    (errors.InvalidMessage(SECRET), 502, None),
    (errors.FrameTooLarge(SECRET), 413, None),
    (errors.PluginCrashed(message=SECRET, retry_after=2.0), 502, None),
    (errors.PluginBusy("shop", message=SECRET), 503, "1"),
    (errors.PluginNotRunning("shop", message=SECRET), 503, None),
    (errors.PluginUnavailable("shop", message=SECRET, retry_after=1.2), 503, "2"),
    (errors.PluginUnavailable("shop", message=SECRET, retry_after=0.0), 503, "1"),
    (errors.PluginStartFailed("shop", message=SECRET), 503, None),
    (errors.HandshakeFailed("shop", message=SECRET), 503, None),
    (errors.UntrustedCommand([SECRET]), 503, None),
    (errors.ConfigError([SECRET]), 500, None),
    (errors.PluginError(SECRET), 502, None),
    (errors.MethodNotFound(-32601, SECRET), 502, None),
    (errors.InternalError(-32603, SECRET), 502, None),
    (errors.RpcError(7, SECRET), 502, None),
    (errors.RpcError(399, SECRET), 502, None),
    (errors.RpcError(500, SECRET), 502, None),
])
def test_every_error_has_its_status_and_tells_nothing(error: errors.PluginError, status: int,
                                                      header: Optional[str]) -> None:
    """The table of statuses; the error's own text, with paths and program output, is for the log alone."""
    problem = problem_of(error)
    assert problem.status == status
    assert dict(problem.headers).get("Retry-After") == header
    assert "secret" not in problem.detail
    assert SECRET in str(problem.reason)


@pytest.mark.parametrize(("code", "message", "detail"), [
    (400, "no such colour", "no such colour"), (499, "x" * 1000, "x" * 500),
    (404, "a\r\nb\x1b\ud800", "a\ufffd\ufffdb\ufffd\ufffd"),
])
def test_a_plugin_may_choose_a_client_error(code: int, message: str, detail: str) -> None:
    """A JSON-RPC error with a code from 400 to 499 is that status, with its message bounded and printable."""
    problem = problem_of(errors.RpcError(code, message))
    assert (problem.status, problem.detail) == (code, detail)


def test_the_document() -> None:
    """RFC 9457's members, the plugin and the request; faults where there are some; never sniffed, always ASCII."""
    problem = HttpProblem(400, "wrong é", headers=(("Allow", "GET"),), faults=[{"pointer": "/a", "detail": "b"}],
                          reason="r")
    response = problem_response(problem, plugin="shop", request_id="r1")
    assert response.headers == (("Content-Type", "application/problem+json"), ("X-Content-Type-Options", "nosniff"),
                                ("Allow", "GET"))
    assert json.loads(response.body.decode("ascii")) == {
        "type": "about:blank", "title": "Bad Request", "status": 400, "detail": "wrong é", "plugin": "shop",
        "requestId": "r1", "errors": [{"pointer": "/a", "detail": "b"}]}


@pytest.mark.parametrize(("status", "title"), [(404, "Not Found"), (499, "Client Error"), (599, "Server Error")])
def test_titles(status: int, title: str) -> None:
    """The status's phrase, or its class where it has none; no plugin where none was found."""
    document: Any = json.loads(problem_response(HttpProblem(status, "d"), plugin=None, request_id="r").body)
    assert document["title"] == title
    assert "plugin" not in document
    assert "errors" not in document


@pytest.mark.parametrize(("seconds", "field"), [
    (0.0, ("Retry-After", "1")), (0.2, ("Retry-After", "1")), (1.0, ("Retry-After", "1")), (1.01, ("Retry-After", "2")),
    (-5.0, ("Retry-After", "1")),
])
def test_retry_after_is_whole_seconds(seconds: float, field: Tuple[str, str]) -> None:
    """Rounded up, at least one."""
    assert retry_after(seconds) == field
