"""A host without processes, and requests without a framework: what the web edge sees of the floors beside it.

The fake keeps the host's promises that the edge relies on: `routes()` is one and the same tuple until something
changes, only ready plugins appear in it, `wait_ready` raises what the state means, and every call is recorded.
"""
from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from legacy_plugins.config.model import HostConfig, PluginConfig
from legacy_plugins.errors import PluginError, PluginNotRunning, PluginTimeout, UnknownPlugin
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.host.routes import PluginRoute
from legacy_plugins.host.status import PluginStatus
from legacy_plugins.http import HttpRequest, HttpResponse
from legacy_plugins.protocol.handshake import RouteDeclaration


class Call(NamedTuple):
    """One call that reached a plugin."""

    plugin: str
    method: str
    params: Any
    timeout: Optional[float]


def route(path: str = "/items", *methods: str, **facts: Any) -> RouteDeclaration:
    """A declaration; GET without methods."""
    return RouteDeclaration(path, methods or ("GET",), **facts)


class FakeClient:
    """A plugin whose answer is chosen by the test: a value, an exception, or a function of the params."""

    def __init__(self, name: str, host: FakeHost) -> None:
        self.name = name
        self.state = PluginState.READY
        self.routes: Tuple[RouteDeclaration, ...] = ()
        self.answer: Any = {"body": "ok"}
        self.waited: List[Optional[float]] = []
        self.on_wait: Callable[[], None] = lambda: None
        self._host = host

    def wait_ready(self, timeout: Optional[float] = None) -> None:
        """Wait for a first start, which the test ends by `on_wait`."""
        self.waited.append(timeout)
        self.on_wait()
        if self.state is PluginState.STARTING:
            raise PluginTimeout(f"plugin {self.name!r} is not ready", plugin=self.name)
        if self.state is not PluginState.READY:
            raise PluginNotRunning(self.name, self.state)

    def request(self, method: str, params: Any = None, timeout: Optional[float] = None) -> Any:
        """Record the call and answer it. Params must be JSON, as for the real one."""
        json.dumps(params, allow_nan=False)
        self._host.calls.append(Call(self.name, method, params, timeout))
        answer = self.answer(params) if callable(self.answer) else self.answer
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def submit(self, method: str, params: Any = None, timeout: Optional[float] = None) -> Future[Any]:
        """The same as a Future that has ended, or the Future that the answer is."""
        call: Future[Any] = Future()
        try:
            answer = self.request(method, params, timeout)
        except PluginError as error:
            call.set_exception(error)
            return call
        if isinstance(answer, Future):
            return answer
        call.set_result(answer)
        return call


class FakeRuntime:
    """A life that has not begun, as commands ask about it."""

    started = False
    closed = False

    def wait_settled(self, timeout: Optional[float]) -> bool:
        """It is."""
        return True

    def mark_unused(self) -> None:
        """It never began."""
        self.started = self.closed = False


class FakeHost:
    """As much of a host as the web edge uses."""

    def __init__(self, *plugins: PluginConfig, name: str = "fake") -> None:
        self.name = name
        self.config = HostConfig(plugins=plugins, base_dir="/")
        self.calls: List[Call] = []
        self.log: List[Any] = []
        self.life = FakeRuntime()
        self.services: Dict[str, Callable[..., Any]] = {}
        self.connections: List[Tuple[Any, Optional[str], Any, Any]] = []
        self._clients = {plugin.name: FakeClient(plugin.name, self) for plugin in plugins}
        self._routes: Tuple[PluginRoute, ...] = ()

    def declare(self, plugin: str, *routes: RouteDeclaration) -> FakeClient:
        """Let a plugin be ready with these routes."""
        client = self._clients[plugin]
        client.routes = routes
        self.refresh()
        return client

    def refresh(self) -> None:
        """Something changed: give out another tuple."""
        self._routes = tuple(PluginRoute(client.name, f"/api/plugins/{client.name}", declared)
                             for client in self._clients.values() if client.state is PluginState.READY
                             for declared in client.routes)

    def routes(self) -> Tuple[PluginRoute, ...]:
        """The routes of ready plugins."""
        return self._routes

    def client(self, name: str) -> FakeClient:
        """The plugin's handle."""
        try:
            return self._clients[name]
        except KeyError:
            raise UnknownPlugin(f"no plugin {name!r}", plugin=name) from None

    __getitem__ = client

    def __contains__(self, name: object) -> bool:
        return name in self._clients

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def start(self, wait: bool = True, timeout: Optional[float] = None) -> None:
        """Note the start."""
        self.log.append(("start", wait))

    def stop(self, timeout: Optional[float] = None) -> None:
        """Note the stop."""
        self.log.append(("stop",))

    def runtime(self) -> FakeRuntime:
        """The host's life."""
        return self.life

    def status(self) -> List[PluginStatus]:
        """One status for each plugin."""
        return [PluginStatus(client.name, client.state) for client in self._clients.values()]

    def service(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a service."""
        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self.services[name] = function
            return function
        return register

    def connect(self, signal: Any, event_type: Optional[str] = None, *, fields: Optional[Sequence[str]] = None,
                payload: Optional[Callable[..., Any]] = None) -> None:
        """Note the connection, and note each send as the real host would broadcast it."""
        self.connections.append((signal, event_type, fields, payload))

        def broadcast(sender: Any, **values: Any) -> None:
            chosen = payload(sender, **values) if payload is not None else \
                {name: values[name] for name in fields} if fields is not None else values
            self.log.append(("event", event_type or signal.name, chosen))
        signal.connect(broadcast, weak=False)


def request(method: str = "GET", path: str = "/api/plugins/shop/items", body: bytes = b"", *,
            headers: Sequence[Tuple[str, str]] = (), chunked: bool = False, **facts: Any) -> HttpRequest:
    """A request; its body arrives in pieces of at most seven bytes, its length is known unless `chunked`."""
    rest = [body]

    def read(size: int) -> bytes:
        chunk = rest[0][:min(size, 7)]
        rest[0] = rest[0][len(chunk):]
        return chunk

    facts.setdefault("content_length", None if chunked else len(body))
    return HttpRequest(method, path, tuple(headers), facts.pop("read_body", read), **facts)


def problem(response: HttpResponse) -> Dict[str, Any]:
    """The answer's problem details."""
    assert response.header("content-type") == "application/problem+json"
    document: Dict[str, Any] = json.loads(response.body)
    assert document["status"] == response.status
    return document
