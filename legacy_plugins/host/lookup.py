"""From what an operator or a hook names to the host that is meant.

Servers' hooks are set up in configuration files, before, beside or without the application; what they can name there is
the host itself, the application that has one, a place in a module, or a function. Runs on the thread that asks; holds
nothing, and imports a module only where a text names it.
"""
from __future__ import annotations

import importlib
import inspect
from typing import Any, Callable, Mapping, Optional, Union

from legacy_plugins.host.plugin_host import PluginHost

#: A host; "package.module:attribute"; a function of no arguments; an application that keeps its host in `extensions`
#: or `host`.
HostSource = Union[PluginHost, str, Callable[[], Any], Any]
#: The key under which applications keep it, in the manner of Flask's extensions.
_KEY = "legacy_plugins"


def find_host(source: HostSource) -> PluginHost:
    """The host that `source` means.

    Raises `LookupError` that says what was found in its place; what importing a named module raises, it raises.
    """
    found: Any = _named(source) if isinstance(source, str) else source
    host = _host_of(found)
    if host is None and _is_factory(found):
        found = found()
        host = _host_of(found)
    if host is None:
        raise LookupError(f"no plugin host: {source!r} is or gives {found!r}, which is neither a PluginHost nor an "
                          "application that has one; name it as 'package.module:attribute'")
    return host


def _host_of(found: Any) -> Optional[PluginHost]:
    """The host that an object is or has; None where it has none."""
    if isinstance(found, PluginHost):
        return found
    extensions = getattr(found, "extensions", None)
    owner = extensions.get(_KEY) if isinstance(extensions, Mapping) else found
    host = getattr(owner, "host", None)
    return host if isinstance(host, PluginHost) else None


def _is_factory(found: Any) -> bool:
    """Whether it can be called without arguments, as no WSGI application can."""
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError):
        return False
    return True


def _named(text: str) -> Any:
    """What stands at 'package.module:attribute.of.it'."""
    module, colon, path = text.partition(":")
    if not (module and colon and path):
        raise LookupError(f"no plugin host: {text!r} is not 'package.module:attribute'")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise LookupError(f"no plugin host: {text!r} names nothing, {found!r} has no {name!r}") from None
    return found
