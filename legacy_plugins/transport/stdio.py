"""A byte stream over two pipes, and the reading end that another thread can wake.

A thread blocked in a pipe's `read` is not woken by closing the descriptor, and a grandchild of a dead plugin may hold
the other end open for ever. So to end a reader, its pipe's read end is opened a second time through `/proc/self/fd` for
writing, and one byte is written: the thread wakes, drains what is left without blocking, and closes its own descriptor.
The hot path pays nothing for this. Where reopening does not work (no `/proc`, a changed user, gevent, whose hub a
blocking `os.read` would stop) the same `read()` polls the pipe together with a wake pipe.

`select.poll` is looked up at call time, since gevent replaces it.
"""
from __future__ import annotations

import os
import select
import signal
import stat
import sys
import threading
from typing import Optional, Tuple

from legacy_plugins.transport import descriptors
from legacy_plugins.transport.base import ByteSource, ByteStream, StreamClosed

#: Bytes asked for by one read; larger ones were measured to be slower.
READ_BYTES = 65536
#: How much an interrupted reader still drains, in bytes.
LAST_WORDS_BYTES = 1024 * 1024


def cooperative() -> bool:
    """Whether gevent has replaced the threads, so that nothing may block outside its own functions."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


class PipeReader(ByteSource):
    """The read end of a pipe. Takes over `fd`, which must be entered in `descriptors`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()  # guards _open and the reopening: a closed fd must not be reopened
        self._open = True
        self._interrupted = False
        self._left = LAST_WORDS_BYTES
        self._wake: Optional[Tuple[int, int]] = None
        if cooperative() or not _can_reopen(fd):
            self._wake = descriptors.open_pipe()
            os.set_blocking(fd, False)

    def read(self) -> bytes:
        if not self._open:
            return b""
        if self._interrupted:
            return self._drain()
        data = self._read_blocking() if self._wake is None else self._read_polling()
        if not data and not self._interrupted:
            self._close()
        return data or (self._drain() if self._interrupted else b"")

    def interrupt(self) -> bool:
        with self._lock:
            if not self._open:
                return True
            self._interrupted = True  # first: what the reader sees from here on are last words and perhaps our byte
            try:
                if self._wake is not None:
                    os.write(self._wake[1], b"\n")
                else:
                    _poke(self._fd)
            except OSError:
                return False
            return True

    def _read_blocking(self) -> bytes:
        try:
            return os.read(self._fd, READ_BYTES)
        except OSError:
            return b""

    def _read_polling(self) -> bytes:
        assert self._wake is not None
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        while not self._interrupted:
            poll.poll()
            try:
                return os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                return b""
        return b""

    def _drain(self) -> bytes:
        """The last words: what has arrived already, without waiting, up to a bound."""
        try:
            os.set_blocking(self._fd, False)
            data = os.read(self._fd, READ_BYTES) if self._left > 0 else b""
        except OSError:
            data = b""
        self._left -= len(data)
        if not data:
            self._close()
        return data

    def _close(self) -> None:
        with self._lock:
            if self._open:
                self._open = False
                descriptors.close(self._fd)
                for fd in self._wake or ():
                    descriptors.close(fd)


def _can_reopen(fd: int) -> bool:
    """Whether this pipe's read end can be opened a second time for writing, as waking its reader needs."""
    try:
        os.close(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _poke(fd: int) -> None:
    """Write one byte into the pipe that `fd` reads; when it is full, its reader is not blocked anyway."""
    writer = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(writer, b"\n")
    except BlockingIOError:
        pass
    finally:
        os.close(writer)


class PipeStream(ByteStream):
    """A two-way stream over two pipe ends (or anything else `os.read` and `os.write` work on)."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._reader = PipeReader(read_fd)
        self._write_fd = write_fd
        self._write_open = True
        self._poll_first = not stat.S_ISFIFO(os.fstat(write_fd).st_mode)
        if not self._poll_first:  # on a terminal or a file the flag would leak into other programs
            os.set_blocking(write_fd, False)

    def read(self) -> bytes:
        return self._reader.read()

    def interrupt(self) -> bool:
        return self._reader.interrupt()

    def write(self, data: memoryview) -> int:
        if not self._write_open:
            raise StreamClosed("the stream was closed for writing")
        if self._poll_first and not self.wait_writable(0):
            return 0
        try:
            return os.write(self._write_fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise StreamClosed(str(error)) from None

    def wait_writable(self, timeout: float) -> bool:
        poll = select.poll()
        poll.register(self._write_fd, select.POLLOUT)
        return bool(poll.poll(timeout * 1000))

    def close_write(self) -> None:
        if self._write_open:
            self._write_open = False
            descriptors.close(self._write_fd)


def block_sigpipe() -> None:
    """On a thread that only writes: a dead reader must be an error (EPIPE), never a signal that ends the process."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})


def sigpipe_kills() -> bool:
    """Whether a write to a dead reader from this thread would end the whole process (SIGPIPE at its default)."""
    return hasattr(signal, "SIGPIPE") and signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL
