"""The supervising thread's part of one plugin: which process serves, and what follows what.

Everything here runs on the supervising thread, one thing after the other, and only from here does the state change;
others see it through `Availability`. Decisions are made by `lifecycle`, this file carries them out. Whatever goes wrong
here ends in a state: a plugin is never left between two of them.
"""
from __future__ import annotations

import logging
import random
from typing import Callable, List, NamedTuple, Optional

from legacy_plugins import signals
from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import HandshakeFailed, PluginError, PluginStartFailed
from legacy_plugins.host.assembly import incarnate
from legacy_plugins.host.availability import Availability
from legacy_plugins.host.departures import Departure, Departures
from legacy_plugins.host.events import EventQueue
from legacy_plugins.host.greeting import PassingFailure
from legacy_plugins.host.incarnation import Incarnation, Owner
from legacy_plugins.host.launch import StartDelayed, beforehand
from legacy_plugins.host.lifecycle import PluginState, RestartBudget
from legacy_plugins.host.log_history import LogHistory
from legacy_plugins.host.replacement import Replacement
from legacy_plugins.host.reports import PluginReports
from legacy_plugins.host.standing import Standing
from legacy_plugins.host.surroundings import Surroundings
from legacy_plugins.rpc.conversation import EndReason
from legacy_plugins.rpc.crash import CrashReport
from legacy_plugins.rpc.reactor import Timer
from legacy_plugins.transport.confinement import EX_CONFIG
from legacy_plugins.transport.greenlets import service_thread
from legacy_plugins.transport.process import KILL

S = PluginState


class Wish(NamedTuple):
    """What follows when the process that is being stopped is gone."""

    state: PluginState
    reason: str


