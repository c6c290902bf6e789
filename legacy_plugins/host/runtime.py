"""A host's life in one process: its supervised plugins, started at first use, gone with the process.

A forked child never inherits one: `PluginHost` keeps a runtime per process and makes a new one in the child. Nothing
here is made before a process needs it, so that no lock or thread is older than a fork.
"""
from __future__ import annotations

import logging
import threading
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from legacy_plugins.config.doubts import doubts
from legacy_plugins.config.model import HostConfig, PluginConfig
from legacy_plugins.config.rules import DEFAULT_MOUNT
from legacy_plugins.errors import UnknownPlugin
from legacy_plugins.host.departures import CommonStop
from legacy_plugins.host.exit import stop_at_exit
from legacy_plugins.host.launch import Launcher, ProgramLauncher
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.host.notices import Notices
from legacy_plugins.host.orphans import shared_guard
from legacy_plugins.host.plugin import SupervisedPlugin
from legacy_plugins.host.reload import Reload, ReloadReport
from legacy_plugins.host.routes import PluginRoute, RouteSnapshot
from legacy_plugins.host.services import Service
from legacy_plugins.host.surroundings import Surroundings
from legacy_plugins.host.thread_support import start_supervision, warn_without_threads
from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.rpc.dispatcher import shared_dispatcher
from legacy_plugins.rpc.reactor import shared_reactor


class HostRuntime:
    """See the file's first paragraph. All methods: any thread."""

    def __init__(self, host: Any, config: HostConfig, *, version: str, services: Dict[str, Service],
                 doubles: Dict[str, Launcher]) -> None:
        self.config = config
        self._doubles = doubles
        # Guards started, closed, plugins, and that these are started and stopped in one go: what two threads want does
        # not mix. Re-entrant: a signal handler may stop a host in the thread that just starts it.
        self._lock = threading.RLock()
        self._reloading = threading.Lock()  # reloads follow one another
        self.started = False
        self.closed = False
        self._reactor = shared_reactor()
        self._dispatcher = shared_dispatcher()
        self._launcher = _launcher(config)
        self._doubted: Optional[HostConfig] = None  # its doubts were told
        self.notices = Notices(host, self._dispatcher, host.receiver_context)
        self._routes = RouteSnapshot(self._collect_routes)
        self._around = Surroundings(host.name, version, self._reactor, self._dispatcher, self.notices, services,
                                    shared_guard(), self._launcher_of, lambda: self.config.guard, self._routes.changed)
        self.plugins: Dict[str, SupervisedPlugin] = {plugin.name: self._new(plugin) for plugin in config.plugins}

    def first_use(self) -> None:
        """Start all enabled plugins, once; nothing after `stop`."""
        with self._lock:
            self._prepare()
            if not (self.started or self.closed):
                for plugin in self.plugins.values():
                    if not plugin.held:
                        plugin.start()
                self.started = True  # last: who sees it finds that every start was asked for

    def mark_used(self) -> bool:
        """Count as used without starting anything; False where it was used before."""
        with self._lock:
            self._prepare()
            used, self.started = self.started, True
            return not used

    def mark_unused(self) -> None:
        """Count as never used again: the next use starts all enabled plugins."""
        with self._lock:
            self.started = self.closed = False
            for plugin in self.plugins.values():
                plugin.held = False

    def start(self) -> None:
        """Start all enabled plugins that do not run."""
        with self._lock:
            self._prepare()
            self.closed = False
            for plugin in self.plugins.values():
                plugin.start()
            self.started = True

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

    def begin_stop(self, reason: str, seconds: Optional[float]) -> CommonStop:
        """Ask all plugins to end, side by side, in `seconds`, by default in their own times. `finish` waits."""
        with self._lock:
            self.closed = True
            touched = [plugin for plugin in self.plugins.values() if plugin.touched]
            longest = max((plugin.stop_seconds for plugin in touched), default=0.0)
            return CommonStop([(plugin, plugin.stop(reason, grace=plugin.grace(seconds))) for plugin in touched],
                              longest if seconds is None else seconds)

    def reload(self, load: Callable[[], HostConfig]) -> ReloadReport:
        """Go by another configuration: differences are applied plugin by plugin. Waits until that is done.

        `load()` gives it, in the order of reloads; what it raises, it raises with nothing changed.
        """
        with self._reloading:
            return self._apply(load())

    def _apply(self, config: HostConfig) -> ReloadReport:
        launcher = _launcher(config)
        with self._lock:
            old, new = self.plugins, {plugin.name: plugin for plugin in config.plugins}
            report = ReloadReport.between({name: plugin.config for name, plugin in old.items()}, config)
            self.config, self._launcher = config, launcher
            if any(plugin.touched for plugin in old.values()):
                self._prepare()
                self.plugins = {name: old.get(name) or self._new(new[name]) for name in new}
                reload = self._begin_reload(report, old, new)
            else:
                reload = self._begin_anew(old, new)
            self._routes.changed()
        return report.with_failures(reload.finish(self._longest_start()))

    def _begin_anew(self, old: Mapping[str, SupervisedPlugin], new: Mapping[str, PluginConfig]) -> Reload:
        """With the lock held, where nothing ever ran: other plugins altogether, started where the host is in use."""
        for plugin in old.values():  # who has one in hand must not start what nobody would stop
            plugin.removed = True
        self.plugins = {name: self._new(new[name]) for name in new}
        running = self.started and not self.closed
        reload = Reload(running)
        for plugin in self.plugins.values() if running else ():
            reload.add(plugin)
        return reload

    def _begin_reload(self, report: ReloadReport, old: Mapping[str, SupervisedPlugin],
                      new: Mapping[str, PluginConfig]) -> Reload:
        """With the lock held: give the commands."""
        running = self.started and not self.closed
        reload = Reload(running)
        for name in (*report.changed, *report.unchanged):
            if name in report.changed or old[name].available.view.state is PluginState.FAILED:
                reload.replace(old[name], new[name])
        for name in report.removed:
            reload.remove(old[name])
        for name in report.added if running else ():
            reload.add(self.plugins[name])
        return reload

    def _prepare(self) -> None:
        start_supervision(self._reactor)  # first: it refuses processes in which plugins could only hang
        warn_without_threads()
        self._dispatcher.post(_nothing)  # its thread must exist before the interpreter exits, when none can be started
        for doubt in doubts(self.config) if self._doubted is not self.config else ():
            self.notices.log(logging.WARNING, "%s", doubt)
        self._doubted = self.config
        stop_at_exit(self)

    def _new(self, config: PluginConfig) -> SupervisedPlugin:
        return SupervisedPlugin(config, self._around)

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
        return max((plugin.start_seconds for plugin in self.plugins.values()), default=0.0)


def _launcher(config: HostConfig) -> Launcher:
    return ProgramLauncher(config.trust, shared_guard().token)


def _nothing() -> None:
    """A job that starts the thread it runs on."""
