"""The application's blinker signals become events for plugins."""
from __future__ import annotations

import gc
from typing import Any, Callable, Iterator

import pytest
from blinker import Namespace, Signal

from legacy_plugins import PluginHost
from legacy_plugins.testing import FakePlugin, fake_plugin

from .conftest import LogBook, Recorder, plugin

Make = Callable[..., PluginHost]
SIGNALS = Namespace()


@pytest.fixture
def host(make_host: Make) -> PluginHost:
    """A host with a plugin `a`."""
    return make_host(plugin("a"))


@pytest.fixture
def fake(host: PluginHost) -> Iterator[FakePlugin]:
    """A double of the plugin `a`."""
    with fake_plugin(host, "a") as double:
        yield double


@pytest.fixture
def bus() -> Signal:
    """A signal of the application, `SyncDone`, that nobody else has."""
    return Namespace().signal("SyncDone")


@pytest.mark.req("D6", "D8", "R2", "R16", "R17")
def test_each_send_is_an_event(host: PluginHost, fake: FakePlugin, bus: Signal) -> None:
    """A connected signal is broadcast under its name, with all keyword arguments as payload."""
    host.connect(bus)
    bus.send("the application", folder="/srv", files=3)
    (event,) = fake.wait_for_events(1)
    assert event["eventType"] == "SyncDone"
    assert event["payload"] == {"folder": "/srv", "files": 3}


@pytest.mark.req("R16")
def test_another_name_and_chosen_fields(host: PluginHost, fake: FakePlugin, bus: Signal) -> None:
    """`event_type` renames, `fields` names the keyword arguments that plugins may see; those not sent are left out."""
    host.connect(bus, "Done", fields=["folder", "absent"])
    bus.send(folder="/srv", password="secret")
    (event,) = fake.wait_for_events(1)
    assert (event["eventType"], event["payload"]) == ("Done", {"folder": "/srv"})


def test_a_function_makes_the_payload(host: PluginHost, fake: FakePlugin, bus: Signal) -> None:
    """`payload(sender, **kw)` decides what is sent."""
    host.connect(bus, payload=lambda sender, **facts: [sender, sorted(facts)])
    bus.send("me", b=1, a=2)
    (event,) = fake.wait_for_events(1)
    assert event["payload"] == ["me", ["a", "b"]]


def test_a_connected_signal_is_held_strongly(host: PluginHost, fake: FakePlugin, bus: Signal) -> None:
    """Nothing has to be kept by the application for the connection to last."""
    def connect() -> None:
        def payload(sender: Any, **_: Any) -> Any:
            return "kept"
        host.connect(bus, payload=payload)
    connect()
    gc.collect()
    bus.send()
    assert fake.wait_for_events(1)[0]["payload"] == "kept"


def test_disconnect_ends_all_connections_of_a_signal(host: PluginHost, fake: FakePlugin, bus: Signal) -> None:
    """After `disconnect` a send reaches no plugin; disconnecting once more does nothing."""
    host.connect(bus)
    host.connect(bus, "Other")
    bus.send()
    host.disconnect(bus)
    host.disconnect(bus)
    bus.send()
    host.broadcast("Last")
    assert [event["eventType"] for event in fake.wait_for_events(3)] == ["SyncDone", "Other", "Last"]


@pytest.mark.req("R38")
@pytest.mark.fault("E5")
def test_what_is_not_json_never_raises_into_a_send(host: PluginHost, fake: FakePlugin, bus: Signal, heard: Recorder,
                                                   log: LogBook) -> None:
    """The application's `send` returns, the loss is logged and announced; the next send is delivered."""
    host.connect(bus)
    bus.send(files={1, 2})
    bus.send(files=2)
    assert [event["payload"] for event in fake.wait_for_events(1)] == [{"files": 2}]
    assert "SyncDone" in heard.wait("event_dropped")["reason"]
    assert heard.heard[0][1] is None or heard.of("event_dropped", "a") == []
    assert log.wait("'SyncDone' could not be sent").exc_info is not None


def test_a_payload_function_that_raises_never_raises_into_a_send(host: PluginHost, fake: FakePlugin, bus: Signal,
                                                                 heard: Recorder) -> None:
    """A defect in the application's own payload function is reported as a lost event."""
    def payload(sender: Any, **_: Any) -> Any:
        raise LookupError("no such row")
    host.connect(bus, payload=payload)
    bus.send()
    assert heard.wait("event_dropped")["reason"] == "no such row"


@pytest.mark.fault("E5")
def test_broadcast_raises_what_a_send_hides(host: PluginHost, fake: FakePlugin) -> None:
    """`broadcast` is called with plugins in mind: it raises before anything is sent."""
    with pytest.raises(TypeError, match="'Sync'"):
        host.broadcast("Sync", {1, 2})
    host.broadcast("Last")
    assert [event["eventType"] for event in fake.wait_for_events(1)] == ["Last"]


def test_a_signal_without_a_name_needs_an_event_type(host: PluginHost) -> None:
    """An anonymous signal has no event type of its own."""
    with pytest.raises(ValueError, match="event_type"):
        host.connect(Signal())


def test_fields_and_payload_exclude_each_other(host: PluginHost, bus: Signal) -> None:
    """Two ways to make a payload are a mistake, told at once."""
    with pytest.raises(ValueError, match="not both"):
        host.connect(bus, fields=["x"], payload=lambda sender: None)
    assert not bus.receivers


@pytest.mark.req("R16")
def test_the_first_send_starts_the_plugins(make_host: Make, bus: Signal) -> None:
    """A send is a use: it starts the plugins of a host that was never used, waits for none, and is delivered."""
    host = make_host(plugin("a"))
    host.connect(bus)
    bus.send(files=3)
    assert [event["payload"] for event in host["a"].request("events", {"count": 1})] == [{"files": 3}]


@pytest.mark.parametrize(("wrong", "error"), [
    ({"fields": "folder"}, "names of keyword arguments"), ({"fields": [5]}, "names of keyword arguments"),
    ({"payload": 5}, "`payload` is a function, not 5"), ({"event_type": 5}, "`event_type` is a text, not 5"),
])
def test_what_could_never_make_an_event_is_refused_at_once(host: PluginHost, bus: Signal, wrong: Any,
                                                           error: str) -> None:
    """A text as `fields` would be its letters, and each send would fail in the log; nothing is connected."""
    with pytest.raises(TypeError, match=error):
        host.connect(bus, **wrong)
    with pytest.raises(TypeError, match="a blinker signal, not 'SyncDone'"):
        host.connect("SyncDone")  # type: ignore[arg-type]
    assert not bus.receivers