class Supervision:
    """See the file's first paragraph. `config`, `last_crash`, `restarts`: any thread may read them."""

    def __init__(self, config: PluginConfig, surroundings: Surroundings, available: Availability, events: EventQueue,
                 logs: LogHistory, reports: PluginReports) -> None:
        self.config = config
        self.last_crash: Optional[CrashReport] = None
        self.restarts = 0
        self._name = config.name
        self._around = surroundings
        self._available = available
        self._standing = Standing(config.name, available, surroundings.notices, surroundings.routes_changed)
        self._events = events
        self._logs = logs
        self._reports = reports
        self._budget = RestartBudget(config.restart)
        self._current: Optional[Incarnation] = None  # it starts, serves, or is being stopped
        self._remains: Optional[Incarnation] = None  # it has crashed, and its process is not quite gone
        self._retiring: List[Incarnation] = []  # others serve in their place
        self._replacement: Optional[Replacement] = None
        self._removed = False  # from the configuration
        self._departures = Departures()
        self._wish: Optional[Wish] = None  # while `_current` is being stopped
        self._spawn_when_gone: Optional[str] = None  # a start waits for `_remains`; the reason
        self._timer: Optional[Timer] = None  # of the next try
        self._preparing: Optional[object] = None  # a start that is being prepared

    def incarnations(self) -> List[Incarnation]:
        """All processes that are still there."""
        candidate = None if self._replacement is None else self._replacement.candidate
        return [*self._retiring, *(one for one in (self._remains, self._current, candidate) if one is not None)]

    def carry_out(self, command: Callable[[], None]) -> None:
        """Run a command, or a part of one; what goes wrong with it ends in a state."""
        try:
            command()
        except Exception as error:  # noqa: BLE001 - a defect of ours must not leave the plugin in limbo
            self._collapse(error)

    # ---- commands

    def start(self, *, enable: bool) -> None:
        """Start it, unless it runs, has failed, or is disabled; `enable`: only what is disabled."""
        state = self._standing.state
        if self._removed:
            pass
        elif state is S.STOPPING:
            if self._wish is not None and (self._wish.state is S.DISABLED) == enable:
                self._stop(Wish(S.STARTING, "start"), None)
        elif state is S.DISABLED if enable else state in (S.STOPPED, S.BACKOFF):
            self._budget.reset()
            self._spawn("start")
        self._close_events_if_down()

    def restart(self) -> None:
        """Stop it, then start it; also what has failed or is disabled."""
        if not self._removed:
            self._stop(Wish(S.STARTING, "restart"), None)
        self._close_events_if_down()

    def stop(self, wish: Wish, grace: Optional[float], departure: Departure) -> None:
        """Stop it, then do as the wish says."""
        self._departures.add(departure, self.incarnations())
        self._stop(wish, grace)
        self._departures.check(self.incarnations())

    def remove(self, departure: Departure) -> None:
        """Stop it for good: no command that was given before this one was seen starts it again."""
        self._removed = True
        self.stop(Wish(S.STOPPED, "removed from the configuration"), None, departure)

    def kill(self, departure: Departure) -> None:
        """SIGKILL to the processes of a stop that are still there."""
        for incarnation in self.incarnations():
            if incarnation in departure.incarnations:
                incarnation.process.send_signal(KILL)

    def replace(self, config: PluginConfig, done: Callable[[Optional[PluginError]], None], start: bool,
                departure: Departure) -> None:
        """Take a new configuration; see `SupervisedPlugin.replace`."""
        if self._replacement is not None:
            self._replacement.give_up("another reload came")
        if self._standing.state is S.READY and self._current is not None and config.enabled:
            departure.over.set()
            self._replacement = replacement = Replacement(self, config, done, self._around.reactor)
            self._prepare(config, lambda: replacement.begin(lambda owner: self.incarnate(config, owner)))
            return
        down = self._standing.state is S.DISABLED or (self._wish is not None and self._wish.state is S.DISABLED)
        freed = down and not self.config.enabled
        self.take_config(config)
        if not config.enabled:
            self.stop(Wish(S.DISABLED, "disabled by its configuration"), None, departure)
        else:
            departure.over.set()
            if start and (freed or self._standing.state in (S.STARTING, S.BACKOFF, S.FAILED)):
                self.restart()
            elif freed and self._current is None:
                self._standing.become(S.STOPPED, "enabled by its configuration")
        done(None)

    def take_config(self, config: PluginConfig) -> None:
        """Go by another configuration from here on."""
        self.config = config
        self._budget = RestartBudget(config.restart)
        self._events.configure(config.events, config.limits.queue_bytes)

    def _stop(self, wish: Wish, grace: Optional[float]) -> None:
        self._cancel_start()
        if self._replacement is not None:
            self._replacement.give_up(wish.reason)
        again = wish.state is S.STARTING
        if not again:
            self._events.refuse(f"the plugin is {wish.state.value}")
            for old in self._retiring:
                old.stop(wish.reason, grace=grace)
        if self._current is None:
            self._settle(wish)
            return
        self._wish = wish
        if again:
            self._events.open()
            self._events.detach(self._current.connection)  # what was not written is for the next process
        self._standing.become(S.STOPPING, wish.reason, pid=self._current.pid, start_follows=again)
        self._current.stop(wish.reason, grace=grace)

    def _settle(self, wish: Wish) -> None:
        """No process serves, or is to: carry out what was wished for."""
        if wish.state is S.STARTING:
            self._budget.reset()
            self._spawn(wish.reason)
        elif self._standing.state is not S.DISABLED:
            if self._standing.state is S.STARTING:  # its start was still being prepared
                self._standing.become(S.STOPPING, wish.reason)
            self._standing.become(wish.state, wish.reason)
        else:
            self._available.update(start_follows=False)
        self._close_events_if_down()

    def _close_events_if_down(self) -> None:
        if self._standing.down:
            self._events.close(f"the plugin is {self._standing.state.value}")

    # ---- a process's life

    def _spawn(self, reason: str) -> None:
        self._cancel_start()
        self._events.open()
        if self._remains is not None:
            self._spawn_when_gone = reason
            self._available.update(start_follows=True)
            return
        self._standing.become(S.STARTING, reason)
        self._preparing = ticket = object()
        self._prepare(self.config, lambda: self._start_process() if self._preparing is ticket else None)

    def _prepare(self, config: PluginConfig, then: Callable[[], None]) -> None:
        """Do what of a start takes long on a thread of its own, then `then()` here; at once where nothing does."""
        work = beforehand(self._around.launcher(self._name), config)
        if work is None:
            then()
            return

        def run() -> None:
            try:
                work()
            finally:
                self._around.reactor.post(self.carry_out, then)
        try:
            service_thread(run, f"{self._name}-checksum").start()
        except RuntimeError:  # no thread is left: it takes as long as it takes
            then()

    def _start_process(self) -> None:
        self._preparing = None
        try:
            self._current = self.incarnate(self.config, self)
        except StartDelayed as error:
            self._try_again(error, None, None)
        except PluginError as error:
            self._give_up(error, None)
        else:
            self._logs.take(self._current.log, self.config.logs)
            self._available.update(pid=self._current.pid)
            self._current.begin()

    def incarnate(self, config: PluginConfig, owner: Owner) -> Incarnation:
        """Start a process. Raises `PluginError`."""
        try:
            return incarnate(config, owner, self._around, log=self._logs.for_policy(config.logs), events=self._events,
                             reports=self._reports)
        except PluginError:
            raise
        except Exception as error:
            text = f"plugin {self._name!r} cannot be started: {error!r}"
            self._reports.log(logging.ERROR, "%s", text, error=error)
            raise PluginStartFailed(self._name, message=text) from error

    def on_ready(self, incarnation: Incarnation) -> None:
        if incarnation is self._current and self._standing.state is S.STARTING:
            self.adopt(incarnation)

    def adopt(self, incarnation: Incarnation) -> Optional[Incarnation]:
        """It serves from now on. What did, and does not any more, is returned: it is the caller's to stop."""
        metadata = incarnation.metadata
        assert metadata is not None
        if self._standing.state not in (S.STARTING, S.READY):  # the old one crashed while this one was on trial
            self._cancel_start()
            self._standing.become(S.STARTING, "the process of the reload is ready")
        old = self._current if self._current is not incarnation else None
        if old is not None:
            self._events.detach(old.connection)
            self._retiring.append(old)
        self._current = incarnation
        self._logs.take(incarnation.log, incarnation.config.logs)
        self._events.open()
        self._events.attach(incarnation.connection, metadata.events)
        if metadata.name != (self.config.expect.name or self._name):
            self._reports.log(logging.INFO, "plugin %r calls itself %.100r", self._name, metadata.name)
        self._standing.become(S.READY, "ready", connection=incarnation.connection, metadata=metadata,
                              pid=incarnation.pid)
        self._around.notices.announce(signals.plugin_ready, self._name, metadata=metadata)
        return old

    def retire(self, incarnation: Incarnation, reason: str) -> None:
        """It is not wanted any more: stop it, and see it to its end."""
        incarnation.owner = self
        self._retiring.append(incarnation)
        incarnation.stop(reason)

    def on_leaving(self, incarnation: Incarnation) -> None:
        if incarnation is self._current:
            self._available.update(connection=None)

    def on_ended(self, incarnation: Incarnation, crash: Optional[CrashReport], error: PluginError) -> None:
        if incarnation is self._current:
            self.carry_out(lambda: self._ended(incarnation, crash, error))
        elif crash is not None and incarnation in self._retiring:
            self._reports.log(logging.WARNING, "the process of plugin %r that was replaced crashed: %s", self._name,
                              crash.summary)

    def _ended(self, incarnation: Incarnation, crash: Optional[CrashReport], error: PluginError) -> None:
        self._events.detach(incarnation.connection)
        if crash is None or self._wish is not None:
            return
        self._leave_behind(incarnation)
        self.last_crash = crash
        self._around.notices.announce(signals.plugin_crashed, self._name, crash=crash)
        wrong = isinstance(error, HandshakeFailed) and not isinstance(error, PassingFailure)
        if wrong or crash.exit_code == EX_CONFIG:
            self._give_up(error, crash)
        else:
            self._try_again(error, crash, incarnation.ready_seconds())

    def _leave_behind(self, ended: Incarnation) -> None:
        if self._remains is not None:
            self._retiring.append(self._remains)
        self._remains, self._current = ended, None

    def on_gone(self, incarnation: Incarnation) -> None:
        self.carry_out(lambda: self._gone(incarnation))

    def _gone(self, incarnation: Incarnation) -> None:
        if incarnation in self._retiring:
            self._retiring.remove(incarnation)
        if incarnation is self._remains:
            self._remains = None
            if self._spawn_when_gone is not None:
                self._spawn(self._spawn_when_gone)
        if incarnation is self._current:
            self._current = None
            wish, self._wish = self._wish, None
            if wish is None:
                raise RuntimeError("a process is gone that was never reported to have ended")
            self._settle(wish)
        self._departures.check(self.incarnations())

    def _try_again(self, error: PluginError, crash: Optional[CrashReport], ready_seconds: Optional[float]) -> None:
        """It crashed, or could not be started just now: another try, or the end."""
        following = self._budget.after_crash(ready_seconds, random.random())  # noqa: S311 (jitter)
        if following.delay is None:
            self._give_up(error, crash)
            return
        self._timer = self._around.reactor.call_later(following.delay, lambda: self.carry_out(self._retry))
        self._standing.back_off(following, self.config.restart.max_retries, error)

    def _retry(self) -> None:
        if self._timer is None:  # it was cancelled when it was due already
            return
        self.restarts += 1
        self._spawn(f"restart {self._budget.attempts} after: {self._available.view.reason}")

    def _give_up(self, error: PluginError, crash: Optional[CrashReport]) -> None:
        self._standing.give_up(self._budget.attempts, error, crash)
        self._close_events_if_down()

    def replaced(self) -> None:
        """The replacement has ended, well or not."""
        self._replacement = None

    def not_replaced(self, incarnation: Optional[Incarnation], error: PluginError) -> None:
        """The reload's process failed, where it came so far, and will be gone soon."""
        self._replacement = None
        if incarnation is not None:
            self.retire(incarnation, "the reload failed")
        if self._standing.state is S.READY:  # no alarm: it can be called
            self._reports.log(logging.ERROR, "the reload of plugin %r failed, its old process goes on: %s", self._name,
                              error)
        else:
            self._around.notices.alarm(self._name, f"the reload failed: {error}", error)

    def _cancel_start(self) -> None:
        """No start that was due comes."""
        self._spawn_when_gone = self._preparing = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _collapse(self, error: Exception) -> None:
        """Something went wrong that must not: everything is ended, and the state says why."""
        self._reports.log(logging.ERROR, "the supervision of plugin %r failed; please report it", self._name,
                          error=error)
        text = f"plugin {self._name!r}: an error in the host: {error!r}; please report it"
        self._cancel_start()
        self._wish = None
        if self._replacement is not None:
            self._replacement.give_up(text)
        for incarnation in self.incarnations():
            incarnation.end(EndReason(text, "host error"))
        if self._current is not None:
            self._events.detach(self._current.connection)
            self._leave_behind(self._current)
        self._available.update(start_follows=False)
        if self._standing.state is S.STOPPING:
            self._standing.become(S.STOPPED, text)
        elif self._standing.state is S.BACKOFF:
            self._standing.become(S.STARTING, text)
        if self._standing.state in (S.STARTING, S.READY):
            self._standing.give_up(self._budget.attempts, PluginStartFailed(self._name, message=text), None)
        self._close_events_if_down()
        self._departures.check(self.incarnations())
