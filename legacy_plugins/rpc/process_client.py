"""A JSON-RPC conversation with a program that one starts oneself: `JsonRpcProcess`.

The same framing, Futures and limits as a plugin's conversation, without plugin semantics: no handshake, no restart, no
budgets. It speaks to any program with LSP framing: language servers, debug adapters, vendors' servers.
"""
from __future__ import annotations

import logging
import os
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, Mapping, Optional, Sequence

from legacy_plugins.errors import PluginCrashed, PluginError, PluginNotRunning, PluginStartFailed
from legacy_plugins.protocol.messages import INTERNAL_ERROR, METHOD_NOT_FOUND, Failure, Notification, Request
from legacy_plugins.protocol.peer import MessageFault
from legacy_plugins.rpc import arguments
from legacy_plugins.rpc.calls import Call
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.conversation import ConnectionLimits, ConversationHandler, EndReason
from legacy_plugins.rpc.crash import CrashReport, explain_spawn_error
from legacy_plugins.rpc.ending import StopLadder, Teardown
from legacy_plugins.rpc.latch import Latch
from legacy_plugins.rpc.reactor import shared_reactor
from legacy_plugins.rpc.workers import WorkerPool
from legacy_plugins.transport import descriptors
from legacy_plugins.transport.base import ExitStatus
from legacy_plugins.transport.process import KILL, ChildProcess, LaunchSpec
from legacy_plugins.transport.stderr import LogPump

_log = logging.getLogger("legacy_plugins.rpc")
_STDERR_TAIL_BYTES = 16 * 1024
_MAX_WAITING = 10_000
_CALL_SECONDS = 5.0


