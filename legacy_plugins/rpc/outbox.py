"""The frames that wait to be written, and who may write them.

A request is written inline by the thread that makes it when nothing waits and nobody writes: two thread switches less
on the way. Whatever the stream does not take at once, and every notification, goes through the queue, which the writer
thread drains in pieces of up to 64 KiB. The order in which frames were given is the order in which they are written.

The lock guards the queue and the right to write (`_writing`); nothing is written while it is held. Only the writer
thread waits for room and closes the stream's writing side.
"""
from __future__ import annotations

import threading
import time
from collections import deque
from typing import Callable, Deque, List, Optional

from legacy_plugins.transport.base import ByteStream, StreamClosed
from legacy_plugins.transport.stdio import block_sigpipe, sigpipe_kills

#: How much the writer thread gives to the stream at once, in bytes, where the queue has it.
COALESCED_BYTES = 65536
_STALL_POLL_SECONDS = 0.1


class OutboxFull(Exception):
    """More bytes wait than `limits.queueBytes` allows."""


class OutboxClosed(Exception):
    """Nothing more is sent in this conversation."""


class Entry:
    """One frame on its way. `sent`: the stream took all of it."""

    __slots__ = ("frame", "sent", "started", "dropped")

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.sent = False
        self.started = False  # some of it may have been written: it must be finished, or the framing is lost
        self.dropped = False


