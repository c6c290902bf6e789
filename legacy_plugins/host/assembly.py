"""From a configuration to an incarnation: a process, with everything around it that it needs.

Supervising thread. What may fail is made before the process is; and should anything fail after that, the process does
not stay behind.
"""
from __future__ import annotations

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.host.events import EventQueue
from legacy_plugins.host.incarnation import Incarnation, Owner
from legacy_plugins.host.logs import PluginLog
from legacy_plugins.host.reports import PluginReports
from legacy_plugins.host.services import ServiceDesk
from legacy_plugins.host.surroundings import Surroundings
from legacy_plugins.host.voice import PluginVoice
from legacy_plugins.rpc.reactor import Reactor
from legacy_plugins.transport.base import Process
from legacy_plugins.transport.process import KILL

_TICK_SECONDS = 0.01
_REAP_SECONDS = 1.0


def incarnate(config: PluginConfig, owner: Owner, around: Surroundings, *, log: PluginLog, events: EventQueue,
              reports: PluginReports) -> Incarnation:
    """Start a process of the plugin. Raises `UntrustedCommand`, `PluginStartFailed`; see `launch`."""
    desk = ServiceDesk(config, around.services, around.reactor, reports)
    voice = PluginVoice(config, desk, events, log, reports)
    guard = around.guard if around.guarded() else None
    if guard is not None:
        guard.prepare()
    process = around.launcher(config.name)(config)
    try:
        return Incarnation(config, process, owner, voice, desk, log, around, guard)
    except BaseException:
        _discard(process, around.reactor)
        raise


def _discard(process: Process, reactor: Reactor) -> None:
    """Nobody looks after this process: end it, and give everything back."""
    process.send_signal(KILL)
    process.stream.close_write()
    for source in (process.stream, process.log_stream):
        if source is not None:
            source.interrupt()
            while source.read():
                pass
    _reap(process, reactor, _REAP_SECONDS)


def _reap(process: Process, reactor: Reactor, left: float) -> None:
    if process.exit_status() is None and left > 0:
        reactor.call_later(_TICK_SECONDS, lambda: _reap(process, reactor, left - _TICK_SECONDS))
    else:
        process.release()
