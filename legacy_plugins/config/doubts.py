"""What a configuration allows and nobody can have meant: no faults, but worth a warning each.

Looks at folders, since only the machine can tell whether they are there. Any thread; starts and logs nothing.
"""
from __future__ import annotations

import os
from typing import Iterator

from legacy_plugins.config.model import HostConfig


def doubts(config: HostConfig) -> Iterator[str]:
    """One text for each: what is odd, and what follows from it or can be done about it."""
    if config.trust.permissions == "off":
        yield "trust.permissions is off: whoever may write a plugin's file can run code as this user"
    for directory in config.trust.directories:
        if not os.path.isdir(directory):
            yield f"trust.directories names {directory!r}, which is no directory: nothing in it can be started"
    for plugin in config.plugins:
        if plugin.enabled and plugin.reverse_rpc.methods and not plugin.allow_reverse_rpc:
            yield (f"plugin {plugin.name!r} has reverseRpc.methods without `allowReverseRpc: true`, and may call none "
                   "of them")
