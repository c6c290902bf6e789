"""Events on their way to plugins: one queue for each, with a stub in the conversation's place."""
from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Optional, Set, Tuple, cast

import pytest

from legacy_plugins.config.policies import EventPolicy
from legacy_plugins.errors import FrameTooLarge, PluginBusy, PluginNotRunning
from legacy_plugins.host.events import EventQueue, encode_event
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.outbox import Entry


class Wire:
    """A conversation that writes when the test says so. `room`: how many frames it takes, None: any number."""

    def __init__(self, room: Optional[int] = None, largest: int = 10_000) -> None:
        self.entries: List[Entry] = []
        self.ended: Any = None
        self.closed = False
        self.room = room
        self.largest = largest
        self.outbox = self

    def notification_frame(self, method: str, params: str) -> bytes:
        """As `Connection`."""
        if len(params) > self.largest:
            raise FrameTooLarge("too large (limits.maxFrameBytes)")
        assert method == "plugin/onEvent"
        return params.encode()

    def post_frame(self, frame: bytes) -> Entry:
        """As `Connection`."""
        if self.closed:
            raise PluginNotRunning("a")
        if self.room is not None and len(self.waiting) >= self.room:
            raise PluginBusy("a")
        self.entries.append(Entry(frame))
        return self.entries[-1]

    def discard(self, entry: Entry) -> bool:
        """As `Outbox`."""
        if entry.started or entry.dropped:
            return False
        entry.dropped = True
        return True

    @property
    def waiting(self) -> List[Entry]:
        """What is neither written nor taken back."""
        return [entry for entry in self.entries if not (entry.sent or entry.dropped)]

    def write(self, count: int = 1000) -> None:
        """The plugin takes so many."""
        for entry in self.waiting[:count]:
            entry.started = entry.sent = True

    def params(self, *, written: bool = True) -> List[Dict[str, Any]]:
        """The params of what was written, or of what waits."""
        chosen = [entry for entry in self.entries if entry.sent] if written else self.waiting
        return [json.loads(entry.frame) for entry in chosen]


class Stage:
    """A queue, what it reported, and how often it armed."""

    def __init__(self, max_bytes: int = 100_000, **policy: Any) -> None:
        self.reported: List[Tuple[str, str, str]] = []
        self.armed = 0
        self.queue = EventQueue(EventPolicy(**policy), max_bytes, self._report, self._arm)
        self.queue.open()

    def _report(self, outcome: str, event: Any, reason: str) -> None:
        assert self.queue._lock.acquire(blocking=False), "reported with the lock held"
        self.queue._lock.release()
        self.reported.append((outcome, event.event_type, reason))

    def _arm(self) -> None:
        self.armed += 1

    def put(self, *types: str, payload: Any = None) -> List[bool]:
        """Queue an event of each type."""
        return [self.queue.put(encode_event(kind, payload, None)) for kind in types]

    def attach(self, wire: Wire, *declared: str) -> Wire:
        """The plugin is ready."""
        self.queue.attach(cast("Connection", wire), declared)
        return wire

    def detach(self, wire: Wire) -> None:
        """Its conversation has ended."""
        wire.ended = "it exited"
        self.queue.detach(cast("Connection", wire))

    def outcomes(self, outcome: str) -> List[str]:
        """The event types with this outcome."""
        return [kind for told, kind, _ in self.reported if told == outcome]

    def reasons(self) -> Set[str]:
        """Why events were dropped."""
        return {reason for told, _, reason in self.reported if told == "dropped"}


def types(params: List[Dict[str, Any]]) -> List[Any]:
    """(event type, sequence number) of each."""
    return [(one["eventType"], one["metadata"]["sequence"]) for one in params]


@pytest.mark.req("R17")
def test_an_event_has_type_payload_metadata_and_timestamp() -> None:
    """The params of `plugin/onEvent` are the plan's four keys; the host adds an id and a number to the metadata."""
    event = encode_event("Sync", {"text": "gr\u00fc\u00df"}, {"who": "me", "sequence": 99, "eventId": "mine"})
    params = json.loads(event.params(3))
    assert set(params) == {"eventType", "payload", "metadata", "timestamp"}
    assert params["payload"] == {"text": "gr\u00fc\u00df"}
    assert params["metadata"] == {"who": "me", "eventId": event.event_id, "sequence": 3}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", params["timestamp"])
    assert event.size == len(event.head.encode())


@pytest.mark.fault("E5")
@pytest.mark.parametrize(("payload", "metadata"), [
    ({1, 2}, None), (float("nan"), None), ("\ud800", None), (object(), None), (None, {"x": {1}}), (None, 7)])
