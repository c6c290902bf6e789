"""What a conversation needs of whatever carries its bytes: a stream, and the process (if any) at its other end.

Only a byte stream is assumed: pipes today, a socket or a memory pair just as well. Nothing here runs; the threads that
call are named at each method. Must not import anything above the operating system.
"""
from __future__ import annotations

import signal as _signal
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Optional


class StreamClosed(Exception):
    """The other side of the stream will never take another byte."""


class ByteSource(ABC):
    """A stream of bytes that one thread reads and another may end."""

    @abstractmethod
    def read(self) -> bytes:
        """The next bytes, as soon as there are any; b"" once the stream has ended. Blocks. Reading thread only.

        The source is closed when b"" was returned: the reading thread is the one that closes what it blocks on.
        """

    @abstractmethod
    def interrupt(self) -> bool:
        """Make `read` return what has arrived already, at most 1 MiB of it, and then b"". Any thread; idempotent.

        False: the reader could not be woken (no descriptor left); call again later.
        """


class ByteStream(ByteSource):
    """A two-way stream of bytes. Writing never blocks; only the owner of the right to write calls `write`."""

    @abstractmethod
    def write(self, data: memoryview) -> int:
        """Give what fits at once; the number of bytes taken, 0 when there is no room.

        Raises `StreamClosed` when the other side takes no more. Whoever owns the right to write.
        """

    @abstractmethod
    def wait_writable(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for room to write. Whoever owns the right to write."""

    @abstractmethod
    def close_write(self) -> None:
        """Tell the other side that no more comes (EOF). Whoever owns the right to write; idempotent."""


@dataclass(frozen=True)
class ExitStatus:
    """How a process ended. Neither `code` nor `signal`: something else reaped it, and its status is not known."""

    code: Optional[int] = None
    signal: Optional[int] = None

    @property
    def signal_name(self) -> Optional[str]:
        """`SIGKILL`, ...; None where no signal ended it."""
        if self.signal is None:
            return None
        try:
            return _signal.Signals(self.signal).name
        except ValueError:
            return f"signal {self.signal}"

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {self.signal_name}"
        return "exit status unknown (reaped elsewhere)" if self.code is None else f"exit code {self.code}"


class Process(ABC):
    """A running program and its streams. All methods: the supervising thread, unless said otherwise."""

    pid: Optional[int]
    #: The conversation: what the program reads and writes.
    stream: ByteStream
    #: What the program logs; None where it has no such stream.
    log_stream: Optional[ByteSource]
    #: A descriptor that becomes readable when the process ends; None where the platform has none (look by ticks then).
    exit_fd: Optional[int]

    @abstractmethod
    def exit_status(self) -> Optional[ExitStatus]:
        """How the process ended, None while it runs. Does not reap: its pid stays its own until `release`."""

    @abstractmethod
    def send_signal(self, number: int) -> None:
        """Signal the process and its group, as long as it was not reaped. Never raises for a dead one."""

    @abstractmethod
    def release(self) -> None:
        """Reap the process and give back its descriptors, except those that the reading threads close. Idempotent."""
