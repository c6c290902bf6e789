"""What happens to a plugin becomes counters, signals, and few log lines."""
from __future__ import annotations

import logging
from typing import Any, Iterator, List

import pytest

from legacy_plugins.host import reports as reports_module
from legacy_plugins.host.events import encode_event
from legacy_plugins.host.notices import Notices
from legacy_plugins.host.reports import PluginReports
from legacy_plugins.host.status import PluginCounters
from legacy_plugins.rpc.calls import ANSWERED, CallOutcome
from legacy_plugins.rpc.dispatcher import Dispatcher

from .conftest import LogBook, Recorder

EVENT = encode_event("Sync", 1, None)


class Stage:
    """Reports about a plugin `a` through a dispatcher of their own."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher(100)
        self.counters = PluginCounters()
        self.reports = PluginReports("a", self.counters, Notices("the host", self.dispatcher), self.dispatcher)

    def finish(self) -> None:
        """Everything is handed out."""
        assert self.dispatcher.flush(20)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Reports with nothing reported yet."""
    made = Stage()
    yield made
    made.finish()


@pytest.mark.req("R42")
def test_calls_are_counted_and_announced(stage: Stage, heard: Recorder) -> None:
    """An ended call is counted by outcome, timed, and sent as `request_finished`."""
    stage.reports.call_ended(CallOutcome("x", ANSWERED, 0.25))
    stage.finish()
    assert heard.of("request_finished", "a") == [{"method": "x", "outcome": "answered", "duration": 0.25}]
    assert stage.counters.calls()["answered"] == 1
    assert stage.counters.latency() == {"p50": 250.0, "p95": 250.0}


@pytest.mark.req("R38")
@pytest.mark.fault("E2")
def test_a_storm_of_dropped_events_makes_few_lines(stage: Stage, heard: Recorder, log: LogBook,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Each drop is counted and announced; the log tells the first, and later all others together."""
    clock: List[float] = [1000.0]
    monkeypatch.setattr(reports_module, "time", type("Time", (), {"monotonic": staticmethod(lambda: clock[0])}))
    for _ in range(10):
        stage.reports.event("dropped", EVENT, "its queue is full")
    clock[0] += reports_module.WARN_SECONDS
    stage.reports.event("dropped", EVENT, "its queue is full")
    stage.finish()
    assert len(heard.of("event_dropped", "a")) == 11
    assert stage.counters.events()["dropped"] == 11
    lines = [record.getMessage() for record in log.containing("dropped")]
    assert lines == ["1 event(s) dropped for plugin 'a', the last one 'Sync': its queue is full",
                     "10 event(s) dropped for plugin 'a', the last one 'Sync': its queue is full"]


def test_each_kind_of_trouble_is_told_for_itself(stage: Stage, log: LogBook) -> None:
    """A warning of one kind does not silence the first one of another."""
    stage.reports.event("dropped", EVENT, "its queue is full")
    stage.reports.fault("it is no object", "b'[]'", 7)
    stage.reports.not_published("Secret", "events.publish allows []")
    stage.reports.call_refused("host/eval", "allowReverseRpc is false")
    stage.finish()
    texts = [record.getMessage() for record in log.records]
    assert [text.split("'a'")[0] for text in texts] == [
        "1 event(s) dropped for plugin ", "1 message(s) of plugin ", "1 event(s) published by plugin ",
        "1 call(s) of plugin "]
    assert stage.counters.faults == 1


def test_acknowledged_and_published_events_are_announced(stage: Stage, heard: Recorder) -> None:
    """What the plugin confirms and publishes comes out as signals."""
    stage.reports.event("acknowledged", EVENT, "")
    stage.reports.published("Built", {"x": 1}, {"y": 2})
    stage.finish()
    assert heard.of("event_acknowledged", "a") == [{"event_id": EVENT.event_id}]
    assert heard.of("plugin_event", "a") == [{"event_type": "Built", "payload": {"x": 1}, "metadata": {"y": 2}}]


@pytest.mark.req("R24")
def test_a_log_line_is_a_record_and_a_signal(stage: Stage, heard: Recorder, log: LogBook) -> None:
    """A line of stderr reaches the plugin's own logger with `plugin` and `pid`, and `plugin_log`."""
    stage.reports.log_line(logging.ERROR, "the disk is full", 7)
    stage.finish()
    record: Any = log.wait("the disk is full")
    assert (record.name, record.levelname, record.plugin, record.pid) == ("legacy_plugins.plugin.a", "ERROR", "a", 7)
    assert heard.of("plugin_log", "a") == [{"level": logging.ERROR, "message": "the disk is full", "pid": 7}]


def test_a_log_line_that_finds_no_room_is_refused(stage: Stage) -> None:
    """The line's log is told, which counts it as suppressed."""
    small = PluginReports("a", stage.counters, Notices("the host", stage.dispatcher), Dispatcher(0))
    with pytest.raises(OverflowError):
        small.log_line(logging.INFO, "x", 7)
