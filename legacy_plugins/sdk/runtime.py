"""The plugin's process: the conversation with the host, from the first byte to the exit.

`serve` is the main thread. It claims the standard descriptors, runs the `on_start` hooks, gives itself to the work
until the host says `plugin/shutdown` or closes stdin, waits for what is running, runs the `on_shutdown` hooks and
answers. What comes in arrives on the reader thread, which answers the protocol itself and runs no user code.

When stdin ends the host is gone, or done with us. Then the process ends within `EXIT_SECONDS`, whatever handlers, hooks
and threads of the plugin do: nothing may outlive its host.
"""
from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import List, Optional

from legacy_plugins.errors import InvalidMessage, PluginNotRunning, PluginTimeout
from legacy_plugins.protocol import handshake, messages
from legacy_plugins.protocol.framing import DEFAULT_MAX_FRAME_BYTES
from legacy_plugins.protocol.messages import Failure, Notification, Request, RequestId
from legacy_plugins.protocol.peer import MessageFault
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.conversation import ConnectionLimits, ConversationHandler, EndReason
from legacy_plugins.sdk import log_format, standard_streams
from legacy_plugins.sdk.declarations import Declarations
from legacy_plugins.sdk.error import Error
from legacy_plugins.sdk.executors import Executor, MainThread, Pool
from legacy_plugins.sdk.greeting import Greeting
from legacy_plugins.sdk.handlers import Handlers
from legacy_plugins.sdk.health import Health
from legacy_plugins.sdk.jobs import Job, JobTable
from legacy_plugins.sdk.runner import Runner

#: How long handlers may go on once stdin has ended, in seconds.
GRACE_SECONDS = 1.0
#: How long the whole process may go on once stdin has ended, in seconds.
EXIT_SECONDS = 1.8
#: How many events may wait for their handlers; ten times what a host's queue for a plugin holds by default.
MAX_EVENTS = 10_000
_FLUSH_SECONDS = 0.5
# The host bounds what it sends, and decides when a plugin that is slow is hung: the plugin trusts it in both.
_LIMITS = ConnectionLimits(max_frame_bytes=2 ** 31, message_timeout=0, write_stall=0, send_patience=600)

# A conversation takes the other side for a plugin; seen from here this is what happened.
_WHY = {"closed stdin": "it closed its end of the plugin's stdout"}
_log = logging.getLogger("legacy_plugins.sdk")


