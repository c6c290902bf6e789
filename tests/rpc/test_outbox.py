"""The outbox: order, bounds, what can be taken back, what must be finished, and every way in which writing ends."""
from __future__ import annotations

import threading
import time
from typing import Any, Callable, Iterator, List, Optional

import pytest

from legacy_plugins.rpc import outbox as outbox_module
from legacy_plugins.rpc.outbox import COALESCED_BYTES, Entry, Outbox, OutboxClosed, OutboxFull
from legacy_plugins.transport.base import ByteStream, StreamClosed
from tests.plugins.interruption import interrupt_each_line
from tests.plugins.programs import SECONDS, eventually


class Valve(ByteStream):
    """A stream that takes as many bytes as the test lets through."""

    def __init__(self, room: int) -> None:
        self._changed = threading.Condition()
        self.room = room
        self.taken = bytearray()
        self.writes: List[str] = []  # the names of the writing threads
        self.closed = False
        self.error: Optional[Exception] = None

    def write(self, data: memoryview) -> int:
        with self._changed:
            if self.error is not None:
                raise self.error
            assert not self.closed
            self.writes.append(threading.current_thread().name)
            piece = bytes(data[:self.room])
            self.taken += piece
            self.room -= len(piece)
            return len(piece)

    def wait_writable(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.room > 0 or self.error is not None, timeout)

    def open(self, room: int = 10 ** 9) -> None:
        """Let so many more bytes through."""
        with self._changed:
            self.room += room
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """From now on writing raises."""
        with self._changed:
            self.error = error
            self._changed.notify_all()

    def close_write(self) -> None:
        self.closed = True

    def read(self) -> bytes:
        raise NotImplementedError

    def interrupt(self) -> bool:
        raise NotImplementedError


class Writing:
    """An outbox on a valve, with what it told."""

    def __init__(self, room: int = 10 ** 9, max_bytes: int = 1000) -> None:
        self.valve = Valve(room)
        self.broken: List[str] = []
        self.faults: List[Optional[str]] = []
        self.stalls: List[float] = []
        self.outbox = Outbox(self.valve, max_bytes, on_broken=self._on_broken,
                             on_stall=lambda: self.stalls.append(time.monotonic()))
        self.thread = threading.Thread(target=self.outbox.run, name="writer", daemon=True)

    def _on_broken(self, text: str, fault: Optional[str]) -> None:
        self.faults.append(fault)
        self.broken.append(text)

    def start(self) -> None:
        """Start the writer thread."""
        self.thread.start()

    def ended(self) -> None:
        """Wait until the writer thread has ended."""
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()
        assert self.outbox.finished.is_set()
        assert self.valve.closed


@pytest.fixture
def writing() -> Iterator[Callable[..., Writing]]:
    """A function that makes outboxes whose writer runs, and must end when it is closed."""
    made: List[Writing] = []

    def make(*args: Any, start: bool = True, **how: Any) -> Writing:
        made.append(Writing(*args, **how))
        if start:
            made[-1].start()
        return made[-1]
    yield make
    for each in made:
        each.outbox.close(0.0)
        if each.thread.ident is not None:
            each.ended()


# ---- order


def test_a_frame_is_written_by_its_sender_when_nothing_waits(writing: Callable[..., Writing]) -> None:
    """`send` writes inline; `post` leaves it to the writer."""
    w = writing()
    assert w.outbox.send(b"inline").sent
    entry = w.outbox.post(b" posted")
    eventually(lambda: entry.sent, "the writer writes")
    assert bytes(w.valve.taken) == b"inline posted"
    assert w.valve.writes == [threading.current_thread().name, "writer"]
    assert (w.outbox.queued, w.outbox.queued_bytes) == (0, 0)


