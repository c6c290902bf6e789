"""The routes that the ready plugins of a host declare, as one tuple that is replaced, never changed."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Tuple

from legacy_plugins.protocol.handshake import RouteDeclaration


@dataclass(frozen=True)
class PluginRoute:
    """A declared route. `prefix`: the plugin's own, as configured, or below the default mount."""

    plugin: str
    prefix: str
    route: RouteDeclaration


class RouteSnapshot:
    """The same tuple until something changed, so that readers may compare with `is`. Any thread, no lock."""

    def __init__(self, collect: Callable[[], Tuple[PluginRoute, ...]]) -> None:
        self._collect = collect
        self._version = object()
        self._cached: Optional[Tuple[object, Tuple[PluginRoute, ...]]] = None

    def changed(self) -> None:
        """The declared routes are others now."""
        self._version = object()  # not a number: two threads that count one up may lose a change

    def get(self) -> Tuple[PluginRoute, ...]:
        """All routes, in the order of the configuration."""
        cached, version = self._cached, self._version
        if cached is None or cached[0] is not version:
            cached = (version, self._collect())  # a change meanwhile makes the version differ again
            self._cached = cached
        return cached[1]