class Outbox:
    """The writing side of a conversation. All methods: any thread, but `run`, which is the writer thread's."""

    def __init__(self, stream: ByteStream, max_bytes: int, *, on_broken: Callable[[str], None],
                 on_stall: Callable[[], None]) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._on_broken = on_broken
        self._on_stall = on_stall
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._queue: Deque[Entry] = deque()
        self._rest: Optional[memoryview] = None  # of the first entry, when some of it has been written
        self._bytes = 0
        self._writing = False
        self._waiting = False  # the writer thread waits for work
        self._closed = False
        self._broken_off = False  # the other side takes no more: what is sent now is lost, as in the pipe of a dead reader
        self._flush_until = 0.0
        self._senders_waiting = 0
        self.stalled_since: Optional[float] = None
        #: Set once nothing more will be written: all is flushed, or the time or the other side for it is gone.
        self.finished = threading.Event()

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be written."""
        return self._bytes

    @property
    def queued(self) -> int:
        """Frames that wait to be written."""
        return len(self._queue)

    def send(self, frame: bytes, patience: float = 0.0) -> Entry:
        """Write a frame now if that is possible without waiting, else queue it. Raises `OutboxFull`, `OutboxClosed`.

        `patience`: how long it may wait for room in a full queue, in seconds.
        """
        entry = Entry(frame)
        with self._lock:
            if self._broken_off:
                return entry
            if self._writing or self._queue or sigpipe_kills():
                self._enqueue(entry, patience)
                return entry
            self._check_room(len(frame), patience)
            self._writing = entry.started = True
        try:
            taken = self._stream.write(memoryview(frame))
        except StreamClosed as error:
            self._broken(error)
            return entry
        with self._lock:
            self._writing = False
            if taken == len(frame):
                entry.sent = True
            else:
                self._rest = memoryview(frame)[taken:]
                self._bytes += len(frame)
                self._queue.appendleft(entry)
            if self._closed:
                self._changed.notify_all()
            elif self._queue:
                self._wake()
        return entry

    def post(self, frame: bytes, patience: float = 0.0) -> Entry:
        """Queue a frame for the writer thread; `patience` and errors as in `send`."""
        entry = Entry(frame)
        with self._lock:
            if not self._broken_off:
                self._enqueue(entry, patience)
        return entry

    def discard(self, entry: Entry) -> bool:
        """Take back a frame of which nothing was written; False when it is too late."""
        with self._lock:
            if entry.started or entry.dropped:
                return False
            entry.dropped = True
            self._bytes -= len(entry.frame)
            self._tell_senders()
            return True

    def close(self, flush: float) -> None:
        """Take no more frames; write what is queued for at most `flush` seconds, then close the writing side (EOF)."""
        with self._lock:
            until = time.monotonic() + flush
            self._flush_until = min(self._flush_until, until) if self._closed else until
            self._closed = True
            self._changed.notify_all()

    def run(self) -> None:
        """The writer thread."""
        block_sigpipe()
        while True:
            batch = self._next_batch()
            if not batch:
                break
            try:
                if not self._write(batch):
                    break
            except StreamClosed as error:
                self._broken(error)
                break
        with self._lock:
            self._closed = True
            while self._writing:  # an inline writer is at it; it never blocks
                self._changed.wait(_STALL_POLL_SECONDS)
            self._writing = True  # for ever: nobody may touch the descriptor any more
        self._stream.close_write()
        self.finished.set()

    def _check_room(self, size: int, patience: float) -> None:
        """With the lock held, which waiting lets go. A frame over the bound is let in only when nothing waits."""
        if patience > 0 and not self._has_room(size):
            self._senders_waiting += 1
            self._changed.wait_for(lambda: self._closed or self._has_room(size), patience)
            self._senders_waiting -= 1
        if self._closed:
            raise OutboxClosed
        if not self._has_room(size):
            raise OutboxFull

    def _has_room(self, size: int) -> bool:
        return not self._bytes or self._bytes + size <= self._max_bytes

    def _tell_senders(self) -> None:
        """With the lock held: there is more room."""
        if self._senders_waiting:
            self._changed.notify_all()

    def _enqueue(self, entry: Entry, patience: float) -> None:
        """With the lock held."""
        self._check_room(len(entry.frame), patience)
        self._queue.append(entry)
        self._bytes += len(entry.frame)
        self._wake()

    def _wake(self) -> None:
        """With the lock held."""
        if self._waiting:
            self._waiting = False
            self._changed.notify_all()

    def _next_batch(self) -> List[Entry]:
        """Wait for work; the entries that are written next, together with the right to write. Empty: all is done."""
        with self._lock:
            while True:
                while self._queue and self._queue[0].dropped:
                    self._queue.popleft()
                if self._queue and not self._writing:
                    break
                if self._closed and not self._writing:
                    return []
                self._waiting = True
                self._changed.wait()
            self._writing = True
            if self._rest is not None:
                return [self._queue[0]]
            batch: List[Entry] = []
            size = 0
            for entry in self._queue:
                if batch and size + len(entry.frame) > COALESCED_BYTES:
                    break
                if not entry.dropped:
                    entry.started = True
                    batch.append(entry)
                    size += len(entry.frame)
            return batch

    def _write(self, batch: List[Entry]) -> bool:
        """Write the entries; False when the conversation was closed and the time for flushing is over."""
        if self._rest is not None:
            data, self._rest = self._rest, None
        else:
            data = memoryview(batch[0].frame if len(batch) == 1 else b"".join([entry.frame for entry in batch]))
        while data:
            taken = self._stream.write(data)
            data = data[taken:]
            if not taken and not self._wait_for_room():
                return False
        self._done(batch)
        return True

    def _wait_for_room(self) -> bool:
        if self.stalled_since is None:
            self.stalled_since = time.monotonic()
            self._on_stall()
        while not self._stream.wait_writable(_STALL_POLL_SECONDS):
            if self._closed and time.monotonic() >= self._flush_until:
                return False
        return True

    def _done(self, batch: List[Entry]) -> None:
        self.stalled_since = None
        with self._lock:
            for entry in batch:
                while self._queue[0] is not entry:  # dropped ones between
                    self._queue.popleft()
                self._queue.popleft()
                entry.sent = True
                self._bytes -= len(entry.frame)
            self._writing = False
            self._tell_senders()

    def _broken(self, error: StreamClosed) -> None:
        """The other side takes no more: what waits will never be sent."""
        with self._lock:
            self._closed = self._broken_off = True
            self._writing = False
            self._queue.clear()
            self._changed.notify_all()
        self._on_broken(str(error))
