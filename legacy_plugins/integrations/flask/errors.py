"""What an application answers when a plugin's error leaves one of its own views: the handler to opt into.

Runs on the web server's thread.
"""
from __future__ import annotations

from flask import Flask, Response, request

from legacy_plugins.errors import PluginError
from legacy_plugins.http.view_errors import error_response
from legacy_plugins.integrations.flask.exchange import flask_response


def register_error_handlers(app: Flask) -> None:
    """Answer any `PluginError` that leaves a view of `app` as problem+json, with the error's `http_status`.

    Clients get a general text; the error's own is logged by `legacy_plugins.http` for statuses from 500: a warning, but
    DEBUG for 503, since that a plugin is down is told once, by its host.
    """
    app.register_error_handler(PluginError, _answer)


def _answer(error: PluginError) -> Response:
    return flask_response(error_response(error, method=request.method, path=request.path,
                                         given_id=request.headers.get("X-Request-ID")))
