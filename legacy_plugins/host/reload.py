"""What changes when a host goes by another configuration: plugins come, go, and are replaced, side by side.

`ReloadReport` is the difference as a value; `Reload` carries it out and waits, on the thread of whoever reloads.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Optional, Tuple

from legacy_plugins.config.model import HostConfig, PluginConfig
from legacy_plugins.errors import PluginError, PluginTimeout
from legacy_plugins.host.departures import Departure
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.host.plugin import SupervisedPlugin
from legacy_plugins.rpc.deadline import Deadline
from legacy_plugins.rpc.latch import Latch


@dataclass(frozen=True)
class ReloadReport:
    """What a reload did, by plugin name.

    `failed`: why, for changed plugins whose old process goes on, and for all that were to be started and have failed.
    """

    added: Tuple[str, ...] = ()
    removed: Tuple[str, ...] = ()
    changed: Tuple[str, ...] = ()
    unchanged: Tuple[str, ...] = ()
    failed: Mapping[str, PluginError] = field(default_factory=dict)

    @classmethod
    def between(cls, old: Mapping[str, PluginConfig], new: HostConfig) -> ReloadReport:
        """The difference between the plugins' configurations so far and a new one."""
        names = [plugin.name for plugin in new.plugins]
        kept = {plugin.name: plugin == old[plugin.name] for plugin in new.plugins if plugin.name in old}
        return cls(added=tuple(name for name in names if name not in old),
                   removed=tuple(name for name in old if name not in names),
                   changed=tuple(name for name, same in kept.items() if not same),
                   unchanged=tuple(name for name, same in kept.items() if same))

    def with_failures(self, failed: Mapping[str, PluginError]) -> ReloadReport:
        """The same, where these plugins could not be changed."""
        added, changed = (tuple(name for name in names if name not in failed) for names in (self.added, self.changed))
        return dataclasses.replace(self, added=added, changed=changed, failed=dict(failed))


class _Outcome:
    """What became of one plugin's replacement."""

    def __init__(self) -> None:
        self.known = Latch()
        self.error: Optional[PluginError] = None

    def tell(self, error: Optional[PluginError]) -> None:
        """Supervising thread."""
        self.error = error
        self.known.set()


class Reload:
    """One reload's work on the plugins of a host. `running`: the host is in use."""

    def __init__(self, running: bool) -> None:
        self._running = running
        self._outcomes: Dict[str, _Outcome] = {}
        self._departures: List[Tuple[Departure, float]] = []
        self._starting: List[SupervisedPlugin] = []

    def replace(self, plugin: SupervisedPlugin, config: PluginConfig) -> None:
        """Begin to go by a new configuration of a plugin."""
        self._outcomes[plugin.name] = outcome = _Outcome()
        departure = plugin.replace(config, outcome.tell, start=self._running)
        self._departures.append((departure, plugin.stop_seconds))
        self._starting.append(plugin)

    def remove(self, plugin: SupervisedPlugin) -> None:
        """Begin to stop a plugin for good."""
        self._departures.append((plugin.remove(), plugin.stop_seconds))

    def add(self, plugin: SupervisedPlugin) -> None:
        """Begin to start a new plugin."""
        plugin.start()
        self._starting.append(plugin)

    def finish(self, seconds: float) -> Dict[str, PluginError]:
        """Wait until all is done, `seconds` for what is being started; by name what could not be changed."""
        deadline = Deadline(seconds)
        failed = {}
        for name, outcome in self._outcomes.items():
            if not outcome.known.wait(deadline.left()):
                outcome.error = PluginTimeout(f"the reload of plugin {name!r} was not done after {seconds:g} s",
                                              plugin=name)
            if outcome.error is not None:
                failed[name] = outcome.error
        for departure, patience in self._departures:
            departure.over.wait(patience)
        for plugin in self._starting:
            plugin.available.wait(plugin.available.settled, deadline.left())
            view = plugin.available.view
            if view.state is PluginState.FAILED and view.error is not None:
                failed.setdefault(plugin.name, view.error)
        return failed
