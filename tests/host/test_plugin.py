"""One plugin in its host's hand: events to a real process, whatever happens to it meanwhile."""
from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Tuple

import pytest

from legacy_plugins import PluginHost, PluginState, errors, signals

from .conftest import Gate, Recorder, plugin

Make = Callable[..., PluginHost]


def numbered(events: List[Dict[str, Any]]) -> List[Tuple[Any, Any]]:
    """(payload, sequence number) of each event."""
    return [(event["payload"], event["metadata"]["sequence"]) for event in events]


@pytest.mark.req("R2", "R8", "R17", "R18")
def test_a_broadcast_reaches_all_plugins_that_want_it(make_host: Make) -> None:
    """Each plugin gets what its filters let through; the report names who gets it and who does not."""
    host = make_host(plugin("all"), plugin("some", events={"include": ["Sync*"], "exclude": ["SyncFailed"]}),
                     plugin("own", {"answer": {"events": ["SyncFailed"]}}))
    host.start()
    report = host.broadcast("SyncDone", {"files": 3}, {"who": "me"})
    assert (report.queued, report.dropped, report.filtered) == (("all", "some"), (), ("own",))
    assert host.broadcast("SyncFailed").queued == ("all", "own")
    (event,) = host["some"].request("events", {"count": 1})
    assert event["eventType"] == "SyncDone"
    assert event["payload"] == {"files": 3}
    assert event["metadata"] == {"who": "me", "eventId": report.event_id, "sequence": 1}
    assert [one["eventType"] for one in host["all"].request("events", {"count": 2})] == ["SyncDone", "SyncFailed"]
    assert host["own"].status().events == {"queued": 1, "dropped": 0, "filtered": 1, "acknowledged": 0,
                                           "redelivered": 0, "published": 0}


@pytest.mark.req("R8", "R19")
@pytest.mark.fault("E4")
def test_events_and_requests_of_one_thread_keep_their_order(make_host: Make) -> None:
    """A request finds every event that its thread sent before, from several threads at a time."""
    host = make_host(plugin("a", events={"queueSize": 10_000}))
    host.start()

    def talk(thread: int) -> bool:
        for number in range(20):
            for _ in range(3):
                host.broadcast("E", [thread, number])
            events = host["a"].request("events", {"count": 0})
            mine = [event["payload"][1] for event in events if event["payload"][0] == thread]
            if mine != [sent for sent in range(number + 1) for _ in range(3)]:
                return False
        return True
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(talk, range(4)))


@pytest.mark.req("R19")
@pytest.mark.fault("E1")
def test_events_wait_for_the_first_start(make_host: Make, make_gate: Callable[..., Gate]) -> None:
    """A broadcast is a use, waits for nobody, and arrives when the plugin is ready, before later calls."""
    gate = make_gate()
    host = make_host(plugin("a", {"gate": gate.path}))
    assert [host.broadcast("E", number).queued for number in range(3)] == [("a",)] * 3
    assert host["a"].status().queued == 3
    gate.open()
    assert numbered(host["a"].request("events")) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.req("R19", "R38")
@pytest.mark.fault("E1")
def test_events_wait_for_a_restart_after_a_crash(make_host: Make, heard: Recorder, make_gate: Callable[..., Gate]
                                                 ) -> None:
    """What is sent in backoff and while the plugin starts again goes to the new process; the numbers go on."""
    gate = make_gate()
    host = make_host(plugin("a", {"gate": gate.path}))
    gate.open()
    host.broadcast("E", "first")
    assert numbered(host["a"].request("events", {"count": 1})) == [("first", 1)]
    with pytest.raises(errors.PluginCrashed):
        host["a"].request("die")
    assert host.broadcast("E", "second").queued == ("a",)
    heard.wait_state("a", "starting", 2)
    assert host.broadcast("E", "third").queued == ("a",)
    gate.open()
    assert numbered(host["a"].request("events")) == [("second", 2), ("third", 3)]
    assert heard.of("event_dropped") == []


@pytest.mark.req("R38")
def test_events_wait_for_a_restart_by_command(make_host: Make, make_gate: Callable[..., Gate]) -> None:
    """While a plugin is stopped in order to be started again, events are for the new process."""
    gate = make_gate()
    host = make_host(plugin("a", {"shutdownGate": gate.path}))
    host.start()
    with ThreadPoolExecutor(1) as pool:
        restart = pool.submit(host["a"].restart)
        gate.wait_for_visitor()
        assert host.broadcast("E", "late").queued == ("a",)
        gate.open()
        restart.result(20)
    assert numbered(host["a"].request("events")) == [("late", 1)]
    gate.open()
    host.stop()


@pytest.mark.req("R38")
@pytest.mark.fault("E1")
def test_a_gap_tells_what_was_missed(make_host: Make, heard: Recorder) -> None:
    """Events for a stopped plugin are dropped, announced, and missing in the numbers after the next start."""
    host = make_host(plugin("a"))
    host.broadcast("E", "first")
    assert numbered(host["a"].request("events")) == [("first", 1)]
    host["a"].stop()
    assert host.broadcast("E", "lost").dropped == ("a",)
    assert heard.wait("event_dropped", "a") == {"event_type": "E", "reason": "the plugin is stopped"}
    host["a"].start()
    host.broadcast("E", "third")
    assert numbered(host["a"].request("events")) == [("third", 3)]


