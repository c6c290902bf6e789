"""Whether this process lets its background threads run; a host lives by them.

uWSGI before 2.0.27 gives the interpreter's lock away only where `enable-threads` or `threads` is set: without them
every thread but the request's stands still between requests. Calls are answered all the same, since a waiting request
gives the lock away; but restarts, events, log lines and health checks wait for the next such moment, and plugins seem
to be down for much longer than they are. Runs on the thread that first uses a host; imports nothing of uWSGI.
"""
from __future__ import annotations

import logging
import sys
import warnings

from legacy_plugins.errors import PluginUnavailable
from legacy_plugins.rpc.reactor import Reactor

_log = logging.getLogger("legacy_plugins.host")
_TEXT = ("uWSGI runs without threads: plugins' restarts, events, log lines and health checks stand still between "
         "requests, and a plugin that crashed stays unavailable (503) for long; set enable-threads = true in uWSGI's "
         "configuration (it is the default from uWSGI 2.0.27 on)")
_warned = False  # forked workers inherit it: their master told already


def start_supervision(reactor: Reactor) -> None:
    """Start the supervising thread, where it does not run. Raises `PluginUnavailable` when the system has no descriptor
    or thread left for it, or the interpreter ends; the next use tries again."""
    try:
        reactor.start()
    except (OSError, RuntimeError) as error:
        raise PluginUnavailable(message=f"plugins cannot be used just now, for want of a thread or of descriptors for "
                                f"their supervision: {error}; free some, or raise the process's limits") from error


def threads_run() -> bool:
    """Whether background threads run here while no request does."""
    uwsgi = sys.modules.get("uwsgi")
    return bool(getattr(uwsgi, "has_threads", True))


def warn_without_threads() -> None:
    """Tell, in the log and as a `RuntimeWarning`, where they do not; once."""
    global _warned
    if not (threads_run() or _warned):
        _warned = True
        _log.warning(_TEXT)
        warnings.warn(_TEXT, RuntimeWarning, stacklevel=2)
