"""Warm children in Celery's worker: plugins start with each child of the prefork pool, and stop with it.

Owns the receivers of `worker_process_init` and `worker_process_shutdown`; both run in the child's main thread. The pool
ends its children without Python's exit handlers, so with these receivers plugins get their orderly end; without them
they start at a child's first use, and see the end of their stdin. Celery is imported when the receivers are connected.
"""
from __future__ import annotations

import importlib
import os
from typing import Any, Optional, Set

from legacy_plugins.host.lookup import HostSource, find_host

#: The part of Celery's `worker_proc_alive_timeout` (4 s) that a child's start may wait; what takes longer is killed.
_SHARE = 0.75


def connect_signals(host: HostSource, *, wait: Optional[float] = None) -> None:
    """Have each child of the pool start the plugins of `host` (see `find_host`), and stop them at its end.

    Call it where the Celery application is made. `wait`: for how long a child waits for its plugins before it takes
    tasks, in seconds, at most three quarters of Celery's `worker_proc_alive_timeout`, which is also the default;
    plugins that are not ready by then come up meanwhile, and calls wait for them. The solo pool sends the first signal
    in the worker itself; the pools of threads and greenlets send neither: there plugins start at first use.

    Raises `ImportError` where Celery is not installed.
    """
    try:
        signals = importlib.import_module("celery.signals")
    except ImportError as error:
        raise ImportError("legacy_plugins.integrations.celery.connect_signals needs Celery: pip install celery"
                          ) from error
    receivers = _Receivers(host, wait)
    signals.worker_process_init.connect(receivers.start, weak=False)
    signals.worker_process_shutdown.connect(receivers.stop, weak=False)


class _Receivers:
    """The two receivers of one host."""

    def __init__(self, source: HostSource, wait: Optional[float]) -> None:
        self._source = source
        self._wait = wait
        self._started: Set[int] = set()  # the processes that this started plugins in

    def start(self, **_: Any) -> None:
        """A child begins."""
        longest = importlib.import_module("celery").current_app.conf.worker_proc_alive_timeout * _SHARE
        self._started.add(os.getpid())
        find_host(self._source).start(timeout=longest if self._wait is None else min(self._wait, longest))

    def stop(self, **_: Any) -> None:
        """A child ends in an orderly way."""
        if os.getpid() in self._started:
            host = find_host(self._source)
            host.stop(host.config.exit_timeout_ms / 1000)
