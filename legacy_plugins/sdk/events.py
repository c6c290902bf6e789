"""Events as handlers see them, and which handlers get which.

Owns the meaning of `plugin/onEvent` params. `Subscriptions` is filled while the plugin's module is loaded; afterwards
any thread reads it.
"""
from __future__ import annotations

from typing import Any, Callable, List, Mapping, Optional, Tuple

from legacy_plugins.protocol.patterns import globs

#: `fn(event)`; its return value is not used.
EventHandler = Callable[["Event"], Any]


class Event:
    """Something that happened in the application.

    `type`: its name. `payload`: JSON. `metadata`: the application's, with `eventId` and `sequence`: a gap in the
    sequence tells of events that were dropped because this plugin was too slow, a redelivered event keeps its number.
    `timestamp`: RFC 3339 in UTC with milliseconds.
    """

    def __init__(self, type: str, payload: Any = None, metadata: Optional[Mapping[str, Any]] = None,  # noqa: A002
                 timestamp: str = "", *, acknowledge: Optional[Callable[[str], None]] = None) -> None:
        self.type = type
        self.payload = payload
        self.metadata: Mapping[str, Any] = {} if metadata is None else metadata
        self.timestamp = timestamp
        self.acknowledged = False
        self._acknowledge = acknowledge

    @classmethod
    def parse(cls, params: Any, acknowledge: Callable[[str], None]) -> Event:
        """The event that `plugin/onEvent` params are; raises `ValueError` for what is none."""
        if not isinstance(params, dict) or not isinstance(params.get("eventType"), str):
            raise ValueError("the params of plugin/onEvent are not an object with an `eventType`")
        metadata = params.get("metadata")
        return cls(params["eventType"], params.get("payload"), metadata if isinstance(metadata, dict) else {},
                   str(params.get("timestamp", "")), acknowledge=acknowledge)

    @property
    def id(self) -> Optional[str]:
        """The event's own id, the same at each delivery; None where the host gave none."""
        event_id = self.metadata.get("eventId")
        return event_id if isinstance(event_id, str) else None

    @property
    def sequence(self) -> Optional[int]:
        """The event's number in the line of this plugin's events; None where the host gave none."""
        sequence = self.metadata.get("sequence")
        return sequence if isinstance(sequence, int) else None

    def ack(self) -> None:
        """Tell the host that this event needs no redelivery (`plugin/ackEvent`). Any thread; idempotent.

        Matters where the operator set `events.ack`. A plugin made with `ack_events=True` does it by itself after the
        handlers returned.
        """
        if not self.acknowledged and self.id is not None and self._acknowledge is not None:
            self.acknowledged = True
            self._acknowledge(self.id)

    def __repr__(self) -> str:
        return f"<Event {self.type} {self.id}>"


class Subscriptions:
    """Handlers by pattern, in the order of registration. Patterns are globs, matched with regard to case."""

    def __init__(self) -> None:
        self._entries: List[Tuple[str, EventHandler]] = []

    def add(self, pattern: str, handler: EventHandler) -> None:
        """`handler(event)` gets the events whose type `pattern` matches."""
        if not isinstance(pattern, str) or not pattern:
            raise TypeError(f'@plugin.on takes a pattern of event types, such as "Sync*", not {pattern!r}')
        self._entries.append((pattern, handler))

    @property
    def patterns(self) -> List[str]:
        """What is declared to the host; empty means all."""
        return list(dict.fromkeys(pattern for pattern, _ in self._entries))

    def handlers(self, event_type: str) -> List[EventHandler]:
        """Who gets an event of this type."""
        return [handler for pattern, handler in self._entries if globs((pattern,)).match(event_type)]
