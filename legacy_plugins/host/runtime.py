"""A host's life in one process: its supervised plugins, started at first use, gone with the process.

A forked child never inherits one: `PluginHost` keeps a runtime per process id and makes a new one in the child. Nothing
here is made before a process needs it, so that no lock or thread is older than a fork.
"""
from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from legacy_plugins.config.model import HostConfig, PluginConfig
from legacy_plugins.errors import PluginError, PluginNotRunning, UnknownPlugin
from legacy_plugins.host.exit import stop_at_exit
from legacy_plugins.host.launch import Launcher, ProgramLauncher
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.host.notices import Notices
from legacy_plugins.host.orphans import shared_guard
from legacy_plugins.host.plugin import SupervisedPlugin
from legacy_plugins.host.routes import DEFAULT_MOUNT, PluginRoute, RouteSnapshot
from legacy_plugins.host.services import Service
from legacy_plugins.host.surroundings import Surroundings
from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.rpc.dispatcher import shared_dispatcher
from legacy_plugins.rpc.reactor import shared_reactor

_log = logging.getLogger("legacy_plugins.host")
_STOPPED = (PluginState.STOPPED, PluginState.DISABLED)
#: What stopping may take beyond the ladder's own times, in seconds: draining and reaping.
_STOP_MARGIN = 1.5


@dataclass(frozen=True)
class ReloadReport:
    """What a reload did, by plugin name. `failed`: changed plugins whose old process goes on, with the reason."""

    added: Tuple[str, ...] = ()
    removed: Tuple[str, ...] = ()
    changed: Tuple[str, ...] = ()
    unchanged: Tuple[str, ...] = ()
    failed: Mapping[str, PluginError] = field(default_factory=dict)


