"""The commands `list`, `check` and `routes`: what there is, and how it is. Runs on the thread of the command."""
from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Optional

from legacy_plugins.commands.answers import Answer, Row, listing
from legacy_plugins.commands.session import started
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.host.status import PluginStatus

if TYPE_CHECKING:
    from legacy_plugins.host import PluginHost
    from legacy_plugins.host.routes import PluginRoute


def list_plugins(host: PluginHost, as_json: bool) -> Answer:
    """Each plugin with its state and version."""
    with started(host):
        return Answer(listing([_status_row(status) for status in host.status()], as_json))


def check(host: PluginHost, as_json: bool) -> Answer:
    """The same; exit code 1 where a plugin that is enabled did not become ready."""
    with started(host):
        statuses = host.status()
    good = all(status.state in (PluginState.READY, PluginState.DISABLED) for status in statuses)
    return Answer(listing([_status_row(status) for status in statuses], as_json), 0 if good else 1)


def list_routes(host: PluginHost, as_json: bool, prefix: Callable[[str], Optional[str]]) -> Answer:
    """The declared routes of all plugins that are ready, as they are served.

    `prefix(plugin)`: the path under which a plugin is served; None for one that is not.
    """
    with started(host):
        return Answer(listing([_route_row(host, entry, prefix(entry.plugin)) for entry in host.routes()], as_json))


def _status_row(status: PluginStatus) -> Row:
    return {"name": status.name, "state": status.state.value, "version": status.version or "",
            "required": status.required, "restarts": status.restarts, "reason": status.reason}


def _route_row(host: PluginHost, entry: PluginRoute, prefix: Optional[str]) -> Row:
    policy = host.config.plugin(entry.plugin).http
    route = entry.route
    return {"methods": ",".join(route.methods), "path": (prefix or "(not served) ") + route.path,
            "plugin": entry.plugin, "auth": route.auth,
            "public": any(policy.is_public(method, route.path) for method in route.methods),
            "description": route.description}
