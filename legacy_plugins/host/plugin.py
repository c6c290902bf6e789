"""One plugin as its host has it in hand: commands, events, facts. Any thread.

Nothing is done here. Commands go to `Supervision`, which carries them out on the supervising thread, one after the
other; what everybody may know of the plugin comes back as `available`.
"""
from __future__ import annotations

import time
from typing import Callable, Optional

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import PluginError, UnknownPlugin
from legacy_plugins.host.availability import Availability
from legacy_plugins.host.departures import Departure
from legacy_plugins.host.events import EncodedEvent, EventQueue
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.host.log_history import LogHistory
from legacy_plugins.host.logs import PluginLog
from legacy_plugins.host.reports import PluginReports
from legacy_plugins.host.status import PluginCounters, PluginStatus
from legacy_plugins.host.supervision import Supervision, Wish
from legacy_plugins.host.surroundings import Surroundings
from legacy_plugins.host.thread_support import start_supervision
from legacy_plugins.rpc.crash import CrashReport

#: What a start or a stop may take beyond its own times, in seconds: spawning, draining, reaping.
_MARGIN = 1.5


class SupervisedPlugin:
    """See the file's first paragraph. `name`: as configured."""

    def __init__(self, config: PluginConfig, surroundings: Surroundings) -> None:
        self.name = config.name
        self.counters = PluginCounters()
        self.touched = False  # some command was given
        self.removed = False  # a reload took it away: whoever still has it in hand cannot start it
        self.held = False  # it was stopped on purpose: the host's first use does not start it
        self._reactor = surroundings.reactor
        reports = PluginReports(config.name, self.counters, surroundings.notices, surroundings.dispatcher)
        self.available = Availability(config.name, PluginState.STOPPED if config.enabled else PluginState.DISABLED)
        self.events = EventQueue(config.events, config.limits.queue_bytes, reports.event, self._arm_redelivery)
        self._logs = LogHistory(config.logs, reports.log_line)
        self._supervision = Supervision(config, surroundings, self.available, self.events, self._logs, reports)

    @property
    def config(self) -> PluginConfig:
        """The configuration that it goes by."""
        return self._supervision.config

    @property
    def log(self) -> PluginLog:
        """Its stderr."""
        return self._logs.current

    @property
    def last_crash(self) -> Optional[CrashReport]:
        """The report of its last crash."""
        return self._supervision.last_crash

    # ---- commands

    def start(self, *, enable: bool = False) -> None:
        """Start it, unless it runs, has failed, or is disabled; `enable`: only what is disabled."""
        if enable or self.available.view.state not in (PluginState.DISABLED, PluginState.FAILED):
            self._post_start(lambda: self._supervision.start(enable=enable))

    def restart(self) -> None:
        """Stop it, then start it; also what has failed or is disabled."""
        self._post_start(self._supervision.restart)

    def stop(self, reason: str = "stop", *, grace: Optional[float] = None, disable: bool = False) -> Departure:
        """Stop it; nothing starts it by itself afterwards. `grace`: seconds until SIGTERM. The result can be waited
        for."""
        self.held = True
        departure = Departure()
        wish = Wish(PluginState.DISABLED if disable else PluginState.STOPPED, reason)
        self._post(lambda: self._supervision.stop(wish, grace, departure))
        return departure

    def remove(self) -> Departure:
        """Stop it for good: a reload has taken it away."""
        self.removed = True
        departure = Departure()
        self._post(lambda: self._supervision.remove(departure))
        return departure

    def kill(self, departure: Departure) -> None:
        """SIGKILL to the processes of a stop that are still there."""
        self._post(lambda: self._supervision.kill(departure))

    def replace(self, config: PluginConfig, done: Callable[[Optional[PluginError]], None], *, start: bool) -> Departure:
        """Take a new configuration: a new process is ready before the old one is stopped. `done(error)` tells.

        `start`: the host is in use, so what has failed, or was disabled by its old configuration, is started. What is
        returned is over when a plugin that the new configuration disables is gone.
        """
        departure = Departure()

        def carry_out() -> None:
            try:
                self._supervision.replace(config, done, start, departure)
            except Exception as error:
                done(PluginError(f"the reload of plugin {self.name!r} failed: {error!r}", plugin=self.name))
                departure.over.set()
                raise
        self._post(carry_out)
        return departure

    def _post_start(self, command: Callable[[], None]) -> None:
        """Calls and events wait for it from now on."""
        if self.removed:
            raise UnknownPlugin(f"plugin {self.name!r} was removed from the configuration", plugin=self.name)
        self.held = False
        self.available.start_asked()
        self.events.open()

        def carry_out() -> None:
            try:
                command()
            finally:
                self.available.start_seen()
        try:
            self._post(carry_out)
        except BaseException:
            self.available.start_seen()
            raise

    def _post(self, command: Callable[[], None]) -> None:
        start_supervision(self._reactor)  # what never ran, and cannot now, leaves nothing to stop
        self.touched = True
        self._reactor.post(self._supervision.carry_out, command)

    # ---- events

    def put_event(self, event: EncodedEvent) -> str:
        """Queue an event: `queued`, `dropped` or `filtered`. Never waits."""
        config = self.config
        wanted = config.handshake != "none" or bool(config.events.include)  # a vendor's server must be asked
        if not (wanted and self.events.wants(event.event_type)):
            self.counters.event("filtered")
            return "filtered"
        return "queued" if self.events.put(event) else "dropped"

    def _arm_redelivery(self) -> None:
        """Acknowledgements are being waited for."""
        self._reactor.call_later(self.config.events.ack_timeout_ms / 2000, self._redeliver)

    def _redeliver(self) -> None:
        delay = self.events.redeliver(time.monotonic())
        if delay is not None:
            self._reactor.call_later(delay, self._redeliver)

    # ---- facts

    @property
    def start_seconds(self) -> float:
        """How long a start may take."""
        return (self.config.handshake_timeout_ms + self.config.ready_timeout_ms) / 1000 + _MARGIN

    @property
    def stop_seconds(self) -> float:
        """How long a stop may take: until SIGTERM, half of it again until SIGKILL, then draining and reaping."""
        return self.config.shutdown_timeout_ms / 1000 * 1.5 + _MARGIN

    def grace(self, seconds: Optional[float]) -> Optional[float]:
        """Seconds until SIGTERM where the whole stop has `seconds`; None: the plugin's own time."""
        own = self.config.shutdown_timeout_ms / 1000
        return None if seconds is None else max(0.05, min(own, seconds * 0.6))

    def status(self) -> PluginStatus:
        """All that is known now."""
        view, config = self.available.view, self.config
        connection = view.connection
        return PluginStatus(
            name=self.name, state=view.state, pid=view.pid, version=view.metadata.version if view.metadata else None,
            since=view.since, restarts=self._supervision.restarts, last_crash=self.last_crash, required=config.required,
            in_flight=len(connection.calls) if connection else 0,
            queued=connection.outbox.queued if connection else len(self.events),
            calls=self.counters.calls(), latency=self.counters.latency(), events=self.counters.events(),
            faults=self.counters.faults, log_lines_suppressed=self._logs.suppressed, reason=view.reason)
