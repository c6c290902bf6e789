"""Events on their way to plugins: one encoding for all, one bounded queue for each.

An event is encoded once; what differs per plugin is its sequence number. Each plugin has an `EventQueue`: it filters,
numbers, holds events while the plugin is starting or restarting, and hands frames to the conversation's outbox, which
never blocks. What the outbox has not written when a process dies goes to the next process. A full queue drops by the
configured policy, counted and announced.

The queue's lock guards its items, numbers and the conversation they go to; it is taken before the outbox's lock, never
after, and nothing is announced while it is held.
"""
from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import Any, Callable, Deque, List, Mapping, NamedTuple, Optional, Tuple

from legacy_plugins.config.policies import EventPolicy
from legacy_plugins.errors import FrameTooLarge, PluginError
from legacy_plugins.protocol.codec import JsonCodec, quoted
from legacy_plugins.protocol.handshake import ON_EVENT
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.outbox import Entry

_codec = JsonCodec()


@dataclass(frozen=True)
class BroadcastReport:
    """What became of an event: names of the plugins for which it was queued, dropped, or filtered out."""

    event_id: str
    queued: Tuple[str, ...] = ()
    dropped: Tuple[str, ...] = ()
    filtered: Tuple[str, ...] = ()


class EncodedEvent(NamedTuple):
    """An event as JSON text up to its sequence number, which each plugin's queue adds."""

    event_type: str
    event_id: str
    head: str

    def params(self, sequence: int) -> str:
        """The params of `plugin/onEvent` for one plugin."""
        return f'{self.head}{sequence}}}}}'


def encode_event(event_type: str, payload: Any, metadata: Optional[Mapping[str, Any]]) -> EncodedEvent:
    """Encode an event. Raises `TypeError` for what is not JSON, whatever the exact reason."""
    if not isinstance(event_type, str) or not event_type:
        raise TypeError(f"the event type must be a non-empty string, not {event_type!r}")
    event_id = uuid.uuid4().hex
    now = datetime.now(timezone.utc)
    timestamp = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"
    try:
        extra = {key: value for key, value in dict(metadata or {}).items() if key not in ("eventId", "sequence")}
        inner = _codec.encode(extra)[1:-1]
        head = (f'{{"eventType":{quoted(event_type)},"payload":{_codec.encode(payload)},"timestamp":"{timestamp}",'
                f'"metadata":{{{inner}{"," if inner else ""}"eventId":"{event_id}","sequence":')
        head.encode()
    except (TypeError, ValueError) as error:
        raise TypeError(f"the payload or metadata of event {event_type!r} is not JSON: {error}") from error
    return EncodedEvent(event_type, event_id, head)


class _Item:
    """An event in a plugin's queue. `entry`: its frame in the outbox, None while it is held."""

    __slots__ = ("event", "sequence", "entry", "deliveries", "sent_at")

    def __init__(self, event: EncodedEvent, sequence: int) -> None:
        self.event = event
        self.sequence = sequence
        self.entry: Optional[Entry] = None
        self.deliveries = 0
        self.sent_at = 0.0


#: `report(outcome, event, reason)`: something became of an event; never called with a lock held.
EventReport = Callable[[str, EncodedEvent, str], None]


