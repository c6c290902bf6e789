"""A byte stream between two threads of one process: no pipe, no process, the same contract as the pipes'.

Each direction is bounded like a pipe, so that back-pressure works as it does in production. Reading blocks, writing
never does; see `transport.base` for who may call what.
"""
from __future__ import annotations

import threading
from typing import Optional, Tuple

from legacy_plugins.transport.base import ByteStream, ExitStatus, Process, StreamClosed

#: What one direction holds, in bytes; as much as a Linux pipe.
CAPACITY = 65536


class _Channel:
    """One direction."""

    def __init__(self) -> None:
        self.changed = threading.Condition()  # guards everything below
        self.data = bytearray()
        self.closed = False  # by the writer: EOF follows the data
        self.abandoned = False  # by the reader: writing raises


class MemoryStream(ByteStream):
    """One end of a `memory_pair`."""

    def __init__(self, incoming: _Channel, outgoing: _Channel) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._interrupted = False

    def read(self) -> bytes:
        channel = self._incoming
        with channel.changed:
            while not (channel.data or channel.closed or self._interrupted):
                channel.changed.wait()
            data = bytes(channel.data)
            channel.data.clear()
            if not data:
                channel.abandoned = True
            channel.changed.notify_all()
        return data

    def interrupt(self) -> bool:
        with self._incoming.changed:
            self._interrupted = True
            self._incoming.changed.notify_all()
        return True

    def write(self, data: memoryview) -> int:
        channel = self._outgoing
        with channel.changed:
            if channel.abandoned or channel.closed:
                raise StreamClosed("the other end is closed")
            room = max(0, CAPACITY - len(channel.data))
            channel.data += data[:room]
            channel.changed.notify_all()
            return min(room, len(data))

    def wait_writable(self, timeout: float) -> bool:
        channel = self._outgoing
        with channel.changed:
            return channel.changed.wait_for(lambda: channel.abandoned or len(channel.data) < CAPACITY, timeout)

    def close_write(self) -> None:
        with self._outgoing.changed:
            self._outgoing.closed = True
            self._outgoing.changed.notify_all()


def memory_pair() -> Tuple[MemoryStream, MemoryStream]:
    """Two ends of one two-way stream: what one writes the other reads."""
    one, other = _Channel(), _Channel()
    return MemoryStream(one, other), MemoryStream(other, one)


class MemoryProcess(Process):
    """Something in this process that a host takes for a plugin's process. `end` is its exit."""

    pid: Optional[int] = None
    log_stream = None
    exit_fd = None

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self._status: Optional[ExitStatus] = None

    def end(self, status: ExitStatus) -> None:
        """It exits, with this status; the first one counts. Any thread."""
        self._status = self._status or status

    def exit_status(self) -> Optional[ExitStatus]:
        return self._status

    def send_signal(self, number: int) -> None:
        self.end(ExitStatus(signal=number))

    def release(self) -> None:
        """There is nothing to give back."""
