"""The blueprint that serves all plugins below the URL prefix under which it is registered.

Owns one catch-all rule for each registration, and the bridge behind it. Which plugin and which route a request means is
the bridge's to say, so the rule takes any path, doubled slashes too, and werkzeug never answers with a redirect.
"""
from __future__ import annotations

from typing import Any, Callable, List, Optional

from flask import Blueprint, Response
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import BaseConverter

from legacy_plugins.host import PluginHost
from legacy_plugins.http import Authorize, HttpBridge
from legacy_plugins.integrations.flask.exchange import bridge_request, flask_response

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
_CONVERTER = "legacy_plugins_path"


class AnyPath(BaseConverter):
    """Whatever follows the prefix, unchanged; slashes at its end too, if the rule is strict about them."""

    regex = r"[\s\S]*"
    weight = 1000
    part_isolating = False


class PluginBlueprint(Blueprint):
    """A blueprint with a bridge for each place where it is registered. Keeps no application."""

    def __init__(self, host: PluginHost, authorize: Optional[Authorize], name: str) -> None:
        super().__init__(name, __name__)
        self.bridges: List[HttpBridge] = []
        self._host = host
        self._authorize = authorize
        self.record(self._serve)

    def set_authorize(self, authorize: Authorize) -> None:
        """Use another hook from the next request on."""
        self._authorize = authorize
        for bridge in self.bridges:
            bridge.authorize = authorize

    def _serve(self, state: BlueprintSetupState) -> None:
        mount = state.url_prefix or ""
        if "<" in mount:
            raise ValueError(f"plugins cannot be served below the variable prefix {mount!r}: their prefixes are fixed")
        bridge = HttpBridge(self._host, mount=mount, authorize=self._authorize)
        self.bridges.append(bridge)
        state.app.url_map.converters.setdefault(_CONVERTER, AnyPath)
        state.add_url_rule(f"/<{_CONVERTER}:path>", endpoint="request", view_func=_view(bridge), methods=_METHODS,
                           strict_slashes=True, merge_slashes=False)


def _view(bridge: HttpBridge) -> Callable[..., Response]:
    def plugin_request(**_values: Any) -> Response:
        return flask_response(bridge.handle(bridge_request()))

    return plugin_request


def create_blueprint(host: PluginHost, *, authorize: Optional[Authorize] = None, name: str = "plugins") -> Blueprint:
    """A blueprint that serves the plugins of `host`.

    `authorize(request, plugin, route)`: returns a mapping (allowed; it becomes `user`), True (allowed), None or False
    (403), or a response (an object or a tuple, as a view returns), which is sent as it is; texts, numbers and lists
    raise `TypeError`. Without it only what the operator listed in `http.publicRoutes` is open. `name`: the blueprint's,
    for `url_for`.

    Register it under any prefix, in any application, nested or not; registering raises `ConfigError` where a plugin's
    `routePrefix` does not lie below the prefix, and `ValueError` for a prefix with variables.
    """
    return PluginBlueprint(host, authorize, name)
