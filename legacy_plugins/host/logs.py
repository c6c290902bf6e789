"""A plugin's stderr as log records: budget, tail, counters, and the way into `logging`.

Owns, for each plugin, its line budget, the tail that crash reports quote, and the counters of its status. It has no
thread: the stderr thread of each of the plugin's processes (two at a time during a reload) calls `feed` and `finish`,
the supervisor `flush`, anyone `tail`. Whatever the flood, all that is over the budget costs a search for line ends and
is kept as raw bytes, since the last words before a crash matter most. Must not import transport's processes, rpc or
any framework, and must not call `emit` with its lock held.
"""
from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Callable, Deque, Dict, List, NamedTuple, Optional, Sequence, Tuple

from legacy_plugins.config.policies import LogPolicy
from legacy_plugins.host.log_lines import LEVELS, TRUNCATED, LineParser, Redactor, escape, quote_line
from legacy_plugins.transport.lines import Line, LineSplitter

#: How many bytes the tail of one plugin may have.
MAX_TAIL_BYTES = 64 * 1024
#: The shortest time, in seconds, between two notices of suppressed lines.
NOTICE_SECONDS = 1.0
#: What a line costs that is read and not emitted (blank, or below `logs.level`), if it is short. A plugin that chats
#: below the level is not cut short for it, and still cannot buy more than ten times the parsing.
UNEMITTED_COST = 0.1
SHORT_LINE_BYTES = 1024


def log_record(logger: logging.Logger, plugin: str, level: int, message: str, pid: int) -> bool:
    """Hand one record to `logging`; False where a filter or handler raised. On whatever thread the handlers may block.

    The text begins `plugin=<name> pid=<pid>`, so that no plugin can forge another's line or the host's whatever the
    formatter; `record.plugin` and `record.pid` have the same. The message is an argument, never a format.
    """
    try:
        logger.log(level, "plugin=%s pid=%d %s", plugin, pid, message, extra={"plugin": plugin, "pid": pid})
    except Exception:  # noqa: BLE001 - a handler of the application's must not end the plugin's log
        return False
    return True


