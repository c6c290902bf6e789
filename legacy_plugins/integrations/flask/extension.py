"""`LegacyPlugins`, the extension: one object at import time, one host for each application.

Owns what is registered before there is an application (signals, services, the `authorize` hook), and the settings. The
host it makes in `init_app` is inert; plugins start in the process, and at the moment, of their first use. The extension
keeps no application: an application's host lives in its `app.extensions`.
"""
from __future__ import annotations

import os
import weakref
from typing import Any, Callable, Iterator, List, Mapping, Optional, Sequence, TypeVar, Union

from blinker import Signal
from flask import Flask

from legacy_plugins.config.model import HostConfig
from legacy_plugins.config.rules import DEFAULT_MOUNT
from legacy_plugins.errors import ConfigError
from legacy_plugins.host import PluginClient, PluginHost
from legacy_plugins.http import Authorize
from legacy_plugins.integrations.flask.application import KEY, AppPlugins, current_plugins
from legacy_plugins.integrations.flask.blueprint import PluginBlueprint
from legacy_plugins.integrations.flask.commands import faults_as_text, plugins_group

_Config = Union[str, "os.PathLike[str]", Mapping[str, Any], HostConfig]
_Function = TypeVar("_Function", bound=Callable[..., Any])


class LegacyPlugins:
    """The Flask extension.

    `app`, `config`: as for `init_app`, which is called where `app` is given. All other members may be used before.
    Access to plugins (`plugins["name"]`, `client`, `host`) needs an application context.
    """

    def __init__(self, app: Optional[Flask] = None, *, config: Optional[_Config] = None) -> None:
        self._config = config
        self._authorize: Optional[Authorize] = None
        self._registrations: List[Callable[[AppPlugins], None]] = []
        self._known: weakref.WeakSet[AppPlugins] = weakref.WeakSet()
        if app is not None:
            self.init_app(app)

    @faults_as_text()
    def init_app(self, app: Flask, config: Optional[_Config] = None) -> None:
        """Give `app` its host, the blueprint and the commands. Starts nothing.

        `config`: a path, a mapping or a `HostConfig`; without it the constructor's, else the setting
        LEGACY_PLUGINS_CONFIG. Relative paths in settings are relative to `app.root_path`. Raises `ConfigError` for a
        configuration with faults, and `RuntimeError` where `app` has its plugins already.
        """
        if KEY in app.extensions:
            raise RuntimeError(f"{app!r} has its plugins already: init_app is called once for each application")
        start = app.config.get("LEGACY_PLUGINS_START", "lazy")
        if start not in ("lazy", "eager"):
            raise ConfigError([f"LEGACY_PLUGINS_START is {start!r}; it is 'lazy' or 'eager'"])
        state = AppPlugins(app, _make_host(app, config if config is not None else self._config))
        for register in self._registrations:
            register(state)
        prefix = app.config.get("LEGACY_PLUGINS_URL_PREFIX", DEFAULT_MOUNT)
        if prefix is not None:
            state.blueprint = PluginBlueprint(state.host, self._authorize, KEY)
            app.register_blueprint(state.blueprint, url_prefix=prefix)
        if start == "eager":
            app.before_request(state.start_once)
        app.cli.add_command(plugins_group)
        app.extensions[KEY] = state
        self._known.add(state)

    def connect(self, signal: Signal, event_type: Optional[str] = None, *, fields: Optional[Sequence[str]] = None,
                payload: Optional[Callable[..., Any]] = None) -> None:
        """Broadcast each send of a blinker signal to the plugins of the application that sends it.

        `event_type`: the signal's name by default. The payload is the keyword arguments named in `fields`, or what
        `payload(sender, **values)` returns (in the application's context), or all keyword arguments.
        """
        self._register(lambda state: state.connect(signal, event_type, fields, payload))

    def service(self, name: str) -> Callable[[_Function], _Function]:
        """Decorator: `function(params, caller)` is a service that plugins may call; it runs in the app's context."""
        def register(function: _Function) -> _Function:
            self._register(lambda state: state.serve(name, function))
            return function

        return register

    def authorize(self, function: Authorize) -> Authorize:
        """Decorator: the hook that every request for a plugin's route passes; see `create_blueprint`."""
        self._authorize = function
        for state in self._known:
            if state.blueprint is not None:
                state.blueprint.set_authorize(function)
        return function

    @property
    def host(self) -> PluginHost:
        """The current application's host."""
        return current_plugins().host

    def client(self, name: str) -> PluginClient:
        """The handle of one plugin of the current application; raises `UnknownPlugin`."""
        return self.host.client(name)

    def __getitem__(self, name: str) -> PluginClient:
        return self.host[name]

    def __contains__(self, name: object) -> bool:
        return name in self.host

    def __iter__(self) -> Iterator[str]:
        return iter(self.host)

    def _register(self, registration: Callable[[AppPlugins], None]) -> None:
        self._registrations.append(registration)
        for state in self._known:
            registration(state)


def _make_host(app: Flask, config: Optional[_Config]) -> PluginHost:
    config = config if config is not None else app.config.get("LEGACY_PLUGINS_CONFIG")
    if config is None:
        raise ConfigError(["no configuration: set LEGACY_PLUGINS_CONFIG, or pass `config=` to init_app"])
    base_dir = app.root_path if isinstance(config, Mapping) else None
    if isinstance(config, (str, os.PathLike)):
        config = os.path.join(app.root_path, config)
    trust = app.config.get("LEGACY_PLUGINS_TRUST") or ()
    if isinstance(trust, (str, os.PathLike)):
        trust = (trust,)
    return PluginHost(config, base_dir=base_dir, trust=[os.path.join(app.root_path, folder) for folder in trust])
