"""What happens to plugins when the interpreter exits: one handler for all hosts of a process.

It stops all plugins side by side within the hosts' `exitTimeoutMs`, and kills what is left. It starts no thread and no
process, which Python refuses at that time. A forked child inherits the registration, but nothing to stop. Where no
handler runs (SIGKILL, `os._exit`) the guard does the work.
"""
from __future__ import annotations

import atexit
import logging
import weakref
from typing import Protocol

from legacy_plugins.config.model import HostConfig
from legacy_plugins.host.departures import CommonStop
from legacy_plugins.host.orphans import shared_guard
from legacy_plugins.rpc.dispatcher import shared_dispatcher
from legacy_plugins.transport.per_process import PerProcess

_log = logging.getLogger("legacy_plugins.host")
#: How long the last notices may take to reach log handlers and receivers, in seconds.
_LAST_NOTICES_SECONDS = 0.2

class Stoppable(Protocol):
    """A host's life in this process."""

    config: HostConfig

    def begin_stop(self, reason: str, seconds: float) -> CommonStop:
        """Ask all plugins to end, side by side, in `seconds`."""


def _register() -> weakref.WeakSet[Stoppable]:
    atexit.unregister(_stop_all)  # a child may have inherited it, or not (multiprocessing clears all handlers)
    atexit.register(_stop_all)
    return weakref.WeakSet()


_runtimes = PerProcess(_register)


def stop_at_exit(runtime: Stoppable) -> None:
    """Stop this runtime's plugins when its process exits in an orderly way."""
    _runtimes.get().add(runtime)


def _stop_all() -> None:
    stops = []
    for runtime in list(_runtimes.peek() or ()):
        try:
            stops.append(runtime.begin_stop("the host exits", runtime.config.exit_timeout_ms / 1000))
        except Exception:  # noqa: BLE001 - the other hosts' plugins must be stopped all the same
            _log.exception("the plugins of a host could not be stopped at exit; the guard will end them")
    for stop in stops:
        stop.finish()
    if stops:
        shared_guard().close_at_exit()
        shared_dispatcher().flush(_LAST_NOTICES_SECONDS)
