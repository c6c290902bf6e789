"""A byte stream over two pipes, and the reading end that another thread can wake.

A thread blocked in a pipe's `read` is not woken by closing the descriptor, and a grandchild of a dead plugin may hold
the other end open for ever. So to end a reader, its pipe's read end is opened a second time through `/proc/self/fd` for
writing, and one byte is written: the thread wakes, drains what is left without blocking, and closes its own descriptor.
The hot path pays nothing for this. Where reopening does not work (no `/proc`, a changed user, gevent, whose hub a
blocking `os.read` would stop) the same `read()` polls the pipe together with a wake pipe.

`select.poll` is looked up at call time, since gevent replaces it. gevent's greenlets live on in a forked child, where
the descriptors are closed and their numbers may be anything's: so nothing here touches one in another process.
"""
from __future__ import annotations

import os
import select
import signal
import stat
import threading
from typing import Any, Optional, Tuple

from legacy_plugins.transport import descriptors
from legacy_plugins.transport.base import ByteSource, ByteStream, StreamClosed
from legacy_plugins.transport.greenlets import cooperative

#: Bytes asked for by one read; larger ones were measured to be slower.
READ_BYTES = 65536
#: How much an interrupted reader still drains, in bytes.
LAST_WORDS_BYTES = 1024 * 1024
_POKE = b"\n"


class PipeReader(ByteSource):
    """The read end of a pipe, or anything else `os.read` works on. Takes over `fd`, which is entered in `descriptors`.

    Raises `OSError`, with `fd` still the caller's, when no descriptor is left for a wake pipe.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._owner = os.getpid()
        self._lock = threading.Lock()  # guards _open, _woken, _poked, and that no closed descriptor is reopened
        self._open = True
        self._interrupted = False
        self._woken = False
        self._poked = False  # a byte of ours stands in the pipe
        self._wake: Optional[Tuple[int, int]] = None
        self._poll: Any = None
        self._is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
        if cooperative() or not self._is_pipe or not _can_reopen(fd):
            self._wake = descriptors.open_pipe()
            if self._is_pipe:  # on a terminal or a file the flag would leak into other programs
                os.set_blocking(fd, False)

    def read(self) -> bytes:
        if not self._open or self._owner != os.getpid():
            return b""
        data = b""
        if not self._interrupted:
            data = self._read_blocking() if self._wake is None else self._read_polling(self._wake[0])
        if self._interrupted:
            return self._last_words(data)
        if not data:
            self._close()
        return data

    def interrupt(self) -> bool:
        with self._lock:
            if not self._open or self._woken or self._owner != os.getpid():
                return True
            self._interrupted = True  # first: what the reader sees from here on are last words and perhaps our byte
            try:
                if self._wake is not None:
                    os.write(self._wake[1], _POKE)
                else:
                    self._poked = _poke(self._fd)
            except OSError:
                return False
            self._woken = True
            return True

    def _read_blocking(self) -> bytes:
        try:
            return os.read(self._fd, READ_BYTES)
        except OSError:
            return b""

    def _read_polling(self, wake: int) -> bytes:
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLIN)
            self._poll.register(wake, select.POLLIN)
        while True:
            self._poll.poll()
            if self._interrupted or self._owner != os.getpid():
                return b""
            try:
                return os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                return b""

    def _last_words(self, data: bytes) -> bytes:
        """After `data`, what else has arrived already, up to a bound and without our own byte; closes."""
        with self._lock:  # whoever interrupts us is done with it
            self._woken = True
        pieces, left = [data], LAST_WORDS_BYTES
        while left > 0 and self._owner == os.getpid():
            data = self._read_now()
            if not data:
                break
            pieces.append(data)
            left -= len(data)
        self._close()
        words = b"".join(pieces)
        ours_is_last = self._poked and left > 0
        return words[:-len(_POKE)] if ours_is_last and words.endswith(_POKE) else words

    def _read_now(self) -> bytes:
        """What can be read without waiting."""
        try:
            if self._is_pipe:
                os.set_blocking(self._fd, False)
            elif not _readable(self._fd):
                return b""
            return os.read(self._fd, READ_BYTES)
        except OSError:
            return b""

    def _close(self) -> None:
        with self._lock:
            if self._open and self._owner == os.getpid():
                self._open = False
                descriptors.close(self._fd)
                for fd in self._wake or ():
                    descriptors.close(fd)


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _can_reopen(fd: int) -> bool:
    """Whether this pipe's read end can be opened a second time for writing, as waking its reader needs."""
    with descriptors.lock():  # no forked child may keep a writing end: the reader would never see the pipe's end
        try:
            os.close(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True


def _poke(fd: int) -> bool:
    """Write our byte into the pipe that `fd` reads; False when it is full, and its reader not blocked anyway."""
    with descriptors.lock():
        writer = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            return os.write(writer, _POKE) > 0
        except BlockingIOError:
            return False
        finally:
            os.close(writer)


class PipeStream(ByteStream):
    """A two-way stream over two pipe ends (or anything else `os.read` and `os.write` work on).

    Both are entered in `descriptors`; raises as `PipeReader` does.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._reader = PipeReader(read_fd)
        self._owner = os.getpid()
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
        if not self._write_open or self._owner != os.getpid():
            raise StreamClosed("the stream was closed for writing")
        if self._poll_first:
            if not self.wait_writable(0):
                return 0
            data = data[:select.PIPE_BUF]  # more might block, where the flag is not set
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
        if self._write_open and self._owner == os.getpid():
            self._write_open = False
            descriptors.close(self._write_fd)


def block_sigpipe() -> None:
    """On a thread that only writes: a dead reader must be an error (EPIPE), never a signal that ends the process."""
    if cooperative() and not sigpipe_kills():
        return  # a greenlet's mask is that of the whole thread, and of the programs that it starts
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})


def sigpipe_kills() -> bool:
    """Whether a write to a dead reader from this thread would end the whole process (SIGPIPE at its default)."""
    return hasattr(signal, "SIGPIPE") and signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL
