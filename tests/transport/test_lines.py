"""Lines out of bytes: where they end, what is cut, and that no chunking changes either."""
from __future__ import annotations

import time
from typing import Iterator, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legacy_plugins.transport.lines import Line, LineSplitter


def _whole(*texts: bytes) -> List[Line]:
    return [Line(text, False) for text in texts]


def _model(data: bytes, limit: int) -> Tuple[List[Line], int]:
    """What the splitter must give for all of `data`: the lines, and the number of bytes cut off."""
    *ended, rest = data.split(b"\n")
    texts = [text[:-1] if text.endswith(b"\r") and len(text) <= limit + 1 else text for text in ended]
    texts += [rest] if rest else []
    return [Line(text[:limit], len(text) > limit) for text in texts], sum(max(0, len(text) - limit) for text in texts)


def _chunks(data: bytes, cuts: List[int]) -> Iterator[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return (data[start:end] for start, end in zip(edges, edges[1:]))


log_bytes = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"bcd", b"\x00\xff", b"x" * 9])).map(b"".join)


@pytest.mark.req("R24")
def test_lines_end_at_lf_and_at_cr_lf() -> None:
    """LF and CR LF end a line and belong to none; a lone CR is part of its line; the empty line is a line."""
    splitter = LineSplitter(100)
    assert splitter.feed(b"one\ntwo\r\nthree\rfour\n\n\r\nrest") == _whole(b"one", b"two", b"three\rfour", b"", b"")
    assert splitter.finish() == _whole(b"rest")
    assert splitter.finish() == []


def test_a_lone_cr_at_the_end_of_the_stream_stays() -> None:
    """Without LF behind it the last CR ends nothing."""
    splitter = LineSplitter(100)
    assert splitter.feed(b"half\r") == []
    assert splitter.finish() == _whole(b"half\r")


def test_a_line_that_arrives_in_pieces_is_one_line() -> None:
    """The end of a line may itself come in two chunks."""
    splitter = LineSplitter(100)
    assert [splitter.feed(chunk) for chunk in (b"he", b"llo\r", b"\nwor", b"ld\n")] == [
        [], [], _whole(b"hello"), _whole(b"world")]


@pytest.mark.fault("L2")
@pytest.mark.parametrize("chunk_size", [1, 3, 1000])
def test_a_long_line_is_cut_and_marked(chunk_size: int) -> None:
    """What is beyond the limit is discarded and counted; the next line is whole again; exactly the limit is allowed."""
    data = b"x" * 10 + b"\n" + b"y" * 25 + b"\n" + b"z" * 10 + b"\r\n" + b"last"
    splitter = LineSplitter(10)
    starts = range(0, len(data), chunk_size)
    lines = [line for start in starts for line in splitter.feed(data[start:start + chunk_size])]
    assert lines == [Line(b"x" * 10, False), Line(b"y" * 10, True), Line(b"z" * 10, False)]
    assert (splitter.truncated_lines, splitter.discarded_bytes) == (1, 15)
    assert splitter.finish() == _whole(b"last")


@pytest.mark.fault("L2")
def test_a_long_line_without_end_is_cut_at_the_end_of_the_stream() -> None:
    """The last line obeys the limit too."""
    splitter = LineSplitter(4)
    assert splitter.feed(b"abcdefg") == []
    assert splitter.finish() == [Line(b"abcd", True)]
    assert (splitter.truncated_lines, splitter.discarded_bytes) == (1, 3)


@settings(deadline=None)
@given(data=log_bytes, cuts=st.lists(st.integers(0, 1000)), limit=st.integers(1, 12))
def test_chunks_change_nothing(data: bytes, cuts: List[int], limit: int) -> None:
    """However the stream is chunked, lines, marks and counts are those of the whole."""
    splitter = LineSplitter(limit)
    lines = [line for chunk in _chunks(data, cuts) for line in splitter.feed(chunk)] + splitter.finish()
    expected, discarded = _model(data, limit)
    assert lines == expected
    assert (splitter.truncated_lines, splitter.discarded_bytes) == (sum(line.truncated for line in lines), discarded)


@settings(deadline=None)
@given(data=log_bytes, cuts=st.lists(st.integers(0, 1000)), limit=st.integers(1, 12), wanted=st.integers(1, 3))
def test_skipped_lines_are_counted_as_read_ones_are(data: bytes, cuts: List[int], limit: int, wanted: int) -> None:
    """Reading `wanted` lines of a chunk and skipping the others leaves the same counts, and their bytes can be read."""
    splitter = LineSplitter(limit)
    lines: List[Line] = []
    for chunk in _chunks(data, cuts):
        splitter.receive(chunk)
        read = [line for line in (splitter.next_line() for _ in range(wanted)) if line is not None]
        count, raw = splitter.skip() if len(read) == wanted else (0, b"")
        skipped = LineSplitter(limit).feed(raw)
        assert len(skipped) == count
        lines += read + skipped
    lines += splitter.finish()
    expected, discarded = _model(data, limit)
    assert lines == expected
    assert (splitter.truncated_lines, splitter.discarded_bytes) == (sum(line.truncated for line in lines), discarded)


@pytest.mark.fault("L2")
def test_memory_is_bounded_without_newline() -> None:
    """Of 100 MB without a line's end, no more than the limit is held, and it takes no noticeable time."""
    splitter = LineSplitter(1000)
    chunk = b"x" * 65536
    started = time.process_time()
    for _ in range(1600):
        assert splitter.feed(chunk) == []
    assert time.process_time() - started < 5
    assert len(splitter._partial) == 1001
    assert splitter._chunk == b""
    assert splitter.feed(b"\n") == [Line(b"x" * 1000, True)]
    assert splitter.discarded_bytes == 1600 * 65536 - 1000


def test_one_byte_chunks_take_linear_time() -> None:
    """A line of 400,000 bytes that comes byte by byte is not copied for every byte (that would be 80 GB)."""
    splitter = LineSplitter(1_000_000)
    started = time.process_time()
    for _ in range(400_000):
        splitter.feed(b"x")
    assert splitter.feed(b"\n") == _whole(b"x" * 400_000)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    """A splitter that could keep nothing of any line is a mistake of its caller."""
    with pytest.raises(ValueError, match="at least 1"):
        LineSplitter(limit)
