"""Events: which handlers get them, in which order, and what is confirmed."""
from __future__ import annotations

from typing import Any, List

import pytest

from legacy_plugins import schemas
from legacy_plugins.sdk import Event
from legacy_plugins.sdk.events import Subscriptions
from tests.sdk.plugin_process import HOLD, PluginProcess, Start

LISTENER = HOLD + """
plugin = Plugin("listener", **OPTIONS)
seen = []

@plugin.on("Sync*")
def on_sync(event):
    seen.append(["sync", event.type, event.payload, event.id, event.sequence, event.timestamp])

@plugin.on("*Failed")
def on_failed(event):
    seen.append(["failed", event.type])

@plugin.on("Break")
def on_break(event):
    seen.append("broke")
    raise plugin.Error(5, "cannot") if event.payload == "error" else SystemExit() if event.payload else KeyError("what")

@plugin.on("Break")
def on_break_too(event):
    seen.append("saw the break")

@plugin.on("Hold")
def on_hold(event):
    hold("event")

@plugin.on("Manual")
def on_manual(event):
    event.ack()
    event.ack()

@plugin.method("seen")
def show(params):
    return seen

@plugin.method("idle")
def idle(params):
    while plugin._runtime._jobs._room[True] < 3:
        threading.Event().wait(0.01)
"""


def _listener(start: Start, **options: Any) -> PluginProcess:
    plugin = start(f"OPTIONS = {options!r}\n" + LISTENER + "plugin.run()\n")
    plugin.handshake()
    return plugin


def _acknowledged(plugin: PluginProcess) -> List[str]:
    for message in plugin.messages:
        if message.get("method") == "plugin/ackEvent":
            schemas.validator("ack-params").validate(message["params"])
            assert "id" not in message
    return [message["params"]["eventId"] for message in plugin.messages if message.get("method") == "plugin/ackEvent"]


def _until_handled(plugin: PluginProcess, sequence: int) -> None:
    """Wait until the events before have been handled: they are, when the next one is."""
    plugin.event("Hold", None, sequence)
    plugin.answer(plugin.held("event"))


@pytest.mark.req("R8", "R17")
@pytest.mark.parametrize("workers", [1, 4])
def test_events_reach_the_handlers_that_want_them_in_order(start: Start, workers: int) -> None:
    """Each handler whose pattern matches gets the event with all that came, one event after the other; others none."""
    plugin = _listener(start, max_workers=workers)
    plugin.event("SyncStarted", {"folder": "/ä"}, 1)
    plugin.event("Unwanted", None, 2)
    plugin.event("syncstarted", None, 3)
    plugin.event("SyncFailed", [1], 4)
    _until_handled(plugin, 5)
    time = "2024-02-29T12:30:05.042Z"
    assert plugin.request("seen") == [
        ["sync", "SyncStarted", {"folder": "/ä"}, "e-1", 1, time], ["sync", "SyncFailed", [1], "e-4", 4, time],
        ["failed", "SyncFailed"]]
    assert plugin.end() == 0
    assert _acknowledged(plugin) == []


def test_a_thousand_events_stay_in_order(start: Start) -> None:
    """However fast they come, events are handled in the order of their sequence."""
    plugin = _listener(start)
    for sequence in range(1, 1001):
        plugin.event("SyncStarted", None, sequence)
    _until_handled(plugin, 1001)
    assert [entry[4] for entry in plugin.request("seen")] == list(range(1, 1001))


def test_a_failing_handler_stops_neither_the_others_nor_the_next_event(start: Start) -> None:
    """What a handler raises is logged; the other handlers and the next events are not touched."""
    plugin = _listener(start)
    for sequence, payload in enumerate(("error", "exit", None), 1):
        plugin.event("Break", payload, sequence)
    plugin.event("SyncStarted", None, 4)
    _until_handled(plugin, 5)
    assert plugin.request("seen")[:-1] == ["broke", "saw the break"] * 3
    assert plugin.request("seen")[-1][:2] == ["sync", "SyncStarted"]
    for said in ("5: cannot", "SystemExit", "KeyError: 'what'"):
        plugin.log(said)


def test_calls_are_answered_while_an_event_is_handled(start: Start) -> None:
    """A slow event handler holds up the next event, not the calls."""
    plugin = _listener(start, max_workers=2)
    plugin.event("Hold", None, 1)
    hold = plugin.held("event")
    plugin.event("SyncStarted", None, 2)
    assert plugin.request("seen") == []
    plugin.answer(hold)


