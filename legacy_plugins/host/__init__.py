"""Floor 3: many supervised plugins. Life cycle, events, services, logs; `PluginHost` and `PluginClient`."""
from legacy_plugins.host.client import PluginClient
from legacy_plugins.host.lifecycle import PluginState
from legacy_plugins.host.plugin_host import PluginHost
from legacy_plugins.host.routes import PluginRoute
from legacy_plugins.host.status import PluginStatus

__all__ = ["PluginClient", "PluginHost", "PluginRoute", "PluginState", "PluginStatus"]
