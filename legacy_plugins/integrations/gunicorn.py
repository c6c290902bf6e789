"""Warm workers under gunicorn: plugins start before a worker accepts requests, and stop while gunicorn still waits.

Owns four of gunicorn's server hooks. They run in a worker's main thread; `worker_int` and `worker_abort` in a signal
handler there, in the middle of a request perhaps that holds what a stop needs: they begin the stop on a thread and wait
for nothing. gunicorn ends the request when they return, and waits for the stop in `worker_exit`. Imports nothing of
gunicorn, since its configuration file is read before the application is. Without these hooks plugins start at a
worker's first use of them, and end at its interpreter's exit.
"""
from __future__ import annotations

import _thread
import os
import sys
from typing import Any, Optional

from legacy_plugins.host import PluginHost
from legacy_plugins.host.lookup import HostSource, find_host

#: The part of gunicorn's `graceful_timeout` that a stop may take.
_SHARE = 0.8
#: Django's application object has no host; the project has, here.
_DJANGO = "legacy_plugins.integrations.django"
#: Between SIGABRT and SIGKILL gunicorn leaves one second.
_ABORT_SECONDS = 0.7


class ServerHooks:
    """The hooks, for a configuration file (`gunicorn.conf.py`):

        hooks = ServerHooks()
        post_worker_init = hooks.post_worker_init
        worker_int, worker_abort, worker_exit = hooks.worker_int, hooks.worker_abort, hooks.worker_exit

    `host`: by default that of what gunicorn serves, a Flask application or a Django project; else a `PluginHost`, an
    application, a function that returns one of these, or a text, "package.module:attribute". `wait`: for how long a new
    worker waits for its plugins, in seconds, at most half of gunicorn's `timeout`, which is also the default; then it
    serves whatever has come up.
    """

    def __init__(self, host: HostSource = None, *, wait: Optional[float] = None) -> None:
        self._source = host
        self._wait = wait
        self._host: Optional[PluginHost] = None
        self._worker: Optional[int] = None

    def post_worker_init(self, worker: Any) -> None:
        """Start the plugins of a new worker. Raises `LookupError` where there is no host, which stops gunicorn."""
        self._host = find_host(self._source) if self._source is not None else _served(worker.wsgi)
        self._worker = os.getpid()
        worker.notify()  # the time-out counts from here: importing the application took its part
        limits = [seconds for seconds in (self._wait, worker.timeout or None) if seconds is not None]
        self._host.start(timeout=min(limits, default=None))

    def worker_int(self, worker: Any) -> None:
        """SIGINT or SIGQUIT: gunicorn interrupts the main thread's request. Requests in other threads that wait for
        a plugin end with an error now, else the interpreter would wait for them."""
        self._begin_stop(worker.cfg.graceful_timeout * _SHARE)

    def worker_abort(self, worker: Any) -> None:
        """SIGABRT: the worker exceeded gunicorn's `timeout`."""
        self._begin_stop(_ABORT_SECONDS)

    def worker_exit(self, server: Any, worker: Any) -> None:
        """The worker served its last request. gunicorn's master calls this too, for workers that are gone."""
        self._stop(worker.cfg.graceful_timeout * _SHARE)

    def _begin_stop(self, seconds: float) -> None:
        """In a signal handler. Not `threading.Thread`, whose `start` takes locks that this thread may hold."""
        if self._host is not None and self._worker == os.getpid():
            try:
                _thread.start_new_thread(self._stop, (seconds,))
            except RuntimeError:  # no thread is left: `worker_exit` stops them
                pass

    def _stop(self, seconds: float) -> None:
        if self._host is not None and self._worker == os.getpid():
            self._host.stop(min(seconds, self._host.config.exit_timeout_ms / 1000))


def _served(application: Any) -> PluginHost:
    """The host of what gunicorn serves. Middleware may be around it, so Django is asked for its applications."""
    try:
        return find_host(application)
    except LookupError:
        apps = getattr(sys.modules.get("django.apps"), "apps", None)
        if apps is None or not apps.ready or not apps.is_installed(_DJANGO):
            raise
        return find_host(f"{_DJANGO}:plugins")
