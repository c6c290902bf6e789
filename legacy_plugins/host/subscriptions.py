"""The application's blinker signals as events for plugins.

A connected signal broadcasts each `send`, in the sender's thread, and never raises into it: the application does not
know of plugins. Registrations are kept by the host and survive forks; they hold no lock and start nothing.
"""
from __future__ import annotations

import logging
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol, Sequence, Tuple

from blinker import Signal

from legacy_plugins import signals
from legacy_plugins.rpc import arguments

_log = logging.getLogger("legacy_plugins.host")

#: `payload(sender, **kw)` makes an event's payload from what a signal was sent with.
PayloadFunction = Callable[..., Any]


class _Host(Protocol):
    """What broadcasts; see `PluginHost`."""

    def broadcast(self, event_type: str, payload: Any = None) -> Any: ...
    def announce(self, signal: Signal, plugin: Optional[str], **facts: Any) -> None: ...


class Subscriptions:
    """The signals that one host broadcasts."""

    def __init__(self, host: _Host) -> None:
        self._host = host
        self._receivers: Dict[int, Tuple[Signal, List[Callable[..., None]]]] = {}

    def connect(self, signal: Signal, event_type: Optional[str], fields: Optional[Sequence[str]],
                payload: Optional[PayloadFunction]) -> None:
        """Broadcast each send of `signal`; see `PluginHost.connect`."""
        name = _event_type(signal, event_type)
        if fields is not None and payload is not None:
            raise ValueError("give `fields` or `payload`, not both")
        if payload is not None:
            arguments.function(payload, "`payload`")
        receiver = self._receiver(name, None if fields is None else _names(fields), payload)
        self._receivers.setdefault(id(signal), (signal, []))[1].append(receiver)
        signal.connect(receiver, weak=False)

    def disconnect(self, signal: Signal) -> None:
        """Broadcast it no more; does nothing for one that is not connected."""
        for receiver in self._receivers.pop(id(signal), (signal, []))[1]:
            signal.disconnect(receiver)

    def _receiver(self, event_type: str, fields: Optional[Tuple[str, ...]],
                  payload: Optional[PayloadFunction]) -> Callable[..., None]:
        def receive(sender: Any, **facts: Any) -> None:
            broadcast(self._host, event_type, lambda: chosen(sender, facts, fields, payload))
        return receive


def _event_type(signal: Any, event_type: Any) -> str:
    if not callable(getattr(signal, "connect", None)):
        raise TypeError(f"what is connected is a blinker signal, not {signal!r}")
    if event_type is not None and not isinstance(event_type, str):
        raise TypeError(f"`event_type` is a text, not {event_type!r}")
    name = event_type or getattr(signal, "name", None)
    if not name:
        raise ValueError("the signal has no name; give `event_type`")
    return str(name)


def _names(fields: Any) -> Tuple[str, ...]:
    """A text is a sequence of texts, too: its letters."""
    names = () if isinstance(fields, (str, bytes)) else tuple(fields)
    if isinstance(fields, (str, bytes)) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"`fields` are the names of keyword arguments, as in fields=['folder'], not {fields!r}")
    return names


def chosen(sender: Any, facts: Mapping[str, Any], fields: Optional[Sequence[str]],
           payload: Optional[PayloadFunction]) -> Any:
    """An event's payload from what a signal was sent with; see `PluginHost.connect`."""
    if payload is not None:
        return payload(sender, **facts)
    return dict(facts) if fields is None else {name: facts[name] for name in fields if name in facts}


def broadcast(host: _Host, event_type: str, payload: Callable[[], Any]) -> None:
    """Broadcast what `payload()` returns; what goes wrong is logged and announced as `event_dropped`, never raised."""
    try:
        host.broadcast(event_type, payload())
    except Exception as error:  # noqa: BLE001 - the application's send must not fail for a plugin's sake
        _log.exception("the event %r could not be sent to plugins", event_type)
        host.announce(signals.event_dropped, None, event_type=event_type, reason=str(error))
