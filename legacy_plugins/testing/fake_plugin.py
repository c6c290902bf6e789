"""A plugin that is a few functions in the test: `fake_plugin`.

It speaks the real wire over a memory stream with the real host, so that filters, limits, errors, routes and states are
those of production; only the process is missing. Works with Flask's test client and Django's `TestCase`.
"""
from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import PluginError, RpcError
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.host.plugin_host import PluginHost
from legacy_plugins.protocol.handshake import HANDLE_REQUEST, HANDSHAKE, ON_EVENT, PUBLISH_EVENT, SHUTDOWN
from legacy_plugins.protocol.messages import BUSY, INTERNAL_ERROR, METHOD_NOT_FOUND, Notification, Request
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.conversation import ConversationHandler, EndReason
from legacy_plugins.rpc.workers import WorkerPool
from legacy_plugins.testing.memory import MemoryProcess, memory_pair
from legacy_plugins.transport.base import ExitStatus

_MAX_WORKERS = 16
_WAIT_SECONDS = 5.0


class FakeCall(NamedTuple):
    """A request or notification that the fake got."""

    method: str
    params: Any


class FakePlugin(ConversationHandler):
    """What the test has in hand.

    `calls`: what was asked, without the protocol's own methods; `events`: the params of each event, in order. Both are
    lists that only grow.
    """

    def __init__(self, name: str, methods: Mapping[str, Callable[[Any], Any]], routes: Sequence[Mapping[str, Any]],
                 answer: Mapping[str, Any]) -> None:
        self.name = name
        self.calls: List[FakeCall] = []
        self.events: List[Dict[str, Any]] = []
        self._methods = dict(methods)
        self._routes = [{key: value for key, value in route.items() if key != "handler"} for route in routes]
        self._handlers: Dict[Tuple[str, str], Callable[[Any], Any]] = {
            (route["path"], method): route["handler"] for route in routes if "handler" in route
                          for method in _methods_of(route)}
        self._answer = answer
        self._changed = threading.Condition()  # guards calls and events
        self._connection: Optional[Connection] = None
        self._process: Optional[MemoryProcess] = None
        self._pool: Optional[WorkerPool] = None

    def launch(self, plugin: PluginConfig) -> MemoryProcess:
        """Start it (again): what the host calls in the place of starting a program."""
        host_end, own_end = memory_pair()
        self._process = MemoryProcess(host_end)
        self._pool = WorkerPool(_MAX_WORKERS, name=f"fake-{self.name}")
        self._connection = Connection(own_end, self, name=f"host of {self.name}")
        self._connection.start()
        return self._process

    def publish(self, event_type: str, payload: Any = None) -> None:
        """Publish an event, as a plugin does."""
        self._required.notify(PUBLISH_EVENT, {"eventType": event_type, "payload": payload})

    def call_host(self, method: str, params: Any = None, timeout: float = _WAIT_SECONDS) -> Any:
        """Call one of the host's services, as a plugin does; `timeout` in seconds. Raises what the host answers."""
        return self._required.request(method, params, timeout)

    def crash(self, exit_code: int = 1) -> None:
        """Die, as a process does; the host restarts it by its policy."""
        assert self._process is not None
        self._process.end(ExitStatus(code=exit_code))
        self._required.close_writing(0.0)

    def wait_for_events(self, count: int, timeout: float = _WAIT_SECONDS) -> List[Dict[str, Any]]:
        """Wait until `count` events have come, at most `timeout` seconds. Raises `AssertionError` with what came."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.events) >= count, timeout):
                raise AssertionError(f"{len(self.events)} events came within {timeout:g} s, not {count}: {self.events}")
            return list(self.events)

    # ---- the plugin's side of the wire (reader thread, handlers on a pool)

    def on_request(self, request: Request) -> None:
        connection = self._required
        if request.method == HANDSHAKE:
            connection.answer(request.id, {"name": self.name, "version": "0", "routes": self._routes,
                                           "reverseRpc": True, **self._answer})
        elif request.method == SHUTDOWN:
            connection.answer(request.id, {})
        elif self._pool is None or not self._pool.submit(self._serve, request, connection):
            connection.refuse(request.id, BUSY, f"the fake serves at most {_MAX_WORKERS} requests at a time")

    def on_notification(self, notification: Notification) -> None:
        with self._changed:
            if notification.method == ON_EVENT:
                self.events.append(notification.params)
            else:
                self.calls.append(FakeCall(*notification))
            self._changed.notify_all()

    def on_end(self, reason: EndReason) -> None:
        assert self._process is not None
        assert self._pool is not None
        self._required.fail_pending(lambda: PluginError(f"the fake {self.name!r} has ended"))
        self._required.close_writing(0.0)
        self._pool.close()
        self._process.end(ExitStatus(code=0))

    @property
    def _required(self) -> Connection:
        assert self._connection is not None, f"the fake {self.name!r} is not running"
        return self._connection

    def _serve(self, request: Request, connection: Connection) -> None:
        with self._changed:
            self.calls.append(FakeCall(request.method, request.params))
            self._changed.notify_all()
        handler = self._handler(request)
        if handler is None:
            connection.refuse(request.id, METHOD_NOT_FOUND, f"the fake {self.name!r} has no method {request.method!r}")
            return
        try:
            connection.answer(request.id, handler(request.params))
        except RpcError as error:
            connection.refuse(request.id, error.code, error.message, error.data)
        except Exception as error:  # noqa: BLE001 - the test's own function; the caller sees what it raised
            connection.refuse(request.id, INTERNAL_ERROR, repr(error))

    def _handler(self, request: Request) -> Optional[Callable[[Any], Any]]:
        if request.method == HANDLE_REQUEST and isinstance(request.params, dict):
            key = (str(request.params.get("route")), str(request.params.get("method")))
            if key in self._handlers:
                return self._handlers[key]
        return self._methods.get(request.method)


@contextmanager
def fake_plugin(host: PluginHost, name: str, methods: Optional[Mapping[str, Callable[[Any], Any]]] = None, *,
                routes: Sequence[Mapping[str, Any]] = (), **answer: Any) -> Iterator[FakePlugin]:
    """Replace the plugin `name` of `host` by functions, for the length of a `with` block.

    `methods`: `fn(params)` by method name; it may raise `RpcError(code, message, data)`. `routes`: declarations as on
    the wire, each with an optional `handler`, `fn(params)` for `plugin/handleRequest`. `answer`: more keys of the
    handshake's answer (`version`, `events`, `capabilities`, ...). On a host that was not used yet, only plugins with a
    fake run. Afterwards the plugin is as it was before.
    """
    fake = FakePlugin(name, methods or {}, routes, answer)
    host.substitute(name, fake.launch)
    runtime, client = host.runtime(), host.client(name)
    before = client.state
    try:
        runtime.mark_used()
        client.restart()
        client.wait_ready()
        yield fake
    finally:
        host.substitute(name, None)
        if before in (PluginState.READY, PluginState.STARTING, PluginState.BACKOFF):
            client.restart(wait=False)
        elif before is PluginState.DISABLED:
            client.disable()
        else:
            client.stop()


def _methods_of(route: Mapping[str, Any]) -> List[str]:
    method = route["method"]
    return [method] if isinstance(method, str) else list(method)