class LineBudget:
    """A token bucket in lines. Not locked: its owner serialises the calls."""

    def __init__(self, lines_per_second: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = lines_per_second
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()

    def spend(self) -> bool:
        """Pay for one line; False when it cannot be afforded."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def refund(self, tokens: float) -> None:
        """Give back what a line did not cost after all."""
        self._tokens = min(self._burst, self._tokens + tokens)


class _TailEntry(NamedTuple):
    """Bytes of one process: one line without its end, or whole lines as they came."""

    pid: int
    raw: bytes
    truncated: bool


class LogTail:
    """The last lines of a plugin, as raw bytes that are cut into lines when asked for.

    `lines` gives at most `max_lines` of them with `max_bytes` bytes together; up to twice as much is held. Not locked:
    its owner serialises `add` and `entries`.
    """

    def __init__(self, max_lines: int, max_line_bytes: int, max_bytes: int = MAX_TAIL_BYTES) -> None:
        self._max_lines = max_lines
        self._max_line_bytes = max_line_bytes
        self._max_bytes = max_bytes
        self._entries: Deque[_TailEntry] = deque()
        self._bytes = 0

    def add(self, pid: int, raw: bytes, truncated: bool = False) -> None:
        """Add a line without its end, or whole lines as they came. Blank ones do not count."""
        if not raw or raw.isspace():
            return
        if len(raw) > self._max_bytes:
            raw, truncated = self._shorten(raw)
        self._entries.append(_TailEntry(pid, raw, truncated))
        self._bytes += len(raw)
        entries = self._entries
        while entries and (len(entries) > self._max_lines or self._bytes - len(entries[0].raw) >= self._max_bytes):
            self._bytes -= len(entries.popleft().raw)

    def entries(self, pid: Optional[int] = None) -> List[_TailEntry]:
        """What `lines` takes: a copy of everything, or what came from one process."""
        return [entry for entry in self._entries if pid is None or entry.pid == pid]

    def lines(self, entries: Sequence[_TailEntry]) -> List[Line]:
        """The last lines in these entries, oldest first. Any thread."""
        room = self._max_bytes
        lines: List[Line] = []
        for entry in reversed(entries):
            for line in reversed(self._split(entry)):
                room -= len(line.text_bytes)
                if room < 0 or len(lines) == self._max_lines:
                    return lines[::-1]
                if not _is_blank(line):
                    lines.append(line)
        return lines[::-1]

    def _split(self, entry: _TailEntry) -> List[Line]:
        if entry.truncated:
            return [Line(entry.raw, True)]
        splitter = LineSplitter(self._max_line_bytes)
        return splitter.feed(entry.raw) + splitter.finish()

    def _shorten(self, raw: bytes) -> Tuple[bytes, bool]:
        """The last lines that fit, whole; a last line that does not fit loses its end, never its beginning, without
        which a pattern could not tell a secret in it."""
        start = raw.find(b"\n", len(raw) - self._max_bytes - 2) + 1
        if 0 < start < len(raw):
            return raw[start:], False
        splitter = LineSplitter(min(self._max_bytes, self._max_line_bytes))
        last = (splitter.feed(raw[raw.rfind(b"\n", 0, len(raw) - 1) + 1:]) + splitter.finish())[0]
        return last.text_bytes, last.truncated


def _is_blank(line: Line) -> bool:
    return not line.text_bytes or line.text_bytes.isspace()


class _Stream:
    """One process's stderr on its way; touched by its stderr thread alone."""

    def __init__(self, max_line_bytes: int, redact: Redactor) -> None:
        self.splitter = LineSplitter(max_line_bytes)
        self.parser = LineParser(redact)


class PluginLog:
    """One plugin's log. `feed`, `finish`: the stderr thread of the process; everything else: any thread.

    Lines below `logs.level` are not emitted; they are in the tail and the counters. A line that states no level is
    INFO. Blank lines are counted and otherwise ignored. What is over the budget is suppressed: counted, kept in the
    tail, and told in one WARNING a second at most, whatever `logs.level` is, since what was lost may have been errors.

    Counters: `lines` (read), `suppressed` (not emitted for want of budget, or because `emit` raised), `truncated`
    (longer than `logs.maxLineBytes`).
    """

    def __init__(self, policy: LogPolicy, emit: Callable[[int, str, int], None], *,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """`emit(level, message, pid)` is called on the feeding thread, must return soon, and should not raise.

        `clock` gives seconds that never go back. Raises `re.error` where a pattern of `policy.redact` is none.
        """
        self.lines = 0
        self.suppressed = 0
        self._policy = policy
        self._emit = emit
        self._clock = clock
        self._threshold = LEVELS[policy.level.lower()]
        self._redact = Redactor(policy.redact)
        # Guards everything below and the counters; held for bookkeeping only, never while parsing or emitting.
        self._lock = threading.RLock()  # re-entrant: a signal handler may ask for the status
        self._budget = LineBudget(policy.lines_per_second, policy.burst, clock)
        self._tail = LogTail(policy.tail_lines, policy.max_line_bytes)
        self._streams: Dict[int, _Stream] = {}
        self._truncated_before = 0  # by processes that have ended
        self._unreported = 0
        self._unreported_pid = 0
        self._notice_due: Optional[float] = None

    @property
    def truncated(self) -> int:
        """How many lines were longer than `logs.maxLineBytes`."""
        with self._lock:
            return self._truncated_before + sum(s.splitter.truncated_lines for s in self._streams.values())

    @property
    def notice_due(self) -> Optional[float]:
        """When, on the clock, `flush` has something to report; None while nothing is unreported."""
        return self._notice_due

    def feed(self, data: bytes, pid: int) -> None:
        """Take what was read from the stderr of process `pid`."""
        self.flush()
        stream = self._stream(pid)
        stream.splitter.receive(data)
        while True:
            line = stream.splitter.next_line()
            if line is None:
                return
            if not self._admit(line, pid):
                break
            self._publish(line, stream.parser, pid)
        stream.parser.interrupt()
        skipped, raw = stream.splitter.skip()
        with self._lock:
            self.lines += skipped
            self._tail.add(pid, raw)
            self._suppress(skipped, pid)

    def finish(self, pid: int) -> None:
        """The stderr of process `pid` has ended: its last line may lack its end, and what is unreported is told."""
        stream = self._stream(pid)
        for line in stream.splitter.finish():
            if self._admit(line, pid):
                self._publish(line, stream.parser, pid)
        with self._lock:
            self._truncated_before += stream.splitter.truncated_lines
            del self._streams[pid]
        self._report()

    def line(self, text: bytes, pid: int) -> None:
        """Take one whole line, with its end or without, that came another way than by stderr. Any thread.

        Output before the first frame comes like this.
        """
        text, limit = text.rstrip(b"\r\n"), self._policy.max_line_bytes
        line = Line(text[:limit], len(text) > limit)
        if line.truncated:
            with self._lock:
                self._truncated_before += 1
        if self._admit(line, pid):
            self._publish(line, LineParser(self._redact), pid)

    def flush(self) -> None:
        """Report suppressed lines, if it is time (`notice_due`). Without it the report waits for the next output."""
        due = self._notice_due
        if due is not None and self._clock() >= due:
            self._report()

    def tail(self, pid: Optional[int] = None) -> Tuple[str, ...]:
        """The last lines as the plugin wrote them, redacted and escaped, suppressed ones included; oldest first.

        With `pid`, those of one process, as a crash report wants them.
        """
        with self._lock:
            entries = self._tail.entries(pid)
        return tuple(quote_line(line.text_bytes, self._redact) + (TRUNCATED if line.truncated else "")
                     for line in self._tail.lines(entries))

    def clean(self, text: str) -> str:
        """What the plugin said in another way than by a line, as its lines are logged: redacted, escaped, one line."""
        return escape(self._redact(text))

    def _stream(self, pid: int) -> _Stream:
        with self._lock:
            if pid not in self._streams:
                self._streams[pid] = _Stream(self._policy.max_line_bytes, self._redact)
            return self._streams[pid]

    def _admit(self, line: Line, pid: int) -> bool:
        """Count the line and keep it in the tail; whether the budget allows to read it."""
        with self._lock:
            self.lines += 1
            self._tail.add(pid, *line)
            if self._budget.spend():
                return True
            self._suppress(1, pid)
            return False

    def _publish(self, line: Line, parser: LineParser, pid: int) -> None:
        """Parse a line that was paid for and emit it."""
        record = parser.parse(line.text_bytes, line.truncated)
        if _is_blank(line) or record.level < self._threshold:
            if len(line.text_bytes) <= SHORT_LINE_BYTES:
                with self._lock:
                    self._budget.refund(1 - UNEMITTED_COST)
            return
        try:
            self._emit(record.level, record.message, pid)
        except Exception:  # noqa: BLE001 - whatever it is, stderr must be drained
            with self._lock:
                self._suppress(1, pid)

    def _suppress(self, lines: int, pid: int) -> None:
        """Count lines that are not emitted, to be reported. The lock is held."""
        self.suppressed += lines
        self._owe(lines, pid)

    def _owe(self, lines: int, pid: int) -> None:
        """Note that lines are to be reported, and when. The lock is held."""
        if lines:
            self._unreported += lines
            self._unreported_pid = pid
            if self._notice_due is None:
                self._notice_due = self._clock() + NOTICE_SECONDS

    def _report(self) -> None:
        """Emit one notice of what is unreported; where that fails, it stays unreported."""
        with self._lock:
            lines, pid = self._unreported, self._unreported_pid
            self._unreported, self._notice_due = 0, None
        if not lines:
            return
        policy = self._policy
        message = (f"{lines} {'line' if lines == 1 else 'lines'} suppressed "
                   f"(logs.linesPerSecond is {policy.lines_per_second}, logs.burst is {policy.burst})")
        try:
            self._emit(logging.WARNING, message, pid)
        except Exception:  # noqa: BLE001 - as above
            with self._lock:
                self._owe(lines, pid)
