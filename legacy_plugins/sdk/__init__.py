"""The plugin's side, for plugins in Python: `Plugin`, and what its handlers get and return.

Standard library alone; it meets the host on the wire and nowhere else.
"""
from legacy_plugins.sdk.error import Error
from legacy_plugins.sdk.events import Event
from legacy_plugins.sdk.http import Request, Response
from legacy_plugins.sdk.plugin import Plugin

__all__ = ["Error", "Event", "Plugin", "Request", "Response"]
