"""One supervised plugin: what state it is in, across all its processes.

Commands may come from any thread; they are carried out on the supervising thread, one after the other, and only there
does the state change. Others see it through `available`. Decisions are made by `lifecycle`; this file carries them out.
"""
from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import Callable, List, Optional

from legacy_plugins import signals
from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import HandshakeFailed, PluginError, PluginStartFailed
from legacy_plugins.host.availability import Availability, View
from legacy_plugins.host.events import EncodedEvent, EventQueue
from legacy_plugins.host.incarnation import Incarnation, Owner, PassingFailure
from legacy_plugins.host.launch import StartDelayed
from legacy_plugins.host.lifecycle import PluginState, RestartBudget
from legacy_plugins.host.logs import PluginLog
from legacy_plugins.host.replacement import Replacement
from legacy_plugins.host.reports import PluginReports
from legacy_plugins.host.services import ServiceDesk
from legacy_plugins.host.status import PluginCounters, PluginStatus
from legacy_plugins.host.surroundings import Surroundings
from legacy_plugins.host.voice import PluginVoice
from legacy_plugins.protocol.handshake import HandshakeResult
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.crash import EX_CONFIG, CrashReport
from legacy_plugins.rpc.reactor import Timer
from legacy_plugins.transport.process import KILL

_log = logging.getLogger("legacy_plugins.host")
S = PluginState


@dataclass
class _Wish:
    """What follows when the process that is being stopped is gone."""

    state: PluginState
    reason: str