def test_what_is_not_json_is_a_type_error(payload: Any, metadata: Any) -> None:
    """A payload or metadata that JSON has no form for raises `TypeError`, whatever the exact reason."""
    with pytest.raises(TypeError, match="'Sync'"):
        encode_event("Sync", payload, metadata)


@pytest.mark.parametrize("kind", ["", None, 7])
def test_the_event_type_is_a_text(kind: Any) -> None:
    """Something else than a non-empty string is refused."""
    with pytest.raises(TypeError, match="event type"):
        encode_event(kind, None, None)


@pytest.mark.req("R18", "R31", "R42")
def test_exclude_goes_first_then_include_then_the_handshake() -> None:
    """An excluded type is never wanted, even if included; the plugin's own list only narrows."""
    stage = Stage(include=("Sync*", "Other"), exclude=("SyncFailed",))
    kinds = ("SyncDone", "SyncFailed", "Other", "Else")
    assert list(map(stage.queue.wants, kinds)) == [True, False, True, False]
    stage.attach(Wire(), "Sync*", "Else")
    assert list(map(stage.queue.wants, kinds)) == [True, False, False, False]


def test_events_are_numbered_in_order() -> None:
    """An attached queue hands events over at once, numbered from 1."""
    stage = Stage()
    wire = stage.attach(Wire())
    stage.put("A", "B")
    wire.write()
    assert types(wire.params()) == [("A", 1), ("B", 2)]
    assert stage.outcomes("queued") == ["A", "B"]


def test_a_queue_that_is_read_never_fills() -> None:
    """What was written makes room: many more events than `queueSize` pass, none is dropped."""
    stage = Stage(queue_size=3)
    wire = stage.attach(Wire())
    for number in range(20):
        assert stage.put(f"E{number}") == [True]
        wire.write()
    assert stage.outcomes("dropped") == []
    assert len(wire.params()) == 20


@pytest.mark.fault("E1")
def test_events_wait_for_a_plugin_that_starts() -> None:
    """What comes before the plugin is ready is held, and sent in order when it is."""
    stage = Stage()
    stage.put("A", "B")
    assert len(stage.queue) == 2
    wire = stage.attach(Wire())
    stage.put("C")
    wire.write()
    assert types(wire.params()) == [("A", 1), ("B", 2), ("C", 3)]
    assert len(stage.queue) == 0


def test_held_events_that_the_handshake_does_not_want_are_filtered() -> None:
    """What the plugin turns out not to want was not lost: it is counted as filtered, and leaves no gap."""
    stage = Stage()
    stage.put("A", "Sync", "B", "A", "Sync")
    wire = stage.attach(Wire(), "Sync")
    stage.put("Sync")
    assert types(wire.params(written=False)) == [("Sync", 1), ("Sync", 2), ("Sync", 3)]
    assert stage.outcomes("filtered") == ["A", "B", "A"]
    assert stage.outcomes("dropped") == []


def test_a_number_that_was_told_stays() -> None:
    """An event that an earlier process got, and the next one does not want, keeps its number to itself."""
    stage = Stage(ack=True)
    first = stage.attach(Wire())
    stage.put("A", "Sync")
    first.write(1)
    stage.detach(first)
    second = stage.attach(Wire(), "Sync")
    assert types(second.params(written=False)) == [("Sync", 2)]
    assert stage.outcomes("filtered") == ["A"]


@pytest.mark.fault("P16")
def test_what_was_not_written_goes_to_the_next_process() -> None:
    """After a crash the rest is sent to the new process, with the same numbers; what was written is not repeated."""
    stage = Stage()
    first = stage.attach(Wire())
    stage.put("A", "B", "C")
    first.write(1)
    stage.detach(first)
    stage.put("D")
    second = stage.attach(Wire())
    second.write()
    assert types(second.params()) == [("B", 2), ("C", 3), ("D", 4)]
    assert first.waiting == []


def test_a_frame_that_was_cut_off_by_the_crash_is_sent_again() -> None:
    """An event of which only a part was written never arrived."""
    stage = Stage()
    first = stage.attach(Wire())
    stage.put("A")
    first.entries[0].started = True
    stage.detach(first)
    second = stage.attach(Wire())
    assert types(second.params(written=False)) == [("A", 1)]


def test_a_frame_that_is_being_written_to_a_living_process_is_not_sent_again() -> None:
    """When a reload moves the queue to a new process, what the old one is just reading stays with it."""
    stage = Stage()
    old = stage.attach(Wire())
    stage.put("A", "B")
    old.entries[0].started = True
    stage.queue.detach(cast("Connection", old))
    new = stage.attach(Wire())
    assert types(new.params(written=False)) == [("B", 2)]


def test_detaching_another_conversation_changes_nothing() -> None:
    """The end of an old process does not cut off the new one."""
    stage = Stage()
    old, new = stage.attach(Wire()), stage.attach(Wire())
    stage.detach(old)
    stage.put("A")
    assert types(new.params(written=False)) == [("A", 1)]


