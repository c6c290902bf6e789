"""Signals and log records leave on the dispatch thread, whatever their receivers do."""
from __future__ import annotations

import logging
import threading
from typing import Any, Dict, Iterator, List

import pytest
from blinker import Signal

from legacy_plugins.host.notices import Notices
from legacy_plugins.rpc.dispatcher import Dispatcher

from .conftest import LogBook


class Stage:
    """A dispatcher whose thread can be held up, and notices that go through it."""

    def __init__(self, max_offers: int) -> None:
        self.dispatcher = Dispatcher(max_offers)
        self.notices = Notices("the host", self.dispatcher)
        self.signal = Signal("made up")
        self.free = threading.Event()

    def hold(self) -> None:
        """Nothing is handed out until `free`."""
        begun = threading.Event()
        self.dispatcher.post(lambda: (begun.set(), self.free.wait(20)))
        assert begun.wait(20)  # from here on it takes no place in the queue

    def finish(self) -> None:
        """Everything is handed out."""
        self.free.set()
        assert self.dispatcher.flush(20)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage with room for three."""
    made = Stage(3)
    yield made
    made.finish()


@pytest.mark.req("D6")
def test_receivers_run_on_the_dispatch_thread_with_all_facts(stage: Stage) -> None:
    """A receiver gets the sender, `plugin=` and the facts, on a thread of the library."""
    heard: List[Any] = []
    ident: List[int] = []

    @stage.signal.connect
    def receive(sender: Any, plugin: str, **facts: Any) -> None:
        ident.append(threading.get_ident())
        heard.append((sender, plugin, facts))
    stage.notices.announce(stage.signal, "a", x=1)
    stage.finish()
    assert heard == [("the host", "a", {"x": 1})]
    assert ident != [threading.get_ident()]


def test_a_receiver_that_raises_hurts_nobody_else(stage: Stage, log: LogBook) -> None:
    """The others run, and later notices come; what was raised is logged, even `SystemExit`."""
    heard: List[Any] = []
    failures: Dict[Any, BaseException] = {1: ValueError("boom"), 2: SystemExit("enough")}

    def fail(sender: Any, x: int, **_: Any) -> None:
        if x in failures:
            raise failures[x]

    def receive(sender: Any, x: int, **_: Any) -> None:
        heard.append(x)
    for receiver in (fail, receive):
        stage.signal.connect(receiver, weak=False)
    for x in (1, 2, 3):
        stage.notices.announce(stage.signal, "a", x=x)
    stage.finish()
    assert heard == [1, 2, 3]
    assert len(log.containing("a receiver of")) == 2


def test_nothing_is_queued_where_nobody_listens(stage: Stage) -> None:
    """A signal without receivers takes no place in the dispatch queue."""
    stage.hold()
    for _ in range(10):
        stage.notices.announce(stage.signal, "a")
    assert stage.notices.dropped == 0


@pytest.mark.fault("B11")
def test_too_many_notices_are_dropped_counted_and_told(stage: Stage, log: LogBook) -> None:
    """Slow receivers lose what is over the bound; the log says how much once there is room again."""
    heard: List[int] = []

    @stage.signal.connect
    def receive(sender: Any, x: int, **_: Any) -> None:
        heard.append(x)
    stage.hold()
    for x in range(10):
        stage.notices.announce(stage.signal, "a", x=x)
    assert stage.notices.dropped == 7
    stage.finish()
    assert heard == [0, 1, 2]
    assert "7 notices were dropped" in log.wait("dropped").getMessage()
    for x in range(10, 13):
        stage.notices.announce(stage.signal, "a", x=x)
    stage.finish()
    assert heard == [0, 1, 2, 10, 11, 12]


@pytest.mark.fault("L7")
def test_log_handlers_run_on_the_dispatch_thread(stage: Stage, log: LogBook) -> None:
    """A record about a plugin is made and handled there, with `plugin` and `pid` and the traceback of an error."""
    error = ValueError("boom")
    stage.notices.log(logging.WARNING, "%s of %d", "three", 4, plugin="a", pid=7, error=error)
    stage.finish()
    record = log.wait("three of 4")
    assert (record.levelno, record.plugin, record.pid) == (logging.WARNING, "a", 7)  # type: ignore[attr-defined]
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert record.thread != threading.get_ident()


def test_the_alarm_is_both_logged_and_sent(stage: Stage, log: LogBook) -> None:
    """An alarm is an ERROR record and the `plugin_unavailable` signal."""
    stage.notices.alarm("a", "it is gone", ValueError("gone"))
    stage.finish()
    assert log.wait("'a' is unavailable: it is gone").levelno == logging.ERROR


def test_one_record_is_one_line(stage: Stage, log: LogBook) -> None:
    """Whatever a plugin was quoted with: line ends and terminal sequences are visible, a harmless record keeps its
    template and arguments."""
    stage.notices.log(logging.INFO, "it said %s", "bad\n2026 INFO forged \x1b[2J", plugin="a")
    stage.notices.log(logging.INFO, "it said %s and %d", "good", 7, plugin="a")
    stage.finish()
    assert log.wait("it said bad").getMessage() == "it said bad\\n2026 INFO forged \\x1b[2J"
    assert log.wait("it said good").args == ("good", 7)
