"""What happens to plugins when the interpreter exits: one handler for all hosts of a process.

It stops all plugins side by side within the hosts' `exitTimeoutMs`, and kills what is left. It starts no thread and no
process, which Python refuses at that time. A forked child inherits the registration; the pid tells that it is not
meant. Where no handler runs (SIGKILL, `os._exit`) the guard does the work.
"""
from __future__ import annotations

import atexit
import logging
import os
import weakref
from typing import TYPE_CHECKING, Dict

from legacy_plugins.host.orphans import shared_guard
from legacy_plugins.rpc.dispatcher import shared_dispatcher

if TYPE_CHECKING:
    from legacy_plugins.host.runtime import HostRuntime

_log = logging.getLogger("legacy_plugins.host")
#: How long the last notices may take to reach log handlers and receivers, in seconds.
_LAST_NOTICES_SECONDS = 0.2

_runtimes: Dict[int, weakref.WeakSet[HostRuntime]] = {}


def stop_at_exit(runtime: HostRuntime) -> None:
    """Stop this runtime's plugins when its process exits in an orderly way."""
    pid = os.getpid()
    if pid not in _runtimes:
        _runtimes.clear()  # a parent's
        _runtimes[pid] = weakref.WeakSet()
        atexit.unregister(_stop_all)  # a child may have inherited it, or not (multiprocessing clears all handlers)
        atexit.register(_stop_all)
    _runtimes[pid].add(runtime)


def _stop_all() -> None:
    stops = []
    for runtime in list(_runtimes.get(os.getpid(), ())):
        try:
            stops.append(runtime.begin_stop("the host exits", runtime.config.exit_timeout_ms / 1000))
        except Exception:  # noqa: BLE001 - the other hosts' plugins must be stopped all the same
            _log.exception("the plugins of a host could not be stopped at exit; the guard will end them")
    for stop in stops:
        stop.finish()
    if stops:
        shared_guard().close_at_exit()
        shared_dispatcher().flush(_LAST_NOTICES_SECONDS)