def test_a_conversation_that_just_ended_holds_the_event_for_the_next() -> None:
    """An event that comes between the end of a process and its notice is kept."""
    stage = Stage()
    first = stage.attach(Wire())
    first.closed = True
    assert stage.put("A") == [True]
    stage.detach(first)
    assert types(stage.attach(Wire()).params(written=False)) == [("A", 1)]


@pytest.mark.fault("E2")
def test_drop_oldest_keeps_the_newest() -> None:
    """A full queue drops its oldest event, takes it back from the outbox, and the gap in the numbers tells."""
    stage = Stage(queue_size=2, overflow="dropOldest")
    wire = stage.attach(Wire())
    assert stage.put("A", "B", "C", "D") == [True] * 4
    wire.write()
    assert types(wire.params()) == [("C", 3), ("D", 4)]
    assert stage.outcomes("dropped") == ["A", "B"]
    assert {reason.split(" (")[0] for reason in stage.reasons()} == {"the plugin's event queue is full"}


@pytest.mark.fault("E2")
def test_drop_newest_keeps_the_oldest() -> None:
    """With `dropNewest` a full queue refuses, and the number of what was refused is missing too."""
    stage = Stage(queue_size=2, overflow="dropNewest")
    wire = stage.attach(Wire())
    assert stage.put("A", "B", "C") == [True, True, False]
    wire.write()
    stage.put("D")
    wire.write()
    assert types(wire.params()) == [("A", 1), ("B", 2), ("D", 4)]


def test_what_is_being_written_is_not_dropped() -> None:
    """Half a frame must be finished: the next older one goes in its stead."""
    stage = Stage(queue_size=2)
    wire = stage.attach(Wire())
    stage.put("A", "B")
    wire.entries[0].started = True
    stage.put("C")
    assert types(wire.params(written=False)) == [("A", 1), ("C", 3)]


@pytest.mark.fault("E2", "B2")
def test_the_queue_is_bounded_in_bytes() -> None:
    """`limits.queueBytes` bounds what waits, counted in bytes and not in characters."""
    size = encode_event("A", "\u20ac" * 100, None).size
    assert size > 400
    stage = Stage(max_bytes=size * 2, overflow="dropNewest")
    assert stage.put("A", "A", "A", payload="\u20ac" * 100) == [True, True, False]
    wire = stage.attach(Wire())
    wire.write()
    assert stage.put("A", payload="\u20ac" * 100) == [True]


def test_an_event_over_the_bytes_bound_passes_alone_and_evicts_nobody() -> None:
    """One that is larger than the bound is taken when nothing waits, and costs no other event its place."""
    stage = Stage(max_bytes=1000)
    assert stage.put("Big", payload="x" * 2000) == [True]
    stage = Stage(max_bytes=1000)
    assert stage.put("A", "B") == [True, True]
    assert stage.put("Big", payload="x" * 2000) == [False]
    assert stage.outcomes("dropped") == ["Big"]


def test_a_frame_over_the_limit_evicts_nobody() -> None:
    """An event that can never be sent is dropped with its reason; those that wait stay."""
    stage = Stage(max_bytes=100_000)
    wire = stage.attach(Wire(largest=1000))
    stage.put("A", "B")
    assert stage.put("Big", payload="x" * 2000) == [False]
    assert types(wire.params(written=False)) == [("A", 1), ("B", 2)]
    assert stage.reasons() == {"too large (limits.maxFrameBytes)"}


@pytest.mark.fault("B1")
def test_a_full_outbox_costs_the_oldest_event() -> None:
    """Where the conversation has no room, room is made by the declared policy, or the event is dropped."""
    stage = Stage(queue_size=10, overflow="dropOldest")
    wire = stage.attach(Wire(room=2))
    assert stage.put("A", "B", "C") == [True] * 3
    assert types(wire.params(written=False)) == [("B", 2), ("C", 3)]
    assert stage.outcomes("dropped") == ["A"]
    stage = Stage(queue_size=10)
    stage.attach(Wire(room=0))
    assert stage.put("A") == [False]


@pytest.mark.fault("E1")
def test_a_closed_queue_drops_and_counts_on() -> None:
    """Events for a plugin that is down are dropped; the numbers that it misses tell it when it is up again."""
    stage = Stage()
    stage.put("A")
    stage.queue.close("the plugin is stopped")
    assert stage.put("B") == [False]
    assert stage.reasons() == {"the plugin is stopped"}
    assert stage.outcomes("dropped") == ["A"]
    assert stage.outcomes("refused") == ["B"]
    stage.queue.open()
    stage.put("C")
    assert types(stage.attach(Wire()).params(written=False)) == [("C", 3)]


