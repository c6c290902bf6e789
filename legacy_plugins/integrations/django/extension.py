"""`plugins`: what a Django project's code has in hand.

Owns what is registered, at any time, before there are settings too, and the project's plugins, which are made when they
are first asked for and made anew when the settings change. It takes no lock, since servers fork at any moment: where
two threads make them at once, one wins, and nobody has seen the other's. Any thread.
"""
from __future__ import annotations

import logging
import os
from typing import Any, Callable, Iterator, List, Optional, Sequence, Tuple, TypeVar

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured

from legacy_plugins.host import PluginClient, PluginHost
from legacy_plugins.http import Authorize
from legacy_plugins.integrations.django.project import ProjectPlugins
from legacy_plugins.integrations.django.relay import SignalRelay

_log = logging.getLogger("legacy_plugins.host")
_APP = "legacy_plugins.integrations.django"
_Function = TypeVar("_Function", bound=Callable[..., Any])


class LegacyPlugins:
    """The one object `plugins`.

    Access to plugins (`plugins["name"]`, `client`, `host`) needs a project that is set up; it raises `ConfigError` with
    all faults of the setting LEGACY_PLUGINS and of the configuration it names.
    """

    def __init__(self) -> None:
        self._authorize: Optional[Authorize] = None
        self._services: List[Tuple[str, Callable[..., Any]]] = []
        self._relays: List[SignalRelay] = []
        self._made: List[ProjectPlugins] = []  # the first one counts
        self._served_in: Optional[int] = None

    def connect(self, signal: Any, event_type: Optional[str] = None, *, fields: Optional[Sequence[str]] = None,
                payload: Optional[Callable[..., Any]] = None, sender: Any = None, on_commit: bool = False) -> None:
        """Broadcast each send of a blinker or a Django signal to the plugins.

        `event_type`: by default a blinker signal's name; Django's signals have none, so it must be given for them. The
        payload is the keyword arguments named in `fields`, or what `payload(sender, **values)` returns, or all keyword
        arguments; it is taken when the signal is sent. `sender`: only what this one sends, for model signals a model or
        its name ("auth.User"); without it each save of anything is an event, a migration's too. `on_commit`: the event
        leaves when the transaction around the send commits, and never where it is rolled back; without a transaction at
        once. Raises `ValueError`, and `TypeError` for what is no signal. Nothing is ever raised into a send.
        """
        self._relays.append(SignalRelay(signal, event_type, fields, payload, sender, on_commit, lambda: self.host))

    def service(self, name: str) -> Callable[[_Function], _Function]:
        """Decorator: `function(params, caller)` is a service that plugins may call.

        It runs on a thread of the library, with database connections of its own that are closed when it ends, by the
        rules of CONN_MAX_AGE.
        """
        def register(function: _Function) -> _Function:
            self._services.append((name, function))
            for project in self._made:
                project.serve(name, function)
            return function

        return register

    def authorize(self, function: Authorize) -> Authorize:
        """Decorator: the hook that every request for a plugin's route passes, unless the setting AUTHORIZE names one.

        `function(request, plugin, route)` returns a mapping (allowed; it becomes `user`), True (allowed), None or False
        (403), or an `HttpResponse`, which is sent as it is.
        """
        self._authorize = function
        for project in self._made:
            project.set_authorize(function)
        return function

    @property
    def project(self) -> ProjectPlugins:
        """The plugins that the current settings describe; for the integration's own parts."""
        while True:
            try:
                return self._made[0]
            except IndexError:
                made = self._new()
                self._made.append(made)
                self._tell(made)

    @property
    def host(self) -> PluginHost:
        """The project's host."""
        return self.project.host

    def client(self, name: str) -> PluginClient:
        """The handle of one plugin; raises `UnknownPlugin`."""
        return self.host.client(name)

    def __getitem__(self, name: str) -> PluginClient:
        return self.host[name]

    def __contains__(self, name: object) -> bool:
        return name in self.host

    def __iter__(self) -> Iterator[str]:
        return iter(self.host)

    def start_eagerly(self) -> None:
        """A request has come: start the plugins at the first one of this process, where the settings say so."""
        if self._served_in == os.getpid():
            return
        self._served_in = os.getpid()
        try:
            if self.project.settings.start == "eager":
                self.host.start(wait=False)
        except Exception:  # noqa: BLE001 - the request may have nothing to do with plugins
            _log.exception("the plugins could not be started at this process's first request")

    def forget_checks(self) -> None:
        """A setting of Django's check for forged requests has changed: make it anew."""
        for project in self._made:
            project.forget_check()

    def forget(self) -> None:
        """The settings have changed: stop the plugins of the old ones. New ones are made when they are asked for."""
        made, self._made, self._served_in = self._made, [], None
        for project in made:
            project.host.stop()

    def _tell(self, made: ProjectPlugins) -> None:
        """Register with new plugins what another thread registered while they were made."""
        for name, function in list(self._services):
            made.serve(name, function)
        if self._authorize is not None:
            made.set_authorize(self._authorize)

    def _new(self) -> ProjectPlugins:
        if not apps.is_installed(_APP):
            raise ImproperlyConfigured(f"plugins need {_APP!r} in INSTALLED_APPS")
        return ProjectPlugins(self._services, self._authorize)
