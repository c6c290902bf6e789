"""The log line of a request that was answered with a status from 500 on.

Owns the line's shape, the same for plugins' routes and for an application's own views, and the escaping of what clients
and plugins put into it. Any thread. Must not import a framework.
"""
from __future__ import annotations

import logging
from typing import Optional

from legacy_plugins.host.log_lines import escape

logger = logging.getLogger("legacy_plugins.http")

_LONGEST_METHOD = 10
_LONGEST_PATH = 200
_LONGEST_REASON = 2000


def log_failure(level: int, status: int, reason: str, *, method: str, path: str, plugin: Optional[str],
                request_id: str) -> None:
    """Log why a request failed, on one line.

    `path`: decoded, below the application's root, without the query, which may hold secrets. The record carries
    `plugin` and `request_id`.
    """
    logger.log(level, "request %s (%s %s) for plugin %s answered with %d: %s", request_id,
               _shown(method, _LONGEST_METHOD), _shown(path, _LONGEST_PATH), plugin, status,
               _shown(reason, _LONGEST_REASON), extra={"plugin": plugin, "request_id": request_id})


def _shown(text: str, longest: int) -> str:
    """At most `longest` characters of a text, escaped so that it stays on its line."""
    cut = text if len(text) <= longest else f"{text[:longest]}..."
    return escape(cut)
