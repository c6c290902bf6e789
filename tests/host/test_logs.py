"""A plugin's log: records, budget, tail, counters, and that no flood and no handler holds it up."""
from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import Any, Callable, Iterator, List, Tuple

import pytest

from legacy_plugins.config.policies import LogPolicy
from legacy_plugins.host import logs
from legacy_plugins.host.log_lines import LineParser, LogLine
from legacy_plugins.host.logs import LogTail, PluginLog, log_record

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
Emitted = Tuple[int, str, int]


class Clock:
    """Time in seconds that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """A log with its clock and what it emitted."""

    def __init__(self, **policy: Any) -> None:
        self.clock = Clock()
        self.emitted: List[Emitted] = []
        small = LogPolicy(lines_per_second=10, burst=5, max_line_bytes=100, tail_lines=4)
        self.log = PluginLog(replace(small, **policy), self.emit, clock=self.clock)

    def emit(self, level: int, message: str, pid: int) -> None:
        assert not self.log._lock._is_owned()  # type: ignore[attr-defined]
        self.emitted.append((level, message, pid))

    @property
    def messages(self) -> List[str]:
        return [message for _, message, _ in self.emitted]


def _notice(lines: str) -> str:
    return f"{lines} suppressed (logs.linesPerSecond is 10, logs.burst is 5)"


@pytest.mark.req("R24")
def test_lines_become_records_with_level_and_pid() -> None:
    """Each line is emitted once, in order, with its level and its process."""
    rig = Rig()
    rig.log.feed(b"one\nWARN: t", 7)
    rig.log.feed(b"wo\n<3>three\n", 7)
    assert rig.emitted == [(INFO, "one", 7), (WARNING, "two", 7), (ERROR, "three", 7)]
    assert (rig.log.lines, rig.log.suppressed, rig.log.truncated) == (3, 0, 0)


@pytest.mark.req("R24")
def test_the_last_words_need_no_newline() -> None:
    """What is left when stderr ends is a line."""
    rig = Rig()
    rig.log.feed(b"ERROR: going dow", 7)
    assert rig.emitted == []
    rig.log.finish(7)
    assert rig.emitted == [(ERROR, "going dow", 7)]
    assert rig.log.tail() == ("ERROR: going dow",)


@pytest.mark.req("R24")
def test_two_processes_do_not_mix() -> None:
    """During a reload two processes write at once: neither completes the other's line or continues its traceback."""
    rig = Rig(burst=50)
    rig.log.feed(b"Traceback (most recent call last):\nol", 1)
    rig.log.feed(b"  new\n", 2)
    rig.log.feed(b"dError\n", 1)
    assert rig.emitted == [(ERROR, "Traceback (most recent call last):", 1), (INFO, "  new", 2), (ERROR, "oldError", 1)]
    assert rig.log.tail(1) == ("Traceback (most recent call last):", "oldError")
    assert rig.log.tail(2) == ("  new",)


def test_a_new_process_begins_a_new_line() -> None:
    """Half a line of a process that ended is not the beginning of its successor's, not even with the same pid."""
    rig = Rig()
    rig.log.feed(b"half", 7)
    rig.log.finish(7)
    rig.log.feed(b"whole\n", 7)
    assert rig.messages == ["half", "whole"]


def test_a_line_from_elsewhere_is_a_line_of_the_plugin() -> None:
    """Output before the first frame is read, cut, redacted, kept and limited as stderr is, without disturbing it."""
    rig = Rig(redact=(r"token=\S+",), burst=3)
    rig.log.feed(b"hal", 7)
    rig.log.line(b"WARN: token=abc\r\n", 7)
    rig.log.line(b"x" * 101, 7)
    rig.log.feed(b"f\n", 7)
    rig.log.line(b"over budget", 7)
    assert rig.emitted == [(WARNING, "[redacted]", 7), (INFO, "x" * 100 + " [line truncated]", 7), (INFO, "half", 7)]
    assert rig.log.tail()[-1] == "over budget"
    assert (rig.log.lines, rig.log.suppressed, rig.log.truncated) == (4, 1, 1)


