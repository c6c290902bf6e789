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
from typing import Any, Callable, Deque, List, Mapping, NamedTuple, Optional, Tuple

from legacy_plugins.config.policies import EventPolicy
from legacy_plugins.errors import FrameTooLarge, PluginBusy, PluginError
from legacy_plugins.protocol.codec import JsonCodec, quoted
from legacy_plugins.protocol.handshake import ON_EVENT
from legacy_plugins.protocol.patterns import Globs, globs
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
    """An event as JSON text up to its sequence number, which each plugin's queue adds. `size`: its bytes."""

    event_type: str
    event_id: str
    head: str
    size: int

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
        size = len(head.encode())
    except (TypeError, ValueError) as error:
        raise TypeError(f"the payload or metadata of event {event_type!r} is not JSON: {error}") from error
    return EncodedEvent(event_type, event_id, head, size)


class _Item:
    """An event in a plugin's queue. `entry`: its frame in the outbox, None while it is held."""

    __slots__ = ("event", "sequence", "entry", "deliveries", "sent_at")

    def __init__(self, event: EncodedEvent, sequence: int) -> None:
        self.event = event
        self.sequence = sequence
        self.entry: Optional[Entry] = None
        self.deliveries = 0
        self.sent_at = 0.0


#: `report(outcome, event, reason)`: something became of an event; never called with a lock held. `refused`: it was
#: dropped since the plugin is down and nobody starts it.
EventReport = Callable[[str, EncodedEvent, str], None]
_Loss = Tuple[EncodedEvent, str]


