"""Database connections on threads that are not the web server's.

Django opens connections by thread and closes them at the ends of requests; on the library's own threads nobody would,
and a connection that its server has dropped would fail there for ever. Owns what takes the request's place.
"""
from __future__ import annotations

import functools
from typing import Any, Callable

from django.db import close_old_connections

from legacy_plugins.rpc.dispatcher import surround_jobs


def with_fresh_connections(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with the thread's old connections closed before and after it."""
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return run


def refresh_dispatch_thread() -> None:
    """The same around receivers of the library's signals, done-callbacks and log handlers, from now on."""
    surround_jobs(close_old_connections)
