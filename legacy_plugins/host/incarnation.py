"""One process of a plugin, from its start to its end: handshake, readiness, what it says, stop, teardown.

An incarnation never comes back: a restart makes a new one, so that nothing of an old process can reach a new one. It
knows its own process and conversation, and tells its owner that it is ready, that it leaves, how it ended, and that it
is gone.

Runs on the supervising thread; what comes in from the plugin arrives on the reader thread, at `PluginVoice`. A defect
of the host in any step ends the process, and so ends in a report.
"""
from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from typing import Any, Callable, Deque, Optional, Protocol

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import HandshakeFailed, PluginCrashed, PluginError, PluginNotRunning, PluginStartFailed
from legacy_plugins.host.greeting import Greeting
from legacy_plugins.host.health import HealthCheck
from legacy_plugins.host.logs import NOTICE_SECONDS, PluginLog
from legacy_plugins.host.orphans import OrphanGuard
from legacy_plugins.host.services import ServiceDesk
from legacy_plugins.host.surroundings import Surroundings
from legacy_plugins.host.voice import PluginVoice
from legacy_plugins.protocol.handshake import SHUTDOWN, HandshakeResult
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.conversation import ConnectionLimits, EndReason
from legacy_plugins.rpc.crash import CrashReport
from legacy_plugins.rpc.ending import StopLadder, Teardown
from legacy_plugins.rpc.reactor import Timer
from legacy_plugins.transport.base import ExitStatus, Process
from legacy_plugins.transport.stderr import LogPump


class Owner(Protocol):
    """Who an incarnation belongs to. Supervising thread."""

    def on_ready(self, incarnation: Incarnation) -> None:
        """It has said all that it must and may be called."""

    def on_leaving(self, incarnation: Incarnation) -> None:
        """Its conversation has ended; nothing more can be sent. The report follows."""

    def on_ended(self, incarnation: Incarnation, crash: Optional[CrashReport], error: PluginError) -> None:
        """Its process is as good as gone. `crash`: None where it was asked to end. Pending calls fail after this."""

    def on_gone(self, incarnation: Incarnation) -> None:
        """Its process has been reaped."""