def test_a_line_from_elsewhere_leaves_a_traceback_alone() -> None:
    """It neither belongs to the traceback that stderr is in, nor ends it."""
    rig = Rig()
    rig.log.feed(b"Traceback (most recent call last):\n", 7)
    rig.log.line(b"status: ok", 7)
    rig.log.feed(b"  File\n", 7)
    assert [level for level, _, _ in rig.emitted] == [ERROR, INFO, ERROR]


@pytest.mark.req("R24")
@pytest.mark.parametrize(("level", "expected"), [
    ("DEBUG", ["d", "i", "w", "plain"]), ("info", ["i", "w", "plain"]), ("WARNING", ["w"]), ("ERROR", [])])
def test_the_level_is_a_threshold(level: str, expected: List[str]) -> None:
    """Lines below `logs.level` are not emitted, those without a level count as INFO; the tail has them all."""
    rig = Rig(level=level)
    rig.log.feed(b"DEBUG: d\nINFO: i\nWARN: w\nplain\n", 7)
    assert rig.messages == expected
    assert rig.log.tail() == ("DEBUG: d", "INFO: i", "WARN: w", "plain")
    assert (rig.log.lines, rig.log.suppressed) == (4, 0)


def test_blank_lines_are_not_records() -> None:
    """Empty lines and lines of white space are counted, not emitted, and do not push text out of the tail."""
    rig = Rig()
    rig.log.feed(b"a\n\n  \r\n\t\nb\n" + b"\n" * 20, 7)
    assert rig.messages == ["a", "b"]
    assert rig.log.tail() == ("a", "b")
    assert rig.log.lines == 25


@pytest.mark.req("R25")
@pytest.mark.fault("L1")
def test_lines_over_the_budget_are_counted_and_told_once_a_second() -> None:
    """The burst passes, the rest is suppressed, and one record a second says how many were."""
    rig = Rig()
    rig.log.feed(b"".join(b"%d\n" % n for n in range(25)), 7)
    assert rig.messages == ["0", "1", "2", "3", "4"]
    rig.clock.now += 0.5
    rig.log.feed(b"a\n" * 25, 7)
    assert rig.messages[5:] == ["a"] * 5
    assert rig.log.notice_due == 1001.0
    rig.clock.now += 0.5
    rig.log.feed(b"b\n", 7)
    assert rig.emitted[10:] == [(WARNING, _notice("40 lines"), 7), (INFO, "b", 7)]
    assert (rig.log.lines, rig.log.suppressed) == (51, 40)
    assert rig.log.notice_due is None


@pytest.mark.req("R25")
def test_a_quiet_hour_earns_one_burst() -> None:
    """However long a plugin was silent, no more than the burst passes at once."""
    rig = Rig()
    rig.clock.now += 3600
    rig.log.feed(b"a\n" * 3 + b"\n" * 3 + b"a\n" * 10, 7)
    assert rig.messages == ["a"] * 4
    rig.clock.now += 0.5
    rig.log.feed(b"b\n" * 10, 7)
    assert rig.messages[4:] == ["b"] * 5


@pytest.mark.req("R25")
@pytest.mark.fault("L1")
def test_a_long_flood_gives_one_notice_a_second() -> None:
    """In ten seconds of flood the records are the rate's, the notices about ten, and together they account for all."""
    rig = Rig()
    for _ in range(1000):
        rig.log.feed(b"x\n" * 100, 7)
        rig.clock.now += 0.01
    rig.log.finish(7)
    notices = [message for message in rig.messages if "suppressed" in message]
    assert 9 <= len(notices) <= 11
    assert sum(int(notice.split()[0]) for notice in notices) == rig.log.suppressed
    assert 100 <= rig.messages.count("x") <= 5 + 100
    assert rig.messages.count("x") + rig.log.suppressed == rig.log.lines == 100_000


@pytest.mark.req("R25")
def test_flush_reports_a_flood_that_was_followed_by_silence() -> None:
    """The supervisor can have the notice without another line, when it is due and not before."""
    rig = Rig(burst=1)
    rig.log.feed(b"a\nb\n", 7)
    rig.clock.now += 0.9
    rig.log.flush()
    assert rig.messages == ["a"]
    rig.clock.now += 0.1
    rig.log.flush()
    rig.log.flush()
    assert rig.emitted[1:] == [(WARNING, "1 line suppressed (logs.linesPerSecond is 10, logs.burst is 1)", 7)]


