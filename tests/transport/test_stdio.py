"""Pipes as a byte stream: a reader that can be woken, last words, writing that never blocks."""
from __future__ import annotations

import errno
import fcntl
import os
import pty
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Tuple

import pytest

from legacy_plugins.transport import descriptors, stdio
from legacy_plugins.transport.base import StreamClosed
from legacy_plugins.transport.stdio import READ_BYTES, PipeReader, PipeStream
from tests.plugins.programs import ROOT, SECONDS, eventually

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the test looks at /proc")


class Pipe:
    """A pipe whose read end a PipeReader has; `polling`: the reader must do without `/proc`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, polling: bool) -> None:
        if polling:
            monkeypatch.setattr(stdio, "_can_reopen", lambda fd: False)
        self.read_fd, self.write_fd = descriptors.open_pipe()
        self.reader = PipeReader(self.read_fd)
        self.heard: List[bytes] = []
        self._thread: Optional[threading.Thread] = None

    def listen(self) -> threading.Thread:
        """Read on a thread until the end."""
        def run() -> None:
            while True:
                data = self.reader.read()
                self.heard.append(data)
                if not data:
                    return
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        return self._thread

    def ended(self) -> bytes:
        """What was heard, once the thread has ended."""
        assert self._thread is not None
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        return b"".join(self.heard)

    def close(self) -> None:
        """Give back what a test has left."""
        descriptors.close(self.write_fd)
        self.reader.interrupt()
        while self.reader.read():
            pass


@pytest.fixture(params=["reopening", "polling"])
def pipe(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    """A pipe in each of the two ways to wake its reader."""
    made = Pipe(monkeypatch, polling=request.param == "polling")
    yield made
    made.close()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _waits_in_kernel(thread: threading.Thread) -> bool:
    """Whether a thread sleeps in a system call that waits for the pipe."""
    where = Path(f"/proc/self/task/{thread.native_id}/wchan").read_text()  # type: ignore[attr-defined, unused-ignore]
    state = Path(f"/proc/self/task/{thread.native_id}/stat").read_text()  # type: ignore[attr-defined, unused-ignore]
    return state.rsplit(")", 1)[1].split()[0] == "S" and ("futex" not in where)


@pytest.mark.req("R6", "R11")
def test_bytes_come_as_they_arrive(pipe: Pipe) -> None:
    """Each read gives what is there; b"" comes at the end, the descriptor is closed then, and b"" comes again."""
    os.write(pipe.write_fd, b"one")
    assert pipe.reader.read() == b"one"
    os.write(pipe.write_fd, b"two")
    descriptors.close(pipe.write_fd)
    assert pipe.reader.read() == b"two"
    assert pipe.reader.read() == b""
    assert not _is_open(pipe.read_fd)
    assert pipe.reader.read() == b""
    assert pipe.reader.interrupt()


@LINUX
def test_no_more_than_a_bound_is_read_at_once(pipe: Pipe) -> None:
    """One read takes at most 64 KiB."""
    fcntl.fcntl(pipe.write_fd, 1031, 4 * READ_BYTES)  # F_SETPIPE_SZ
    os.write(pipe.write_fd, b"x" * (2 * READ_BYTES))
    assert len(pipe.reader.read()) == READ_BYTES


@LINUX
@pytest.mark.fault("P10", "P11", "B6")
def test_a_blocked_reader_is_woken_while_the_pipe_is_held(pipe: Pipe) -> None:
    """`interrupt` ends a reader that blocks, though somebody holds the writing end; nothing is added to the stream."""
    thread = pipe.listen()
    eventually(lambda: _waits_in_kernel(thread), "the reader blocks")
    assert pipe.reader.interrupt()
    assert pipe.ended() == b""
    assert not _is_open(pipe.read_fd)
    assert _is_open(pipe.write_fd)


@pytest.mark.fault("F19", "P11")
def test_last_words_are_complete(pipe: Pipe) -> None:
    """What had arrived before the interruption is read to its last byte, and nothing else."""
    words = b"a line\n" * 8000 + b"\n"
    os.write(pipe.write_fd, words)
    assert pipe.reader.interrupt()
    assert pipe.reader.interrupt()  # a second time changes nothing
    pipe.listen()
    assert pipe.ended() == words
    assert pipe.reader.interrupt()


@pytest.mark.fault("F19")
def test_last_words_of_a_full_pipe(pipe: Pipe) -> None:
    """A pipe that is full to its last byte is drained too: its reader was not blocked, and needs no waking."""
    os.set_blocking(pipe.write_fd, False)
    written = os.write(pipe.write_fd, b"\n" * 2 ** 20)
    assert pipe.reader.interrupt()
    pipe.listen()
    assert len(pipe.ended()) == written


@pytest.mark.fault("P11", "X9")
def test_last_words_have_a_bound(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that writes on and on cannot keep an interrupted reader: it stops after a number of bytes."""
    assert stdio.LAST_WORDS_BYTES == 1024 * 1024
    monkeypatch.setattr(stdio, "LAST_WORDS_BYTES", 4096)
    monkeypatch.setattr(stdio, "READ_BYTES", 1024)
    os.write(pipe.write_fd, b"\n" * 65536)
    assert pipe.reader.interrupt()
    pipe.listen()
    assert len(pipe.ended()) == 4096


