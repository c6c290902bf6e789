"""A byte stream between two threads keeps the contract of the pipes."""
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from legacy_plugins.testing.memory import CAPACITY, MemoryProcess, MemoryStream, memory_pair
from legacy_plugins.transport.base import ExitStatus, StreamClosed


def write_all(stream: MemoryStream, data: bytes) -> None:
    """As a writer thread does."""
    left = memoryview(data)
    while left:
        assert stream.wait_writable(20)
        left = left[stream.write(left):]
    stream.close_write()


def read_all(stream: MemoryStream) -> bytes:
    """As a reader thread does."""
    pieces = []
    while True:
        data = stream.read()
        if not data:
            return b"".join(pieces)
        pieces.append(data)


def test_what_one_end_writes_the_other_reads() -> None:
    """Bytes arrive in both directions, and each direction ends by itself."""
    one, other = memory_pair()
    assert one.write(memoryview(b"there")) == 5
    assert other.write(memoryview(b"and back")) == 8
    one.close_write()
    assert other.read() == b"there"
    assert other.read() == b""
    assert one.read() == b"and back"


def test_a_direction_is_bounded_like_a_pipe() -> None:
    """A full stream takes nothing, never blocks, and has room again once it was read."""
    one, other = memory_pair()
    assert one.write(memoryview(b"x" * (CAPACITY + 10))) == CAPACITY
    assert one.write(memoryview(b"x")) == 0
    assert not one.wait_writable(0.01)
    assert len(other.read()) == CAPACITY
    assert one.wait_writable(0)


def test_more_than_it_holds_passes_through_it() -> None:
    """Writer and reader wake each other until everything has passed, in order."""
    one, other = memory_pair()
    data = bytes(range(256)) * 2000
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write_all, one, data)
        assert read_all(other) == data
        written.result(20)


def test_an_interrupted_reader_gets_the_last_words() -> None:
    """`interrupt` wakes a blocked reader; what has arrived is delivered first."""
    one, other = memory_pair()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_all, other)
        assert other.interrupt()
        assert reading.result(20) == b""
    one, other = memory_pair()
    one.write(memoryview(b"last words"))
    assert other.interrupt()
    assert other.interrupt()
    assert read_all(other) == b"last words"


def test_nobody_reads_any_more() -> None:
    """After the reader has seen the end, writing fails as into a closed pipe, and nobody waits for room."""
    one, other = memory_pair()
    other.interrupt()
    assert other.read() == b""
    with pytest.raises(StreamClosed):
        one.write(memoryview(b"x"))
    assert one.wait_writable(0)


def test_a_closed_direction_takes_nothing() -> None:
    """Writing after `close_write` is an error; closing twice is none."""
    one, _ = memory_pair()
    one.close_write()
    one.close_write()
    with pytest.raises(StreamClosed):
        one.write(memoryview(b"x"))


def test_a_process_of_memory_ends_once() -> None:
    """The first status counts; a signal ends what still runs."""
    process = MemoryProcess(memory_pair()[0])
    assert process.exit_status() is None
    process.send_signal(9)
    process.end(ExitStatus(code=0))
    assert process.exit_status() == ExitStatus(signal=9)
    assert (process.pid, process.exit_fd, process.log_stream) == (None, None, None)
    process.release()


def test_closing_wakes_a_reader() -> None:
    """EOF reaches a reader that is blocked."""
    one, other = memory_pair()
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (read_all(other), ended.set()))
    thread.start()
    one.close_write()
    assert ended.wait(20)
    thread.join(20)