@pytest.mark.req("R25")
def test_the_end_of_a_process_reports_at_once() -> None:
    """Suppressed lines of a process that ended are told without waiting, whatever `logs.level` is."""
    rig = Rig(level="CRITICAL")
    rig.log.feed(b"ERROR: x\n" * 5000, 7)
    rig.log.finish(7)
    assert rig.messages[-1].endswith("logs.burst is 5)")
    assert rig.log.notice_due is None


@pytest.mark.req("R25")
def test_lines_below_the_level_cost_a_tenth() -> None:
    """A plugin that chats below the level does not lose its errors for it; a flood of such lines ends in time too."""
    rig = Rig()
    rig.log.feed(b"DEBUG: x\n" * 20 + b"ERROR: y\n", 7)
    assert rig.messages == ["y"]
    rig.log.feed(b"DEBUG: x\n" * 1000, 7)
    assert 970 <= rig.log.suppressed < 1000


def test_long_lines_below_the_level_cost_as_others_do() -> None:
    """The discount is for short lines, since the cost of parsing is in the bytes."""
    rig = Rig(max_line_bytes=5000)
    rig.log.feed((b"DEBUG: " + b"x" * 4000 + b"\n") * 20, 7)
    assert rig.log.suppressed == 15


@pytest.mark.req("R25")
@pytest.mark.fault("L1")
def test_a_flood_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20 MB at once only what the budget allows is looked at; all of it is counted."""
    parsed: List[bytes] = []
    parse = LineParser.parse

    def counting(self: LineParser, line: bytes, truncated: bool = False) -> LogLine:
        parsed.append(line)
        return parse(self, line, truncated)

    monkeypatch.setattr(LineParser, "parse", counting)
    rig = Rig()
    for _ in range(320):
        rig.log.feed(b"some line\n" * 6554, 7)
    assert len(parsed) == 5
    assert rig.log.lines == 320 * 6554
    assert rig.log.suppressed == rig.log.lines - 5


@pytest.mark.fault("L5")
def test_the_tail_has_the_last_lines_of_a_flood() -> None:
    """Suppressed lines are in the tail, whether skipped with a chunk or turned away singly."""
    rig = Rig()
    rig.log.feed(b"".join(b"%d\n" % n for n in range(5000)), 7)
    assert rig.log.tail() == ("4996", "4997", "4998", "4999")
    rig.log.feed(b"last\nwor", 7)
    rig.log.feed(b"ds", 7)
    rig.log.finish(7)
    assert rig.log.tail() == ("4998", "4999", "last", "words")
    assert rig.log.suppressed == 4997


@pytest.mark.fault("L5")
def test_a_traceback_stays_together_in_the_tail() -> None:
    """The traceback of a crash is in the tail whole and in order, without its blank lines, after a flood too."""
    traceback = 'Traceback (most recent call last):\n  File "x.py", line 1\n    boom()\nValueError: boom'
    rig = Rig(burst=50)
    rig.log.feed(b"noise\n" * 10_000, 7)
    rig.log.feed(traceback.encode() + b"\n", 7)
    assert rig.log.tail() == tuple(traceback.splitlines())


def test_a_traceback_that_lost_lines_does_not_go_on() -> None:
    """After suppressed lines an indented line is not taken for the traceback's."""
    rig = Rig(burst=1)
    rig.log.feed(b"Traceback (most recent call last):\n  File\n", 7)
    rig.clock.now += 0.1
    rig.log.feed(b"  menu\n", 7)
    assert rig.emitted == [(ERROR, "Traceback (most recent call last):", 7), (INFO, "  menu", 7)]


