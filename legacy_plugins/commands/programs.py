"""What can be told of plugins' programs without starting one: trust, existence, rights, checksums.

Owns nothing but the question; the answer is that of the launcher, which asks it anew before each start. Any thread.
"""
from __future__ import annotations

from typing import List

from legacy_plugins.config.model import HostConfig
from legacy_plugins.errors import PluginError, PluginStartFailed
from legacy_plugins.host.launch import ProgramLauncher


def program_faults(config: HostConfig) -> List[PluginError]:
    """Why plugins that are enabled would not start, one error a plugin: `UntrustedCommand` or `PluginStartFailed`."""
    launcher = ProgramLauncher(config.trust, token="")
    faults: List[PluginError] = []
    for plugin in config.plugins:
        if not plugin.enabled:
            continue
        if plugin.executable is None:  # the launcher does not know what was looked for
            faults.append(PluginStartFailed(
                plugin.name, message=f"plugin {plugin.name!r}: its `command` {plugin.command!r} was not found on PATH; "
                                     "correct it, or give an absolute path"))
        else:
            try:
                launcher.check(plugin)
            except PluginError as error:
                faults.append(error)
    return faults
