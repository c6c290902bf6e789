"""A changed plugin's new process on trial: ready before the old one is stopped, or gone without a trace.

It owns the new process until that is ready, and then hands it over to its plugin; the old process answers what it has
been asked, within its own time-out, and is stopped. Where the new one fails, the old one goes on. Supervising thread.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Optional

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import PluginError, PluginNotRunning
from legacy_plugins.host.incarnation import Incarnation
from legacy_plugins.rpc.crash import CrashReport
from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.rpc.reactor import Reactor

if TYPE_CHECKING:
    from legacy_plugins.host.plugin import SupervisedPlugin

_DRAIN_TICK_SECONDS = 0.02


class Replacement:
    """`done(error)` is called once: None when the new process serves."""

    def __init__(self, plugin: SupervisedPlugin, config: PluginConfig, done: Callable[[Optional[PluginError]], None],
                 reactor: Reactor) -> None:
        self._plugin = plugin
        self._config = config
        self._done = done
        self._reactor = reactor
        self._candidate: Optional[Incarnation] = None
        self._finished = False

    def begin(self, old: Incarnation) -> None:
        """Start the new process; `old` serves meanwhile."""
        self._old = old
        try:
            self._candidate = self._plugin.incarnate(self._config, self)
        except PluginError as error:
            self._finish(error)
        else:
            self._plugin.begin(self._candidate)

    def give_up(self, reason: str) -> None:
        """The new process is not wanted any more."""
        name = self._config.name
        self._finish(PluginNotRunning(name, message=f"the reload of plugin {name!r} was given up: {reason}"))
        if self._candidate is not None:
            self._plugin.retire(self._candidate, reason)

    def on_ready(self, incarnation: Incarnation) -> None:
        if self._finished:
            return
        incarnation.owner = self._plugin
        self._plugin.take_config(self._config)
        self._plugin.adopt(incarnation)
        self._drain(Deadline(self._old.config.rpc_timeout_ms / 1000))
        self._finish(None)

    def on_leaving(self, incarnation: Incarnation) -> None:
        """Nobody calls it yet."""

    def on_ended(self, incarnation: Incarnation, crash: Optional[CrashReport], error: PluginError) -> None:
        self._finish(error)

    def on_gone(self, incarnation: Incarnation) -> None:
        """Nothing is left of it."""

    def _finish(self, error: Optional[PluginError]) -> None:
        if not self._finished:
            self._finished = True
            self._plugin.replaced(error)
            self._done(error)

    def _drain(self, deadline: Deadline) -> None:
        """The old process gets no new calls: let it answer those it has."""
        if len(self._old.connection.calls) and not deadline.expired:
            self._reactor.call_later(_DRAIN_TICK_SECONDS, lambda: self._drain(deadline))
        else:
            self._old.stop("replaced by a reload")