@pytest.mark.fault("E4", "B7")
def test_order_is_kept_through_every_kind_of_writing(writing: Callable[..., Writing]) -> None:
    """Frames that are taken in part, wait, are sent inline or posted arrive in the order in which they were given."""
    w = writing(room=2, max_bytes=10 ** 6)
    frames = [b"%03d " % number for number in range(100)]
    for number, frame in enumerate(frames):
        (w.outbox.post if number % 3 == 0 else w.outbox.send)(frame)
        w.valve.open(number % 7)
    w.valve.open()
    eventually(lambda: not w.outbox.queued, "all is written")
    assert bytes(w.valve.taken) == b"".join(frames)


@pytest.mark.fault("E4", "B1")
def test_many_senders(writing: Callable[..., Writing]) -> None:
    """Whole frames only, each sender's in order, from eight threads through a narrow valve."""
    w = writing(room=10, max_bytes=10 ** 9)

    def send(index: int) -> None:
        for number in range(200):
            (w.outbox.send if number % 2 else w.outbox.post)(b"<%d %d>" % (index, number))
    senders = [threading.Thread(target=send, args=(index,)) for index in range(8)]
    for sender in senders:
        sender.start()
    while any(sender.is_alive() for sender in senders) or w.outbox.queued:
        w.valve.open(997)
        senders[0].join(0.001)
    words = bytes(w.valve.taken)[1:-1].split(b"><")
    assert len(words) == 1600
    for index in range(8):
        mine = [int(word.split()[1]) for word in words if word.startswith(b"%d " % index)]
        assert mine == list(range(200))
    assert w.outbox.queued_bytes == 0


def test_what_waits_is_written_in_large_pieces(writing: Callable[..., Writing]) -> None:
    """The writer joins what waits up to 64 KiB a write."""
    w = writing(max_bytes=10 ** 6, start=False)
    for _ in range(200):
        w.outbox.post(bytes(1000))
    w.start()
    eventually(lambda: not w.outbox.queued, "all is written")
    assert len(w.valve.taken) == 200_000
    assert len(w.valve.writes) == 200_000 // (COALESCED_BYTES // 1000 * 1000) + 1


# ---- taking back


@pytest.mark.fault("B3")
def test_an_unsent_frame_is_taken_back_a_begun_one_finished(writing: Callable[..., Writing]) -> None:
    """Of what was begun to be written nothing is taken back, or the framing would be lost."""
    w = writing(room=3)
    begun, waiting, last = w.outbox.send(b"begun"), w.outbox.send(b"waiting"), w.outbox.post(b"last")
    assert not w.outbox.discard(begun)
    assert w.outbox.discard(waiting)
    assert not w.outbox.discard(waiting)
    w.valve.open()
    eventually(lambda: last.sent, "the rest is written")
    assert bytes(w.valve.taken) == b"begunlast"
    assert (begun.sent, waiting.sent) == (True, False)
    assert not w.outbox.discard(last)
    assert (w.outbox.queued, w.outbox.queued_bytes) == (0, 0)


@pytest.mark.fault("B3", "X9")
def test_what_was_taken_back_costs_no_memory(writing: Callable[..., Writing]) -> None:
    """Behind a frame that is stuck for long, thousands of calls may time out without piling up."""
    w = writing(room=1)
    w.outbox.send(b"stuck")
    kept: List[Entry] = []
    for number in range(5000):
        entry = w.outbox.send(b"x" * 100)
        if number % 1000 == 0:
            kept.append(entry)
        else:
            assert w.outbox.discard(entry)
            assert entry.frame == b""
    assert (w.outbox.queued, w.outbox.queued_bytes) == (6, 505)
    assert len(w.outbox._queue) < 200
    w.valve.open()
    eventually(lambda: kept[-1].sent, "the rest is written")
    assert bytes(w.valve.taken) == b"stuck" + b"x" * 500
    assert (w.outbox.queued, w.outbox.queued_bytes) == (0, 0)


