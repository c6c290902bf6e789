"""What plugins may call: the host's registered services, granted per plugin and method, on a bounded pool of threads.

Services are looked up in a table of registered functions and nowhere else. A call runs on the plugin's own small pool,
never on the reader thread, so that a service may call the same plugin back. The caller's identity is the connection it
came through, never what its params claim. What a service raises stays in the host's log; the plugin gets an error id.
"""
from __future__ import annotations

import logging
import threading
import uuid
from typing import Any, Callable, Dict, Optional, Tuple

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import FrameTooLarge, RpcError
from legacy_plugins.host.reports import PluginReports
from legacy_plugins.protocol.handshake import PROGRESS
from legacy_plugins.protocol.messages import (
    BUSY,
    CANCELLED,
    INTERNAL_ERROR,
    METHOD_NOT_FOUND,
    TIMED_OUT,
    Request,
    RequestId,
)
from legacy_plugins.rpc import arguments
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.rpc.reactor import Reactor, Timer
from legacy_plugins.rpc.workers import Afterwards, WorkerPool

_log = logging.getLogger("legacy_plugins.host")

#: A function that plugins may call: `fn(params, caller)` returns JSON; it may raise `RpcError(code, message, data)`.
Service = Callable[[Any, "Caller"], Any]


def checked_name(name: Any) -> str:
    """The name of a service; raises `TypeError` for what is none."""
    if not isinstance(name, str) or not name:
        raise TypeError(f"a service is registered under a name, as in @host.service('user/find'), not {name!r}")
    return name


def checked_service(fn: Any) -> Service:
    """A service; raises `TypeError` for what cannot be called, or would return a coroutine that nobody awaits."""
    return arguments.function(fn, "a service")


