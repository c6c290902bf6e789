"""Clients that go away while their request waits for a plugin.

Owns the two halves of it: what each WSGI server lets an application see of its client's connection, and the wait for
an answer that looks there now and then and gives the call up, so that neither the plugin nor one of its places works
for nobody. Runs on the web server's thread. Must not import a server or a framework.

gunicorn, werkzeug and uWSGI give out the connection, which the kernel is asked about; behind a proxy that is the
proxy's, which closes it when its own client has gone. waitress looks by itself, with `channel_request_lookahead` above
0. Other servers (mod_wsgi) show nothing: there the time-out alone ends a call.
"""
from __future__ import annotations

import concurrent.futures
import importlib
import select
import sys
from typing import Any, Callable, Mapping, Optional

from legacy_plugins.http.problems import HttpProblem

#: Whether the client has gone away. Called on the thread that serves the request; neither blocks nor raises.
ClientGone = Callable[[], bool]

#: Seconds between two looks. Most requests are answered before the first, and cost nothing more.
LOOK_SECONDS = 0.5

# What nginx logs for it; no standard has a status for an answer that nobody gets.
_CLIENT_CLOSED_REQUEST = 499
_SOCKETS = ("gunicorn.socket", "werkzeug.socket")
# The other side sends no more, or the connection is broken. Linux alone has the former, which clients in a hurry cause.
_PEER_CLOSED = getattr(select, "POLLRDHUP", 0)
_TIMEOUTS = (TimeoutError, concurrent.futures.TimeoutError)


def client_watch(environ: Mapping[str, Any]) -> Optional[ClientGone]:
    """How to ask whether the client of a WSGI request has gone away; None where the server does not show it.

    A client that closes only its sending half counts as gone, as for nginx: servers cannot tell the two apart.
    """
    waitress: Optional[ClientGone] = environ.get("waitress.client_disconnected")
    if waitress is not None:
        return waitress
    if not _PEER_CLOSED:
        return None
    for key in _SOCKETS:
        connection = environ.get(key)
        if connection is not None:
            return lambda: _is_closed(connection.fileno)
    if "uwsgi.version" in environ:
        return lambda: _is_closed(_uwsgi_descriptor)
    return None


def _uwsgi_descriptor() -> int:
    """The descriptor of this thread's request; the module exists inside uWSGI alone."""
    uwsgi: Any = importlib.import_module("uwsgi")
    descriptor: int = uwsgi.connection_fd()
    return descriptor


def _is_closed(descriptor: Callable[[], int]) -> bool:
    """Whether the other side has closed a connection; what it sent before, and nobody read yet, does not matter."""
    try:
        watch = _system_poll()()
        watch.register(descriptor(), _PEER_CLOSED)
        return bool(watch.poll(0))
    except (ImportError, OSError, ValueError):
        return False  # no connection to ask about


def _system_poll() -> Any:
    """The system's `poll`: gevent's does not know of POLLRDHUP, and with a time-out of 0 nothing blocks."""
    monkey = sys.modules.get("gevent.monkey")
    return select.poll if monkey is None else monkey.get_original("select", "poll")


def awaited(call: concurrent.futures.Future[Any], gone: ClientGone) -> Any:
    """The result of a submitted call, or what it raises; gives it up, and the plugin is told, once the client is gone.

    Raises `HttpProblem` 499 then. Whatever else interrupts the wait gives the call up too.
    """
    try:
        while not _ends_within(call, LOOK_SECONDS):
            if gone():
                raise HttpProblem(_CLIENT_CLOSED_REQUEST, "the client went away")
        return call.result()
    finally:
        call.cancel()  # does nothing to a call that has ended


def _ends_within(call: concurrent.futures.Future[Any], seconds: float) -> bool:
    try:
        call.exception(seconds)
    except _TIMEOUTS:
        return call.done()
    return True
