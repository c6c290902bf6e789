"""What an application answers when a plugin's error leaves one of its own views, where it asked for that.

Owns the log line without which the error's own text would be lost. Runs on the web server's thread. Must not import a
framework.
"""
from __future__ import annotations

import logging
from typing import Optional

from legacy_plugins.errors import PluginError
from legacy_plugins.http.failures import log_failure
from legacy_plugins.http.identity import request_id
from legacy_plugins.http.messages import HttpResponse
from legacy_plugins.http.problems import problem_of, problem_response


def error_response(error: PluginError, *, method: str, path: str, given_id: Optional[str]) -> HttpResponse:
    """The error as problem+json, with its `http_status`; from 500 on its own text is logged: a warning, but for 503.

    `method`, `path` (below the application's root), `given_id` (X-Request-ID): the request's, whose view failed.
    """
    known = request_id(given_id)
    problem = problem_of(error)
    if problem.status >= 500:  # that a plugin is down is told once, by its host
        level = logging.DEBUG if problem.status == 503 else logging.WARNING
        log_failure(level, problem.status, str(error), method=method, path=path, plugin=error.plugin, request_id=known)
    return problem_response(problem, plugin=error.plugin, request_id=known).finished(method, known)