class SupervisedPlugin:
    """See the file's first paragraph. Methods in the first part: any thread."""

    def __init__(self, config: PluginConfig, surroundings: Surroundings) -> None:
        self.config = config
        self.counters = PluginCounters()
        self.last_crash: Optional[CrashReport] = None
        self.available = Availability(config.name, S.STOPPED if config.enabled else S.DISABLED)
        self.reports = PluginReports(config.name, self.counters, surroundings.notices, surroundings.dispatcher)
        self._around = surroundings
        self._budget = RestartBudget(config.restart)
        self._current: Optional[Incarnation] = None
        self._replacement: Optional[Replacement] = None
        self._retiring: List[Incarnation] = []
        self._wish: Optional[_Wish] = None
        self._spawn_when_gone = False
        self._timer: Optional[Timer] = None
        self.log = PluginLog(config.logs, self.reports.log_line)
        self._suppressed_before = 0  # by logs with an earlier policy
        self.events = EventQueue(config.events, config.limits.queue_bytes, self.reports.event, self._arm_redelivery)

    @property
    def name(self) -> str:
        """The configured name."""
        return self.config.name

    def start(self) -> None:
        """Start it, unless it runs or is disabled."""
        self.available.expect_start()
        self._around.reactor.post(self._start)

    def stop(self, reason: str = "stop", *, grace: Optional[float] = None, disable: bool = False) -> None:
        """Stop it; nothing starts it by itself afterwards. `grace`: seconds until SIGTERM."""
        self._around.reactor.post(lambda: self._stop(_Wish(S.DISABLED if disable else S.STOPPED, reason), grace))

    def restart(self) -> None:
        """Stop it, then start it; also what is failed or disabled."""
        self.available.expect_start()
        self._around.reactor.post(self._restart)

    def replace(self, config: PluginConfig, done: Callable[[Optional[PluginError]], None], *, start: bool) -> None:
        """Take a new configuration: a new process is ready before the old one is stopped. `done(error)` tells.

        `start`: the host is in use, so what is failed, or was disabled by its old configuration, is started.
        """
        self._around.reactor.post(lambda: self._replace(config, done, start))

    def status(self) -> PluginStatus:
        """All that is known now."""
        view = self.available.view
        connection = view.connection
        return PluginStatus(
            name=self.name, state=view.state, pid=view.pid, version=view.metadata.version if view.metadata else None,
            since=view.since, restarts=self.counters.restarts, last_crash=self.last_crash,
            required=self.config.required,
            in_flight=len(connection.calls) if connection else 0,
            queued=connection.outbox.queued if connection else len(self.events),
            calls=self.counters.calls(), latency=self.counters.latency(), events=self.counters.events(),
            faults=self.counters.faults, log_lines_suppressed=self._suppressed_before + self.log.suppressed,
            reason=view.reason)

    def wait_gone(self, timeout: float) -> bool:
        """Wait until it is stopped or disabled and no process of it is left, at most `timeout` seconds."""
        down = (S.STOPPED, S.DISABLED)
        return self.available.wait(lambda: self.available.view.state in down and self._idle, timeout)

    def kill(self) -> None:
        """SIGKILL to whatever runs, without further ado."""
        for incarnation in self._all():
            incarnation.process.send_signal(KILL)

    def abandon(self) -> None:
        """In a forked child: the processes are the parent's."""
        for incarnation in self._all():
            incarnation.process.abandon()

    @property
    def _idle(self) -> bool:
        return self._current is None and not self._retiring

    def _all(self) -> List[Incarnation]:
        return [*self._retiring, *([self._current] if self._current is not None else [])]

    def put_event(self, event: EncodedEvent) -> str:
        """Queue an event: `queued`, `dropped` or `filtered`. Never waits."""
        wanted = self.config.handshake != "none" or bool(self.config.events.include)  # a vendor's server must be asked
        if not (wanted and self.events.wants(event.event_type)):
            self.counters.event("filtered")
            return "filtered"
        if not self.available.takes_events:
            self.reports.event("dropped", event, f"the plugin is {self.available.view.state.value}")
            return "dropped"
        return "queued" if self.events.put(event) else "dropped"

    # ---- commands (supervising thread)

    def _start(self) -> None:
        state = self.available.view.state
        if state is S.STOPPING:
            self._wish = _Wish(S.STARTING, "start")
        elif state in (S.STOPPED, S.BACKOFF, S.FAILED):
            self._budget.reset()
            self._spawn("start")
        else:
            self.available.expect_no_start()

    def _restart(self) -> None:
        if self.available.view.state in (S.STARTING, S.READY, S.STOPPING):
            self._stop(_Wish(S.STARTING, "restart"), None)
        else:
            self._budget.reset()
            self._spawn("restart")

    def _stop(self, wish: _Wish, grace: Optional[float]) -> None:
        self._cancel_timer()
        self._spawn_when_gone = False
        if wish.state is not S.STARTING:
            self.available.expect_no_start()
        if self._replacement is not None:
            self._replacement.give_up(wish.reason)
        for old in self._retiring:
            old.stop(wish.reason, grace=grace)
        if self._current is not None:
            self._wish = wish
            if self.available.view.state in (S.STARTING, S.READY):
                self._become(S.STOPPING, wish.reason, pid=self._current.pid)
            self._current.stop(wish.reason, grace=grace)
        else:
            self._settle(wish)

    def _settle(self, wish: _Wish) -> None:
        """No process is left: carry out what was wished for."""
        if wish.state is S.STARTING:
            self._budget.reset()
            self._spawn(wish.reason)
        elif self.available.view.state is not S.DISABLED:
            self._become(wish.state, wish.reason)
            self.events.discard_all(f"the plugin is {wish.state.value}")

    def _replace(self, config: PluginConfig, done: Callable[[Optional[PluginError]], None], start: bool) -> None:
        if self._replacement is not None:
            self._replacement.give_up("another reload came")
        if self.available.view.state is S.READY and self._current is not None and config.enabled:
            self._replacement = Replacement(self, config, done, self._around.reactor)
            self._replacement.begin(self._current)
            return
        was_enabled = self.config.enabled
        self.take_config(config)
        state = self.available.view.state
        if not config.enabled:
            self._stop(_Wish(S.DISABLED, "disabled by its configuration"), None)
        elif start and (state in (S.STARTING, S.BACKOFF, S.FAILED) or (state is S.DISABLED and not was_enabled)):
            self.available.expect_start()
            self._restart()
        elif state is S.DISABLED and not was_enabled:
            self._become(S.STOPPED, "enabled by its configuration")
        done(None)

    def take_config(self, config: PluginConfig) -> None:
        """Go by another configuration from here on."""
        self.config = config
        self._budget = RestartBudget(config.restart)

    # ---- a process's life (supervising thread)

    def _spawn(self, reason: str) -> None:
        self._cancel_timer()
        if self._current is not None:  # the last one is not quite gone
            self._spawn_when_gone = True
            return
        self._become(S.STARTING, reason)
        try:
            self._current = self.incarnate(self.config, self)
        except StartDelayed as error:
            self._schedule(error, None)
        except PluginError as error:
            self._give_up(error, None)
        else:
            self.available.update(pid=self._current.pid)
            self.begin(self._current)

    def incarnate(self, config: PluginConfig, owner: Owner) -> Incarnation:
        """Start a process. Raises `PluginError` (see `launch`); everything else becomes `PluginStartFailed`."""
        around = self._around
        try:
            process = around.launcher(config.name)(config)
        except PluginError:
            raise
        except Exception as error:
            _log.exception("starting plugin %r raised", config.name)
            text = f"plugin {config.name!r} cannot be started: {error!r}"
            raise PluginStartFailed(config.name, message=text) from error
        desk = ServiceDesk(config, around.services, around.reactor)
        log = self.log if config.logs == self.config.logs else PluginLog(config.logs, self.reports.log_line)
        voice = PluginVoice(config, desk, self.events, log, around.notices, self.counters, around.reactor)
        return Incarnation(config, process, owner, voice, desk, log, around.reactor,
                           around.guard if around.guarded() else None)

    def begin(self, incarnation: Incarnation) -> None:
        """Start its threads and its handshake."""
        incarnation.begin(self._around.host_name, self._around.host_version)

    def on_ready(self, incarnation: Incarnation) -> None:
        if incarnation is not self._current or self.available.view.state is not S.STARTING:
            return
        self.adopt(incarnation)

    def retire(self, incarnation: Incarnation, reason: str) -> None:
        """It is not wanted any more: stop it, and see it to its end."""
        incarnation.owner = self
        self._retiring.append(incarnation)
        incarnation.stop(reason)

    def adopt(self, incarnation: Incarnation) -> None:
        """It serves from now on."""
        old, self._current = self._current, incarnation
        metadata = incarnation.metadata
        assert metadata is not None
        if incarnation.log is not self.log:
            self._suppressed_before += self.log.suppressed
            self.log = incarnation.log
        if old is not None and old is not incarnation:
            self.events.detach(old.connection)
            self._retiring.append(old)
        self.events.attach(incarnation.connection, self.config.events, metadata.events)
        expected = self.config.expect.name or self.name
        if metadata.name != expected:
            _log.info("plugin %r calls itself %.100r", self.name, metadata.name, extra={"plugin": self.name})
        self._become(S.READY, "ready", connection=incarnation.connection, metadata=metadata, pid=incarnation.pid)
        self._around.routes_changed()
        self._around.notices.announce(signals.plugin_ready, self.name, metadata=metadata)

    def on_leaving(self, incarnation: Incarnation) -> None:
        if incarnation is self._current:
            self.available.update(connection=None)

    def on_ended(self, incarnation: Incarnation, crash: Optional[CrashReport], error: PluginError) -> None:
        if incarnation is not self._current:
            return
        self.events.detach(incarnation.connection)
        if crash is None or self._wish is not None:
            return
        self.last_crash = crash
        self._around.notices.announce(signals.plugin_crashed, self.name, crash=crash)
        final = crash.exit_code == EX_CONFIG or (isinstance(error, HandshakeFailed)
                                                 and not isinstance(error, PassingFailure))
        if final:
            self._give_up(error, crash)
        else:
            self._schedule(error, incarnation.ready_seconds())

    def on_gone(self, incarnation: Incarnation) -> None:
        if incarnation in self._retiring:
            self._retiring.remove(incarnation)
            self.available.update()
        if incarnation is not self._current:
            return
        self._current = None
        wish, self._wish = self._wish, None
        if wish is not None:
            self._settle(wish)
        elif self._spawn_when_gone:
            self._spawn_when_gone = False
            self._spawn(self.available.view.reason)

    def _schedule(self, error: PluginError, ready_seconds: Optional[float]) -> None:
        """It crashed, or could not be started just now: another try, or the end."""
        following = self._budget.after_crash(ready_seconds, random.random())  # noqa: S311 (jitter)
        if following.delay is None:
            self._give_up(error, self.last_crash, attempts=following.attempt)
            return
        self._become(S.BACKOFF, str(error), retry_at=time.monotonic() + following.delay, error=error)
        text = f"restart {following.attempt} of {self.config.restart.max_retries} in {following.delay:.1f} s"
        self._around.notices.alarm(self.name, f"{error}; {text}", error)
        self._around.notices.announce(signals.plugin_restarting, self.name, attempt=following.attempt,
                                      delay=following.delay)
        self._timer = self._around.reactor.call_later(following.delay, self._retry)

    def _retry(self) -> None:
        self.counters.restarts += 1
        self._spawn(f"restart {self._budget.attempts} after: {self.available.view.reason}")

    def _give_up(self, error: PluginError, crash: Optional[CrashReport], attempts: int = 0) -> None:
        self._become(S.FAILED, str(error), error=error)
        self.events.discard_all("the plugin has failed")
        text = f"given up after {attempts} restarts" if attempts else "given up"
        self._around.notices.alarm(self.name, f"{error}; {text}", error)
        self._around.notices.announce(signals.plugin_gave_up, self.name, attempts=attempts, crash=crash)

    def replaced(self, error: Optional[PluginError]) -> None:
        """The replacement has ended, well or not."""
        self._replacement = None
        if error is not None:
            self._around.notices.alarm(self.name, f"the reload failed, the old process goes on: {error}", error)

    def _become(self, state: PluginState, reason: str, *, connection: Optional[Connection] = None,
                metadata: Optional[HandshakeResult] = None, pid: Optional[int] = None,
                retry_at: Optional[float] = None, error: Optional[PluginError] = None) -> None:
        """Enter a state, and tell."""
        old = self.available.change(View(state, reason, time.time(), connection, metadata, pid, retry_at, error))
        if state is S.READY or old.state is S.READY:
            self._around.routes_changed()
        if state is not old.state:
            _log.info("plugin %r: %s -> %s (%s)", self.name, old.state.value, state.value, reason,
                      extra={"plugin": self.name, "pid": pid})
            self._around.notices.announce(signals.plugin_state_changed, self.name, old=old.state, new=state,
                                          reason=reason)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm_redelivery(self) -> None:
        """Any thread: acknowledgements are being waited for."""
        self._around.reactor.call_later(self.config.events.ack_timeout_ms / 2000, self._redeliver)

    def _redeliver(self) -> None:
        delay = self.events.redeliver(time.monotonic())
        if delay is not None:
            self._around.reactor.call_later(delay, self._redeliver)