@LINUX
@pytest.mark.fault("P11")
def test_interrupting_races_with_reading_and_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interruptions from two threads, bytes and EOF in any order: every byte once, no hang, no descriptor left."""
    before = set(os.listdir("/proc/self/fd"))
    for number in range(150):
        pipe = Pipe(monkeypatch, polling=False)
        pipe.listen()
        steps: List[Callable[[], Any]] = [lambda p=pipe: os.write(p.write_fd, b"words\n"),  # type: ignore[misc]
                                          pipe.reader.interrupt, pipe.reader.interrupt,
                                          lambda p=pipe: descriptors.close(p.write_fd)]  # type: ignore[misc]
        order = [0, *([1, 2, 3] if number % 3 == 0 else [3, 1, 2] if number % 3 == 1 else [1, 3, 2])]
        others = [threading.Thread(target=steps[index]) for index in order[1:]]
        steps[0]()
        for other in others:
            other.start()
        for other in others:
            other.join(SECONDS)
        assert pipe.ended() == b"words\n", number
    assert set(os.listdir("/proc/self/fd")) == before


@LINUX
@pytest.mark.fault("P21")
def test_without_a_descriptor_a_reader_cannot_be_woken_but_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """`interrupt` says False while no descriptor is left, and works when it is called again."""
    pipe = Pipe(monkeypatch, polling=False)
    thread = pipe.listen()
    eventually(lambda: _waits_in_kernel(thread), "the reader blocks")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        assert not pipe.reader.interrupt()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert thread.is_alive()
    assert pipe.reader.interrupt()
    assert pipe.ended() == b""
    pipe.close()


@LINUX
@pytest.mark.fault("P21")
def test_a_reader_that_cannot_be_made_leaves_its_descriptor() -> None:
    """Without a descriptor for the wake pipe the constructor raises, and the pipe stays the caller's."""
    ends = descriptors.open_pipe()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="open files") as caught:
            PipeReader(ends[0])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.errno == errno.EMFILE
    for fd in ends:
        assert _is_open(fd)
        descriptors.close(fd)


@pytest.mark.parametrize("make", ["file", "terminal", "socket"])
def test_what_is_no_pipe_is_read_and_left_as_it_is(make: str, tmp_path: Path) -> None:
    """A plugin may be run by hand, with a file, a terminal or a socket as stdin: no flag changes, none is written."""
    path = tmp_path / "in"
    path.write_bytes(b"words\n")
    if make == "file":
        fd, other = os.open(path, os.O_RDWR), -1
    elif make == "terminal":
        other, fd = pty.openpty()
        os.write(other, b"words\n")
    else:
        pair = socket.socketpair()
        fd, other = (end.detach() for end in pair)
        os.write(other, b"words\n")
    reader = PipeReader(descriptors.enter(fd))
    keeper = os.dup(fd)
    assert reader.read() == b"words\n"
    assert reader.interrupt()
    assert reader.read() == b""
    assert os.get_blocking(keeper)
    os.lseek(keeper, 0, os.SEEK_SET) if make == "file" else None
    assert path.read_bytes() == b"words\n"
    for left in (keeper, other):
        if left >= 0:
            os.close(left)


