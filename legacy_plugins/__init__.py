"""The front door: the names that applications use, each loaded when it is first asked for (PEP 562).

Importing the package loads nothing else, so that the plugin side (`legacy_plugins.sdk`) runs where the host's
dependencies are not installed. Any thread.
"""
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Dict, List

if TYPE_CHECKING:
    from legacy_plugins import errors as errors
    from legacy_plugins import signals as signals
    from legacy_plugins.config import HostConfig as HostConfig
    from legacy_plugins.config import PluginConfig as PluginConfig
    from legacy_plugins.config import RestartPolicy as RestartPolicy
    from legacy_plugins.config import load_config as load_config
    from legacy_plugins.host.client import PluginClient as PluginClient
    from legacy_plugins.host.lifecycle import PluginState as PluginState
    from legacy_plugins.host.plugin_host import PluginHost as PluginHost
    from legacy_plugins.host.status import PluginStatus as PluginStatus

__version__ = "0.1.0"

__all__ = [
    "HostConfig", "PluginClient", "PluginConfig", "PluginHost", "PluginState", "PluginStatus", "RestartPolicy",
    "errors", "load_config", "signals",
]

_MODULES: Dict[str, str] = {
    "HostConfig": "legacy_plugins.config",
    "PluginClient": "legacy_plugins.host.client",
    "PluginConfig": "legacy_plugins.config",
    "PluginHost": "legacy_plugins.host.plugin_host",
    "PluginState": "legacy_plugins.host.lifecycle",
    "PluginStatus": "legacy_plugins.host.status",
    "RestartPolicy": "legacy_plugins.config",
    "load_config": "legacy_plugins.config",
}
_SUBMODULES = ("errors", "signals")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"legacy_plugins.{name}")
    else:
        raise AttributeError(f"module 'legacy_plugins' has no attribute {name!r}")
    globals()[name] = value  # the next access finds it without coming here
    return value


def __dir__() -> List[str]:
    return sorted({*globals(), *__all__})
