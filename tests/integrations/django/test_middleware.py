"""The middleware that a project may opt into for plugins' errors in its own views."""
from __future__ import annotations

import logging
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client, override_settings
from django.urls import path

from legacy_plugins import errors

MIDDLEWARE = ["legacy_plugins.integrations.django.middleware.PluginErrorMiddleware"]


def _get(error: Exception, middleware: Any = MIDDLEWARE, **extra: Any) -> Any:
    def view(request: HttpRequest) -> Any:
        raise error

    with override_settings(ROOT_URLCONF=(path("view", view),), MIDDLEWARE=middleware):
        return Client(raise_request_exception=False).get("/view?token=secret", **extra)


@pytest.mark.parametrize(("error", "status", "retry_after"), [
    (errors.PluginTimeout("slow", plugin="shop"), 504, None),
    (errors.PluginUnavailable("shop", retry_after=2.5), 503, "3"),
    (errors.RpcError(404, "no such order", plugin="shop"), 404, None),
])
def test_plugin_errors_become_problems(error: errors.PluginError, status: int, retry_after: Any,
                                       caplog: pytest.LogCaptureFixture) -> None:
    """What leaves a view is answered with the error's status, as problem details; the log has its text from 500 on."""
    with caplog.at_level(logging.DEBUG, "legacy_plugins.http"):
        answer = _get(error, HTTP_X_REQUEST_ID="r-1")
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert answer.get("Retry-After") == retry_after
    document = answer.json()
    assert (document["plugin"], document["requestId"], document["status"]) == ("shop", "r-1", status)
    ours = [record.getMessage() for record in caplog.records if record.name == "legacy_plugins.http"]
    assert len(ours) == (status >= 500)
    assert all(str(error) in text and "secret" not in text for text in ours)


def test_all_else_is_djangos() -> None:
    """Other errors, and projects without the middleware, have Django's own 500."""
    assert _get(ZeroDivisionError()).status_code == 500
    assert _get(errors.PluginTimeout("slow"), middleware=[])["Content-Type"].startswith("text/html")
