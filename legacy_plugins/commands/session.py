"""Plugins for the length of one command.

Owns their start and their end, in this process; a server that runs elsewhere is not touched. A command may also be run
inside a process that uses its plugins (a test, an admin's action): it then leaves them as it found them. Runs on the
thread of the command.
"""
from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterator

if TYPE_CHECKING:
    from legacy_plugins.host import PluginHost


@contextmanager
def started(host: PluginHost) -> Iterator[PluginHost]:
    """The host with its plugins started, each ready or not coming; afterwards it is what it was before.

    Plugins that are in use already go on; in a host that was never used they are stopped, and the next use starts them.
    """
    runtime = host.runtime()
    if runtime.started and not runtime.closed:
        runtime.wait_settled(None)
        yield host
        return
    unused = not runtime.closed
    try:
        host.start(wait=True)
        yield host
    finally:
        host.stop()
        if unused:
            runtime.mark_unused()