@pytest.mark.req("R26")
@pytest.mark.fault("L6")
def test_records_and_tail_are_redacted() -> None:
    """No configured secret is in a record, in the tail, or in the tail of what was suppressed."""
    rig = Rig(redact=(r"token=\S+", r"\bhunter\d"), burst=3, tail_lines=50)
    rig.log.feed(b'{"msg":"token\\u003dabc1 x"}\nERROR: token=abc2\nhunter2\n', 7)
    rig.log.feed(b"token=abc3\n\x1b[1mtoken\x1b[0m=abc4\n" + b'{"msg":"token\\u003dabc5 x"}\nhunt\x00er3\n', 7)
    assert rig.log.suppressed == 4
    assert rig.messages == ["[redacted] x", "[redacted]", "[redacted]"]
    assert len(rig.log.tail()) == 7
    assert [line for line in rig.log.tail() if "abc" in line or "hunt" in line] == []


@pytest.mark.fault("L3", "L4")
def test_records_and_tail_are_escaped() -> None:
    """Neither a record nor the tail can move a terminal's cursor or begin a new line."""
    rig = Rig()
    rig.log.feed("a\x1b[2Jb\rc\u202ed\u2028e\0\n".encode() + b"\xff\n", 7)
    assert rig.messages == ["a\\x1b[2Jb\\rc\\u202ed\\u2028e\\x00", "\\xff"]
    assert rig.log.tail() == tuple(rig.messages)


@pytest.mark.fault("L2")
def test_long_lines_are_cut_marked_and_counted() -> None:
    """A line over `logs.maxLineBytes` ends with a mark in record and tail; suppressed ones are counted too."""
    rig = Rig(burst=1)
    rig.log.feed(b"x" * 150 + b"\n", 7)
    rig.log.feed(b"y" * 150 + b"\n" + b"z" * 150 + b"\n" + b"w" * 150, 7)
    rig.log.finish(7)
    marked = [char * 100 + " [line truncated]" for char in "xyzw"]
    assert rig.messages[0] == marked[0]
    assert rig.log.tail() == tuple(marked)
    assert (rig.log.lines, rig.log.suppressed, rig.log.truncated) == (4, 3, 4)


def _tail(*chunks: bytes, max_lines: int = 100, max_line_bytes: int = 1000, max_bytes: int = 20) -> List[str]:
    tail = LogTail(max_lines, max_line_bytes, max_bytes)
    for chunk in chunks:
        tail.add(7, chunk)
    return [line.text_bytes.decode() + "~" * line.truncated for line in tail.lines(tail.entries())]


@pytest.mark.fault("L1", "L5")
@pytest.mark.parametrize(("chunks", "expected"), [
    ([b"aaaaaaaaaa", b"bbbbbbbbbb", b"cccccccccc"], ["b" * 10, "c" * 10]),
    ([b"aaaaaaaaaa\nbbbbbbbbb\nccccccccc\n", b"last"], ["c" * 9, "last"]),
    ([b"a\n" * 100, b"x" * 30], ["x" * 20 + "~"]),
    ([b"ab\n" + b"x" * 30 + b"\n"], ["x" * 20 + "~"]),
    ([b"ab\n" + b"x" * 20 + b"\n"], ["x" * 20]),
    ([b"ab\n" + b"x" * 20 + b"\r\n"], ["x" * 20]),
    ([b"zz\n" + b"x" * 9 + b"\n" + b"y" * 10 + b"\n"], ["x" * 9, "y" * 10]),
    ([b"a\r\n\r\n b\n"], ["a", " b"]),
    ([b"a", b"\n \n\n", b""], ["a"]),
])
def test_the_tail_is_bounded_in_bytes(chunks: List[bytes], expected: List[str]) -> None:
    """The newest whole lines that fit are kept; a line that does not fit alone loses its end, not its beginning."""
    assert _tail(*chunks) == expected


def test_the_tail_is_bounded_in_lines() -> None:
    """Lines count, however they came; none at all is a choice too."""
    assert _tail(b"a\nb\nc\n", b"d", max_lines=2) == ["c", "d"]
    assert _tail(b"a", b"b", b"c", max_lines=2) == ["b", "c"]
    assert _tail(b"a", b"b\n", max_lines=0) == []
    assert _tail(b"ab\n" + b"x" * 30 + b"\n", max_line_bytes=5) == ["xxxxx~"]


