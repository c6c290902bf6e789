"""Warm workers under uWSGI: plugins start in each worker before its first request, and stop at its end.

Owns what is added to `uwsgi.post_fork_hook` and `uwsgi.atexit`. Both run in a worker's main thread. The module `uwsgi`
exists inside uWSGI alone, so it is looked for when hooks are installed, and nothing happens where it is not. Without
these hooks plugins start at a worker's first use of them, and end at its interpreter's exit.
"""
from __future__ import annotations

import os
import sys
from typing import Any, Callable, Optional, Set

from legacy_plugins.host.lookup import HostSource, find_host
from legacy_plugins.host.thread_support import warn_without_threads


def install_hooks(host: HostSource, *, wait: Optional[float] = None) -> bool:
    """Have the workers start the plugins of `host` (see `find_host`); call it where the application is made.

    `wait`: for how long a new worker waits for its plugins before it serves, in seconds; by default until each is ready
    or not coming. With `lazy-apps` nothing waits: the application is imported in the worker, after the hook's time, and
    a start that waited would hold up the import. Where uWSGI runs without threads it warns, once, in the log and with a
    `RuntimeWarning`. Mules and spoolers start plugins when they first use them.

    uWSGI keeps one function for each hook; those that were set before are called first. Import `uwsgidecorators`, where
    it is used, before: it overwrites. Returns whether this is uWSGI; elsewhere it does nothing.
    """
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return False
    warn_without_threads()
    hooks = _WorkerHooks(uwsgi, host, wait)
    uwsgi.post_fork_hook = _after(getattr(uwsgi, "post_fork_hook", None), hooks.post_fork)
    uwsgi.atexit = _after(getattr(uwsgi, "atexit", None), hooks.atexit)
    hooks.loaded()
    return True


class _WorkerHooks:
    """The two hooks of one host."""

    def __init__(self, uwsgi: Any, source: HostSource, wait: Optional[float]) -> None:
        self._uwsgi = uwsgi
        self._source = source
        self._wait = wait
        self._started: Set[int] = set()  # the processes that this started plugins in

    def loaded(self) -> None:
        """The application is imported: before there are workers, or (`lazy-apps`) in one, too late for the hook."""
        self._start(wait=False)

    def post_fork(self) -> None:
        """A worker, a mule or a spooler begins."""
        self._start(wait=True)

    def atexit(self) -> None:
        """A worker ends in an orderly way; with `skip-atexit-teardown` no other handler runs."""
        if os.getpid() in self._started:
            host = find_host(self._source)
            host.stop(host.config.exit_timeout_ms / 1000)

    def _start(self, wait: bool) -> None:
        if self._uwsgi.worker_id() > 0:
            self._started.add(os.getpid())
            find_host(self._source).start(wait, self._wait)


def _after(first: Any, then: Callable[[], None]) -> Callable[[], None]:
    """Both, in this order."""
    def both() -> None:
        try:
            if first is not None:
                first()
        finally:
            then()

    return both
