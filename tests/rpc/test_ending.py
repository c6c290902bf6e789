"""The end of a program: the order of a teardown, the rungs of the ladder, and every step that may fail."""
from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import Any, Callable, Iterator, List, Optional, Tuple

import pytest

from legacy_plugins.errors import PluginCrashed, PluginError
from legacy_plugins.rpc import ending
from legacy_plugins.rpc.connection import Connection
from legacy_plugins.rpc.conversation import ConversationHandler, EndReason
from legacy_plugins.rpc.ending import DRAIN_SECONDS, EXIT_GRACE_SECONDS, ExitWatch, StopLadder, Teardown
from legacy_plugins.rpc.reactor import Reactor, shared_reactor
from legacy_plugins.transport import descriptors
from legacy_plugins.transport.base import ByteSource, ExitStatus, Process
from legacy_plugins.transport.process import KILL
from legacy_plugins.transport.stderr import LogPump
from legacy_plugins.transport.stdio import PipeReader
from tests.plugins.far_end import socket_pair
from tests.plugins.programs import SECONDS, eventually, threads


class Program(Process):
    """A program that does what the test says, and keeps what is done to it."""

    def __init__(self, *, exit_fd: bool = True, capture_stderr: bool = True) -> None:
        self.pid = 4711
        self.stream, self.far = socket_pair()
        self.log_stream: Optional[ByteSource] = None
        if capture_stderr:
            source, self.stderr = descriptors.open_pipe()
            self.log_stream = PipeReader(source)
        self.exit_fd, self._exit_end = descriptors.open_pipe() if exit_fd else (None, -1)
        self.status: Optional[ExitStatus] = None
        self.signals: List[int] = []
        self.mortal = True
        self.released = False

    def exit(self, status: ExitStatus) -> None:
        """It ends."""
        self.status = status
        if self._exit_end >= 0:
            os.write(self._exit_end, b"x")

    def exit_status(self) -> Optional[ExitStatus]:
        return self.status

    def send_signal(self, number: int) -> None:
        assert not self.released
        self.signals.append(number)
        if self.mortal and number == KILL and self.status is None:
            self.exit(ExitStatus(signal=9))

    def release(self) -> None:
        self.released = True

    def close(self) -> None:
        """The operating system forgets it."""
        self.far.close()
        for fd in (self.exit_fd, self._exit_end, getattr(self, "stderr", None)):
            if fd is not None and fd >= 0:
                descriptors.close(fd)


class Owner(ConversationHandler):
    """What the owner of a program does, in short; `order` keeps what happened."""

    def __init__(self, process: Program) -> None:
        self.order: List[Any] = []
        self.process = process
        self.reactor = shared_reactor()
        self.done = threading.Event()
        self.error: Optional[Exception] = None
        self.reason: Optional[EndReason] = None
        self.connection = Connection(process.stream, self, name="ender")
        self.pump: Optional[LogPump] = None
        if process.log_stream is not None:
            self.pump = LogPump(process.log_stream, lambda data: self.order.append(("log", data)), lambda: None,
                                self.on_drained, name="ender")
        self.reactor.post(self._supervise)

    def start(self) -> Owner:
        """Start the threads."""
        if self.pump is not None:
            self.pump.start()
        self.connection.start()
        return self

    def _supervise(self) -> None:
        self.teardown = Teardown(self.reactor, self.process, self.connection, self.pump, conclude=self._conclude,
                                 done=self._done, releasing=lambda: self.order.append(("releasing",
                                                                                       self.process.released)))

    def on_notification(self, notification: Any) -> None:
        self.order.append(notification.method)

    def on_end(self, reason: EndReason) -> None:
        self.order.append("end")
        self.reactor.post(lambda: self.teardown.begin(reason))

    def on_drained(self) -> None:
        self.reactor.post(lambda: self.teardown.progress())

    def on_outcome(self, outcome: Any) -> None:
        self.order.append(outcome.outcome)

    def _conclude(self, status: Optional[ExitStatus], reason: EndReason) -> Callable[[], PluginError]:
        self.order.append(("conclude", str(status)))
        self.reason = reason
        if self.error is not None:
            raise self.error
        return lambda: PluginCrashed(plugin="ender", message="it ended")

    def _done(self) -> None:
        self.order.append("done")
        self.done.set()


