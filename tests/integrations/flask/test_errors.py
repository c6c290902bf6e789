"""The error handlers that an application may opt into."""
from __future__ import annotations

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


def test_without_opting_in_nothing_changes() -> None:
    """An application that did not register them sees its own 500."""
    app = Flask("app")

    @app.route("/")
    def view() -> str:
        raise errors.PluginTimeout("slow")

    assert app.test_client().get("/").status_code == 500
