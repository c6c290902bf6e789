"""What happens to plugins when the interpreter exits: one handler for all hosts of a process.

It stops all plugins side by side within the hosts' `exitTimeoutMs`, and kills what is left. It starts no thread and no
process, which Python refuses at that time. A forked child inherits the registration; the pid tells that it is not
meant. Where no handler runs (SIGKILL, `os._exit`) the guard does the work.
"""
from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING, Dict, List

from legacy_plugins.host.orphans import shared_guard
from legacy_plugins.rpc.deadline import Deadline

if TYPE_CHECKING:
    from legacy_plugins.host.runtime import HostRuntime

_runtimes: Dict[int, weakref.WeakSet[HostRuntime]] = {}
_registered = False


def stop_at_exit(runtime: HostRuntime) -> None:
    """Stop this runtime's plugins when its process exits in an orderly way."""
    global _registered
    _runtimes.setdefault(os.getpid(), weakref.WeakSet()).add(runtime)
    if not _registered:
        _registered = True
        atexit.register(_stop_all)


def _stop_all() -> None:
    runtimes: List[HostRuntime] = list(_runtimes.get(os.getpid(), ()))
    deadlines = [(runtime, Deadline(runtime.config.exit_timeout_ms / 1000)) for runtime in runtimes]
    for runtime, deadline in deadlines:
        runtime.begin_stop("the host exits", deadline.left())
    for runtime, deadline in deadlines:
        if not runtime.wait_stopped(deadline.left()):
            runtime.kill_all()
    if runtimes:
        shared_guard().close_at_exit()