def test_what_was_taken_back_is_passed_over(writing: Callable[..., Writing]) -> None:
    """Between frames that are written together, before and after them."""
    w = writing(start=False)
    entries = [w.outbox.post(b"<%d>" % number) for number in range(7)]
    for index in (0, 2, 3, 6):
        assert w.outbox.discard(entries[index])
    w.start()
    eventually(lambda: entries[5].sent, "the rest is written")
    assert bytes(w.valve.taken) == b"<1><4><5>"
    assert w.outbox.send(b"<7>").sent
    assert (w.outbox.queued, w.outbox.queued_bytes) == (0, 0)


def test_taking_back_while_the_writer_writes(writing: Callable[..., Writing]) -> None:
    """Each frame is either written whole or taken back, whatever the race says."""
    w = writing(room=0, max_bytes=10 ** 6)
    entries = [w.outbox.post(b"<%d>" % number) for number in range(2000)]
    taken_back: List[int] = []

    def discard() -> None:
        taken_back.extend(number for number, entry in enumerate(entries) if w.outbox.discard(entry))
    thread = threading.Thread(target=discard)
    w.valve.open(5000)
    thread.start()
    thread.join(SECONDS)
    w.valve.open()
    eventually(lambda: not w.outbox.queued, "the rest is written")
    expected = [number for number in range(2000) if number not in set(taken_back)]
    assert bytes(w.valve.taken) == b"".join(b"<%d>" % number for number in expected)
    assert w.outbox.queued_bytes == 0


# ---- bounds


@pytest.mark.fault("B1", "B2")
def test_the_queue_has_a_bound(writing: Callable[..., Writing]) -> None:
    """Over `max_bytes` both ways of sending refuse; room comes back when bytes are written or taken back."""
    w = writing(room=1, max_bytes=100)
    w.outbox.send(b"stuck")
    entry = w.outbox.post(bytes(90))
    for give in (w.outbox.send, w.outbox.post):
        with pytest.raises(OutboxFull):
            give(bytes(6))
    w.outbox.send(bytes(5))
    assert w.outbox.queued_bytes == 100
    assert w.outbox.discard(entry)
    w.outbox.post(bytes(90))
    w.valve.open()
    eventually(lambda: not w.outbox.queued, "all is written")
    assert w.outbox.queued_bytes == 0


@pytest.mark.fault("B2")
def test_one_frame_over_the_bound_is_let_in_when_nothing_waits(writing: Callable[..., Writing]) -> None:
    """A frame larger than the whole queue goes alone; nothing follows until it is through."""
    w = writing(room=1, max_bytes=100)
    big = w.outbox.post(bytes(1000))
    with pytest.raises(OutboxFull):
        w.outbox.send(b"x")
    w.valve.open()
    eventually(lambda: big.sent, "it is written")
    assert w.outbox.send(bytes(1000)).sent


@pytest.mark.fault("B8")
def test_patience_waits_for_room(writing: Callable[..., Writing]) -> None:
    """Who may wait gets in when there is room, and is refused when his time is over, or the end comes."""
    w = writing(room=1, max_bytes=10)
    w.outbox.send(b"stuck")
    w.outbox.post(b"queue")
    with pytest.raises(OutboxFull):
        w.outbox.send(b"x" * 6, 0.01)
    results: List[object] = []

    def wait() -> None:
        try:
            results.append(w.outbox.send(b"x" * 6, SECONDS))
        except OutboxClosed as error:
            results.append(error)
    waiting = [threading.Thread(target=wait) for _ in range(2)]
    for thread in waiting:
        thread.start()
    eventually(lambda: w.outbox._senders_waiting == 2, "both wait")
    w.valve.open(9)  # of stuck+queue
    eventually(lambda: results, "one gets in")
    assert isinstance(results[0], Entry)
    w.outbox.close(0.0)
    for thread in waiting:
        thread.join(SECONDS)
    assert isinstance(results[1], OutboxClosed)


# ---- stalls


