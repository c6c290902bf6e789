"""The error handlers that an application may opt into."""
from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask

from legacy_plugins import errors
from legacy_plugins.integrations.flask import register_error_handlers


@pytest.mark.parametrize(("error", "status", "retry_after"), [
    (errors.PluginTimeout("slow", plugin="shop"), 504, None),
    (errors.PluginUnavailable("shop", retry_after=2.5), 503, "3"),
    (errors.RpcError(404, "no such order", plugin="shop"), 404, None),
    (errors.InternalError(-32603, "Traceback", plugin="shop"), 502, None),
])
def test_plugin_errors_become_problems(error: errors.PluginError, status: int, retry_after: Any) -> None:
    """What leaves a view is answered with the error's status, as problem details, for HEAD without a body."""
    app = Flask("app")
    register_error_handlers(app)

    @app.route("/")
    def view() -> str:
        raise error

    answer = app.test_client().get("/", headers={"X-Request-ID": "r-1"})
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.headers.get("Retry-After") == retry_after
    document = answer.get_json(force=True)
    assert (document["plugin"], document["requestId"], document["status"]) == ("shop", "r-1", status)
    assert "Traceback" not in document["detail"]
    assert answer.headers["X-Request-ID"] == "r-1"
    assert app.test_client().head("/").data == b""


@pytest.mark.parametrize(("error", "expected"), [
    (errors.PluginTimeout("it slept", plugin="shop"), "(GET /view) for plugin shop answered with 504: it slept"),
    (errors.PluginUnavailable("shop"), "(GET /view) for plugin shop answered with 503: "),
    (errors.PluginError("a\nb"), "(GET /view) for plugin None answered with 502: a\\nb"),
    (errors.RpcError(404, "no such order", plugin="shop"), None),
])
def test_what_clients_are_not_told_is_logged(error: errors.PluginError, expected: Any,
                                             caplog: pytest.LogCaptureFixture) -> None:
    """Each status from 500 on leaves one line with the error's own text, by plugin and request; a client error none."""
    app = Flask("app")
    register_error_handlers(app)

    @app.route("/view")
    def view() -> str:
        raise error

    with caplog.at_level(logging.DEBUG, "legacy_plugins.http"):
        app.test_client().get("/view?token=secret", headers={"X-Request-ID": "r-1"})
    assert len(caplog.records) == (expected is not None)
    for record in caplog.records:
        assert expected in record.getMessage()
        assert "secret" not in record.getMessage()
        assert (record.name, record.levelname) == ("legacy_plugins.http", "DEBUG" if "503" in expected else "WARNING")
        assert (record.plugin, record.request_id) == (error.plugin, "r-1")  # type: ignore[attr-defined]


def test_without_opting_in_nothing_changes() -> None:
    """An application that did not register them sees its own 500."""
    app = Flask("app")

    @app.route("/")
    def view() -> str:
        raise errors.PluginTimeout("slow")

    assert app.test_client().get("/").status_code == 500
