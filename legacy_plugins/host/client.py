"""One plugin as the application sees it: a handle that stays good across restarts, reloads and forks."""
from __future__ import annotations

from typing import Any, Callable, Optional, Protocol, Tuple

from legacy_plugins.errors import PluginTimeout
from legacy_plugins.host.departures import CommonStop
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.host.plugin import SupervisedPlugin
from legacy_plugins.host.runtime import HostRuntime
from legacy_plugins.host.status import PluginStatus
from legacy_plugins.protocol.handshake import HandshakeResult
from legacy_plugins.rpc import arguments
from legacy_plugins.rpc.calls import Call
from legacy_plugins.rpc.crash import CrashReport
from legacy_plugins.rpc.deadline import Deadline


class _Host(Protocol):
    """What a handle needs of its host; see `PluginHost`."""

    def runtime(self) -> HostRuntime: ...
    def used(self) -> HostRuntime: ...


class PluginClient:
    """Calls, notifications and commands for one plugin. All methods: any thread. Made by `PluginHost`.

    Methods that need the plugin raise `UnknownPlugin` once a reload has removed it.
    """

    def __init__(self, host: _Host, name: str) -> None:
        self._host = host
        self.name = name

    def __repr__(self) -> str:
        plugin = self._host.runtime().plugins.get(self.name)
        return f"<PluginClient {self.name!r} {'removed' if plugin is None else plugin.available.view.state.value}>"

    def request(self, method: str, params: Any = None, timeout: Optional[float] = None, *,
                on_progress: Optional[Callable[[Any], None]] = None) -> Any:
        """Call a method of the plugin and wait for its result.

        `params`: a dict, a list or None. `timeout`: seconds, by default `rpcTimeoutMs`; it covers waiting for a start
        that is under way. `on_progress(value)` runs in this thread.

        Raises `RpcError` (what the plugin answered), `PluginTimeout`, `PluginUnavailable` and its subclasses
        (`PluginCrashed` where the plugin died meanwhile, `PluginBusy`), `ProtocolError`; `TypeError` or `ValueError`
        for params that are not JSON.
        """
        timeout = arguments.call(method, timeout, on_progress, zero=False)
        plugin = self._used()
        deadline = Deadline(_seconds(timeout, plugin))
        connection = plugin.available.view.connection or plugin.available.connection(deadline)
        return connection.request(method, params, deadline, on_progress)

    def submit(self, method: str, params: Any = None, timeout: Optional[float] = None, *,
               on_progress: Optional[Callable[[Any], None]] = None) -> Call:
        """The same without waiting for the answer: a `concurrent.futures.Future` that expires by itself.

        `cancel()` tells the plugin (`$/cancelRequest`). Done-callbacks and `on_progress` run on the dispatch thread.
        Waits only for a start that is under way. Raises as `request` does for what is known at once.
        """
        timeout = arguments.call(method, timeout, on_progress, zero=False)
        plugin = self._used()
        deadline = Deadline(_seconds(timeout, plugin))
        return plugin.available.connection(deadline).submit(method, params, deadline, on_progress)

    def notify(self, method: str, params: Any = None) -> None:
        """Tell the plugin something; no answer comes. Raises as `request` does for what is known at once."""
        arguments.method_name(method)
        plugin = self._used()
        plugin.available.connection(Deadline(_seconds(None, plugin))).notify(method, params)

    def start(self, wait: bool = True, timeout: Optional[float] = None) -> None:
        """Start the plugin if it does not run, and wait until it is ready or not coming; does not raise for the latter.

        A disabled plugin stays disabled, and a failed one failed: `enable()` and `restart()` are what starts them.
        `timeout`: seconds.
        """
        timeout = arguments.seconds(timeout)
        self._used().start()
        self._settle(wait, timeout)

    def stop(self, timeout: Optional[float] = None) -> None:
        """Stop the plugin and wait until it is gone; nothing starts it by itself. `timeout`: seconds.

        Raises `PluginTimeout` when it is not gone by then; it is killed all the same.
        """
        self._end(timeout, disable=False)

    def disable(self, timeout: Optional[float] = None) -> None:
        """Stop the plugin; only `enable()`, `restart()` or a reload starts it again. Raises as `stop` does."""
        self._end(timeout, disable=True)

    def enable(self, wait: bool = True, timeout: Optional[float] = None) -> None:
        """Start a disabled plugin; does nothing for another."""
        timeout = arguments.seconds(timeout)
        self._used().start(enable=True)
        self._settle(wait, timeout)

    def restart(self, wait: bool = True, timeout: Optional[float] = None) -> None:
        """Stop the plugin if it runs, and start it afresh, whatever state it is in."""
        timeout = arguments.seconds(timeout)
        self._used().restart()
        self._settle(wait, timeout)

    def wait_ready(self, timeout: Optional[float] = None) -> None:
        """Wait until the plugin can be called. Raises `PluginTimeout`, or `PluginUnavailable` when it is not coming."""
        timeout = arguments.seconds(timeout)
        plugin = self._used()
        plugin.available.connection(Deadline(plugin.start_seconds if timeout is None else timeout))

    @property
    def state(self) -> PluginState:
        """Where the plugin is in its life; asking starts nothing."""
        return self._plugin().available.view.state

    @property
    def pid(self) -> Optional[int]:
        """The process id, None while there is no process."""
        return self._plugin().available.view.pid

    @property
    def metadata(self) -> Optional[HandshakeResult]:
        """What the plugin said of itself; None until it was ready."""
        return self._plugin().available.view.metadata

    @property
    def routes(self) -> Tuple[Any, ...]:
        """The routes that it declares (`RouteDeclaration`); none until it is ready."""
        metadata = self.metadata
        return metadata.routes if metadata is not None else ()

    @property
    def last_crash(self) -> Optional[CrashReport]:
        """The report of its last crash in this process's life."""
        return self._plugin().last_crash

    def status(self) -> PluginStatus:
        """All that is known of the plugin now."""
        return self._plugin().status()

    def log_tail(self) -> Tuple[str, ...]:
        """The last lines of its stderr, redacted as logs are; oldest first."""
        return self._plugin().log.tail()

    def _plugin(self) -> SupervisedPlugin:
        return self._host.runtime().plugin(self.name)

    def _used(self) -> SupervisedPlugin:
        return self._host.used().plugin(self.name)

    def _settle(self, wait: bool, timeout: Optional[float]) -> None:
        if wait:
            plugin = self._plugin()
            plugin.available.wait(plugin.available.settled, plugin.start_seconds if timeout is None else timeout)

    def _end(self, timeout: Optional[float], *, disable: bool) -> None:
        timeout = arguments.seconds(timeout)
        plugin = self._plugin()
        departure = plugin.stop("disable" if disable else "stop", grace=plugin.grace(timeout), disable=disable)
        seconds = plugin.stop_seconds if timeout is None else timeout
        if not CommonStop([(plugin, departure)], seconds).finish():
            raise PluginTimeout(f"plugin {self.name!r} was not gone after {seconds:g} s", plugin=self.name)


def _seconds(timeout: Optional[float], plugin: SupervisedPlugin) -> float:
    """A call's time-out in seconds; never endless."""
    return plugin.config.rpc_timeout_ms / 1000 if timeout is None else timeout