@pytest.mark.fault("B1", "B5")
def test_a_stall_is_told_and_ends_with_the_first_byte(writing: Callable[..., Writing]) -> None:
    """`stalled_since` is when the stream took nothing any more; a peer that reads on, if slowly, is not stalled."""
    w = writing(room=2)
    assert w.outbox.stalled_since is None
    w.outbox.post(b"a long frame")
    eventually(lambda: w.stalls, "the stall is told")
    first = w.outbox.stalled_since
    assert first is not None
    w.valve.open(3)
    eventually(lambda: len(w.stalls) > 1, "the next stall is told")
    assert len(w.valve.taken) == 5
    assert w.outbox.stalled_since is not None
    assert w.outbox.stalled_since > first
    w.valve.open()
    eventually(lambda: not w.outbox.queued, "it is written")
    assert w.outbox.stalled_since is None


# ---- the end


@pytest.mark.fault("B4")
def test_closing_writes_what_waits(writing: Callable[..., Writing]) -> None:
    """What was queued is written, then comes EOF; nothing is taken any more."""
    w = writing(start=False)
    entries = [w.outbox.post(b"one "), w.outbox.post(b"two")]
    w.outbox.close(SECONDS)
    for give in (w.outbox.send, w.outbox.post):
        with pytest.raises(OutboxClosed):
            give(b"late")
    w.start()
    w.ended()
    assert bytes(w.valve.taken) == b"one two"
    assert all(entry.sent for entry in entries)


@pytest.mark.fault("B4")
@pytest.mark.parametrize("flush", [0.0, 0.15])
def test_closing_does_not_wait_for_a_peer_that_does_not_read(writing: Callable[..., Writing], flush: float) -> None:
    """After the time for flushing the stream is closed, the thread ends, and nothing counts as queued."""
    w = writing(room=2)
    stuck, waiting = w.outbox.post(b"stuck"), w.outbox.post(b"waiting")
    eventually(lambda: w.stalls, "it is stuck")
    began = time.monotonic()
    w.outbox.close(flush)
    w.ended()
    assert flush <= time.monotonic() - began < flush + 1.0
    assert (stuck.sent, waiting.sent) == (False, False)
    assert (w.outbox.queued, w.outbox.queued_bytes, w.outbox.stalled_since) == (0, 0, None)
    assert not w.outbox.discard(stuck)


@pytest.mark.fault("B4")
def test_closing_does_not_wait_for_a_peer_that_reads_slowly(writing: Callable[..., Writing]) -> None:
    """A byte now and then does not prolong the time for flushing."""
    w = writing(room=1, max_bytes=10 ** 6)
    w.outbox.post(bytes(100_000))
    w.outbox.close(0.1)
    began = time.monotonic()
    while not w.outbox.finished.is_set() and time.monotonic() - began < SECONDS:
        w.valve.open(1)
        w.outbox.finished.wait(0.002)
    w.ended()
    assert len(w.valve.taken) < 100_000


def test_closing_again_only_shortens(writing: Callable[..., Writing]) -> None:
    """A second `close` cannot give more time than the first."""
    w = writing(room=0)
    w.outbox.post(b"stuck")
    w.outbox.close(0.0)
    w.outbox.close(SECONDS)
    w.ended()


def test_closing_while_others_write(writing: Callable[..., Writing]) -> None:
    """Inline writers and the closing never touch the stream at the same time, or after it was closed."""
    for _ in range(30):
        w = writing(max_bytes=10 ** 6)
        sent: List[int] = []

        def send(outbox: Outbox = w.outbox, sent: List[int] = sent) -> None:
            try:
                while True:
                    outbox.send(b"0123456789")
                    sent.append(1)
            except OutboxClosed:
                pass
        senders = [threading.Thread(target=send) for _ in range(3)]
        for sender in senders:
            sender.start()
        eventually(lambda sent=sent: len(sent) > 20, "they send")  # type: ignore[misc]
        w.outbox.close(SECONDS)
        for sender in senders:
            sender.join(SECONDS)
            assert not sender.is_alive()
        w.ended()
        assert len(w.valve.taken) == 10 * len(sent)