def test_what_was_queued_before_a_stop_is_delivered(make_host: Make, heard: Recorder) -> None:
    """An orderly stop lets the plugin have the events that were sent before it."""
    host = make_host(plugin("a", events={"ack": True}))
    host.start()
    for number in range(100):
        host.broadcast("E", number)
    call = host["a"].submit("events", {"count": 100})
    host["a"].stop()
    assert [payload for payload, _ in numbered(call.result(20))] == list(range(100))


@pytest.mark.req("R3", "R19", "R38")
@pytest.mark.fault("B1", "B11", "E2", "E3")
@pytest.mark.parametrize(("overflow", "last"), [("dropOldest", True), ("dropNewest", False)])
def test_broadcast_never_waits_for_a_plugin_that_does_not_read(make_host: Make, heard: Recorder, overflow: str,
                                                               last: bool) -> None:
    """Many large events pass a plugin that has stopped reading at full speed; its drops are counted, the other plugin
    gets all."""
    events = {"queueSize": 50, "overflow": overflow}
    host = make_host(plugin("stuck", events=events, shutdownTimeoutMs=200), plugin("good"))
    host.start()
    host["stuck"].request("stopReading")
    started = time.monotonic()
    reports = [host.broadcast("E", "x" * 10_000) for _ in range(300)]
    assert time.monotonic() - started < 5
    assert all("good" in report.queued for report in reports)
    assert ("stuck" in reports[-1].queued) is last
    status = host["stuck"].status()
    assert status.events["dropped"] >= 200
    assert status.events["queued"] + (0 if last else status.events["dropped"]) == 300
    assert heard.wait("event_dropped", "stuck", 100)["event_type"] == "E"
    assert len(host["good"].request("events", {"count": 300})) == 300
    assert host["good"].status().events["dropped"] == 0


@pytest.mark.req("R19")
def test_acknowledged_events_are_announced(make_host: Make, heard: Recorder) -> None:
    """With `events.ack` each confirmation by the plugin comes out as `event_acknowledged`, and nothing is repeated."""
    host = make_host(plugin("a", {"ack": True}, events={"ack": True, "ackTimeoutMs": 5000}))
    ids = [host.broadcast("E").event_id for _ in range(5)]
    heard.wait("event_acknowledged", "a", 5)
    assert [facts["event_id"] for facts in heard.of("event_acknowledged", "a")] == ids
    assert host["a"].status().events["acknowledged"] == 5
    assert len(host["a"].request("events")) == 5


@pytest.mark.req("R19", "R38")
def test_unacknowledged_events_are_sent_again(make_host: Make, heard: Recorder) -> None:
    """A plugin that confirms the third delivery gets the event three times, with one number."""
    events = {"ack": True, "ackTimeoutMs": 300, "maxRedeliveries": 5}
    host = make_host(plugin("a", {"ack": 3}, events=events))
    host.broadcast("E", "x")
    heard.wait("event_acknowledged", "a")
    assert numbered(host["a"].request("events")) == [("x", 1)] * 3
    assert host["a"].status().events["redelivered"] == 2


@pytest.mark.req("R38")
def test_an_event_that_is_never_acknowledged_is_dropped(make_host: Make, heard: Recorder) -> None:
    """After `maxRedeliveries` the event is reported as dropped, and the plugin goes on."""
    host = make_host(plugin("a", events={"ack": True, "ackTimeoutMs": 20, "maxRedeliveries": 1}))
    host.broadcast("E")
    assert "maxRedeliveries" in heard.wait("event_dropped", "a")["reason"]
    assert len(host["a"].request("events")) == 2


@pytest.mark.req("R38")
def test_a_deadly_event_does_not_kill_for_ever(make_host: Make, heard: Recorder) -> None:
    """An event that kills the plugin each time is given up after its redeliveries; later events arrive."""
    host = make_host(plugin("a", {"deadly": "Poison", "ack": True},
                            events={"ack": True, "ackTimeoutMs": 5000, "maxRedeliveries": 1},
                            restart={"maxRetries": 10, "backoffMs": 10}))
    host.start()
    host.broadcast("Poison")
    heard.wait("plugin_crashed", "a", 2)
    host.broadcast("Good")
    heard.wait("event_acknowledged", "a")
    assert len(heard.of("plugin_crashed", "a")) == 2
    assert [facts["event_type"] for facts in heard.of("event_dropped", "a")] == ["Poison"]


@pytest.mark.req("R16", "D6")
def test_an_event_may_be_published_back(make_host: Make) -> None:
    """Application to plugin to application: a receiver of `plugin_event` may broadcast, and call the plugin."""
    host = make_host(plugin("a", events={"publish": ["Built"]}))
    answers: List[Any] = []
    done = threading.Event()

    @signals.plugin_event.connect
    def built(sender: Any, plugin: str, event_type: str, **_: Any) -> None:
        if sender is host:
            host.broadcast("Seen", event_type)
            answers.append(host[plugin].request("events", {"count": 1}))
            done.set()
    host["a"].request("publish", {"eventType": "Built"})
    assert done.wait(20)
    assert numbered(answers[0]) == [("Built", 1)]


def test_status_of_a_plugin_that_was_never_started(make_host: Make) -> None:
    """Asking starts nothing, and everything has a value."""
    host = make_host(plugin("a", required=True))
    status = host["a"].status()
    assert (status.name, status.state, status.pid, status.required) == ("a", PluginState.STOPPED, None, True)
    assert status.calls["answered"] == status.events["queued"] == status.restarts == status.queued == 0
    assert host["a"].state is PluginState.STOPPED
