"""The application's plugins: `PluginHost`.

Constructing one is inert: it reads the configuration, and that is all. The first use in a process starts the plugins of
that process; in a forked child it is again as if never used. So it can be made at import, before servers fork.
"""
from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union

from blinker import Signal

from legacy_plugins.config.loader import load_config
from legacy_plugins.config.model import HostConfig
from legacy_plugins.errors import UnknownPlugin
from legacy_plugins.host.client import PluginClient
from legacy_plugins.host.events import BroadcastReport, encode_event
from legacy_plugins.host.launch import Launcher
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.host.notices import ReceiverContext
from legacy_plugins.host.reload import ReloadReport
from legacy_plugins.host.routes import PluginRoute
from legacy_plugins.host.runtime import HostRuntime
from legacy_plugins.host.services import Service, checked_name, checked_service
from legacy_plugins.host.status import PluginStatus
from legacy_plugins.host.subscriptions import PayloadFunction, Subscriptions
from legacy_plugins.rpc import arguments
from legacy_plugins.transport import descriptors
from legacy_plugins.transport.per_process import PerProcess

#: Where a configuration comes from: a path, a mapping, or one that was read already.
ConfigSource = Union[str, "os.PathLike[str]", Mapping[str, Any], HostConfig]
_F = TypeVar("_F", bound=Service)