@pytest.mark.fault("P7")
@pytest.mark.parametrize("inline", [True, False])
def test_a_peer_that_takes_no_more(writing: Callable[..., Writing], inline: bool) -> None:
    """It is told once, by whichever thread wrote; what is sent afterwards is lost silently, as in a dead one's pipe."""
    w = writing()
    w.valve.fail(StreamClosed("it is gone"))
    entry = w.outbox.send(b"x") if inline else w.outbox.post(b"x")
    eventually(lambda: w.broken, "it is told")
    assert (w.broken, w.faults) == (["it is gone"], [None])
    w.ended()
    late = [w.outbox.send(b"late"), w.outbox.post(b"late")]
    assert [entry.sent, *(each.sent for each in late)] == [False] * 3
    assert (w.outbox.queued, w.outbox.queued_bytes) == (0, 0)
    assert [w.outbox.discard(each) for each in late] == [True, True]  # nothing of them was written
    assert not w.outbox.discard(entry)
    assert w.outbox.queued_bytes == 0


@pytest.mark.fault("H11")
def test_a_defect_in_the_stream_ends_the_conversation(writing: Callable[..., Writing],
                                                      caplog: pytest.LogCaptureFixture) -> None:
    """An error that no stream should raise is logged and told; the thread does not just vanish."""
    w = writing()
    w.valve.fail(ValueError("a defect"))
    w.outbox.post(b"x")
    eventually(lambda: w.broken, "it is told")
    assert "a defect" in w.broken[0]
    assert w.faults == ["host error"]
    w.ended()
    assert "please report it" in caplog.text
    other = writing()
    other.valve.fail(ValueError("a defect"))
    with pytest.raises(ValueError, match="a defect"):
        other.outbox.send(b"x")
    assert "how much of it was written is not known" in other.broken[0]
    other.ended()


def test_a_deadly_sigpipe_keeps_senders_from_writing(writing: Callable[..., Writing],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SIGPIPE would end the host, only the writer thread writes, which blocks it."""
    monkeypatch.setattr(outbox_module, "sigpipe_kills", lambda: True)
    w = writing()
    entry = w.outbox.send(b"x")
    eventually(lambda: entry.sent, "it is written")
    assert w.valve.writes == ["writer"]


# ---- signal handlers that raise


@pytest.mark.fault("J20")
@pytest.mark.parametrize("before", ["idle", "narrow", "full", "waiting", "post"])
def test_a_sender_is_interrupted_anywhere(before: str) -> None:
    """Wherever Ctrl-C hits a sender: whole frames only, and later ones arrive, or the conversation is over."""
    current: List[Writing] = []
    broken = intact = 0

    def prepare() -> Callable[[], Any]:
        w = Writing(room={"idle": 10 ** 9, "narrow": 3, "full": 0, "waiting": 0, "post": 5}[before])
        current[:] = [w]
        if before == "waiting":
            w.outbox.post(b"<first>")
        w.start()
        if before == "waiting":
            eventually(lambda: w.stalls, "the writer writes")
        return lambda: (w.outbox.post if before == "post" else w.outbox.send)(b"<interrupted>")
    for where in interrupt_each_line(prepare, {"outbox.py"}):
        w = current[0]
        w.valve.open()
        w.outbox.send(b"<later>")
        eventually(lambda w=w: w.broken or not w.outbox.queued_bytes, where)  # type: ignore[misc]
        text = bytes(w.valve.taken).replace(b"<first>", b"").replace(b"<interrupted>", b"", 1)
        if w.broken:
            broken += 1
            assert "Interrupted" in w.broken[0]
            assert w.faults == ["interrupted write"]
        else:
            intact += 1
            assert text == b"<later>", where
            assert w.outbox.queued_bytes == 0, where
        w.outbox.close(0.0)
        w.ended()
    current[0].outbox.close(0.0)
    assert intact > 5
    assert broken <= 1  # only while the bytes are just being handed over
