"""A plugin that is a few functions in the test: `fake_plugin`.

It speaks the real wire over a memory stream with the real host, so that filters, limits, errors, routes and states are
those of production; only the process is missing. Works with Flask's test client and Django's `TestCase`.
"""
from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from legacy_plugins.config.model import PluginConfig
from legacy_plugins.errors import PluginError, RpcError, rpc_error
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


class FakePlugin:
    """What the test has in hand.

    `calls`: what was asked or told, without the protocol's own methods; `events`: the params of each event, in order.
    Both are lists that only grow. `answer`: to the handshake.
    """

    def __init__(self, name: str, methods: Mapping[str, Callable[[Any], Any]], routes: Sequence[Mapping[str, Any]],
                 answer: Mapping[str, Any]) -> None:
        self.name = name
        self.calls: List[FakeCall] = []
        self.events: List[Dict[str, Any]] = []
        self._methods = dict(methods)
        self._handlers: Dict[Tuple[str, str], Callable[[Any], Any]] = {
            (route["path"], method): route["handler"] for route in routes if "handler" in route
            for method in _methods_of(route)}
        declared = [{key: value for key, value in route.items() if key != "handler"} for route in routes]
        self.answer = {"name": name, "version": "0", "routes": declared, "reverseRpc": True, **answer}
        self._changed = threading.Condition()  # guards calls and events
        self._run: Optional[_Run] = None
        self.greeted = threading.Event()  # the handshake was answered

    def launch(self, plugin: PluginConfig) -> MemoryProcess:
        """Start it (again): what the host calls in the place of starting a program."""
        self._run = _Run(self)
        return self._run.process

    def publish(self, event_type: str, payload: Any = None) -> None:
        """Publish an event, as a plugin does."""
        self.tell_host(PUBLISH_EVENT, {"eventType": event_type, "payload": payload})

    def tell_host(self, method: str, params: Any = None) -> None:
        """Send the host a notification (`plugin/ready`, `$/progress`), as a plugin does."""
        self._running.connection.notify(method, params)

    def call_host(self, method: str, params: Any = None, timeout: float = _WAIT_SECONDS) -> Any:
        """Call one of the host's services, as a plugin does; `timeout` in seconds. Raises what the host answers."""
        try:
            return self._running.connection.request(method, params, timeout)
        except RpcError as error:  # a connection takes its other side for a plugin
            raise rpc_error(error.code, error.message, error.data) from None

    def crash(self, exit_code: int = 1) -> None:
        """Die, as a process does; the host restarts it by its policy."""
        self._running.end(ExitStatus(code=exit_code))

    def wait_for_events(self, count: int, timeout: float = _WAIT_SECONDS) -> List[Dict[str, Any]]:
        """Wait until `count` events have come, at most `timeout` seconds. Raises `AssertionError` with what came."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.events) >= count, timeout):
                raise AssertionError(f"{len(self.events)} events came within {timeout:g} s, not {count}: {self.events}")
            return list(self.events)

    # ---- what comes in (any thread)

    def hear(self, method: str, params: Any) -> None:
        """A request or a notification came."""
        with self._changed:
            if method == ON_EVENT:
                self.events.append(params)
            else:
                self.calls.append(FakeCall(method, params))
            self._changed.notify_all()

    def handler(self, request: Request) -> Optional[Callable[[Any], Any]]:
        """The test's function for a request."""
        if request.method == HANDLE_REQUEST and isinstance(request.params, dict):
            key = (str(request.params.get("route")), str(request.params.get("method")))
            if key in self._handlers:
                return self._handlers[key]
        return self._methods.get(request.method)

    @property
    def _running(self) -> _Run:
        assert self._run is not None, f"the fake {self.name!r} was not started"
        return self._run


class _Run(ConversationHandler):
    """One start of a fake: a conversation of its own, so that two may live side by side during a reload.

    Messages come on its reader thread; the test's functions run on its pool.
    """

    def __init__(self, fake: FakePlugin) -> None:
        host_end, own_end = memory_pair()
        self.process = MemoryProcess(host_end)
        self._fake = fake
        self._pool = WorkerPool(_MAX_WORKERS, name=f"fake-{fake.name}")
        self.connection = Connection(own_end, self, name=f"fake {fake.name}", kind="the host of")
        self.connection.start()

    def end(self, status: ExitStatus) -> None:
        """Exit; the first status counts."""
        self.process.end(status)
        self.connection.close_writing(0.0)

    def on_request(self, request: Request) -> None:
        if request.method == HANDSHAKE:
            self.connection.answer(request.id, self._fake.answer)
            self._fake.greeted.set()
        elif request.method == SHUTDOWN:
            self.connection.answer(request.id, {})
        elif not self._pool.submit(self._serve, request):
            self.connection.refuse(request.id, BUSY, f"the fake serves at most {_MAX_WORKERS} requests at a time")

    def on_notification(self, notification: Notification) -> None:
        if not notification.method.startswith("$/"):
            self._fake.hear(*notification)

    def on_end(self, reason: EndReason) -> None:
        self.connection.fail_pending(lambda: PluginError(f"the fake {self._fake.name!r} has ended"))
        self._pool.close()
        self.end(ExitStatus(code=0))

    def _serve(self, request: Request) -> None:
        self._fake.hear(request.method, request.params)
        handler = self._fake.handler(request)
        if handler is None:
            self.connection.refuse(request.id, METHOD_NOT_FOUND,
                                   f"the fake {self._fake.name!r} has no method {request.method!r}")
            return
        try:
            self.connection.answer(request.id, handler(request.params))
        except RpcError as error:
            self.connection.refuse(request.id, error.code, error.message, error.data)
        except BaseException as error:  # noqa: BLE001 - the test's function, its assertions too; the caller sees it
            self.connection.refuse(request.id, INTERNAL_ERROR, repr(error))


@contextmanager
def fake_plugin(host: PluginHost, name: str, methods: Optional[Mapping[str, Callable[[Any], Any]]] = None, *,
                routes: Sequence[Mapping[str, Any]] = (), **answer: Any) -> Iterator[FakePlugin]:
    """Replace the plugin `name` of `host` by functions, for the length of a `with` block.

    `methods`: `fn(params)` by method name; it may raise `RpcError(code, message, data)`. `routes`: declarations as on
    the wire, each with an optional `handler`, `fn(params)` for `plugin/handleRequest`. `answer`: more keys of the
    handshake's answer (`version`, `events`, `capabilities`, ...). On a host that was not used yet, only plugins with a
    fake run. Afterwards the plugin is as it was before, and so is the host.
    """
    fake = FakePlugin(name, methods or {}, routes, answer)
    previous = host.substitute(name, fake.launch)
    runtime, client = host.runtime(), host.client(name)
    before, coming = client.state, runtime.plugins[name].available.coming
    unused = runtime.mark_used()
    try:
        if fake.answer.get("ready") is False:  # the test sends `plugin/ready`
            client.restart(wait=False)
            fake.greeted.wait(_WAIT_SECONDS)
        else:
            client.restart()
            client.wait_ready()
        yield fake
    finally:
        host.substitute(name, previous)
        if before is PluginState.DISABLED:
            client.disable()
        elif before in (PluginState.STOPPED, PluginState.STOPPING) and not coming:
            client.stop()
        else:
            client.restart(wait=previous is not None)
        if unused:
            runtime.mark_unused()


def _methods_of(route: Mapping[str, Any]) -> List[str]:
    method = route["method"]
    return [method] if isinstance(method, str) else list(method)
