"""What an application answers when a plugin's error leaves one of its own views.

Owns the opt-in handler, and the log line without which the error's own text would be lost. Runs on the web server's
thread.
"""
from __future__ import annotations

import logging

from flask import Flask, Response, request

from legacy_plugins.errors import PluginError
from legacy_plugins.http.failures import log_failure
from legacy_plugins.http.identity import request_id
from legacy_plugins.http.problems import problem_of, problem_response
from legacy_plugins.integrations.flask.exchange import flask_response


def register_error_handlers(app: Flask) -> None:
    """Answer any `PluginError` that leaves a view of `app` as problem+json, with the error's `http_status`.

    Clients get a general text; the error's own is logged as a warning by `legacy_plugins.http` for statuses from 500.
    """
    app.register_error_handler(PluginError, _answer)


def _answer(error: PluginError) -> Response:
    known = request_id(request.headers.get("X-Request-ID"))
    problem = problem_of(error)
    if problem.status >= 500:
        log_failure(logging.WARNING, problem.status, str(error), method=request.method, path=request.path,
                    plugin=error.plugin, request_id=known)
    answer = problem_response(problem, plugin=error.plugin, request_id=known)
    return flask_response(answer.finished(request.method, known))