def test_a_plugin_that_is_being_stopped_gets_what_was_queued() -> None:
    """`refuse` takes no more, and leaves what was taken on its way."""
    stage = Stage()
    wire = stage.attach(Wire())
    stage.put("A")
    stage.queue.refuse("the plugin is stopping")
    assert stage.put("B") == [False]
    assert types(wire.params(written=False)) == [("A", 1)]


def test_a_new_policy_counts_from_now_on() -> None:
    """A reload's bounds and filters go for what waits as well."""
    stage = Stage(queue_size=10)
    stage.put("A", "B", "C")
    stage.queue.configure(EventPolicy(queue_size=2, exclude=("B",)), 100_000)
    wire = stage.attach(Wire())
    assert types(wire.params(written=False)) == [("A", 1), ("C", 2)]
    stage.put("D")
    assert types(wire.params(written=False)) == [("C", 2), ("D", 3)]


@pytest.mark.req("R19")
def test_an_event_waits_for_its_acknowledgement() -> None:
    """With `events.ack` a written event is kept until the plugin confirms it, once."""
    stage = Stage(ack=True)
    wire = stage.attach(Wire())
    stage.put("A")
    wire.write()
    (params,) = wire.params()
    assert stage.queue.acknowledge(params["metadata"]["eventId"])
    assert not stage.queue.acknowledge(params["metadata"]["eventId"])
    assert not stage.queue.acknowledge("never sent")
    assert stage.outcomes("acknowledged") == ["A"]
    assert stage.queue.redeliver(1e12) is None
    assert stage.armed == 1


def test_an_acknowledgement_may_be_faster_than_our_bookkeeping() -> None:
    """A plugin that confirms before the writer has noted the write is right all the same."""
    stage = Stage(ack=True)
    wire = stage.attach(Wire())
    stage.put("A", "B")
    event_id = wire.params(written=False)[1]["metadata"]["eventId"]
    assert not stage.queue.acknowledge(event_id), "nothing of it was written"
    wire.entries[1].started = True
    assert stage.queue.acknowledge(event_id)
    assert len(stage.queue) == 1


@pytest.mark.req("R38")
def test_redelivery_keeps_the_number_and_is_bounded() -> None:
    """An unconfirmed event is sent again `maxRedeliveries` times with its number, then reported as dropped."""
    stage = Stage(ack=True, max_redeliveries=2, ack_timeout_ms=1000)
    wire = stage.attach(Wire())
    stage.put("A")
    delays = []
    for _ in range(4):
        wire.write()
        delays.append(stage.queue.redeliver(1e12))
    assert types(wire.params()) == [("A", 1)] * 3
    assert stage.outcomes("redelivered") == ["A", "A"]
    assert stage.reasons() == {"not acknowledged after 2 redeliveries (events.maxRedeliveries)"}
    assert delays == [0.5, 0.5, None, None]
    stage.put("B")
    assert stage.armed == 2


def test_nothing_is_redelivered_before_its_time() -> None:
    """An event whose time-out has not passed is left alone."""
    stage = Stage(ack=True, ack_timeout_ms=60_000)
    wire = stage.attach(Wire())
    stage.put("A")
    wire.write()
    assert stage.queue.redeliver(0.0) == 30.0
    assert wire.waiting == []


def test_a_late_acknowledgement_stops_a_redelivery_that_waits() -> None:
    """The copy that was to be sent again is taken back."""
    stage = Stage(ack=True)
    wire = stage.attach(Wire())
    stage.put("A")
    wire.write()
    stage.queue.redeliver(1e12)
    assert len(wire.waiting) == 1
    assert stage.queue.acknowledge(wire.params()[0]["metadata"]["eventId"])
    assert wire.waiting == []


@pytest.mark.req("R38")
def test_an_event_that_kills_its_plugin_is_not_sent_for_ever() -> None:
    """Sending an unconfirmed event to the next process counts as a redelivery."""
    stage = Stage(ack=True, max_redeliveries=1)
    wires = []
    stage.put("Poison", "Good")
    for _ in range(3):
        wires.append(stage.attach(Wire()))
        wires[-1].write(1)
        stage.detach(wires[-1])
    assert [types(wire.params()) for wire in wires] == [[("Poison", 1)], [("Poison", 1)], [("Good", 2)]]
    assert stage.outcomes("dropped") == ["Poison"]


def test_switching_acknowledgements_off_forgets_what_waited_for_one() -> None:
    """After a reload without `events.ack` nothing is sent twice."""
    stage = Stage(ack=True)
    wire = stage.attach(Wire())
    stage.put("A")
    wire.write()
    stage.queue.configure(EventPolicy(), 100_000)
    stage.detach(wire)
    assert stage.attach(Wire()).waiting == []
    assert stage.queue.redeliver(1e12) is None
