"""The host as the plugin sees it: its services, called over the same conversation (reverse RPC).

Any thread of the plugin, also inside of a handler: that cannot dead-lock, since the reader runs no handlers.
"""
from __future__ import annotations

from typing import Any, Callable, Optional

from legacy_plugins.errors import PluginBusy, PluginError, PluginTimeout, PluginUnavailable, RpcError
from legacy_plugins.rpc import arguments
from legacy_plugins.rpc.connection import Connection

#: How long a service may take unless the caller says otherwise, in seconds.
DEFAULT_TIMEOUT = 5.0


class HostProxy:
    """`plugin.host`. `link(timeout)` gives the conversation, or raises where there is none to be had."""

    def __init__(self, link: Callable[[float], Connection]) -> None:
        self._link = link

    def request(self, method: str, params: Any = None, timeout: float = DEFAULT_TIMEOUT, *,
                on_progress: Optional[Callable[[Any], None]] = None) -> Any:
        """Call a service of the host and wait for its result, at most `timeout` seconds.

        `params`: a dict, a list or None. `on_progress(value)` runs in the calling thread. Raises `RpcError` as the host
        answered (`MethodNotFound` where the operator does not grant the service), `PluginTimeout`, `PluginUnavailable`
        where the host is gone or does not read, `TypeError` or `ValueError` for params that are not JSON.
        """
        given = arguments.call(method, timeout, on_progress)
        timeout = DEFAULT_TIMEOUT if given is None else given
        connection = self._link(timeout)
        try:
            return connection.request(method, params, timeout, on_progress)
        except PluginError as error:
            raise _seen_from_here(error, method, timeout) from None

    def notify(self, method: str, params: Any = None) -> None:
        """Tell the host something; no answer comes. Raises `PluginUnavailable`, `TypeError` or `ValueError`."""
        arguments.method_name(method)
        connection = self._link(DEFAULT_TIMEOUT)
        try:
            connection.notify(method, params)
        except PluginError as error:
            raise _seen_from_here(error, method, DEFAULT_TIMEOUT) from None


def _seen_from_here(error: PluginError, method: str, timeout: float) -> PluginError:
    """The same error in words that fit: the conversation's own take the other side for a plugin."""
    if isinstance(error, RpcError):
        text = f"the host answered {method!r} with error {error.code}: {error.message}"
    elif isinstance(error, PluginTimeout):
        text = f"the host did not answer {method!r} within {timeout:g} s"
    elif isinstance(error, PluginBusy):
        text = f"{method!r} was not sent: the host does not read, or too many calls wait for its answers"
    elif isinstance(error, PluginUnavailable):
        text = f"{method!r} got no answer: the host is gone"
    else:
        text = f"{method!r} could not be sent: {error}"
    error.plugin = None
    error.args = (text,)
    return error
