"""The log pump drains to the end, whatever its sink does, and says so in order."""
from __future__ import annotations

import os
import threading
from typing import Any, List

import pytest

from legacy_plugins.transport import descriptors
from legacy_plugins.transport.stderr import LogPump
from legacy_plugins.transport.stdio import PipeReader
from tests.plugins.programs import SECONDS, eventually, threads


def _pump(sink: Sink) -> int:
    """A pump that runs; the end to write to."""
    source, writer = descriptors.open_pipe()
    sink.pump = LogPump(PipeReader(source), sink, sink.finish, sink.end, name="logtest")
    sink.pump.start()
    return writer


class Sink:
    """Keeps what comes, and what is told at the end."""

    def __init__(self, error: bool = False) -> None:
        self.pump: LogPump
        self.data: List[bytes] = []
        self.told: List[object] = []
        self.done = threading.Event()
        self._error = error

    def __call__(self, data: bytes) -> None:
        self.data.append(data)
        if self._error:
            raise ValueError("a log handler's trouble")

    def finish(self) -> None:
        """The first that is told at the end."""
        self.told.append(("finish", self.pump.ended.is_set()))
        if self._error:
            raise KeyError("an incomplete line")

    def end(self) -> None:
        """The last."""
        self.told.append(("end", self.pump.ended.is_set()))
        self.done.set()


@pytest.mark.fault("L8")
@pytest.mark.req("R24")
def test_everything_is_drained_and_the_end_told_in_order() -> None:
    """The sink gets all bytes; then `finish`, then `ended` is set, then `on_end` is called; the thread ends."""
    sink = Sink()
    writer = _pump(sink)
    os.write(writer, b"one\n")
    os.write(writer, b"two")
    descriptors.close(writer)
    assert sink.done.wait(SECONDS)
    assert b"".join(sink.data) == b"one\ntwo"
    assert sink.told == [("finish", False), ("end", True)]
    eventually(lambda: not threads("logtest"), "the thread ends")


@pytest.mark.fault("L7")
def test_a_sink_that_raises_loses_its_bytes_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pump reads on when the sink raises, and tells the end even when `finish` raises."""
    reported: List[Any] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)
    sink = Sink(error=True)
    writer = _pump(sink)
    for number in range(3):
        os.write(writer, b"%d" % number)
        eventually(lambda: len(b"".join(sink.data)) > number, "the byte is read")  # noqa: B023
    descriptors.close(writer)
    assert sink.done.wait(SECONDS)
    assert sink.pump.ended.is_set()
    assert b"".join(sink.data) == b"012"
    eventually(lambda: reported, "the error of `finish` is reported")


@pytest.mark.fault("P11")
def test_a_pump_ends_while_the_pipe_is_held_open() -> None:
    """`interrupt` ends it with what has arrived, and adds nothing to that."""
    sink = Sink()
    writer = _pump(sink)
    os.write(writer, b"last line\n")
    eventually(lambda: sink.data, "the line is read")
    assert sink.pump._source.interrupt()
    assert sink.done.wait(SECONDS)
    assert b"".join(sink.data) == b"last line\n"
    descriptors.close(writer)


@pytest.mark.fault("P21")
def test_a_pump_without_a_thread_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no thread can be started, `start` raises and the source is closed."""
    source, writer = descriptors.open_pipe()
    sink = Sink()
    sink.pump = LogPump(PipeReader(source), sink, sink.finish, sink.end, name="logtest")
    monkeypatch.setattr(sink.pump._thread, "start", _no_thread)
    with pytest.raises(RuntimeError, match="no thread"):
        sink.pump.start()
    assert sink.pump.ended.is_set()
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(source)
    descriptors.close(writer)


def _no_thread() -> None:
    raise RuntimeError("no thread is left")
