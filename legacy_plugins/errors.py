"""The exception tree: every way in which a plugin host can say no.

This file imports nothing but the standard library, so that the plugin side (`legacy_plugins.sdk`) can use it too.
Every class survives pickling (task queues send exceptions between processes); made again from its text alone, which is
what a queue that serializes as JSON keeps, it has at least its text and status. Every class carries

* ``plugin``: the name of the plugin concerned, or None,
* ``http_status``: the status a web edge answers with when this error reaches it.

What the plugin wrote to stderr is never part of ``str(error)``; it is in ``error.crash`` where there is one.
"""
from __future__ import annotations

import concurrent.futures
import re
from typing import Any, Dict, Optional, Sequence, Tuple, Type

__all__ = [
    "ConfigError", "FrameTooLarge", "HandshakeFailed", "InternalError", "InvalidMessage", "InvalidParams",
    "InvalidRequest", "MethodNotFound", "ParseError", "PluginBusy", "PluginCrashed", "PluginError",
    "PluginNotRunning", "PluginStartFailed", "PluginTimeout", "PluginUnavailable", "ProtocolError", "RpcError",
    "UnknownPlugin", "UntrustedCommand", "rpc_error",
]


def _rebuild(cls: Type[PluginError], args: Tuple[Any, ...], state: Dict[str, Any]) -> PluginError:
    """Make an error again without calling its constructor, whose signature differs from class to class."""
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class PluginError(Exception):
    """Base of all errors of this library."""

    http_status: int = 502

    def __init__(self, message: str = "", *, plugin: Optional[str] = None) -> None:
        super().__init__(message)
        self.plugin = plugin

    def __reduce__(self) -> Tuple[Any, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))

    def __str__(self) -> str:  # KeyError, a base of UnknownPlugin, would print the repr instead
        return str(self.args[0]) if self.args else ""


class ConfigError(PluginError):
    """The configuration has faults; ``faults`` lists all of them, one text each."""

    http_status = 500

    def __init__(self, faults: Sequence[str], *, plugin: Optional[str] = None) -> None:
        self.faults: Tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults), plugin=plugin)


class UntrustedCommand(ConfigError):
    """The command is neither inside a trusted directory nor an allowed executable; it was not run."""

    http_status = 503


class UnknownPlugin(PluginError, KeyError):
    """No plugin of that name is configured."""

    http_status = 404


class ProtocolError(PluginError):
    """The other side broke the protocol: its frame, JSON or message is not what JSON-RPC 2.0 allows."""


class FrameTooLarge(ProtocolError):
    """A frame is larger than ``limits.maxFrameBytes``; an outgoing one was not sent."""

    http_status = 413


class InvalidMessage(ProtocolError):
    """A well-framed message is not a JSON-RPC 2.0 message."""


class RpcError(PluginError):
    """The other side answered with a JSON-RPC error object (JSON-RPC 2.0, section 5.1)."""

    def __init__(self, code: int, message: str = "", data: Any = None, *, plugin: Optional[str] = None) -> None:
        where = f"plugin {plugin!r} answered with " if plugin else ""
        text = f"{where}error {code}: {_one_line(str(message))}"
        if isinstance(code, str):  # its text alone
            text, (code, message) = code, _code_and_message(code)
        super().__init__(text, plugin=plugin)
        self.code = code
        self.message = message
        self.data = data

    @property
    def http_status(self) -> int:  # type: ignore[override]
        """A plugin chooses a client error of its own by a code 400-499; all else is its failure (502)."""
        return self.code if 400 <= self.code <= 499 else 502


def _one_line(text: str) -> str:
    """What the other side said, as text that is safe to log: no line end, control or invisible character in it."""
    return text if text.isprintable() else "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _code_and_message(text: str) -> Tuple[int, str]:
    """What an `RpcError` said, read from its text."""
    found = re.search(r"\berror (-?[0-9]{1,18}): (.*)", text, re.DOTALL)
    return (int(found.group(1)), found.group(2)) if found else (-32603, text)


class ParseError(RpcError):
    """-32700: the other side could not parse our message."""


class InvalidRequest(RpcError):
    """-32600: the other side does not take our message for a request."""


class MethodNotFound(RpcError):
    """-32601: the other side does not know the method, or does not grant it."""


class InvalidParams(RpcError):
    """-32602: the method's parameters are wrong."""


class InternalError(RpcError):
    """-32603: the method failed on the other side."""


_RPC_ERRORS: Dict[int, Type[RpcError]] = {
    -32700: ParseError, -32600: InvalidRequest, -32601: MethodNotFound, -32602: InvalidParams, -32603: InternalError,
}


def rpc_error(code: int, message: str, data: Any = None, *, plugin: Optional[str] = None) -> RpcError:
    """The exception for an error object: the class of its standard code, or `RpcError` itself."""
    return _RPC_ERRORS.get(code, RpcError)(code, message, data, plugin=plugin)


class PluginUnavailable(PluginError):
    """The plugin cannot take the call now. ``retry_after``: seconds until a start is due, None where none is coming."""

    http_status = 503

    def __init__(self, plugin: Optional[str] = None, state: Any = None, retry_after: Optional[float] = None, *,
                 message: Optional[str] = None) -> None:
        if message is None and plugin is not None and " " in plugin:  # no name has one: its text alone
            plugin, message = None, plugin
        if message is None:
            message = f"plugin {plugin!r} is unavailable (state: {getattr(state, 'value', state)})"
            message += "" if retry_after is None else f"; try again in {retry_after:.1f} s"
        super().__init__(message, plugin=plugin)
        self.state = state
        self.retry_after = retry_after


class PluginNotRunning(PluginUnavailable):
    """The plugin was stopped, disabled, or never started, and nothing will start it by itself."""


class PluginStartFailed(PluginUnavailable):
    """The plugin's program could not be started; the message says why. ``crash``: the report, where it ran at all."""

    def __init__(self, plugin: Optional[str] = None, state: Any = None, retry_after: Optional[float] = None, *,
                 message: Optional[str] = None, crash: Any = None) -> None:
        super().__init__(plugin, state, retry_after, message=message)
        self.crash = crash


class HandshakeFailed(PluginStartFailed):
    """The plugin runs but its handshake failed: no answer in time, a wrong answer, or one we must refuse."""


class PluginCrashed(PluginUnavailable):
    """The plugin's process ended, or was ended for a fault, while the call was in flight. ``crash``: the report."""

    http_status = 502

    def __init__(self, crash: Any = None, plugin: Optional[str] = None, state: Any = None,
                 retry_after: Optional[float] = None, *, message: Optional[str] = None) -> None:
        if isinstance(crash, str):  # its text alone
            crash, message = None, crash
        plugin = plugin if plugin is not None else getattr(crash, "plugin", None)
        if message is None:
            message = f"plugin {plugin!r} crashed: {getattr(crash, 'summary', 'its process ended')}"
        super().__init__(plugin, state, retry_after, message=message)
        self.crash = crash


class PluginBusy(PluginUnavailable):
    """The plugin's queue or its number of pending calls is full; nothing was sent."""


# concurrent.futures.TimeoutError is TimeoutError itself from Python 3.11 on, and two equal bases are an error.
_TIMEOUT_BASES: Tuple[type, ...] = tuple(dict.fromkeys((TimeoutError, concurrent.futures.TimeoutError)))


class PluginTimeout(PluginError, *_TIMEOUT_BASES):  # type: ignore[misc]
    """No answer within the time-out. The plugin was told to cancel; whether it did the work is not known."""

    http_status = 504
