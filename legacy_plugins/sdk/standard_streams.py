"""Descriptors 0 and 1: the plugin's line to its host, taken away from everything else in the process.

Whatever writes to stdout, be it `print`, a C library or a child process, would break the framing, and the host would
end the plugin. So the pipes move to private descriptors that no child inherits; descriptor 1 becomes a second stderr,
which the host logs, and descriptor 0 reads as empty. Called once, on the main thread, before any handler runs.
"""
from __future__ import annotations

import os
import select
import sys
from typing import Any

from legacy_plugins.transport import descriptors
from legacy_plugins.transport.base import ByteStream, StreamClosed
from legacy_plugins.transport.stdio import READ_BYTES, PipeStream


def claim() -> ByteStream:
    """Take the pipes over; raises `RuntimeError` where stdin or stdout is closed."""
    with descriptors.lock():  # a child that is forked in between has either the old descriptors or the new ones
        try:
            line_in, line_out = _private(0), _private(1)
        except OSError as error:
            raise RuntimeError(f"stdin or stdout is closed ({error.strerror}); a plugin is started by its host, which "
                               "talks to it over both") from None
        descriptors.enter(line_in)
        descriptors.enter(line_out)
        _redirect(os.open(os.devnull, os.O_RDONLY), 0)
        if sys.__stderr__ is not None:
            os.dup2(2, 1)
        else:  # there was no stderr; descriptor 2 is closed, or by now some file of the plugin's
            _redirect(os.open(os.devnull, os.O_WRONLY), 1)
    for stream in (sys.stdout, sys.stderr):
        _use_for_logs(stream)
    return PipeStream(line_in, line_out) if hasattr(select, "poll") else BlockingStream(line_in, line_out)


def is_terminal() -> bool:
    """Whether somebody runs the plugin by hand: stdin is a terminal."""
    try:
        return os.isatty(0)
    except OSError:
        return False


def _private(fd: int) -> int:
    """A duplicate that no child inherits, above the standard descriptors even where one of them is closed."""
    try:
        from fcntl import F_DUPFD_CLOEXEC, fcntl
    except ImportError:  # Windows
        return os.dup(fd)
    return fcntl(fd, F_DUPFD_CLOEXEC, 3)


def _redirect(source: int, target: int) -> None:
    if source != target:
        os.dup2(source, target)
        os.close(source)


def _use_for_logs(stream: Any) -> None:
    """Write whole lines at once, in UTF-8, whatever the locale; what was printed before goes the same way."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)


class BlockingStream(ByteStream):
    """Pipes of a platform that cannot wait for room in one (Windows): writing blocks until the host has read.

    A thread blocked in `read` cannot be woken; the process ends without it, since it is a daemon.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._write_open = True

    def read(self) -> bytes:
        try:
            data = os.read(self._read_fd, READ_BYTES)
        except OSError:
            data = b""
        if not data:
            descriptors.close(self._read_fd)
        return data

    def interrupt(self) -> bool:
        return True

    def write(self, data: memoryview) -> int:
        if not self._write_open:
            raise StreamClosed("the stream was closed for writing")
        try:
            return os.write(self._write_fd, data[:READ_BYTES])
        except OSError as error:
            raise StreamClosed(str(error)) from None

    def wait_writable(self, timeout: float) -> bool:
        return True

    def close_write(self) -> None:
        if self._write_open:
            self._write_open = False
            descriptors.close(self._write_fd)