@pytest.fixture
def own() -> Iterator[Callable[..., Tuple[Owner, Program]]]:
    """A function that makes programs with owners."""
    made: List[Tuple[Owner, Program]] = []

    def make(*, start: bool = True, **how: Any) -> Tuple[Owner, Program]:
        process = Program(**how)
        owner = Owner(process)
        made.append((owner, process))
        return (owner.start() if start else owner), process
    yield make
    for owner, process in made:
        owner.connection.end(EndReason("the test is over"))
        assert owner.done.wait(SECONDS)
        process.close()
    eventually(lambda: not threads("ender"), f"the threads end: {threads('ender')}")


# ---- teardown


@pytest.mark.fault("P4", "F19")
def test_the_order_of_a_teardown(own: Callable[..., Tuple[Owner, Program]]) -> None:
    """Last words, the owner's report, the callers, the group's end, the release: in this order, each once."""
    owner, process = own()
    call = owner.connection.submit("m")
    process.far.send(method="last words")
    os.write(process.stderr, b"last line\n")
    process.exit(ExitStatus(code=3))
    assert owner.done.wait(SECONDS)
    assert isinstance(call.exception(0), PluginCrashed)
    expected = ["last words", "end", ("conclude", "exit code 3"), "crashed", ("releasing", False), "done"]
    assert [step for step in owner.order if step[0] != "log"] in (
        expected, ["end", "last words", *expected[2:]])  # the exit may be seen before the last words are read
    assert owner.order.index(("log", b"last line\n")) < owner.order.index(("conclude", "exit code 3"))
    assert process.signals == [KILL]
    assert process.released
    assert owner.reason is not None
    assert owner.reason.fault is None


@pytest.mark.fault("P10", "P11", "G2")
def test_pipes_that_are_held_open_delay_nothing(own: Callable[..., Tuple[Owner, Program]]) -> None:
    """Nothing waits for EOF: stdout and stderr stay open, the callers hear of the exit in far less than 250 ms."""
    owner, process = own()
    call = owner.connection.submit("m", None, 60)
    began = time.monotonic()
    process.exit(ExitStatus(code=1))
    assert isinstance(call.exception(SECONDS), PluginCrashed)
    assert time.monotonic() - began < 0.25
    assert owner.done.wait(SECONDS)
    assert ("log", b"\n") not in owner.order


@pytest.mark.fault("P6")
def test_a_program_that_closes_stdout_and_lives_is_ended(own: Callable[..., Tuple[Owner, Program]]) -> None:
    """It gets a moment to exit; then the callers hear, and it is killed."""
    owner, process = own()
    call = owner.connection.submit("m", None, 60)
    began = time.monotonic()
    process.far.socket.shutdown(1)
    assert isinstance(call.exception(SECONDS), PluginCrashed)
    assert EXIT_GRACE_SECONDS * 0.9 < time.monotonic() - began < 0.4
    assert owner.done.wait(SECONDS)
    assert process.signals == [KILL]
    assert ("conclude", "None") in owner.order


def test_a_program_that_exits_a_moment_after_its_stdout_ended(own: Callable[..., Tuple[Owner, Program]]) -> None:
    """EOF comes before the exit status: the report has the status."""
    owner, process = own()
    process.far.socket.shutdown(1)
    eventually(lambda: "end" in owner.order, "the end is seen")
    process.exit(ExitStatus(code=9))
    assert owner.done.wait(SECONDS)
    assert ("conclude", "exit code 9") in owner.order


@pytest.mark.fault("F1")
def test_a_program_that_broke_a_rule_is_killed_at_once(own: Callable[..., Tuple[Owner, Program]]) -> None:
    """Nobody waits for it; the reason is the fault, not the signal."""
    owner, process = own()
    process.far.raw(b"noise\n\n\n")
    assert owner.done.wait(SECONDS)
    assert process.signals[0] == KILL
    assert owner.reason is not None
    assert owner.reason.fault == "protocol error"
    assert ("conclude", "killed by SIGKILL") in owner.order


def test_the_first_reason_counts(own: Callable[..., Tuple[Owner, Program]]) -> None:
    """What is said later, and an exit seen later, change nothing."""
    owner, process = own()
    owner.connection.end(EndReason("unhealthy", "health"))
    with contextlib.suppress(BrokenPipeError):
        process.far.raw(b"noise\n\n\n")
    assert owner.done.wait(SECONDS)
    assert owner.reason == EndReason("unhealthy", "health")
    assert [step for step in owner.order if step == "done" or step[0] == "conclude"] == [
        ("conclude", "killed by SIGKILL"), "done"]


@pytest.mark.fault("H11")
def test_an_owner_that_raises_keeps_no_caller_waiting(own: Callable[..., Tuple[Owner, Program]],
                                                      caplog: pytest.LogCaptureFixture) -> None:
    """A defect in the owner's report is logged; calls fail, the process is given back."""
    owner, process = own()
    owner.error = KeyError("a defect")
    call = owner.connection.submit("m", None, 60)
    process.exit(ExitStatus(code=1))
    assert isinstance(call.exception(SECONDS), PluginCrashed)
    assert owner.done.wait(SECONDS)
    assert process.released
    assert "please report it" in caplog.text


@pytest.mark.fault("P21")
def test_readers_that_cannot_be_woken_are_tried_again(own: Callable[..., Tuple[Owner, Program]],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """With no descriptor left the callers hear in time all the same, and the threads end when there is one again."""
    owner, process = own()
    allowed = threading.Event()
    tries: List[bool] = []
    log_stream = process.log_stream
    assert log_stream is not None
    real = log_stream.interrupt

    def interrupt() -> bool:
        tries.append(allowed.is_set() and real())
        return tries[-1]
    monkeypatch.setattr(log_stream, "interrupt", interrupt)
    call = owner.connection.submit("m", None, 60)
    began = time.monotonic()
    process.exit(ExitStatus(code=1))
    assert isinstance(call.exception(SECONDS), PluginCrashed)
    assert DRAIN_SECONDS * 0.9 < time.monotonic() - began < 0.4
    assert owner.done.wait(SECONDS)
    assert "ender-stderr" in threads("ender")
    allowed.set()
    eventually(lambda: not threads("ender"), "the threads end")
    assert tries[-1]
    assert len(tries) > 1


@pytest.mark.fault("P17")
def test_an_unkillable_program_is_let_go(own: Callable[..., Tuple[Owner, Program]],
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time for dying it is given back, and all is over for its owner."""
    monkeypatch.setattr(ending, "REAP_SECONDS", 0.1)
    owner, process = own()
    process.mortal = False
    owner.connection.end(EndReason("unhealthy", "health"))
    assert owner.done.wait(SECONDS)
    assert process.released
    assert process.status is None


def test_without_a_log_stream(own: Callable[..., Tuple[Owner, Program]]) -> None:
    """A process whose stderr is not ours ends the same way."""
    owner, process = own(capture_stderr=False)
    process.exit(ExitStatus(code=0))
    assert owner.done.wait(SECONDS)
    assert ("conclude", "exit code 0") in owner.order


def test_a_program_that_has_ended_before_it_is_watched(own: Callable[..., Tuple[Owner, Program]]) -> None:
    """An exit before the threads run is seen."""
    owner, process = own(start=False)
    process.exit(ExitStatus(code=5))
    owner.start()
    assert owner.done.wait(SECONDS)
    assert ("conclude", "exit code 5") in owner.order


def test_where_no_descriptor_tells_of_exits(own: Callable[..., Tuple[Owner, Program]]) -> None:
    """The exit is seen by looking, within a few ticks."""
    owner, process = own(exit_fd=False)
    call = owner.connection.submit("m", None, 60)
    began = time.monotonic()
    process.exit(ExitStatus(code=1))
    assert isinstance(call.exception(SECONDS), PluginCrashed)
    assert time.monotonic() - began < 0.4
    assert owner.done.wait(SECONDS)


def test_a_watch_that_was_stopped_tells_nothing() -> None:
    """Neither by descriptor nor by looking."""
    reactor, told = Reactor(), []  # type: ignore[var-annotated]
    for exit_fd in (True, False):
        process = Program(exit_fd=exit_fd, capture_stderr=False)
        stopped = threading.Event()

        def watch(process: Program = process, stopped: threading.Event = stopped) -> None:
            made = ExitWatch(reactor, process, lambda: told.append(process))
            made.stop()
            made.stop()
            stopped.set()
        reactor.post(watch)
        assert stopped.wait(SECONDS)
        process.exit(ExitStatus(code=0))
        ticked = threading.Event()
        reactor.call_later(0.12, ticked.set)
        assert ticked.wait(SECONDS)
        process.close()
        process.stream.close_write()
        process.stream.read()
    assert told == []


# ---- the stop ladder


class Ladder:
    """A ladder on a program, with the times of what is done to it."""

    def __init__(self, grace: float, farewell: bool = False) -> None:
        self.began = time.monotonic()
        self.steps: List[Tuple[str, float]] = []
        self.done: Optional[Callable[[], None]] = None
        self.process: Any = self
        self.changed = threading.Condition()
        self.reactor = shared_reactor()
        made = threading.Event()

        def make() -> None:
            self.ladder = StopLadder(self.reactor, self.process, self.process, grace,
                                     self._farewell if farewell else None)
            made.set()
        self.reactor.post(make)
        assert made.wait(SECONDS)

    def _farewell(self, done: Callable[[], None]) -> None:
        self.note("farewell")
        self.done = done

    def note(self, what: str) -> None:
        """Keep a step and its time."""
        with self.changed:
            self.steps.append((what, time.monotonic() - self.began))
            self.changed.notify_all()

    def close_writing(self, flush: float = 0.5) -> None:
        """As the connection."""
        self.note("EOF")

    def send_signal(self, number: int) -> None:
        """As the process."""
        self.note(signal.Signals(number).name)

    def wait(self, count: int) -> List[str]:
        """The first steps."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.steps) >= count, SECONDS)
        return [what for what, _ in self.steps]


@pytest.mark.fault("P9")
@pytest.mark.req("R15")
def test_the_rungs_of_the_ladder() -> None:
    """EOF at once, SIGTERM after the grace, SIGKILL after half of it again."""
    ladder = Ladder(0.2)
    assert ladder.wait(3) == ["EOF", "SIGTERM", "SIGKILL"]
    times = [seconds for _, seconds in ladder.steps]
    assert times[0] < 0.15
    assert 0.2 <= times[1] < times[2]
    assert 0.3 <= times[2] < 1.0


@pytest.mark.fault("P9")
@pytest.mark.req("R15")
def test_a_farewell_is_the_first_rung() -> None:
    """EOF comes when it was heard, or after half the grace; the rest as ever."""
    silent = Ladder(0.2, farewell=True)
    assert silent.wait(4) == ["farewell", "EOF", "SIGTERM", "SIGKILL"]
    assert 0.1 <= silent.steps[1][1] < 0.2
    polite = Ladder(60.0, farewell=True)
    polite.wait(1)
    assert polite.done is not None
    polite.reactor.post(polite.done)
    assert polite.wait(2) == ["farewell", "EOF"]
    polite.ladder.cancel()


def test_a_cancelled_ladder_does_no_more() -> None:
    """When the program is gone no signal is sent any more."""
    ladder = Ladder(0.05)
    ladder.ladder.cancel()
    later = threading.Event()
    ladder.reactor.call_later(0.15, later.set)
    assert later.wait(SECONDS)
    assert [what for what, _ in ladder.steps] == ["EOF"]