@pytest.mark.parametrize("params", [None, [], {}, {"eventType": 1}, {"eventType": None, "payload": 1}])
def test_what_is_no_event_is_ignored(start: Start, params: Any) -> None:
    """A malformed event is logged, and those after it are handled."""
    plugin = _listener(start)
    plugin.notify("plugin/onEvent", params)
    plugin.notify("plugin/onEvent", {"eventType": "SyncBare"})
    plugin.notify("plugin/onEvent", {"eventType": "SyncOdd", "metadata": {"eventId": 3, "sequence": "x"}})
    plugin.log("an event was ignored")
    _until_handled(plugin, 5)
    assert plugin.request("seen") == [["sync", "SyncBare", None, None, None, ""],
                                      ["sync", "SyncOdd", None, None, None, ""]]


@pytest.mark.req("R19")
def test_handled_events_are_acknowledged(start: Start) -> None:
    """With ack_events=True an event is confirmed when all its handlers have returned, also when nobody wants it."""
    plugin = _listener(start, ack_events=True)
    for sequence, event_type in enumerate(("SyncStarted", "Break", "Unwanted", "Manual"), 1):
        plugin.event(event_type, None, sequence)
    plugin.event("Hold", None, 5)
    hold = plugin.held("event")
    assert _acknowledged(plugin) == ["e-1", "e-3", "e-4"]
    plugin.answer(hold)
    plugin.message("plugin/ackEvent", lambda message: bool(message["params"] == {"eventId": "e-5"}))


@pytest.mark.req("R19")
def test_a_handler_may_acknowledge_by_itself(start: Start) -> None:
    """`event.ack()` confirms an event once, whatever the plugin's options."""
    plugin = _listener(start)
    plugin.event("Manual", None, 1)
    plugin.event("SyncStarted", None, 2)
    _until_handled(plugin, 3)
    assert _acknowledged(plugin) == ["e-1"]


@pytest.mark.fault("E2")
def test_events_beyond_the_bound_are_dropped_and_reported(start: Start) -> None:
    """When too many events wait, the newest are dropped with a warning that counts them, and calls go on."""
    plugin = start("OPTIONS = {}\n" + LISTENER + "from legacy_plugins.sdk import runtime\nruntime.MAX_EVENTS = 3\n"
                                                 "plugin.run()\n")
    plugin.event("Hold", None, 1)
    hold = plugin.held("event")
    for sequence in range(2, 7):
        plugin.event("SyncStarted", None, sequence)
    assert plugin.request("seen") == []
    assert "SyncStarted e-4 was dropped, the 1. so far" in plugin.log("the 1. so far")
    plugin.log("e-5 was dropped, the 2. so far")
    plugin.answer(hold)
    plugin.response(plugin.begin("idle"))
    assert [entry[4] for entry in plugin.request("seen")] == [2, 3]


def test_an_event_can_be_made_for_a_test() -> None:
    """A handler can be called with an event made by hand."""
    confirmed: List[str] = []
    event = Event("SyncStarted", {"n": 1}, {"eventId": "e", "sequence": 4}, acknowledge=confirmed.append)
    assert (event.type, event.payload, event.id, event.sequence, repr(event)) == (
        "SyncStarted", {"n": 1}, "e", 4, "<Event SyncStarted e>")
    event.ack()
    event.ack()
    assert confirmed == ["e"]
    bare = Event("SyncStarted")
    bare.ack()
    assert (bare.id, bare.sequence, bare.metadata, bare.acknowledged) == (None, None, {}, False)


def test_patterns_are_globs_with_regard_to_case() -> None:
    """`*`, `?` and sets match as in the configuration; each handler comes once for each of its patterns that match."""
    subscriptions = Subscriptions()
    for pattern in ("Sync*", "?ync", "[ST]ync", "*"):
        subscriptions.add(pattern, pattern.join)
    assert subscriptions.patterns == ["Sync*", "?ync", "[ST]ync", "*"]
    assert len(subscriptions.handlers("Sync")) == 4
    assert len(subscriptions.handlers("SyncStarted")) == 2
    assert len(subscriptions.handlers("sync")) == 2
    assert len(subscriptions.handlers("other")) == 1
    for wrong in ("", None, print):
        with pytest.raises(TypeError, match="pattern"):
            subscriptions.add(wrong, print)  # type: ignore[arg-type]