class EventQueue:
    """The events of one plugin: at most `policy.queue_size` of them and `max_bytes` bytes. All methods: any thread.

    `arm()` is called when acknowledgements begin to be waited for: somebody must call `redeliver` a while later.
    """

    def __init__(self, policy: EventPolicy, max_bytes: int, report: EventReport, arm: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._report = report
        self._arm = arm
        self._policy = policy
        self._max_bytes = max_bytes
        self._declared: Tuple[str, ...] = ()  # what the plugin's handshake asks for
        self._items: Deque[_Item] = deque()  # held, or not written yet; oldest first
        self._unconfirmed: OrderedDict[str, _Item] = OrderedDict()  # written, waiting for plugin/ackEvent
        self._bytes = 0
        self._sequence = 0
        self._armed = False
        self._connection: Optional[Connection] = None

    def __len__(self) -> int:
        """Events that are not written yet."""
        with self._lock:
            self._prune()
            return len(self._items)

    def wants(self, event_type: str) -> bool:
        """Whether the plugin gets events of this type: the configuration's filter, narrowed by its handshake."""
        declared = self._declared
        if declared and not any(fnmatchcase(event_type, pattern) for pattern in declared):
            return False
        return self._policy.wants(event_type)

    def put(self, event: EncodedEvent) -> bool:
        """Queue an event; False when it was dropped. Older ones may be dropped in its stead (`events.overflow`)."""
        dropped: List[EncodedEvent] = []
        with self._lock:
            self._sequence += 1
            accepted = self._accept(_Item(event, self._sequence), dropped)
            arm = accepted and self._policy.ack and not self._armed
            self._armed = self._armed or arm
        if arm:
            self._arm()
        self._report("queued" if accepted else "dropped", event, self._full())
        for victim in dropped:
            self._report("dropped", victim, self._full())
        return accepted

    def attach(self, connection: Connection, policy: EventPolicy, declared: Tuple[str, ...]) -> None:
        """The plugin is ready: send what was held, first what an earlier process did not confirm."""
        dropped: List[EncodedEvent] = []
        with self._lock:
            self._prune()
            self._policy, self._declared, self._connection = policy, declared, connection
            items = sorted([*self._unconfirmed.values(), *self._items], key=lambda item: item.sequence)
            self._unconfirmed.clear()
            self._items.clear()
            self._bytes = 0
            for item in items:
                if not self.wants(item.event.event_type) or not self._accept(item, dropped):
                    dropped.append(item.event)
        for victim in dropped:
            self._report("dropped", victim, "the plugin does not want it any more, or its queue is full")

    def detach(self, connection: Connection) -> None:
        """The conversation has ended, or is to end: hold what was not written; nothing when another one is attached."""
        with self._lock:
            self._prune()
            if self._connection is not connection:
                return
            self._connection = None
            for item in list(self._items):
                if item.entry is not None and not connection.outbox.discard(item.entry) and connection.ended is None:
                    self._remove(item)  # it is just being written, and will be read
                item.entry = None

    def discard_all(self, reason: str) -> None:
        """The plugin was stopped or has failed: nothing will take these events."""
        with self._lock:
            self._prune()
            events = [item.event for item in (*self._unconfirmed.values(), *self._items)]
            self._unconfirmed.clear()
            self._items.clear()
            self._bytes = 0
        for event in events:
            self._report("dropped", event, reason)

    def acknowledge(self, event_id: str) -> bool:
        """The plugin confirmed an event; False where none of that id waits for it."""
        with self._lock:
            self._prune()
            item = self._unconfirmed.get(event_id)
            if item is None:
                return False
            self._remove(item)
        self._report("acknowledged", item.event, "")
        return True

    def redeliver(self, now: float) -> Optional[float]:
        """Send again what was not confirmed in time, or drop it; seconds until the next look, None: nothing waits."""
        again: List[EncodedEvent] = []
        lost: List[EncodedEvent] = []
        with self._lock:
            self._prune()
            seconds = self._policy.ack_timeout_ms / 1000
            for item in list(self._unconfirmed.values()):
                if now - item.sent_at >= seconds and self._connection is not None:
                    self._remove(item)
                    retry = item.deliveries <= self._policy.max_redeliveries and self._accept(item, lost)
                    (again if retry else lost).append(item.event)
            self._armed = bool(self._policy.ack and (self._unconfirmed or self._items))
        for event in again:
            self._report("redelivered", event, "")
        for event in lost:
            self._report("dropped", event, f"not acknowledged after {self._policy.max_redeliveries} redeliveries")
        return seconds / 2 if self._armed else None

    def _full(self) -> str:
        return f"the plugin's event queue is full (events.queueSize {self._policy.queue_size}, {self._policy.overflow})"

    # ---- with the lock held

    def _prune(self) -> None:
        """Move on what the outbox has written since the last look."""
        while self._items and self._items[0].entry is not None and self._items[0].entry.sent:
            item = self._items[0]
            item.deliveries += 1
            item.entry = None
            self._remove(item)
            if self._policy.ack:
                item.sent_at = time.monotonic()
                self._unconfirmed[item.event.event_id] = item
                self._bytes += len(item.event.head)

    def _remove(self, item: _Item) -> None:
        if self._unconfirmed.pop(item.event.event_id, None) is None:
            self._items.remove(item)
        self._bytes -= len(item.event.head)

    def _accept(self, item: _Item, dropped: List[EncodedEvent]) -> bool:
        """Queue an item, dropping older ones where the policy says so; False when there is no room for it."""
        size = len(item.event.head)
        while (len(self._items) + len(self._unconfirmed) >= self._policy.queue_size
               or (self._bytes and self._bytes + size > self._max_bytes) or not self._write(item)):
            if self._policy.overflow != "dropOldest" or not self._drop_oldest(dropped):
                return False
        self._items.append(item)
        self._bytes += size
        return True

    def _drop_oldest(self, dropped: List[EncodedEvent]) -> bool:
        """Drop the oldest event of which nothing is being written; False when there is none."""
        for item in (*self._unconfirmed.values(), *self._items):
            if item.entry is None or (self._connection is not None and self._connection.outbox.discard(item.entry)):
                self._remove(item)
                dropped.append(item.event)
                return True
        return False

    def _write(self, item: _Item) -> bool:
        """Give an item to the outbox, or hold it where there is none; False when the outbox has no room."""
        if self._connection is None:
            return True
        try:
            frame = self._connection.notification_frame(ON_EVENT, item.event.params(item.sequence))
            item.entry = self._connection.post_frame(frame)
        except FrameTooLarge:
            return False
        except PluginError:  # full, or just ended: then hold it for the next process
            return self._connection.ended is not None
        return True
