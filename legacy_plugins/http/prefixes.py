"""Which plugin a path belongs to: `routePrefix`, or the mount followed by the plugin's name.

Owns the table from prefixes to plugins, one immutable value for each configuration. It knows plugins that are not
ready, so that a request for one that is starting can wait. Any thread. Must not look at routes.
"""
from __future__ import annotations

from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from legacy_plugins.config.model import HostConfig, PluginConfig
from legacy_plugins.http.paths import Segments, joined

#: The name below the mount that is no plugin's: there the document of all routes is.
DOCUMENT = "openapi.json"


class Located(NamedTuple):
    """The plugin of a path, its prefix (without the application's root), and the segments below it."""

    plugin: PluginConfig
    prefix: str
    segments: Segments


class PluginPrefixes:
    """The prefixes of one configuration below one mount.

    `faults` says what is wrong with prefixes: outside the mount, one inside another, or where the document of all
    routes is. Such a plugin is not served. `document`: the path of that document.
    """

    def __init__(self, config: HostConfig, mount: str) -> None:
        self.config = config
        self.document = (*_segments(mount), DOCUMENT)
        self.faults: Tuple[str, ...] = ()
        self._plugins: Dict[Segments, PluginConfig] = {}
        faults: List[str] = []
        for plugin in config.plugins:
            prefix = _segments(plugin.route_prefix or f"{mount}/{plugin.name}")
            fault = self._fault(plugin, prefix, mount)
            if fault is None:
                self._plugins[prefix] = plugin
            else:
                faults.append(fault)
        self.faults = tuple(faults)
        self._lengths = tuple(sorted({len(prefix) for prefix in self._plugins}))

    def find(self, segments: Segments) -> Optional[Located]:
        """The plugin below whose prefix the path lies; None where there is none."""
        for length in self._lengths:
            plugin = self._plugins.get(segments[:length])
            if plugin is not None:
                return Located(plugin, joined(segments[:length]), segments[length:])
        return None

    def __iter__(self) -> Iterator[Tuple[PluginConfig, str]]:
        """Every plugin that is served, with its prefix, in the order of the configuration."""
        return ((plugin, joined(prefix)) for prefix, plugin in self._plugins.items())

    def prefix(self, name: str) -> Optional[str]:
        """The prefix under which a plugin is served; None for one that is not."""
        return next((prefix for plugin, prefix in self if plugin.name == name), None)

    def _fault(self, plugin: PluginConfig, prefix: Segments, mount: str) -> Optional[str]:
        base = _segments(mount)
        if prefix[:len(base)] != base or len(prefix) == len(base):
            return (f"plugin {plugin.name!r}: routePrefix {joined(prefix)!r} does not lie below the mount "
                    f"{mount or '/'!r}; change it, or leave it out to have the mount followed by the name")
        if prefix[:len(self.document)] == self.document:
            return (f"plugin {plugin.name!r}: its prefix {joined(prefix)!r} is kept for the document of all routes, "
                    f"{joined(self.document)!r}; give it another `routePrefix`")
        for other, owner in self._plugins.items():
            shorter = min(len(prefix), len(other))
            if prefix[:shorter] == other[:shorter]:
                return (f"plugin {plugin.name!r}: its prefix {joined(prefix)!r} and {joined(other)!r} of plugin "
                        f"{owner.name!r} lie one inside the other; change one `routePrefix`")
        return None


def _segments(path: str) -> Segments:
    return tuple(segment for segment in path.split("/") if segment)
