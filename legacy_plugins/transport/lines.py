"""Cutting a byte stream into lines: bytes in, lines out, in bounded memory and linear time whatever comes.

Owns the bytes of the line that is not complete yet, at most `max_line_bytes` and one of them. A line ends at LF or
CR LF; a lone CR is part of the line. What a line has beyond `max_line_bytes` is discarded and counted. One stream is
fed by one thread, and nothing is locked. Must not import anything beyond typing: it knows no file and no text.
"""
from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple


class Line(NamedTuple):
    """One line without its end. `truncated`: it was longer, and its rest was discarded."""

    text_bytes: bytes
    truncated: bool


class LineSplitter:
    """Cuts one stream into lines.

    `feed` returns the lines that a chunk completes. Whoever wants only the first of them uses `receive`, `next_line`
    for each that is wanted, and `skip` for the others, which costs a search for LF.
    """

    def __init__(self, max_line_bytes: int) -> None:
        if max_line_bytes < 1:
            raise ValueError(f"max_line_bytes must be at least 1, not {max_line_bytes}")
        #: How many lines were cut, skipped ones included.
        self.truncated_lines = 0
        #: How many bytes were cut off lines, up to the LF.
        self.discarded_bytes = 0
        self._max_line_bytes = max_line_bytes
        self._chunk = b""
        self._at = 0  # where the first unread line of the chunk begins
        # The line whose end has not come. One byte more than allowed is kept: it may be the CR of the line's end.
        self._partial = bytearray()
        self._partial_discarded = 0

    def feed(self, data: bytes) -> List[Line]:
        """The lines that `data` completes."""
        self.receive(data)
        lines: List[Line] = []
        line = self.next_line()
        while line is not None:
            lines.append(line)
            line = self.next_line()
        return lines

    def receive(self, data: bytes) -> None:
        """Take `data`, to be read by `next_line` and `skip`."""
        self._chunk = self._chunk[self._at:] + data if self._at < len(self._chunk) else data
        self._at = 0

    def next_line(self) -> Optional[Line]:
        """The next complete line; None when the rest of what was received is not a whole line."""
        end = self._chunk.find(b"\n", self._at)
        if end < 0:
            self._keep_rest()
            return None
        start, self._at = self._at, end + 1
        if self._partial:
            self._extend_partial(start, end)
            return self._take_partial(end_of_line=True)
        stop = end - 1 if self._chunk.endswith(b"\r", start, end) else end
        if stop - start <= self._max_line_bytes:
            return Line(self._chunk[start:stop], False)
        return self._cut(self._chunk[start:start + self._max_line_bytes], end - start)

    def skip(self) -> Tuple[int, bytes]:
        """Pass over all lines that `next_line` would return: their number, and their bytes as they came.

        To be called when `next_line` has returned a line of this chunk, which may have begun in an earlier one.
        """
        assert not self._partial
        end = self._chunk.rfind(b"\n", self._at) + 1
        if end == 0:
            return 0, b""
        skipped = self._chunk[self._at:end]
        self._at = end
        self._keep_rest()
        if len(skipped) > self._max_line_bytes:
            self._count_cut(skipped)
        return skipped.count(b"\n"), skipped

    def finish(self) -> List[Line]:
        """The stream has ended: what is left without a line's end is the last line, if there is anything."""
        lines = self.feed(b"")
        if self._partial:
            lines.append(self._take_partial(end_of_line=False))
        return lines

    def _keep_rest(self) -> None:
        if self._at < len(self._chunk):
            self._extend_partial(self._at, len(self._chunk))
        self._chunk, self._at = b"", 0

    def _extend_partial(self, start: int, end: int) -> None:
        taken = min(end - start, self._max_line_bytes + 1 - len(self._partial))
        self._partial += self._chunk[start:start + taken]
        self._partial_discarded += end - start - taken

    def _take_partial(self, end_of_line: bool) -> Line:
        text = bytes(self._partial)
        length = len(text) + self._partial_discarded
        self._partial.clear()
        self._partial_discarded = 0
        if end_of_line and length == len(text) and text.endswith(b"\r"):
            text, length = text[:-1], length - 1
        return Line(text, False) if length <= self._max_line_bytes else self._cut(text[:self._max_line_bytes], length)

    def _cut(self, text: bytes, length: int) -> Line:
        """A line of `length` bytes of which only `text` is kept."""
        self.truncated_lines += 1
        self.discarded_bytes += length - len(text)
        return Line(text, True)

    def _count_cut(self, skipped: bytes) -> None:
        """Count what `next_line` would have cut off these lines."""
        limit = self._max_line_bytes
        cut = [len(text) for text in skipped.split(b"\n")
               if len(text) > limit and (len(text) > limit + 1 or not text.endswith(b"\r"))]
        self.truncated_lines += len(cut)
        self.discarded_bytes += sum(cut) - limit * len(cut)
