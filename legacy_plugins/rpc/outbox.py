"""The frames that wait to be written, and who may write them.

A request is written inline by the thread that makes it when nothing waits and nobody writes: two thread switches less
on the way. Whatever the stream does not take at once, and every notification, goes through the queue, which the writer
thread drains in pieces of up to 64 KiB. The order in which frames were given is the order in which they are written.

The lock guards the queue and the right to write (`_writer`); nothing is written while it is held. Only the writer
thread waits for room and closes the stream's writing side. Signal handlers may raise in a thread that sends, at any
point (Ctrl-C, time limits of task queues): what they leave half done is put in order, or the conversation ends.
"""
from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, List, Optional

from legacy_plugins.rpc.latch import Latch
from legacy_plugins.transport.base import ByteStream, StreamClosed
from legacy_plugins.transport.stdio import block_sigpipe, sigpipe_kills

#: How much the writer thread gives to the stream at once, in bytes, where the queue has it.
COALESCED_BYTES = 65536
_STALL_POLL_SECONDS = 0.1
_MANY_TAKEN_BACK = 64
_THREAD = object()  # the writer thread, as the holder of the right to write
_log = logging.getLogger("legacy_plugins.rpc")


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
    """The writing side of a conversation. All methods: any thread, but `run`, which is the writer thread's.

    `on_broken(text, fault)` tells once that nothing more can be sent; `fault` None: the other side takes no more.
    `on_stall()` tells that the stream takes nothing just now. Both are called on writing threads.
    """

    def __init__(self, stream: ByteStream, max_bytes: int, *, on_broken: Callable[[str, Optional[str]], None],
                 on_stall: Callable[[], None]) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._on_broken = on_broken
        self._on_stall = on_stall
        self._lock = threading.RLock()  # re-entrant: a signal handler may send, too
        self._changed = threading.Condition(self._lock)
        self._queue: Deque[Entry] = deque()
        self._rest: Optional[memoryview] = None  # of the first entry, when some of it has been written
        self._bytes = 0  # of what is queued and not dropped
        self._dropped = 0  # entries that were taken back and still stand in the queue
        self._writer: Any = None  # who has the right to write: an entry's sender, _THREAD, nobody
        self._waiting = False  # the writer thread waits for work
        self._closed = False
        self._broken_off = False  # the other side takes no more: what is sent now is lost, as in a dead reader's pipe
        self._emptied = False  # the queue was given up, and its entries are not counted any more
        self._flush_until = 0.0
        self._senders_waiting = 0
        self.stalled_since: Optional[float] = None
        #: Set once nothing more will be written: all is flushed, or the time or the other side for it is gone.
        self.finished = Latch()

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be written."""
        return self._bytes

    @property
    def queued(self) -> int:
        """Frames that wait to be written."""
        return max(0, len(self._queue) - self._dropped)

    def send(self, frame: bytes, patience: float = 0.0) -> Entry:
        """Write a frame now if that is possible without waiting, else queue it. Raises `OutboxFull`, `OutboxClosed`.

        `patience`: how long it may wait for room in a full queue, in seconds.
        """
        entry = Entry(frame)
        taken: Optional[int] = 0  # None: not known
        try:
            with self._lock:
                if self._broken_off:
                    return entry
                if self._writer is not None or self._queue or sigpipe_kills():
                    self._enqueue(entry, patience)
                    return entry
                if self._closed:
                    raise OutboxClosed
                entry.started = True
                self._writer = entry
            taken = None
            taken = self._stream.write(memoryview(frame))
            with self._lock:
                self._settle(entry, taken)
        except (OutboxFull, OutboxClosed):
            raise
        except StreamClosed as error:
            self._broken(str(error))
        except BaseException as error:
            self._interrupted(entry, taken, error)
            raise
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
            if not self._emptied:
                self._bytes -= len(entry.frame)
                self._dropped += 1
                entry.frame = b""  # it may stand behind one that is stuck for long
                if self._dropped > _MANY_TAKEN_BACK and self._dropped * 2 > len(self._queue):
                    self._queue = deque(other for other in list(self._queue) if not other.dropped)
                    self._dropped = 0
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
        try:
            while True:
                batch = self._next_batch()
                if not batch or not self._write(batch):
                    break
        except StreamClosed as error:
            self._broken(str(error))
        except Exception as error:  # noqa: BLE001 - a defect of ours must end this conversation, never hang it
            _log.exception("a writer thread failed; please report it")
            self._broken(f"an error in the host's writer: {error!r}", "host error")
        with self._lock:
            self._closed = True
            while self._writer is not None and self._writer is not _THREAD:  # an inline writer; it never blocks
                self._changed.wait(_STALL_POLL_SECONDS)
            self._writer = _THREAD  # for ever: nobody may touch the descriptor any more
            self._empty()
        self.stalled_since = None
        self._stream.close_write()
        self.finished.set()

    # ---- with the lock held

    def _check_room(self, size: int, patience: float) -> None:
        """Waiting lets the lock go. A frame over the bound is let in only when nothing waits."""
        if patience > 0 and not self._has_room(size):
            self._senders_waiting += 1
            try:
                self._changed.wait_for(lambda: self._closed or self._has_room(size), patience)
            finally:
                self._senders_waiting -= 1
        if self._closed:
            raise OutboxClosed
        if not self._has_room(size):
            raise OutboxFull

    def _has_room(self, size: int) -> bool:
        return not self._bytes or self._bytes + size <= self._max_bytes

    def _tell_senders(self) -> None:
        """There is more room."""
        if self._senders_waiting:
            self._changed.notify_all()

    def _enqueue(self, entry: Entry, patience: float) -> None:
        """In this order: wherever a signal handler interrupts it, what is queued is written, and then counted right."""
        self._check_room(len(entry.frame), patience)
        self._wake()
        self._queue.append(entry)
        self._bytes += len(entry.frame)

    def _wake(self) -> None:
        if self._waiting:
            self._changed.notify_all()
            self._waiting = False

    def _settle(self, entry: Entry, taken: int) -> None:
        """After an inline write: let go of the right to write. What was not taken goes to the head of the queue."""
        if taken == len(entry.frame):
            entry.sent = True
        elif not self._queue or self._queue[0] is not entry:
            self._rest = memoryview(entry.frame)[taken:]
            self._bytes += len(entry.frame)
            self._queue.appendleft(entry)
        if self._closed:
            self._changed.notify_all()
        elif self._queue:
            self._wake()
        self._writer = None

    def _empty(self) -> None:
        """What waits will never be sent."""
        self._queue.clear()
        self._rest = None
        self._bytes = self._dropped = 0
        self._emptied = True
        self._changed.notify_all()

    # ---- without it

    def _interrupted(self, entry: Entry, taken: Optional[int], error: BaseException) -> None:
        """`send` was left half done, at whatever point: put everything in order, or end the conversation."""
        with self._lock:
            if self._writer is entry and taken:
                self._settle(entry, taken)
            elif self._writer is entry and taken == 0:
                if self._queue and self._queue[0] is entry:
                    self._queue.popleft()
                self._rest = self._writer = None
            self._bytes = sum(len(waiting.frame) for waiting in list(self._queue))
            self._changed.notify_all()
            lost = self._writer is entry
        if lost:
            self._broken(f"{type(error).__name__} interrupted the writing of a frame; how much of it was written is "
                         "not known", "interrupted write")

    def _next_batch(self) -> List[Entry]:
        """Wait for work; the entries that are written next, together with the right to write. Empty: all is done."""
        with self._lock:
            while True:
                while self._queue and self._queue[0].dropped:
                    self._queue.popleft()
                    self._dropped -= 1
                if self._queue and self._writer is None:
                    break
                if self._closed and self._writer is None:
                    return []
                self._waiting = True
                self._changed.wait()
            self._writer = _THREAD
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
            if taken:
                self.stalled_since = None
                data = data[taken:]
            elif not self._wait_for_room():
                return False
        self._done(batch)
        return True

    def _wait_for_room(self) -> bool:
        self.stalled_since = time.monotonic()
        self._on_stall()
        while True:
            seconds = _STALL_POLL_SECONDS
            if self._closed:
                seconds = min(seconds, self._flush_until - time.monotonic())
                if seconds <= 0:
                    return False
            if self._stream.wait_writable(seconds):
                return True

    def _done(self, batch: List[Entry]) -> None:
        with self._lock:
            for entry in batch:
                while self._queue[0] is not entry:  # dropped ones between
                    self._queue.popleft()
                    self._dropped -= 1
                self._queue.popleft()
                entry.sent = True
                self._bytes -= len(entry.frame)
            if not self._queue:
                self._bytes = 0  # whatever was interrupted while it was counted
            self._writer = None
            self._tell_senders()

    def _broken(self, text: str, fault: Optional[str] = None) -> None:
        """Nothing more can be sent. Whoever has the right to write."""
        self._on_broken(text, fault)  # first: once the stream is closed the other side ends, as if of its own accord
        with self._lock:
            self._closed = self._broken_off = True
            self._writer = None
            self._empty()