@pytest.mark.fault("L1")
def test_the_tail_holds_little_whatever_comes() -> None:
    """Neither many tiny lines nor large chunks make the tail hold more than twice its bound."""
    tail = LogTail(10_000, 65536)
    for chunk in (b"x\n" * 32768, b"y", b"z" * 65536, b"zz\n" * 500) * 300:
        tail.add(7, chunk)
        assert sum(len(entry.raw) for entry in tail.entries()) == tail._bytes < 2 * logs.MAX_TAIL_BYTES
    assert len(tail.lines(tail.entries())) <= 10_000


def test_the_tail_may_be_read_while_lines_come() -> None:
    """Two writers and a reader at once: every tail is a run of lines, and the counts are exact in the end."""
    rig = Rig(tail_lines=50)
    start = threading.Barrier(3)
    done = threading.Event()
    bad: List[Tuple[str, ...]] = []

    def write(pid: int) -> None:
        start.wait(10)
        for number in range(300):
            rig.log.feed(b"".join(b"%d\n" % (number * 20 + n) for n in range(20)), pid)

    def read() -> None:
        start.wait(10)
        while not done.is_set():
            tail = rig.log.tail(1)
            if [int(line) for line in tail] != list(range(int(tail[0]), int(tail[0]) + len(tail))) if tail else False:
                bad.append(tail)

    writers = [threading.Thread(target=write, args=(pid,)) for pid in (1, 2)]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join(30)
    done.set()
    reader.join(30)
    assert bad == []
    assert rig.log.lines == 12_000
    assert rig.log.suppressed == 12_000 - sum(message.isdigit() for message in rig.messages)


@pytest.mark.fault("L7")
def test_an_emit_that_raises_does_not_stop_the_log() -> None:
    """The line counts as suppressed, and is reported as soon as a notice gets through."""
    rig = Rig()
    emit = rig.log._emit

    def broken(level: int, message: str, pid: int) -> None:
        raise OSError("handler")

    rig.log._emit = broken
    rig.log.feed(b"a\nb\n", 7)
    rig.clock.now += 1
    rig.log.flush()
    rig.log._emit = emit
    rig.log.flush()
    assert rig.emitted == []
    rig.clock.now += 1
    rig.log.feed(b"c\n", 7)
    assert rig.messages == [_notice("2 lines"), "c"]
    assert rig.log.suppressed == 2


@pytest.fixture(name="logger")
def _logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("legacy_plugins.plugin.demo")
    logger.propagate = False
    logger.setLevel(DEBUG)
    yield logger
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()


class Records(logging.Handler):
    """Keeps records; calls `then` for each."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.records: List[logging.LogRecord] = []
        self._then = then

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self._then()


@pytest.mark.req("R24")
@pytest.mark.fault("L3")
def test_a_record_carries_plugin_and_pid(logger: logging.Logger) -> None:
    """The text begins with plugin and pid, the record has both, and the message is never a format string."""
    handler = Records()
    logger.addHandler(handler)
    assert log_record(logger, "demo", WARNING, "50%s %(x)s {y} %", 42)
    record, = handler.records
    assert record.getMessage() == "plugin=demo pid=42 50%s %(x)s {y} %"
    assert (record.levelno, record.name) == (WARNING, "legacy_plugins.plugin.demo")
    assert logging.Formatter("%(plugin)s/%(pid)s").format(record) == "demo/42"


@pytest.mark.fault("L7")
def test_a_handler_that_raises_is_contained(logger: logging.Logger) -> None:
    """An exception of a handler or filter does not reach the caller, who is told."""
    def fail() -> None:
        raise ValueError("broken handler")

    handler = Records(fail)
    logger.addHandler(handler)
    assert not log_record(logger, "demo", INFO, "hello", 42)
    assert len(handler.records) == 1


def test_the_loggers_level_holds(logger: logging.Logger) -> None:
    """What the application's logging configuration filters out is not a record."""
    handler = Records()
    logger.addHandler(handler)
    logger.setLevel(ERROR)
    assert log_record(logger, "demo", INFO, "hello", 42)
    assert handler.records == []