class JsonRpcProcess(ConversationHandler):
    """Start `argv` and talk to it. `cwd`: working directory; `env`: the whole environment (default: the host's).

    Usable as a context manager. All methods may be called from any thread. Raises `PluginStartFailed`, and `TypeError`
    for an `argv` that is not a list of strings. It runs until `close`, whoever forgets it: its threads keep it alive.
    """

    def __init__(self, argv: Sequence[str], *, cwd: Optional[str] = None,
                 env: Optional[Mapping[str, str]] = None) -> None:
        if isinstance(argv, (str, bytes)) or not argv or not all(isinstance(part, str) for part in argv):
            raise TypeError(f"argv must be a list of strings, the program first, not {argv!r}")
        self.name = os.path.basename(argv[0])
        self._methods: Dict[str, Callable[[Any], Any]] = {}
        self._handlers = WorkerPool(1, name=f"{self.name}-handler", max_waiting=_MAX_WAITING)  # one: order is kept
        self._tail: Deque[bytes] = deque()
        self._started = time.monotonic()
        self._closing = False
        self._ended = Latch()
        self._teardown: Optional[Teardown] = None
        self._ladder: Optional[StopLadder] = None
        self._owner = os.getpid()
        self._reactor = shared_reactor()
        try:
            self._reactor.start()
            self._process = ChildProcess(LaunchSpec(tuple(argv), cwd, None if env is None else dict(env)))
            self._begin(self._process)
        except ValueError as error:  # a NUL in argv, cwd or env
            raise self._start_failed(str(error)) from None
        except OSError as error:
            raise self._start_failed(explain_spawn_error(error, argv, cwd)) from None
        except RuntimeError as error:  # no thread is left, or the interpreter ends
            raise self._start_failed(str(error)) from None

    def _begin(self, process: ChildProcess) -> None:
        """Start the threads. Raises `RuntimeError`, with the program on its way out, when none is left."""
        assert process.log_stream is not None
        self._pump = LogPump(process.log_stream, self._keep_tail, lambda: None, self.on_drained, name=self.name)
        self._connection = Connection(process.stream, self, name=self.name, limits=ConnectionLimits(), kind="program")
        self._reactor.post(self._supervise)  # before the threads, whose first words may be their last
        try:
            self._connection.start()
            self._pump.start()
        except BaseException:
            self._closing = True
            self._pump.close()
            self._reactor.post(process.send_signal, KILL)  # the rest goes as with any program that ends
            raise

    def _start_failed(self, why: str) -> PluginStartFailed:
        return PluginStartFailed(self.name, message=f"cannot start {self.name!r}: {why}")

    @property
    def pid(self) -> int:
        """The program's process id."""
        assert self._process.pid is not None
        return self._process.pid

    def request(self, method: str, params: Any = None, timeout: float = _CALL_SECONDS, *,
                on_progress: Optional[Callable[[Any], None]] = None) -> Any:
        """Call a method and wait at most `timeout` seconds.

        Raises as `Connection.request` does, `PluginCrashed`, `PluginNotRunning` when it was closed.
        """
        return self._own.request(method, params, _seconds(method, timeout, on_progress), on_progress)

    def submit(self, method: str, params: Any = None, timeout: float = _CALL_SECONDS, *,
               on_progress: Optional[Callable[[Any], None]] = None) -> Call:
        """The same without waiting: a `concurrent.futures.Future` that expires by itself."""
        return self._own.submit(method, params, _seconds(method, timeout, on_progress), on_progress)

    def notify(self, method: str, params: Any = None) -> None:
        """Tell the program something; no answer comes."""
        self._own.notify(arguments.method_name(method), params)

    def on(self, method: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        """Decorator: `fn(params)` handles what the program sends under `method`; its return value answers a request.

        Handlers run one after the other, in the order of arrival, on a thread of their own.
        """
        arguments.method_name(method)

        def register(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
            self._methods[method] = arguments.function(fn, "a handler")
            return fn
        return register

    def close(self, timeout: float = 2.0) -> None:
        """Close the program's stdin; after `timeout` seconds SIGTERM, after half of it again SIGKILL. Idempotent."""
        arguments.seconds(timeout)
        if os.getpid() != self._owner:  # a forked child: the program is its parent's
            descriptors.abandon_inherited()
            return
        self._closing = True
        self._reactor.post(self._stop, timeout)
        self._ended.wait(timeout * 1.5 + 2.0)

    def __enter__(self) -> JsonRpcProcess:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def _own(self) -> Connection:
        if os.getpid() != self._owner:
            descriptors.abandon_inherited()  # where the fork was one that Python did not see
            raise PluginNotRunning(self.name, message=f"{self.name!r} belongs to the process from which this one was "
                                   "forked; start another one here")
        return self._connection

    # ---- what comes in (reader thread)

    def on_request(self, request: Request) -> None:
        handler = self._methods.get(request.method)
        if handler is None:
            self._connection.refuse(request.id, METHOD_NOT_FOUND, f"unknown method {request.method!r}")
        elif not self._handlers.submit(self._answer, handler, request):
            self._connection.refuse(request.id, INTERNAL_ERROR, "too many requests wait")

    def on_notification(self, notification: Notification) -> None:
        handler = self._methods.get(notification.method)
        if handler is not None and not self._handlers.submit(handler, notification.params):
            _log.warning("a notification %r of %r was dropped: too many wait", notification.method, self.name)

    def on_fault(self, fault: MessageFault) -> None:
        self._tell("%r sent a message that breaks the protocol: %s", str(fault.error))

    def on_unassigned_error(self, failure: Failure) -> None:
        self._tell("%r could not read something it was sent: %s", f"error {failure.code}: {failure.message[:200]!r}")

    def _tell(self, text: str, what: str) -> None:
        """Warn, on the handlers' thread: the reader must not wait for log handlers, nor be flooded into it."""
        self._handlers.submit(_log.warning, text, self.name, what)

    def on_end(self, reason: EndReason) -> None:
        self._reactor.post(self._teardown_begin, reason)

    def on_drained(self) -> None:
        self._reactor.post(self._teardown_progress)

    def _answer(self, handler: Callable[[Any], Any], request: Request) -> None:
        try:
            self._connection.answer(request.id, handler(request.params))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the program gets an answer whatever the handler does
            _log.exception("the handler of %r failed", request.method)
            self._connection.refuse(request.id, INTERNAL_ERROR, f"{type(error).__name__} in the handler")

    # ---- the program's end (supervising thread)

    def _supervise(self) -> None:
        self._teardown = Teardown(self._reactor, self._process, self._connection, self._pump,
                                  conclude=self._conclude, done=self._done)

    def _teardown_begin(self, reason: EndReason) -> None:
        assert self._teardown is not None
        self._teardown.begin(reason)

    def _teardown_progress(self) -> None:
        assert self._teardown is not None
        self._teardown.progress()

    def _stop(self, grace: float) -> None:
        if not self._ended.is_set() and self._ladder is None:
            self._ladder = StopLadder(self._reactor, self._process, self._connection, grace)

    def _conclude(self, status: Optional[ExitStatus], reason: EndReason) -> Callable[[], PluginError]:
        if self._closing:
            return lambda: PluginNotRunning(self.name, message=f"{self.name!r} was closed")
        report = CrashReport.of(self.name, status, reason, stderr_tail=self._tail_lines(),
                                last_method=self._connection.calls.last_method, pid=self._process.pid,
                                uptime=time.monotonic() - self._started)
        return lambda: PluginCrashed(report, self.name, message=f"{self.name!r} ended: {report.summary}")

    def _done(self) -> None:
        if self._ladder is not None:
            self._ladder.cancel()
        self._handlers.close()
        self._ended.set()

    def _keep_tail(self, data: bytes) -> None:
        self._tail.append(data[-_STDERR_TAIL_BYTES:])
        while len(self._tail) > 1 and sum(map(len, self._tail)) - len(self._tail[0]) >= _STDERR_TAIL_BYTES:
            self._tail.popleft()

    def _tail_lines(self) -> Sequence[str]:
        return b"".join(self._tail)[-_STDERR_TAIL_BYTES:].decode("utf-8", "backslashreplace").splitlines()


def _seconds(method: Any, timeout: Any, on_progress: Any) -> float:
    given = arguments.call(method, timeout, on_progress)
    return _CALL_SECONDS if given is None else given