class EventQueue:
    """The events of one plugin: at most `policy.queue_size` of them and `max_bytes` bytes. All methods: any thread.

    Closed until `open`. `arm()` is called when acknowledgements begin to be waited for: somebody must call `redeliver`
    a while later.
    """

    def __init__(self, policy: EventPolicy, max_bytes: int, report: EventReport, arm: Callable[[], None]) -> None:
        self._lock = threading.RLock()  # re-entrant: a signal handler may broadcast, too
        self._report = report
        self._arm = arm
        self._policy = policy
        self._max_bytes = max_bytes
        self._closed: Optional[str] = "the plugin is not started"  # why nothing is taken
        self._declared: Optional[Globs] = None  # what the plugin's handshake asks for; None: all
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
        if declared is not None and not declared.match(event_type):
            return False
        return self._policy.wants(event_type)

    def configure(self, policy: EventPolicy, max_bytes: int) -> None:
        """Go by other bounds and filters from here on."""
        with self._lock:
            self._prune()
            self._policy, self._max_bytes = policy, max_bytes
            if not policy.ack:
                for item in list(self._unconfirmed.values()):
                    self._remove(item)

    def open(self) -> None:
        """The plugin runs, or will: take events."""
        with self._lock:
            self._closed = None

    def refuse(self, reason: str) -> None:
        """Take no more events; those that were taken are still delivered."""
        with self._lock:
            self._closed = reason

    def close(self, reason: str) -> None:
        """The plugin is down: drop what it holds, and take no more."""
        with self._lock:
            self._closed = reason
            self._prune()
            events = [item.event for item in (*self._unconfirmed.values(), *self._items)]
            self._unconfirmed.clear()
            self._items.clear()
            self._bytes = 0
        self._tell([(event, reason) for event in events])

    def put(self, event: EncodedEvent) -> bool:
        """Queue an event; False when it was dropped. Older ones may be dropped in its stead (`events.overflow`)."""
        lost: List[_Loss] = []
        with self._lock:
            self._sequence += 1  # of a dropped event too: the gap tells the plugin
            closed = self._closed
            if closed is None:
                self._prune()
            accepted = closed is None and self._accept(_Item(event, self._sequence), lost)
            arm = self._must_arm()
        if arm:
            self._arm()
        if closed is not None:
            self._report("refused", event, closed)
        elif accepted:
            self._report("queued", event, "")
        self._tell(lost)
        return accepted

    def attach(self, connection: Connection, declared: Tuple[str, ...]) -> None:
        """The plugin is ready: send what was held, first what an earlier process did not confirm."""
        lost: List[_Loss] = []
        unwanted: List[EncodedEvent] = []
        never_sent = 0  # of the unwanted: numbers that nobody saw, whose gaps would mean losses
        wanted = globs(declared) if declared else None
        with self._lock:
            self._prune()
            self._declared, self._connection = wanted, connection
            items = sorted([*self._unconfirmed.values(), *self._items], key=lambda item: item.sequence)
            self._unconfirmed.clear()
            self._items.clear()
            self._bytes = 0
            for item in items:
                item.sequence -= 0 if item.deliveries else never_sent
                if not self.wants(item.event.event_type):
                    unwanted.append(item.event)
                    never_sent += not item.deliveries
                elif self._is_exhausted(item):
                    lost.append((item.event, self._exhausted()))
                else:
                    self._accept(item, lost)
            self._sequence -= never_sent
            arm = self._must_arm()
        if arm:
            self._arm()
        for event in unwanted:
            self._report("filtered", event, "")
        self._tell(lost)

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

    def acknowledge(self, event_id: str) -> bool:
        """The plugin confirmed an event; False where none of that id waits for it."""
        with self._lock:
            self._prune()
            item = self._unconfirmed.get(event_id) or self._on_its_way(event_id)
            if item is None:
                return False
            if item.entry is not None and self._connection is not None:
                self._connection.outbox.discard(item.entry)  # it was to be sent again
            self._remove(item)
        self._report("acknowledged", item.event, "")
        return True

    def redeliver(self, now: float) -> Optional[float]:
        """Send again what was not confirmed in time, or drop it; seconds until the next look, None: nothing waits."""
        again: List[EncodedEvent] = []
        lost: List[_Loss] = []
        with self._lock:
            self._prune()
            seconds = self._policy.ack_timeout_ms / 1000
            late = [item for item in self._unconfirmed.values() if now - item.sent_at >= seconds]
            for item in late if self._connection is not None else ():
                if item.event.event_id not in self._unconfirmed:
                    continue  # it made room for another one
                self._remove(item)
                if self._is_exhausted(item):
                    lost.append((item.event, self._exhausted()))
                elif self._accept(item, lost):
                    again.append(item.event)
            self._armed = bool(self._policy.ack and (self._unconfirmed or self._items))
        for event in again:
            self._report("redelivered", event, "")
        self._tell(lost)
        return seconds / 2 if self._armed else None

    def _tell(self, lost: List[_Loss]) -> None:
        for event, reason in lost:
            self._report("dropped", event, reason)

    # ---- with the lock held

    def _must_arm(self) -> bool:
        """Whether nobody looks after acknowledgements, and somebody must."""
        arm = bool(self._policy.ack and self._items and not self._armed)
        self._armed = self._armed or arm
        return arm

    def _is_exhausted(self, item: _Item) -> bool:
        return item.deliveries > self._policy.max_redeliveries

    def _exhausted(self) -> str:
        return f"not acknowledged after {self._policy.max_redeliveries} redeliveries (events.maxRedeliveries)"

    def _full(self) -> str:
        policy = self._policy
        return (f"the plugin's event queue is full (events.queueSize {policy.queue_size}, limits.queueBytes "
                f"{self._max_bytes}, events.overflow {policy.overflow})")

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
                self._bytes += item.event.size

    def _on_its_way(self, event_id: str) -> Optional[_Item]:
        """An event that is confirmed sooner than its writing was noted, or when it was about to be sent again."""
        for item in self._items:
            if item.event.event_id == event_id:
                return item if item.deliveries or (item.entry is not None and item.entry.started) else None
        return None

    def _remove(self, item: _Item) -> None:
        if self._unconfirmed.pop(item.event.event_id, None) is None:
            self._items.remove(item)
        self._bytes -= item.event.size

    def _accept(self, item: _Item, lost: List[_Loss]) -> bool:
        """Queue an item, dropping older ones where the policy says so; False when it was dropped itself."""
        size = item.event.size
        try:
            frame = None if self._connection is None else self._connection.notification_frame(
                ON_EVENT, item.event.params(item.sequence))
        except FrameTooLarge as error:
            lost.append((item.event, str(error)))
            return False
        while not (self._fits(size) and self._send(item, frame)):
            if self._policy.overflow != "dropOldest" or size > self._max_bytes or not self._drop_oldest(lost):
                lost.append((item.event, self._full()))
                return False
        self._items.append(item)
        self._bytes += size
        return True

    def _fits(self, size: int) -> bool:
        """One that is larger than the bound fits when nothing else waits."""
        few = len(self._items) + len(self._unconfirmed) < self._policy.queue_size
        return few and (not self._bytes or self._bytes + size <= self._max_bytes)

    def _drop_oldest(self, lost: List[_Loss]) -> bool:
        """Drop the oldest event of which nothing is being written; False when there is none."""
        for item in (*self._unconfirmed.values(), *self._items):
            if item.entry is None or (self._connection is not None and self._connection.outbox.discard(item.entry)):
                self._remove(item)
                lost.append((item.event, self._full()))
                return True
        return False

    def _send(self, item: _Item, frame: Optional[bytes]) -> bool:
        """Give an item to the outbox, or hold it where there is none; False when the outbox has no room."""
        if self._connection is None or frame is None:
            return True
        try:
            item.entry = self._connection.post_frame(frame)
        except PluginBusy:
            return False
        except PluginError:  # the conversation is ending: held for the next process
            pass
        return True
