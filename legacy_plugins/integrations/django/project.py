"""What one state of the settings has of its own: a host, and a bridge for each place where its plugins are served.

Made at first use, in the process that uses it; the host in it is inert until a plugin is needed. Any thread.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from django.core.exceptions import ImproperlyConfigured

from legacy_plugins.host import PluginHost
from legacy_plugins.http import Authorize, HttpBridge
from legacy_plugins.integrations.django.connections import with_fresh_connections
from legacy_plugins.integrations.django.csrf import protected
from legacy_plugins.integrations.django.mounts import mounts
from legacy_plugins.integrations.django.settings import PluginSettings, make_host, named_hook, read_settings


class ProjectPlugins:
    """The plugins of the project's current settings. Raises `ConfigError` with all their faults."""

    def __init__(self, services: Sequence[Tuple[str, Callable[..., Any]]], authorize: Optional[Authorize]) -> None:
        self.settings: PluginSettings = read_settings()
        self.host: PluginHost = make_host(self.settings)
        self._registered = authorize
        self._bridges: Dict[str, HttpBridge] = {}
        self._protected: Optional[Callable[..., Any]] = None
        for name, function in services:
            self.serve(name, function)

    def serve(self, name: str, function: Callable[..., Any]) -> None:
        """Offer a service to the plugins."""
        self.host.service(name)(with_fresh_connections(function))

    def set_authorize(self, authorize: Authorize) -> None:
        """Another hook was registered; it counts from the next request on, unless the setting names one."""
        self._registered = authorize
        for bridge in list(self._bridges.values()):
            bridge.authorize = self.hook()

    def hook(self) -> Optional[Authorize]:
        """The hook in force: the setting's, else the registered one. Raises `ConfigError` for one that is not there."""
        return named_hook(self.settings.authorize) if self.settings.authorize is not None else self._registered

    def bridge(self, mount: str) -> HttpBridge:
        """What serves the plugins below a path; raises `ConfigError` where they cannot be served there."""
        bridge = self._bridges.get(mount)
        if bridge is None:
            if mount not in {place.path.rstrip("/") for place in mounts() if place.path is not None}:
                raise ImproperlyConfigured(f"plugins cannot be served below {mount!r}, which is a variable prefix: "
                                           "include their URLs under a fixed one; `manage.py check` says which it is")
            bridge = self._bridges.setdefault(mount, HttpBridge(self.host, mount=mount))
            bridge.authorize = self.hook()  # now: one that is registered meanwhile finds the bridge
        return bridge

    def behind_csrf(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """The plugins' view behind the project's check for forged requests, which is made once."""
        if self._protected is None:
            self._protected = protected(view)
        return self._protected

    def forget_check(self) -> None:
        """It keeps some of the settings it was made under."""
        self._protected = None

    @property
    def largest_body(self) -> int:
        """No plugin takes a request body with more bytes."""
        return max((plugin.http.max_body_bytes for plugin in self.host.config.plugins), default=0)