# ---- the stream


@pytest.fixture
def stream() -> Iterator[Tuple[PipeStream, int, int]]:
    """A stream, the end that it reads from and the end that it writes to."""
    incoming, far_out = descriptors.open_pipe()
    far_in, outgoing = descriptors.open_pipe()
    made = PipeStream(incoming, outgoing)
    yield made, far_out, far_in
    made.close_write()
    descriptors.close(far_out)
    descriptors.close(far_in)
    made.interrupt()
    while made.read():
        pass


def test_both_ways(stream: Tuple[PipeStream, int, int]) -> None:
    """What is written comes out at the far end, and the other way round; `close_write` is the far end's EOF."""
    made, far_out, far_in = stream
    assert made.write(memoryview(b"there")) == 5
    os.write(far_out, b"and back")
    assert (os.read(far_in, 10), made.read()) == (b"there", b"and back")
    made.close_write()
    made.close_write()
    assert os.read(far_in, 10) == b""
    with pytest.raises(StreamClosed, match="closed for writing"):
        made.write(memoryview(b"more"))


@LINUX
@pytest.mark.fault("B1", "B7")
@pytest.mark.parametrize("capacity", [4096, 65536])
def test_writing_never_blocks(stream: Tuple[PipeStream, int, int], capacity: int) -> None:
    """What a pipe of any capacity does not take is left; 0 when it is full; `wait_writable` says when there is room."""
    made, _, far_in = stream
    fcntl.fcntl(far_in, 1031, capacity)  # F_SETPIPE_SZ
    data = memoryview(bytes(3 * capacity))
    assert made.wait_writable(0)
    assert made.write(data) == capacity
    assert made.write(data) == 0
    assert not made.wait_writable(0.01)
    os.read(far_in, capacity)
    assert made.wait_writable(SECONDS)
    assert made.write(data) == capacity


@pytest.mark.fault("P7")
def test_a_dead_reader_is_an_error(stream: Tuple[PipeStream, int, int]) -> None:
    """Writing to a pipe whose reader is gone raises; waiting for room does not hang."""
    made, _, far_in = stream
    descriptors.close(far_in)
    assert made.wait_writable(SECONDS)
    with pytest.raises(StreamClosed, match="Broken pipe"):
        made.write(memoryview(b"x"))


def test_a_stream_over_sockets_does_not_block_either() -> None:
    """Where the non-blocking flag is not set, since others may share it, writing stops all the same."""
    ours, far = socket.socketpair()
    fd = ours.detach()
    stream = PipeStream(descriptors.enter(os.dup(fd)), descriptors.enter(fd))
    assert os.get_blocking(fd)
    done: List[int] = []

    def fill() -> None:
        data = memoryview(bytes(2 ** 20))
        while True:
            taken = stream.write(data)
            if not taken:
                return
            done.append(taken)
    filler = threading.Thread(target=fill, daemon=True)
    filler.start()
    filler.join(SECONDS)
    assert not filler.is_alive()
    assert sum(done) > 4096
    assert max(done) <= select.PIPE_BUF
    stream.close_write()
    far.close()
    assert stream.read() == b""


SIGPIPE_SCRIPT = """
import os, signal, sys
sys.path.insert(0, {root!r})
from legacy_plugins.transport import descriptors
from legacy_plugins.transport.base import StreamClosed
from legacy_plugins.transport.stdio import PipeStream, block_sigpipe, sigpipe_kills
assert not sigpipe_kills()
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
assert sigpipe_kills()
block_sigpipe()
(i, _), (far, o) = descriptors.open_pipe(), descriptors.open_pipe()
os.close(far)
try:
    PipeStream(i, o).write(memoryview(b"x"))
except StreamClosed as error:
    print(error)
"""


@pytest.mark.fault("P7")
def test_a_host_with_deadly_sigpipe_survives() -> None:
    """On a thread that blocks SIGPIPE a dead reader is an error even where the host has restored the default."""
    done = subprocess.run([sys.executable, "-c", SIGPIPE_SCRIPT.format(root=str(ROOT))], capture_output=True,
                          text=True, timeout=SECONDS, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("[Errno 32] Broken pipe\n", "", 0)
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN  # here, that is