class PluginHost:
    """See the file's first paragraph. All methods: any thread.

    `config`: a path, a mapping or a `HostConfig`. `name`, `version`: what the application calls itself towards plugins.
    `services`: functions that plugins may call, by name; `fn(params, caller)`. `base_dir`: what relative paths of a
    mapping are relative to. `trust`: directories, added to the configuration's. Raises `ConfigError` with all faults.
    """

    def __init__(self, config: ConfigSource, *, name: str = "legacy-plugins", version: Optional[str] = None,
                 services: Optional[Mapping[str, Service]] = None, base_dir: Optional[str] = None,
                 trust: Optional[Iterable[str]] = None) -> None:
        for what, text in (("name", name), ("version", version)):
            if text is not None and not isinstance(text, str):
                raise TypeError(f"the application's {what} is a text, not {text!r}")
        self.name = name
        self.version = version or _own_version()
        self._base_dir = base_dir
        self._trust = None if trust is None else tuple(trust)
        self.config = self._load(config)
        self._services: Dict[str, Service] = {
            checked_name(service): checked_service(fn) for service, fn in dict(services or {}).items()}
        self._doubles: Dict[str, Launcher] = {}
        #: What receivers of this host's signals run in; for integrations, which set it before the first use.
        self.receiver_context: ReceiverContext = nullcontext
        self._clients: Dict[str, PluginClient] = {}
        self._runtimes = PerProcess(self._new_runtime, lambda _: descriptors.abandon_inherited())
        self._subscriptions = Subscriptions(self)

    def __repr__(self) -> str:
        return f"<PluginHost {self.name!r} {list(self)}>"

    # ---- life

    def start(self, wait: bool = True, timeout: Optional[float] = None) -> None:
        """Start all enabled plugins, side by side, and wait until each is ready or not coming.

        A plugin that fails does not raise here: `status()` says why. `timeout`: seconds.
        """
        timeout = arguments.seconds(timeout)
        runtime = self.runtime()
        runtime.start()
        if wait:
            runtime.wait_settled(timeout)

    def stop(self, timeout: Optional[float] = None) -> None:
        """Stop all plugins, side by side, and wait until they are gone. Idempotent; bounded by `timeout` seconds, by
        default by the plugins' own time-outs. Nothing starts by itself afterwards."""
        self.runtime().begin_stop("stop", arguments.seconds(timeout)).finish()

    def __enter__(self) -> PluginHost:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def reload(self, config: Optional[ConfigSource] = None) -> ReloadReport:
        """Go by another configuration, or by the same file read again; waits until the differences are applied.

        A changed plugin's new process is ready before its old one is drained and stopped; one that fails leaves the old
        one serving. Raises `ConfigError`, with nothing changed, and `ValueError` where there is no file to read again.
        """
        if config is None:
            if self.config.source is None:
                raise ValueError("the configuration came from no file; give the new one")
            config = self.config.source
        return self.runtime().reload(lambda: self._load(config))

    def _load(self, source: ConfigSource) -> HostConfig:
        """Read a configuration, and go by it: in this process now, in forked children from their first use."""
        self.config = load_config(source, base_dir=self._base_dir, trust=self._trust)
        return self.config

    # ---- plugins

    def client(self, name: str) -> PluginClient:
        """The handle of one plugin; raises `UnknownPlugin`, which lists the known."""
        if name not in self:
            self.config.plugin(name)
        return self._clients.get(name) or self._clients.setdefault(name, PluginClient(self, name))

    __getitem__ = client

    def __contains__(self, name: object) -> bool:
        return any(plugin.name == name for plugin in self.config.plugins)

    def __iter__(self) -> Iterator[str]:
        return iter([plugin.name for plugin in self.config.plugins])

    def __len__(self) -> int:
        return len(self.config.plugins)

    def routes(self) -> Tuple[PluginRoute, ...]:
        """The routes that the ready plugins of this process declare; the same tuple until something changes."""
        runtime = self._runtimes.peek()
        return runtime.routes() if runtime is not None else ()

    def status(self) -> List[PluginStatus]:
        """All that is known of each plugin in this process; asking starts nothing."""
        return [plugin.status() for plugin in self.runtime().plugins.values()]

    @property
    def healthy(self) -> bool:
        """Whether all plugins with `required: true` are ready in this process."""
        return all(plugin.available.view.state is PluginState.READY
                   for plugin in self.runtime().plugins.values() if plugin.config.required)

    # ---- events and services

    def broadcast(self, event_type: str, payload: Any = None, metadata: Optional[Mapping[str, Any]] = None
                  ) -> BroadcastReport:
        """Send an event to every plugin that wants it; never waits for one.

        Raises `TypeError` for a payload or metadata that is not JSON, before anything is sent.
        """
        event = encode_event(event_type, payload, metadata)
        outcomes: Dict[str, List[str]] = {"queued": [], "dropped": [], "filtered": []}
        for name, plugin in self.used().plugins.items():
            outcomes[plugin.put_event(event)].append(name)
        return BroadcastReport(event.event_id, *(tuple(names) for names in outcomes.values()))

    def connect(self, signal: Signal, event_type: Optional[str] = None, *, fields: Optional[Sequence[str]] = None,
                payload: Optional[PayloadFunction] = None) -> None:
        """Broadcast each send of a blinker signal, which is held strongly.

        `event_type`: by default the signal's name. The payload is what `payload(sender, **kw)` returns, or the keyword
        arguments named in `fields`, or all of them. What is not JSON is logged and announced as `event_dropped`;
        nothing is ever raised into the application's `send`. Raises `TypeError` or `ValueError` for arguments of which
        no event could ever be made.
        """
        self._subscriptions.connect(signal, event_type, fields, payload)

    def disconnect(self, signal: Signal) -> None:
        """Broadcast a signal no more."""
        self._subscriptions.disconnect(signal)

    def service(self, name: str) -> Callable[[_F], _F]:
        """Decorator: plugins may call `fn(params, caller)` as `name`, where their configuration grants it.

        Raises `TypeError` without a name, and for a coroutine function: services are run by threads.
        """
        checked_name(name)

        def register(fn: _F) -> _F:
            self._services[name] = checked_service(fn)
            return fn
        return register

    def announce(self, signal: Signal, plugin: Optional[str], **facts: Any) -> None:
        """Send one of this library's signals, on the dispatch thread; for the library's own parts."""
        self.runtime().notices.announce(signal, plugin, **facts)

    # ---- this process

    def runtime(self) -> HostRuntime:
        """This host's life in this process, started or not; for the library's own parts."""
        return self._runtimes.get()

    def used(self) -> HostRuntime:
        """The same, and this counts as use: the first one starts the plugins."""
        runtime = self._runtimes.get()
        if not runtime.started:
            runtime.first_use()
        return runtime

    def substitute(self, name: str, launcher: Optional[Launcher]) -> Optional[Launcher]:
        """Start `name` by other means than its program (None: by its program again), from its next start on; for
        doubles in tests. Returns what started it so far."""
        if name not in self:
            raise UnknownPlugin(f"no plugin {name!r} is configured; known: {', '.join(self) or 'none'}", plugin=name)
        previous = self._doubles.pop(name, None)
        if launcher is not None:
            self._doubles[name] = launcher
        return previous

    def _new_runtime(self) -> HostRuntime:
        return HostRuntime(self, self.config, version=self.version, services=self._services, doubles=self._doubles)


def _own_version() -> str:
    from legacy_plugins import __version__
    return __version__