class HostRuntime:
    """See the file's first paragraph. All methods: any thread."""

    def __init__(self, host: Any, config: HostConfig, *, version: str, services: Dict[str, Service],
                 doubles: Dict[str, Launcher]) -> None:
        self.pid = os.getpid()
        self.config = config
        self._doubles = doubles
        self._lock = threading.Lock()  # guards started, closed; makes reloads follow one another (_reloading)
        self._reloading = threading.Lock()
        self.started = False
        self.closed = False
        self._reactor = shared_reactor()
        self._dispatcher = shared_dispatcher()
        self._launcher = self._make_launcher(config)
        self.notices = Notices(host, self._dispatcher)
        self._routes = RouteSnapshot(self._collect_routes)
        self._around = Surroundings(host.name, version, self._reactor, self._dispatcher, self.notices, services,
                                    shared_guard(), self._launcher_of, lambda: self.config.guard, self._routes.changed)
        self.plugins: Dict[str, SupervisedPlugin] = {plugin.name: self._new(plugin) for plugin in config.plugins}

    def first_use(self) -> None:
        """Start all enabled plugins, once; nothing after `stop`."""
        with self._lock:
            if self.started or self.closed:
                return
            self.started = True
        self._start_all()

    def mark_used(self) -> None:
        """Count as used without starting anything: the plugins that are wanted are started one by one."""
        with self._lock:
            if not self.started:
                self.started = True
                self._prepare()

    def start(self) -> None:
        """Start all enabled plugins that do not run."""
        with self._lock:
            self.started, self.closed = True, False
        self._start_all()

    def plugin(self, name: str) -> SupervisedPlugin:
        """The plugin of that name; raises `UnknownPlugin`, which lists the known."""
        plugin = self.plugins.get(name)
        if plugin is None:
            known = ", ".join(self.plugins) or "none"
            raise UnknownPlugin(f"no plugin {name!r} is configured; known: {known}", plugin=name)
        return plugin

    def routes(self) -> Tuple[PluginRoute, ...]:
        """The routes of the ready plugins; the same tuple until something changes."""
        return self._routes.get()

    def wait_settled(self, timeout: Optional[float]) -> bool:
        """Wait until no plugin is on its way up; whether that is so."""
        deadline = Deadline(timeout if timeout is not None else self._longest_start())
        waiting = [plugin.available for plugin in self.plugins.values()]
        return all(available.wait(available.settled, deadline.left()) for available in waiting)

    def begin_stop(self, reason: str, seconds: Optional[float]) -> None:
        """Ask all plugins to end, side by side; within `seconds` where that is given."""
        with self._lock:
            self.closed = True
        for plugin in self.plugins.values():
            plugin.stop(reason, grace=_grace(plugin.config, seconds))

    def wait_stopped(self, timeout: float) -> bool:
        """Wait until all processes are gone, at most `timeout` seconds."""
        deadline = Deadline(timeout)
        return all(plugin.wait_gone(deadline.left()) for plugin in self.plugins.values())

    def stop(self, timeout: Optional[float]) -> None:
        """Stop all plugins; bounded by `timeout` seconds, by default by their own time-outs."""
        self.begin_stop("stop", timeout)
        seconds = timeout if timeout is not None else self._longest_stop()
        if not self.wait_stopped(seconds):
            _log.error("some plugins were not gone after %.1f s; killing them", seconds)
            self.kill_all()
            self.wait_stopped(_STOP_MARGIN)

    def kill_all(self) -> None:
        """The last resort: SIGKILL to every process group."""
        for plugin in self.plugins.values():
            plugin.kill()

    def abandon(self) -> None:
        """In a forked child: these plugins are the parent's. Touches no lock, signals no one."""
        for plugin in self.plugins.values():
            plugin.abandon()

    def reload(self, config: HostConfig) -> ReloadReport:
        """Go by another configuration: differences are applied plugin by plugin. Waits until that is done."""
        with self._reloading:
            return self._apply(config)

    def _apply(self, config: HostConfig) -> ReloadReport:
        old, new = dict(self.plugins), {plugin.name: plugin for plugin in config.plugins}
        self.config = config
        self._launcher = self._make_launcher(config)
        added = {name: self._new(new[name]) for name in new if name not in old}
        changed = [name for name in new if name in old and new[name] != old[name].config]
        removed = [plugin for name, plugin in old.items() if name not in new]
        self.plugins = {name: added.get(name) or old[name] for name in new}
        self._routes.changed()
        running = self.started and not self.closed
        retried = [name for name in new if name in old and old[name].available.view.state is PluginState.FAILED]
        todo = [name for name in new if name in changed or name in retried]
        outcomes = self._replace_all([(old[name], new[name]) for name in todo], running)
        if running:
            self._start(added.values())
        for plugin in removed:
            plugin.stop("removed from the configuration")
        self._wait_reload(outcomes, removed, added.values())
        failed = {name: error for name, error in outcomes.items() if isinstance(error, PluginError)}
        done = tuple(name for name in changed if name not in failed)
        same = tuple(name for name in new if name in old and name not in changed)
        return ReloadReport(tuple(added), tuple(plugin.name for plugin in removed), done, same, failed)

    def _replace_all(self, changes: List[Tuple[SupervisedPlugin, PluginConfig]], running: bool) -> Dict[str, Any]:
        """Begin all replacements side by side; by name a pending event, then None or the error."""
        outcomes: Dict[str, Any] = {}
        for plugin, config in changes:
            outcomes[plugin.name] = ready = threading.Event()
            plugin.replace(config, self._outcome_setter(outcomes, plugin.name, ready), start=running)
        return outcomes

    @staticmethod
    def _outcome_setter(outcomes: Dict[str, Any], name: str, ready: threading.Event) -> Any:
        def done(error: Optional[PluginError]) -> None:
            outcomes[name] = error
            ready.set()
        return done

    def _wait_reload(self, outcomes: Dict[str, Any], removed: List[SupervisedPlugin],
                     added: Iterable[SupervisedPlugin]) -> None:
        deadline = Deadline(self._longest_start())
        for pending in list(outcomes.values()):
            if isinstance(pending, threading.Event):
                pending.wait(deadline.left())
        for name, pending in list(outcomes.items()):
            if isinstance(pending, threading.Event):
                outcomes[name] = PluginNotRunning(name, message=f"the reload of plugin {name!r} took too long")
        for plugin in removed:
            plugin.wait_gone(_grace(plugin.config, None) * 1.5 + _STOP_MARGIN)
        for plugin in added:
            plugin.available.wait(plugin.available.settled, deadline.left())

    def _prepare(self) -> None:
        self._dispatcher.post(_nothing)  # its thread must exist before the interpreter exits, when none can be started
        stop_at_exit(self)

    def _start_all(self) -> None:
        self._prepare()
        self._start(self.plugins.values())

    def _start(self, plugins: Iterable[SupervisedPlugin]) -> None:
        for plugin in plugins:
            if plugin.available.view.state is not PluginState.DISABLED:
                plugin.start()

    def _new(self, config: PluginConfig) -> SupervisedPlugin:
        return SupervisedPlugin(config, self._around)

    def _make_launcher(self, config: HostConfig) -> Launcher:
        if config.trust.permissions == "off":
            _log.warning("trust.permissions is off: whoever may write a plugin's file can run code as this user")
        return ProgramLauncher(config.trust, shared_guard().token)

    def _launcher_of(self, name: str) -> Launcher:
        return self._doubles.get(name) or self._launcher

    def _collect_routes(self) -> Tuple[PluginRoute, ...]:
        found: List[PluginRoute] = []
        for plugin in self.plugins.values():
            view = plugin.available.view
            if view.state is PluginState.READY and view.metadata is not None:
                prefix = plugin.config.route_prefix or f"{DEFAULT_MOUNT}/{plugin.name}"
                found.extend(PluginRoute(plugin.name, prefix, route) for route in view.metadata.routes)
        return tuple(found)

    def _longest_start(self) -> float:
        longest = [plugin.handshake_timeout_ms + plugin.ready_timeout_ms for plugin in self.config.plugins]
        return max(longest, default=0) / 1000 + _STOP_MARGIN

    def _longest_stop(self) -> float:
        return max((_grace(plugin, None) * 1.5 for plugin in self.config.plugins), default=0.0) + _STOP_MARGIN


def _grace(config: PluginConfig, seconds: Optional[float]) -> float:
    """Seconds until SIGTERM: the plugin's own, or what fits into `seconds` together with the rest of the ladder."""
    own = config.shutdown_timeout_ms / 1000
    return own if seconds is None else max(0.05, min(own, seconds * 0.6))


def _nothing() -> None:
    """A job that starts the thread it runs on."""
