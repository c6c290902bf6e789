"""What one Flask application has of its own: host, blueprint, and the relays of its signals.

Owns the entry in `app.extensions`. It holds the application weakly, since the host's threads hold parts of it. The
entry is made by `init_app`; its members are used on the threads of requests and commands.
"""
from __future__ import annotations

import os
import weakref
from typing import Any, Callable, List, Optional, Sequence

from blinker import Signal
from flask import Flask, current_app, has_app_context

from legacy_plugins.host import PluginHost
from legacy_plugins.integrations.flask.blueprint import PluginBlueprint
from legacy_plugins.integrations.flask.context import context_of, in_context
from legacy_plugins.integrations.flask.relay import SignalRelay

#: The key in `app.extensions`, and the blueprint's name: an application may well have a blueprint `plugins` of its own.
KEY = "legacy_plugins"


class AppPlugins:
    """What one application has: its host, its blueprint where one is registered, and its signals' relays."""

    def __init__(self, app: Flask, host: PluginHost) -> None:
        self.host = host
        self.blueprint: Optional[PluginBlueprint] = None
        self._app = weakref.ref(app)
        self._relays: List[SignalRelay] = []
        self._started_in: Optional[int] = None
        host.receiver_context = context_of(app)

    def connect(self, signal: Signal, event_type: Optional[str], fields: Optional[Sequence[str]],
                payload: Optional[Callable[..., Any]]) -> None:
        """Broadcast this application's sends of a signal."""
        app = self._app()
        if app is not None:
            relay = SignalRelay(app, signal)
            self.host.connect(relay.target, event_type, fields=fields,
                              payload=None if payload is None else in_context(app, payload))
            self._relays.append(relay)

    def serve(self, name: str, function: Callable[..., Any]) -> None:
        """Offer a service to this application's plugins."""
        app = self._app()
        if app is not None:
            self.host.service(name)(in_context(app, function))

    def start_once(self) -> None:
        """Start the plugins of this process, at its first request. Later calls do nothing, a stopped host stays so."""
        if self._started_in != os.getpid():
            self._started_in = os.getpid()
            self.host.start(wait=False)


def current_plugins() -> AppPlugins:
    """What the current application has; raises `RuntimeError` that says what is missing."""
    if not has_app_context():
        raise RuntimeError("plugins belong to an application: use them in a view, or inside `with app.app_context():`")
    state = current_app.extensions.get(KEY)
    if not isinstance(state, AppPlugins):
        raise RuntimeError(f"{current_app.name!r} has no plugins yet: call `plugins.init_app(app)` first")
    return state