class Caller:
    """Who calls a service, and how it is reached while the call lasts. Service thread.

    `plugin`: its configured name. `request_id`: its own id of the request. `deadline`: when it stops waiting.
    """

    def __init__(self, plugin: str, request_id: RequestId, deadline: Deadline, connection: Connection) -> None:
        self.plugin = plugin
        self.request_id = request_id
        self.deadline = deadline
        self._connection = connection
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether the plugin has taken its request back, or its time is over; long services should look."""
        return self._cancelled

    def progress(self, value: Any) -> None:
        """Tell the plugin how far its request is (`$/progress`)."""
        self._connection.notify(PROGRESS, {"id": self.request_id, "value": value})

    def give_up(self) -> None:
        """Nobody waits for the answer any more."""
        self._cancelled = True


class _Job:
    """A request that is being served. `answered` is won by whoever answers first."""

    def __init__(self, request: Request, service: Service, caller: Caller, connection: Connection) -> None:
        self.request = request
        self.service = service
        self.caller = caller
        self.connection = connection
        self.timer: Optional[Timer] = None
        self._lock = threading.Lock()
        self._answered = False

    def claim(self) -> bool:
        """True for the first one only."""
        with self._lock:
            first, self._answered = not self._answered, True
        return first


class ServiceDesk:
    """Serves one conversation of one plugin. `handle` and `cancel`: reader thread; must not block."""

    def __init__(self, config: PluginConfig, services: Dict[str, Service], reactor: Reactor,
                 reports: PluginReports) -> None:
        self._config = config
        self._services = services
        self._reactor = reactor
        self._reports = reports
        self._pool = WorkerPool(config.reverse_rpc.max_concurrency, name=f"{config.name}-service")
        self._jobs: Dict[RequestId, _Job] = {}  # single steps only, each atomic
        self.declared = False  # the plugin's handshake said `reverseRpc: true`

    def handle(self, request: Request, connection: Connection) -> None:
        """Serve a request, or refuse it."""
        service = self._services.get(request.method)
        why_not = self._why_not(request.method, service)
        if service is None or why_not is not None:
            self._reports.call_refused(request.method, why_not or "")
            connection.refuse(request.id, METHOD_NOT_FOUND, f"the host has no method {request.method[:100]!r} for you")
            return
        seconds = self._config.reverse_rpc.timeout_ms / 1000
        caller = Caller(self._config.name, request.id, Deadline(seconds), connection)
        job = _Job(request, service, caller, connection)
        job.timer = self._reactor.call_later(seconds, lambda: self._expire(job))
        self._jobs[request.id] = job
        if not self._pool.submit(self._run, job):
            self._forget(job)
            limit = self._config.reverse_rpc.max_concurrency
            connection.refuse(request.id, BUSY, f"busy: {limit} calls are being served (reverseRpc.maxConcurrency)")

    def cancel(self, params: Any) -> None:
        """`$/cancelRequest` of the plugin: the service is told, the plugin gets its answer at once."""
        request_id = params.get("id") if isinstance(params, dict) else None
        job = self._jobs.get(request_id) if isinstance(request_id, (int, str)) else None
        if job is not None and job.claim():
            job.caller.give_up()
            job.connection.refuse(job.request.id, CANCELLED, "cancelled")

    def close(self) -> None:
        """The conversation has ended."""
        self._pool.close()
        for job in list(self._jobs.values()):
            job.caller.give_up()

    def _why_not(self, method: str, service: Optional[Service]) -> Optional[str]:
        """Why the plugin may not call this, for the operator; the plugin itself is not told."""
        policy = self._config.reverse_rpc
        if not self._config.allow_reverse_rpc:
            return "allowReverseRpc is false"
        if not self.declared:
            return "its handshake did not declare `reverseRpc: true`"
        if not policy.grants(method):
            return f"reverseRpc.methods grants {list(policy.methods)}"
        return None if service is not None else "no such service is registered"

    def _run(self, job: _Job) -> Optional[Afterwards]:
        """On a service thread. The answer comes when the thread is free again: the plugin may ask again at once."""
        if job.caller.cancelled:
            self._forget(job)
            return None
        result, error = self._outcome(job)
        return Afterwards(lambda: self._answer(job, result, error))

    def _forget(self, job: _Job) -> None:
        if self._jobs.get(job.request.id) is job:
            del self._jobs[job.request.id]
        if job.timer is not None:
            job.timer.cancel()

    def _outcome(self, job: _Job) -> Tuple[Any, Optional[RpcError]]:
        try:
            return job.service(job.request.params, job.caller), None
        except RpcError as error:
            # What another plugin answered to the service was not meant for this one.
            return None, error if error.plugin is None else self._internal_error(job)
        except BaseException:  # noqa: BLE001 - the application's code, which may even say sys.exit()
            return None, self._internal_error(job)

    def _answer(self, job: _Job, result: Any, error: Optional[RpcError]) -> None:
        self._forget(job)
        if not job.claim():
            return
        try:
            if error is None:
                job.connection.answer(job.request.id, result)
            else:
                job.connection.refuse(job.request.id, error.code, error.message, error.data)
        except (TypeError, ValueError, FrameTooLarge):
            hidden = self._internal_error(job)
            job.connection.refuse(job.request.id, hidden.code, hidden.message)

    def _internal_error(self, job: _Job) -> RpcError:
        """Inside an `except`: log the truth, and make what the plugin may know of it."""
        error_id = uuid.uuid4().hex[:12]
        _log.exception("the service %r failed for plugin %r (error %s)", job.request.method, self._config.name,
                       error_id, extra={"plugin": self._config.name})
        return RpcError(INTERNAL_ERROR, f"internal error {error_id}; the host's log says more")

    def _expire(self, job: _Job) -> None:
        """On the supervising thread."""
        if job.claim():
            job.caller.give_up()
            limit = self._config.reverse_rpc.timeout_ms
            job.connection.refuse(job.request.id, TIMED_OUT, f"no answer within {limit} ms (reverseRpc.timeoutMs)")
