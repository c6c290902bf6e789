"""A changed plugin's new process on trial: ready before the old one is stopped, or gone without a trace.

It owns the new process until that is ready, and then hands it over to its plugin; the old process answers what it has
been asked, and is stopped. Where the new one fails, the old one goes on. Supervising thread.
"""
from __future__ import annotations

import time
from typing import Callable, Optional, Protocol

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import PluginError, PluginNotRunning
from legacy_plugins.host.incarnation import Incarnation, Owner
from legacy_plugins.rpc.crash import CrashReport
from legacy_plugins.rpc.reactor import Reactor

_DRAIN_TICK_SECONDS = 0.02
#: How long a caller may take from looking where the plugin is to having sent its call there.
_LATECOMERS_SECONDS = 0.25


class Replaceable(Owner, Protocol):
    """Whose process is replaced; see `Supervision`."""

    def carry_out(self, command: Callable[[], None]) -> None: ...
    def take_config(self, config: PluginConfig) -> None: ...
    def adopt(self, incarnation: Incarnation) -> Optional[Incarnation]: ...
    def retire(self, incarnation: Incarnation, reason: str) -> None: ...
    def replaced(self) -> None: ...
    def not_replaced(self, incarnation: Optional[Incarnation], error: PluginError) -> None: ...


class Replacement:
    """`done(error)` is called once: None when the new process serves. `candidate`: the new process."""

    def __init__(self, plugin: Replaceable, config: PluginConfig, done: Callable[[Optional[PluginError]], None],
                 reactor: Reactor) -> None:
        self._plugin = plugin
        self._config = config
        self._done = done
        self._reactor = reactor
        self._finished = False
        self.candidate: Optional[Incarnation] = None

    def begin(self, incarnate: Callable[[Owner], Incarnation]) -> None:
        """Start the new process, unless it was given up; the old one serves meanwhile."""
        if self._finished:
            return
        try:
            self.candidate = incarnate(self)
        except PluginError as error:
            self._fail(error)
        else:
            self.candidate.begin()

    def give_up(self, reason: str) -> None:
        """The new process is not wanted any more."""
        if self._finished:
            return
        self._finished = True
        self._plugin.replaced()
        if self.candidate is not None:
            self._plugin.retire(self.candidate, reason)
        name = self._config.name
        self._done(PluginNotRunning(name, message=f"the reload of plugin {name!r} was given up: {reason}"))

    def on_ready(self, incarnation: Incarnation) -> None:
        if not self._finished:
            self._plugin.carry_out(lambda: self._hand_over(incarnation))

    def on_leaving(self, incarnation: Incarnation) -> None:
        """Nobody calls it yet."""

    def on_ended(self, incarnation: Incarnation, crash: Optional[CrashReport], error: PluginError) -> None:
        self._plugin.carry_out(lambda: self._fail(error))

    def on_gone(self, incarnation: Incarnation) -> None:
        """Its plugin has seen to its end."""

    def _hand_over(self, incarnation: Incarnation) -> None:
        incarnation.owner = self._plugin
        self._plugin.take_config(self._config)
        old = self._plugin.adopt(incarnation)
        self._finished = True
        self._plugin.replaced()
        if old is not None:
            self._drain(old, time.monotonic() + _LATECOMERS_SECONDS)
        self._done(None)

    def _fail(self, error: PluginError) -> None:
        if not self._finished:
            self._finished = True
            self._plugin.not_replaced(self.candidate, error)
            self._done(error)

    def _drain(self, old: Incarnation, not_before: float) -> None:
        """The old process gets no new calls: let it answer those it has, as long as their callers wait for them."""
        serves = old.ready_since is not None and old.asked_to_end is None
        if serves and (len(old.connection.calls) or time.monotonic() < not_before):
            self._reactor.call_later(_DRAIN_TICK_SECONDS, lambda: self._drain(old, not_before))
        else:
            old.stop("replaced by a reload")