class Incarnation:
    """See the file's first paragraph.

    `voice` hears what the plugin says, `desk` serves its calls, `log` gets its stderr, `guard` (None: none is wanted)
    ends its process group if the host dies.
    """

    def __init__(self, config: PluginConfig, process: Process, owner: Owner, voice: PluginVoice, desk: ServiceDesk,
                 log: PluginLog, around: Surroundings, guard: Optional[OrphanGuard]) -> None:
        self.owner = owner
        self.log = log
        self.config = config
        self.process = process
        self.pid = process.pid
        self.metadata: Optional[HandshakeResult] = None
        self.asked_to_end: Optional[str] = None
        self.ready_since: Optional[float] = None
        self.started = time.monotonic()
        self.failure: Optional[HandshakeFailed] = None  # why it could not become ready
        self.connection = Connection(process.stream, voice, name=config.name, limits=_limits(config), skip_stray=True)
        self._desk = desk
        self._around = around
        self._reactor = around.reactor
        self._greeting = Greeting(config, self.connection, post=self.post, later=self.later,
                                  answered=voice.on_handshake_answer, ready=self._become_ready, failed=self._fail,
                                  blame=self._blame, clean=log.clean)
        voice.belongs_to(self)
        self._notice_armed = False
        self._fault_times: Deque[float] = deque(maxlen=config.faults.limit)
        self._ladder: Optional[StopLadder] = None
        self._terminates_at = 0.0  # when the ladder comes to SIGTERM
        self._health: Optional[HealthCheck] = None
        self._pump: Optional[LogPump] = None
        if process.log_stream is not None:
            self._pump = LogPump(process.log_stream, self._feed_log, lambda: log.finish(self.pid or 0),
                                 lambda: self.post(self._teardown.progress), name=config.name)
        self._guard = guard
        if guard is not None and self.pid is not None:
            guard.add(self.pid)
        self._teardown = Teardown(self._reactor, process, self.connection, self._pump,
                                  conclude=self._conclude, done=self._done,
                                  releasing=lambda: self._take(self._leave_guard))

    def post(self, step: Callable[..., None], *args: Any) -> None:
        """Any thread: take a step of this incarnation on the supervising thread."""
        self._reactor.post(self._take, step, *args)

    def later(self, delay: float, step: Callable[[], None]) -> Timer:
        """The same in `delay` seconds."""
        return self._reactor.call_later(delay, lambda: self._take(step))

    def _take(self, step: Callable[..., None], *args: Any) -> None:
        try:
            step(*args)
        except Exception as error:  # noqa: BLE001 - a defect of ours must not leave a process that nobody looks after
            self._blame(error)

    def _blame(self, error: Exception) -> None:
        self._around.notices.log(logging.ERROR, "an error in the supervision of plugin %r; please report it",
                                 self.config.name, plugin=self.config.name, pid=self.pid, error=error)
        self.end(EndReason(f"an error in the host: {error!r}", "host error"))

    def begin(self) -> None:
        """Start the threads and the handshake."""
        self._take(self._begin)

    def _begin(self) -> None:
        self._start_threads()
        if self.connection.ended is None:
            self._greeting.begin(self._around)

    def _start_threads(self) -> None:
        try:
            self.connection.start()
            if self._pump is not None:
                self._pump.start()
        except RuntimeError as error:  # the system has no thread left: ended, and tried again later
            self.end(EndReason(f"its threads could not be started: {error}", "host error"))
            if self._pump is not None:
                self._pump.close()

    def stop(self, reason: str, *, grace: Optional[float] = None) -> None:
        """Ask it to end: `plugin/shutdown`, EOF, SIGTERM, SIGKILL; `grace` seconds until SIGTERM. Idempotent."""
        self._stop_clocks()
        if self.asked_to_end is None:
            self.asked_to_end = reason
        if self._teardown.begun:
            return
        if self._ladder is not None:
            if grace is not None and time.monotonic() + grace < self._terminates_at:  # somebody is in a greater hurry
                self._ladder.cancel()
                self._climb(grace, None)
            return
        seconds = self.config.shutdown_timeout_ms / 1000 if grace is None else grace
        polite = self._greeting.done
        self._climb(seconds, (lambda done: self._say_goodbye(reason, seconds, done)) if polite else None)

    def _climb(self, seconds: float, farewell: Optional[Callable[[Callable[[], None]], None]]) -> None:
        self._terminates_at = time.monotonic() + seconds
        self._ladder = StopLadder(self._reactor, self.process, self.connection, seconds, farewell)

    def ready_seconds(self) -> Optional[float]:
        """How long it has been ready; None: it never was."""
        return None if self.ready_since is None else time.monotonic() - self.ready_since

    # ---- told by the plugin's voice (posted by the reader thread)

    def fault_noted(self, text: str) -> None:
        """A message broke the rules: one hurts one caller, too many within a while end the process."""
        now = time.monotonic()
        self._fault_times.append(now)
        policy = self.config.faults
        if len(self._fault_times) >= policy.limit and now - self._fault_times[0] <= policy.per_seconds:
            self.end(EndReason(f"{policy.limit} messages within {policy.per_seconds} s broke the protocol (faults), "
                               f"the last one: {text}", "protocol error"))

    def conversation_ended(self, reason: EndReason) -> None:
        """The conversation has ended by itself, or through `end`."""
        if self._teardown.begun:
            return
        try:
            self._stop_clocks()
            self.owner.on_leaving(self)
        finally:
            self._teardown.begin(reason)

    def reader_drained(self) -> None:
        """All that the plugin said has been handled."""
        self._teardown.progress()

    def end(self, reason: EndReason) -> None:
        """End it without asking, for a fault."""
        self.connection.end(reason)

    # ---- becoming ready

    def ready_declared(self, params: Any) -> None:
        """`plugin/ready` came; on the reader thread."""
        self._greeting.ready_declared(params)

    def _fail(self, error: HandshakeFailed) -> None:
        """It will not become ready: end it; the owner learns why from `failure`."""
        self.failure = error
        self.end(EndReason(str(error), "start failed"))

    def _become_ready(self, metadata: HandshakeResult) -> None:
        self.metadata = metadata
        self.ready_since = time.monotonic()
        if self.config.health.enabled and self.config.handshake != "none":
            self._health = HealthCheck(self.connection, self.config.health, self._around.notices, post=self.post,
                                       later=self.later, on_sick=lambda text: self.end(EndReason(text, "unhealthy")),
                                       clean=self.log.clean)
            self._health.start()
        self.owner.on_ready(self)

    # ---- ending

    def _say_goodbye(self, reason: str, seconds: float, done: Callable[[], None]) -> None:
        try:
            call = self.connection.submit(SHUTDOWN, {"reason": reason}, seconds)
        except PluginError:
            done()
            return
        call.add_internal_callback(lambda _: self.post(done))

    def _conclude(self, status: Optional[ExitStatus], reason: EndReason) -> Callable[[], PluginError]:
        name = self.config.name
        reason = dataclasses.replace(reason, text=self.log.clean(reason.text))  # a fault quotes what broke the rules
        self._desk.close()
        if self.asked_to_end is not None and reason.fault is None:
            text = f"plugin {name!r} was stopped while the call was in flight ({self.asked_to_end})"
            self.owner.on_ended(self, None, PluginNotRunning(name, message=text))
            return lambda: PluginNotRunning(name, message=text)
        crash = CrashReport.of(name, status, reason, stderr_tail=self.log.tail(self.pid),
                               last_method=self.connection.calls.last_method, pid=self.pid,
                               uptime=time.monotonic() - self.started)
        self.owner.on_ended(self, crash, self._why(crash))
        return lambda: PluginCrashed(crash, name)

    def _why(self, crash: CrashReport) -> PluginError:
        """What callers get from now on: that it crashed, or why it never became ready."""
        if self.failure is not None:
            self.failure.crash = crash
            return self.failure
        if self.ready_since is None:
            return PluginStartFailed(crash.plugin, message=f"plugin {crash.plugin!r} ended before it was ready: "
                                     f"{crash.summary}", crash=crash)
        return PluginCrashed(crash, crash.plugin)

    def _leave_guard(self) -> None:
        if self._guard is not None and self.pid is not None:
            self._guard.remove(self.pid)

    def _done(self) -> None:
        if self._ladder is not None:
            self._ladder.cancel()
        self.owner.on_gone(self)

    def _stop_clocks(self) -> None:
        self._greeting.stop()
        if self._health is not None:
            self._health.stop()

    def _feed_log(self, data: bytes) -> None:
        """On the stderr thread."""
        self.log.feed(data, self.pid or 0)
        if self.log.notice_due is not None:
            self._arm_notice()

    def _flush_log(self) -> None:
        """A flood may have ended in silence: what was suppressed is told all the same."""
        self._notice_armed = False
        self.log.flush()
        if self.log.notice_due is not None:  # the flood went on meanwhile, and counted on this look
            self._arm_notice()

    def _arm_notice(self) -> None:
        if not self._notice_armed:
            self._notice_armed = True
            self._reactor.call_later(NOTICE_SECONDS, self._flush_log)


def _limits(config: PluginConfig) -> ConnectionLimits:
    limits = config.limits
    return ConnectionLimits(limits.max_frame_bytes, limits.max_pending, limits.queue_bytes,
                            limits.message_timeout_ms / 1000, limits.write_stall_ms / 1000,
                            limits.notifications_per_second)