class Runtime(ConversationHandler):
    """See the file's first paragraph. Made where the process begins to serve; raises as `standard_streams.claim`."""

    def __init__(self, declared: Declarations) -> None:
        self._declared = declared
        self._pid = os.getpid()
        if standard_streams.is_terminal() and sys.stderr is not None:
            sys.stderr.write(f"{declared.name} is a plugin: it waits for a host's messages on stdin. Ctrl-D ends it.\n")
        self._connection = Connection(standard_streams.claim(), self, name="host", limits=_LIMITS)
        self._connection.limit_outgoing(DEFAULT_MAX_FRAME_BYTES)
        log_format.install()
        self._executor: Executor = (MainThread() if declared.max_workers == 1
                                    else Pool(declared.max_workers, declared.name))
        self._jobs = JobTable(declared.max_workers + declared.max_waiting, MAX_EVENTS)
        self._runner = Runner(self._connection, self._executor, self._jobs)
        self._health = Health(self._connection, declared, self._runner.open)
        self._greeting = Greeting(self._connection, declared)
        self._handlers = Handlers(declared, self._acknowledge)
        self._protocol = {handshake.HANDSHAKE: self._greeting.receive, handshake.HEALTH: self._health.receive,
                          handshake.SHUTDOWN: self._on_shutdown}
        self._farewells: List[RequestId] = []  # plugin/shutdown requests that wait for the end
        self._leaving = False
        self._exit_timer = threading.Event()  # set: it runs
        self.host_gone = False
        self.exit_code = 0

    # ---- the main thread

    def serve(self) -> None:
        """Serve to the end. Raises `SystemExit` with a code other than 0 where the plugin cannot start or go on."""
        self._connection.start()
        try:
            self._start()
            self._executor.serve()
            finished = self._jobs.drain()
            self._run_shutdown_hooks()
        except BaseException as error:
            code = error.code if isinstance(error, SystemExit) else 1
            self.exit_code = code if isinstance(code, int) else 0 if code is None else 1
            raise
        finally:
            self._say_farewell()
        if not finished:
            os._exit(self.exit_code)  # a handler still runs, and may hold a lock that the interpreter's end would need
        if self.exit_code:
            raise SystemExit(self.exit_code)

    def _start(self) -> None:
        for hook in self._declared.start_hooks:
            try:
                hook()
            except BaseException as error:
                self._greeting.hooks_failed(f"the plugin could not start: {type(error).__name__}: {error}")
                raise
        self._runner.open.set()
        self._greeting.hooks_finished()

    def _run_shutdown_hooks(self) -> None:
        for hook in self._declared.shutdown_hooks:
            try:
                hook()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - user code; the other hooks must run
                _log.error("an on_shutdown hook failed", exc_info=log_format.users_part(error))

    def _say_farewell(self) -> None:
        """Answer plugin/shutdown, write what is queued, and make sure that the process ends."""
        for request_id in self._farewells:
            self._connection.answer(request_id, None)
        self._connection.close_writing(_FLUSH_SECONDS)
        self._connection.outbox.finished.wait(_FLUSH_SECONDS)
        self._end_soon()

    def _end_soon(self) -> None:
        """From now on the process has `EXIT_SECONDS`, for whatever it does. Any thread; idempotent."""
        if not self._exit_timer.is_set():
            self._exit_timer.set()
            threading.Thread(target=self._end_late, name="exit-timer", daemon=True).start()

    def _end_late(self) -> None:
        time.sleep(EXIT_SECONDS)
        os._exit(self.exit_code)

    # ---- asked by handlers (any thread)

    def link(self, timeout: float) -> Connection:
        """The conversation, once the host takes requests.

        Raises `RuntimeError` where it never will, `PluginTimeout` after `timeout` seconds.
        """
        if os.getpid() != self._pid:
            raise RuntimeError("this process was forked by the plugin; only the plugin itself can talk to the host")
        if not self._runner.open.is_set() and not self._greeting.done.is_set():  # in an on_start hook
            if self._declared.ready:
                raise RuntimeError("the host takes nothing before the handshake is answered, which waits for on_start; "
                                   "make the plugin with ready=False and call plugin.ready() when it is")
            if not self._greeting.done.wait(timeout):
                raise PluginTimeout(f"the host sent no handshake within {timeout:g} s")
        return self._connection

    def ready(self) -> None:
        """Tell the host that the plugin is ready."""
        self._greeting.ready()

    # ---- what comes in (reader thread)

    def on_request(self, request: Request) -> None:
        answer = self._protocol.get(request.method)
        if answer is not None:
            answer(request)
        elif self._leaving:
            self._connection.refuse(request.id, messages.INTERNAL_ERROR, "the plugin is shutting down")
        else:
            self._accept(request)

    def on_notification(self, notification: Notification) -> None:
        if notification.method == handshake.CANCEL_REQUEST:
            self._runner.cancel(notification.params)
        elif not self._leaving:
            on_event = notification.method == handshake.ON_EVENT
            job = (self._handlers.event_job(notification.params) if on_event
                   else self._handlers.call_job(notification.method, notification.params))
            if job is not None:
                self._runner.accept(job)

    def on_fault(self, fault: MessageFault) -> None:
        _log.warning("the host sent a message that breaks the protocol: %s", fault.error)
        if fault.request_id is None and fault.call_id is None:
            wrong = isinstance(fault.error, InvalidMessage)
            self._connection.refuse(None, messages.INVALID_REQUEST if wrong else messages.PARSE_ERROR, str(fault.error))

    def on_unassigned_error(self, failure: Failure) -> None:
        _log.warning("the host could not read a message: error %d: %.200s", failure.code, failure.message)

    def on_end(self, reason: EndReason) -> None:
        if reason.fault is not None:
            self.exit_code = 1
            _log.error("the conversation with the host is over: %s", _WHY.get(reason.fault, reason.text))
        self.host_gone = self._leaving = True
        self._connection.fail_pending(lambda: PluginNotRunning(message="the host is gone"))
        self._jobs.abandon(GRACE_SECONDS)
        self._executor.close()
        self._end_soon()

    def _accept(self, request: Request) -> None:
        job: Optional[Job] = None
        if request.method == handshake.HANDLE_REQUEST and len(self._declared.routes):
            try:
                job = self._handlers.http_job(request)
            except Error as error:
                self._connection.refuse(request.id, error.code, error.message)
                return
        else:
            job = self._handlers.call_job(request.method, request.params, request.id)
        if job is None:
            self._connection.refuse(request.id, messages.METHOD_NOT_FOUND, f"unknown method {request.method!r}")
        else:
            self._runner.accept(job)

    def _on_shutdown(self, request: Request) -> None:
        self._farewells.append(request.id)
        self._leaving = True
        self._executor.close()

    def _acknowledge(self, event_id: str) -> None:
        self.link(0.0).notify(handshake.ACK_EVENT, {"eventId": event_id})
