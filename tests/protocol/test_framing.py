"""Framing: what is accepted and what is refused, at which byte, however the stream is cut into pieces.

A refused vector is written as two parts: a stream that may still become right, and what begins with the first byte that
no continuation can repair. The vectors run at the start of a stream and after a first frame.
"""
from __future__ import annotations

import random
import re
import time
import timeit
import tracemalloc
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple, Type

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legacy_plugins.errors import FrameTooLarge, ProtocolError
from legacy_plugins.protocol import framing
from legacy_plugins.protocol.framing import FrameDecoder, encode_frame, quote

FIRST = encode_frame(b'{"first":1}')
MAX = 64 * 1024  # of the decoders here, so that no vector needs megabytes
quick = settings(max_examples=80, deadline=None, derandomize=True)


class Verdict(NamedTuple):
    """All that may not depend on how the stream was cut."""

    bodies: List[bytes]
    strays: List[bytes]
    error: Optional[Type[ProtocolError]]
    partial: bool


def _after(mark: bytes) -> Callable[[bytes], List[bytes]]:
    return lambda stream: re.split(rb"(?<=" + mark + rb")", stream)


def _at_random(stream: bytes) -> List[bytes]:
    chance = random.Random(len(stream))
    cuts = sorted(chance.sample(range(len(stream) + 1), min(5, len(stream))))
    return [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)])]


CHUNKINGS = {
    "whole": lambda stream: [stream],
    "bytes": lambda stream: [stream[i:i + 1] for i in range(len(stream))],
    "pairs": lambda stream: [stream[i:i + 2] for i in range(0, len(stream), 2)],
    "after-cr": _after(rb"\r"),
    "after-lf": _after(rb"\n"),
    "after-cr-and-lf": _after(rb"[\r\n]"),
    "random": _at_random,
}


def _decode(pieces: List[bytes], *, skip_stray: bool = False, end: bool = False) -> Verdict:
    decoder = FrameDecoder(MAX, skip_stray=skip_stray)
    bodies = [body for piece in pieces for body in decoder.feed(piece)]
    if end:
        decoder.finish()
    return Verdict(bodies, decoder.take_stray(), type(decoder.error) if decoder.error else None, decoder.partial)


def _verdict(stream: bytes, *, skip_stray: bool = False, end: bool = False) -> Verdict:
    """The verdict on a stream, which has to be the same in every chunking."""
    whole = _decode([stream], skip_stray=skip_stray, end=end)
    for name, cut in CHUNKINGS.items():
        assert (name, _decode(cut(stream), skip_stray=skip_stray, end=end)) == (name, whole)
    return whole


def _header(*lines: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


ACCEPTED = {
    "as-we-write-it": b"Content-Length: 2\r\n\r\n",
    "lower-case": b"content-length: 2\r\n\r\n",
    "upper-case": b"CONTENT-LENGTH: 2\r\n\r\n",
    "no-space": b"Content-Length:2\r\n\r\n",
    "space-around": b"Content-Length: \t 2 \t\r\n\r\n",
    "leading-zeros": b"Content-Length: 0000000002\r\n\r\n",
    "unknown-fields": _header(b"X-One: 1", b"Content-Length: 2", b"x.!#$%&'*+-^_`|~2:"),
    "sixteen-fields": _header(*[b"X: y"] * 15, b"Content-Length: 2"),
    "4096-bytes": _header(b"X: " + b"y" * (4096 - 3 - 2 - 19 - 2), b"Content-Length: 2"),
    "all-printable-ascii": _header(b"X: " + bytes(range(0x20, 0x7f)) + b"\t.", b"Content-Length: 2"),
    "type-first": _header(b"Content-Type: application/vscode-jsonrpc; charset=utf-8", b"Content-Length: 2"),
    "utf8-without-hyphen": _header(b"Content-Length: 2", b"Content-Type: application/vscode-jsonrpc;charset=utf8"),
    "quoted-charset": _header(b"Content-Length: 2", b"Content-Type: application/json; charset=\"UTF-8\""),
    "json-without-charset": _header(b"content-type: Application/JSON", b"Content-Length: 2"),
    "json-suffix": _header(b"Content-Type: application/vnd.api+json", b"Content-Length: 2"),
    "json-rpc": _header(b"Content-Type: application/json-rpc ; charset=utf-8", b"Content-Length: 2"),
}


@pytest.mark.req("R6")
@pytest.mark.fault("F12")
@pytest.mark.parametrize("header", list(ACCEPTED.values()), ids=list(ACCEPTED))
def test_accepted_headers(header: bytes) -> None:
    """Every spelling that LSP and RFC 9110 allow is read, in any chunking, with the frames around it."""
    assert _verdict(FIRST + header + b"{}" + FIRST) == Verdict([b'{"first":1}', b"{}", b'{"first":1}'], [], None, False)


CL = b"Content-Length: "
OK = CL + b"2\r\n"
DIGITS_NOT_ASCII = [b"\xd9\xa5", "\uff15".encode(), b"\xc2\xa05", b"\x0b5", b"\x0c5"]
# (fault, what may still become right, what no continuation can repair, what the error says when all came at once)
REFUSED: List[Tuple[str, bytes, bytes, str]] = [
    ("F1", b"hello", b" world\n", "wrote non-protocol data to stdout: 'hello world'; write to stderr instead"),
    ("F1", b"Listening:", b"\n", "data to stdout: 'Listening:'; write to stderr"),
    ("F1", b"hello", b"\n", "wrote non-protocol data to stdout: 'hello'; write to stderr instead"),
    ("F1", b"", b"\xef\xbb\xbf" + OK, r"non-protocol data to stdout: '\xef\xbb\xbfContent-Length: 2"),
    ("F1", b"", b"\x1b[31mred\x1b[0m\n", r"'\x1b[31mred\x1b[0m'"),
    ("F1", b"", b"\n" + OK, "an empty line where a header must begin"),
    ("F1", b"", b"\r\n" + OK, "an empty line where a header must begin"),
    ("F1", b"", b"[1,2]\n", "non-protocol data to stdout: '[1,2]'"),
    ("F2", b"", b'{"id":1}\n', "newline-delimited JSON to stdout ('{\"id\":1}'); add a Content-Length header"),
    ("F3", b"X: " + b"a" * 4092, b"a" * 9000, "no end within 4096 bytes"),
    ("F3", b"a" * 4095, b"a" * 100_000, "no end within 4096 bytes"),
    ("F3", OK + b"X: " + b"a" * (4095 - 19 - 3), b"\r\n\r\n", "no end within 4096 bytes"),
    ("F4", b"X: y\r\n" * 16 + OK[:-1], b"\n\r\n{}", "more than 16 fields"),
    ("F5", b"X: y\r\n", b"\r\n{}", "no Content-Length"),
    ("F5", CL[:-1], b"\r\n\r\n{}", "Content-Length '' is not 1 to 10 ASCII digits"),
    ("F5", CL, b"\r\n\r\n{}", "Content-Length '' is not 1 to 10 ASCII digits"),
    ("F6", OK + OK[:-1], b"\n\r\n{}", "a second Content-Length, '2' after 2"),
    ("F6", OK + b"Content-Length: 3\r", b"\n\r\n{}", "a second Content-Length, '3' after 2"),
    ("F6", OK + b"cOnTeNt-lEnGtH:3\r", b"\n\r\n{}", "a second Content-Length"),
    ("F7", CL, b"+5\r\n\r\n", "Content-Length '+5' is not 1 to 10 ASCII digits"),
    ("F7", CL, b"-5\r\n\r\n", "'-5'"),
    ("F7", CL, b"-0\r\n\r\n", "'-0'"),
    ("F7", CL + b"1", b"_0\r\n\r\n", "'1_0'"),
    ("F7", CL + b"0", b"x25\r\n\r\n", "'0x25'"),
    ("F7", CL + b"37", b".0\r\n\r\n", "'37.0'"),
    ("F7", CL + b"37", b"e0\r\n\r\n", "'37e0'"),
    ("F7", CL + b"37", b"abc\r\n\r\n", "'37abc'"),
    ("F7", CL + b"37", b", 37\r\n\r\n", "'37, 37'"),
    ("F7", CL + b"3 ", b"7\r\n\r\n", "'3 7'"),
    *[("F7", CL, digits + b"\r\n\r\n", "malformed header line 'Content-Length: ") for digits in DIGITS_NOT_ASCII],
    ("F8", CL + b"1000000000", b"000\r\n\r\n", "'1000000000000' is not 1 to 10 ASCII digits"),
    ("F9", CL + b"9" * 10, b"9" * 4990 + b"\r\n\r\n", "no end within 4096 bytes"),
    ("F9", CL + b"0" * 10, b"2\r\n\r\n", "'00000000002' is not 1 to 10"),
    ("F10", CL + b"2", b"\n\n{}", "malformed header line 'Content-Length: 2': it ends with a bare LF"),
    ("F10", CL + b"2\r", b"\r{}", "it cannot become `Name: value` in printable ASCII, ended by CR LF"),
    ("F10", CL + b"2\r", b"\r\n\r\n{}", r"line 'Content-Length: 2\x0d': it is not `Name: value`"),
    ("F10", CL + b"2\r", b"X: y\r\n\r\n{}", r"'Content-Length: 2\x0dX: y': it is not `Name: value`"),
    ("F10", OK, b"\n{}", "malformed header line '': it ends with a bare LF"),
    ("F10", OK + b"\r", b"{}", r"malformed header line '\x0d{}'"),
    ("F11", b"Content-Length", b" : 2\r\n\r\n{}", "malformed header line 'Content-Length : 2'"),
    ("F11", b"Content-Length", b"\r\n\r\n{}", "malformed header line 'Content-Length'"),
    ("F11", OK, b" 3\r\n\r\n{}", "malformed header line ' 3'"),
    ("F11", OK, b"\tX: y\r\n\r\n{}", r"malformed header line '\x09X: y'"),
    ("F11", OK + b"X: y", b"\0\r\n\r\n{}", r"malformed header line 'X: y\x00'"),
    ("F11", OK + b"X: ", b"\xe9\r\n\r\n{}", r"malformed header line 'X: \xe9'"),
    ("F11", OK + b"X", b"\xe9: y\r\n\r\n{}", r"malformed header line 'X\xe9: y'"),
    ("F11", OK, b": y\r\n\r\n{}", "malformed header line ': y'"),
    ("F11", OK + b"no", b" colon\r\n\r\n{}", "malformed header line 'no colon'"),
    ("F11", OK + b"X: ", b"\x7f\r\n\r\n{}", r"malformed header line 'X: \x7f'"),
    *[("F13", OK + b"Content-Type: " + value + b"\r", b"\n\r\n{}", "is not JSON in UTF-8")
      for value in (b"application/json; charset=utf-16", b"application/json;charset=latin-1", b"text/plain", b"",
                    b"application/x-json-stream", b"application/json; charset=\"utf-8", b"application/json utf-8")],
    ("F13", OK + b"Transfer-Encoding: chunked\r", b"\n\r\n{}", "'transfer-encoding' is not part of this protocol"),
    ("F13", OK + b"content-encoding: identity\r", b"\n\r\n{}", "'content-encoding' is not part of this protocol"),
    ("F14", b"", b'"}' + FIRST, "it counts bytes of UTF-8, not characters"),
    ("F15", b"Length: 2\r\n", b"\r\n{}", "no Content-Length"),
]
refused = pytest.mark.parametrize(
    ("before", "rest", "reason"), [pytest.param(*vector[1:], marks=pytest.mark.fault(vector[0])) for vector in REFUSED],
    ids=[f"{vector[0]}-{index}" for index, vector in enumerate(REFUSED)])


@pytest.mark.req("R6")
@refused
@pytest.mark.parametrize("first", [b"", FIRST], ids=["at-start", "after-first"])
def test_refused_streams(first: bytes, before: bytes, rest: bytes, reason: str) -> None:
    """Each vector is refused in every chunking; the frames before it are delivered, nothing after it is."""
    verdict = _verdict(first + before + rest + FIRST, end=True)
    assert verdict == Verdict([b'{"first":1}'] if first else [], [], ProtocolError, False)


@refused
def test_refused_at_the_first_impossible_byte(before: bytes, rest: bytes, reason: str) -> None:
    """A stream is taken while it may become right, and refused with the very byte after which it cannot."""
    decoder = FrameDecoder(MAX)
    for byte in before:
        assert decoder.feed(bytes([byte])) == []
        assert decoder.error is None
    decoder.feed(rest[:1])
    assert decoder.error is not None


@refused
def test_refusals_say_why(before: bytes, rest: bytes, reason: str) -> None:
    """The error of a stream that came at once quotes what came and says what to do about it."""
    decoder = FrameDecoder(MAX)
    decoder.feed(FIRST + before + rest)
    assert reason in str(decoder.error)
    assert str(decoder.error).isascii()
    assert len(str(decoder.error)) < 600


@pytest.mark.fault("F8")
@pytest.mark.parametrize("length", [MAX + 1, 9_999_999_999])
def test_a_frame_over_the_limit_is_refused_by_its_header(length: int) -> None:
    """An announced length over the limit is refused once its line has ended; both figures are told."""
    for name in (b"Content-Length: ", b"content-length:"):
        assert _verdict(FIRST + name + b"%d\r\n" % length).error is FrameTooLarge
        decoder = FrameDecoder(MAX)
        decoder.feed(name + b"%d\r\n\r\n{}" % length)
        assert str(length) in str(decoder.error)
        assert str(MAX) in str(decoder.error)


@pytest.mark.fault("F8")
def test_a_frame_of_the_limit_is_accepted() -> None:
    """The limit itself is allowed, on both sides."""
    body = b"x" * MAX
    assert _decode([encode_frame(body, MAX)]).bodies == [body]
    with pytest.raises(FrameTooLarge, match=r"65537 bytes, the limit .* is 65536"):
        encode_frame(body + b"x", MAX)


@pytest.mark.fault("F14")
def test_a_body_counted_in_characters_ends_the_stream() -> None:
    """A length in characters cuts the body short; what is left of it is no header, and no other is searched for."""
    assert _verdict(CL + b'3\r\n\r\n"\xc3\xa9"' + FIRST) == Verdict([b'"\xc3\xa9'], [], ProtocolError, False)


@pytest.mark.fault("F15")
def test_a_swallowed_frame_ends_the_stream() -> None:
    """A length that is too large takes part of the next frame into the body; the rest of that frame is refused."""
    stream = CL + b"10\r\n\r\n{}" + CL + b"2\r\n\r\n{}" + FIRST
    assert _verdict(stream) == Verdict([b"{}Content-"], [], ProtocolError, False)


TRUNCATED = {
    "name": b"Cont", "value": b"Content-Length: 1", "cr": b"Content-Length: 2\r",
    "between-lines": b"Content-Length: 2\r\n", "no-body": b"Content-Length: 2\r\n\r\n",
    "half-body": b"Content-Length: 2\r\n\r\n{",
    "half-body-other-header": b"content-length: 2\r\n\r\n{",
}


@pytest.mark.fault("F16", "F17")
@pytest.mark.parametrize("stream", list(TRUNCATED.values()), ids=list(TRUNCATED))
@pytest.mark.parametrize("skip_stray", [False, True], ids=["strict", "skip-stray"])
def test_truncation(stream: bytes, skip_stray: bool) -> None:
    """A frame that has begun is partial until it is complete, and an error when the stream ends inside it."""
    assert _verdict(stream, skip_stray=skip_stray) == Verdict([], [], None, True)
    decoder = FrameDecoder(MAX, skip_stray=skip_stray)
    decoder.feed(stream)
    decoder.finish()
    assert "truncated inside a frame" in str(decoder.error)
    assert not decoder.partial


@pytest.mark.fault("F17")
def test_a_truncated_body_tells_both_figures() -> None:
    """How much of the body came, and how much was announced, is in the message."""
    decoder = FrameDecoder(MAX)
    decoder.feed(FIRST + b"Content-Length: 10\r\n\r\n{}")
    decoder.finish()
    assert "after 2 of 10 bytes" in str(decoder.error)


@pytest.mark.fault("F19")
def test_the_end_of_the_stream_is_no_fault_between_frames() -> None:
    """Complete frames, empty ones too, are delivered as soon as their last byte is there; then the end is an end."""
    assert _verdict(FIRST + encode_frame(b""), end=True) == Verdict([b'{"first":1}', b""], [], None, False)
    assert _verdict(b"content-length:0\r\n\r\n") == Verdict([b""], [], None, False)


def test_an_error_is_final() -> None:
    """After a refusal nothing is delivered, and neither more bytes nor the end change the error."""
    decoder = FrameDecoder(MAX)
    decoder.feed(FIRST + b"garbage !")
    error = decoder.error
    assert error is not None
    assert decoder.feed(FIRST) == []
    decoder.finish()
    assert decoder.error is error
    assert not decoder.partial


BANNERS = {
    "none": ([], b""),
    "lines": ([b"Welcome!\n", b"\n", b"ready on :80\r\n"], b"Welcome!\n\nready on :80\r\n"),
    "beginning-alike": ([b"Con\n", b"Contentious: yes\r\n"], b"Con\nContentious: yes\r\n"),
    "not-ascii": ([b"\xef\xbb\xbf\xff\0\n"], b"\xef\xbb\xbf\xff\0\n"),
    "64-KiB": ([b"x" * 65535 + b"\n"], b"x" * 65535 + b"\n"),
}


@pytest.mark.fault("F1")
@pytest.mark.parametrize(("lines", "banner"), list(BANNERS.values()), ids=list(BANNERS))
def test_lines_before_the_first_frame_are_skipped(lines: List[bytes], banner: bytes) -> None:
    """With `skip_stray` whole lines before the first frame are handed out; after it they are refused."""
    assert _verdict(banner + FIRST, skip_stray=True) == Verdict([b'{"first":1}'], lines, None, False)
    assert _decode([banner + FIRST + b"\nbye!\n"], skip_stray=True).error is ProtocolError


@pytest.mark.fault("F1", "F2")
@pytest.mark.parametrize(("stream", "strays", "reason"), [
    (b'hi!\n{"jsonrpc":"2.0"}\n', [b"hi!\n"], "newline-delimited JSON"),
    (b"Content-Type\n", [], "malformed header line"),
    (b"hi!\ncontent-ment: full\nx", [b"hi!\n"], "bare LF"),
    (b"hi!\n" + b"x" * 65533, [b"hi!\n"], "more than 65536 bytes before its first frame"),
    (b"x" * 65536 + b"\n" + FIRST, [], "write to stderr instead"),
    (b"x" * 65535 + b"\n!", [b"x" * 65535 + b"\n"], "more than 65536 bytes"),
], ids=["ndjson", "strict-header", "bare-lf", "budget", "one-long-line", "budget-spent"])
def test_what_is_not_skipped(stream: bytes, strays: List[bytes], reason: str) -> None:
    """Bare JSON, a line that begins like a header, and more than 64 KiB are refused before the first frame too."""
    assert _verdict(stream, skip_stray=True) == Verdict([], strays, ProtocolError, False)
    decoder = FrameDecoder(MAX, skip_stray=True)
    decoder.feed(stream)
    assert reason in str(decoder.error)


@pytest.mark.fault("F1")
def test_the_budget_for_lines_is_exact() -> None:
    """A line is refused with the byte after which no line end can keep it within 64 KiB."""
    decoder = FrameDecoder(MAX, skip_stray=True)
    decoder.feed(b"x" * 65535)
    assert decoder.error is None
    decoder.feed(b"x")
    assert decoder.error is not None


def test_a_last_line_without_an_end_is_handed_out() -> None:
    """A program that says why it gives up, and ends before its first frame, is heard although its line has no end."""
    assert _decode([b"usage: plugin\n", b"error: no licence"], skip_stray=True, end=True) == Verdict(
        [], [b"usage: plugin\n", b"error: no licence"], None, False)


def test_other_output_is_not_a_partial_frame() -> None:
    """The time-out of a message does not run while a banner is written."""
    assert _decode([b"loading..."], skip_stray=True) == Verdict([], [], None, False)


def test_quoting_is_short_and_printable() -> None:
    """Foreign bytes come as at most 80 of them, in printable ASCII."""
    assert quote(b"a\x00\x1b\x7f\xff\n'b") == r"'a\x00\x1b\x7f\xff\x0a'b'"
    assert quote(b"x" * 80) == "'" + "x" * 80 + "'"
    assert quote(b"x" * 81) == "'" + "x" * 80 + "'..."


# ---- properties

_bodies = st.lists(st.one_of(st.binary(max_size=40), st.just(b"\r\n\r\n"), st.just(FIRST)), max_size=6)
_fragments = st.sampled_from([
    b"Content-Length: 2\r\n", b"content-length:2\r\n", b"Content-Length: 9999999\r\n", b"\r\n", b"\n", b"\r", b"{}",
    b"Content-Type: application/json\r\n", b"X: y\r\n", b"Content-", b"Length: 2\r\n\r\n", b"hello\n", b"7", b" ",
    b":", b"{", FIRST])


@st.composite
def _streams(draw: st.DrawFn) -> bytes:
    """Frames, and frames with a fault or two: fragments between them, bytes changed, dropped, or put in."""
    stream = bytearray(b"".join(draw(st.lists(st.one_of(_fragments, st.just(FIRST)), max_size=8))))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(stream)))
        stream[place:place + draw(st.integers(0, 2))] = draw(st.one_of(_fragments, st.binary(max_size=2)))
    return bytes(stream)


def _pieces(stream: bytes, cuts: List[int]) -> List[bytes]:
    places = sorted(cut % (len(stream) + 1) for cut in cuts)
    return [stream[begin:end] for begin, end in zip([0, *places], [*places, len(stream)])]


_cuts = st.lists(st.integers(0, 10_000), max_size=8)


@pytest.mark.req("R6")
@pytest.mark.fault("F18")
@quick
@given(bodies=_bodies, cuts=_cuts)
def test_frames_survive_the_stream(bodies: List[bytes], cuts: List[int]) -> None:
    """What was framed comes out again, whatever the bodies hold and however the stream is cut."""
    stream = b"".join(map(encode_frame, bodies))
    assert _decode(_pieces(stream, cuts), end=True) == Verdict(bodies, [], None, False)


@pytest.mark.fault("F18")
@settings(quick, max_examples=150)
@given(stream=_streams(), cuts=_cuts, skip_stray=st.booleans(), end=st.booleans())
def test_chunking_changes_nothing(stream: bytes, cuts: List[int], skip_stray: bool, end: bool) -> None:
    """Bodies, skipped lines, the error's class and `partial` depend on the bytes alone."""
    whole = _decode([stream], skip_stray=skip_stray, end=end)
    assert _decode(_pieces(stream, cuts), skip_stray=skip_stray, end=end) == whole
    assert _decode(CHUNKINGS["bytes"](stream), skip_stray=skip_stray, end=end) == whole


def _reference(stream: bytes) -> Iterator[Optional[bytes]]:
    """A decoder without any care for speed, chunks or messages: the bodies, and None where the stream is wrong."""
    while stream:
        block, end, stream = stream.partition(b"\r\n\r\n")
        fields = [line.split(b":", 1) for line in block.split(b"\r\n")]
        if not end or len(block) > 4092 or len(fields) > 16 or any(
                len(field) != 2 or not re.match(rb"[!#-'*+\-.^-z|~A-Z0-9]+\Z", field[0])
                or not re.match(rb"[\t -~]*\Z", field[1]) for field in fields):
            yield None
            return
        named = [(name.lower(), value.strip(b" \t")) for name, value in fields]
        lengths = [value for name, value in named if name == b"content-length"]
        types = [value for name, value in named if name == b"content-type"]
        if len(lengths) != 1 or not re.match(rb"[0-9]{1,10}\Z", lengths[0]) or set(types) - {b"application/json"}:
            yield None
            return
        length = int(lengths[0])
        if length > MAX or length > len(stream):
            yield None
            return
        yield stream[:length]
        stream = stream[length:]


@pytest.mark.fault("F18")
@settings(quick, max_examples=150)
@given(stream=_streams(), cuts=_cuts)
def test_the_verdict_is_the_reference_s(stream: bytes, cuts: List[int]) -> None:
    """A straightforward decoder of whole streams comes to the same bodies and the same verdict."""
    expected = list(_reference(stream))
    verdict = _decode(_pieces(stream, cuts), end=True)
    assert verdict.bodies == [body for body in expected if body is not None]
    assert (verdict.error is not None) == (None in expected)


# ---- cost

def _seconds(work: Callable[[], object]) -> float:
    """Processor time, the best of three and without the garbage collector, so that a busy machine changes little."""
    return min(timeit.repeat(work, number=1, repeat=3, timer=time.process_time))


@pytest.mark.fault("F3")
@pytest.mark.parametrize("line", [
    b"X:" + b" " * 4000 + b"\x01\r\n", b"X: a" + b" " * 4000 + b"\x01\r\n", b"Content-Length:" + b" " * 4000 + b"x",
    b"Content-Length:" + b"\t" * 2000 + b"1" + b" " * 2000 + b"x", b"X:" + b"a " * 2000 + b"\r\r\n",
    b"a" * 4000 + b" :",
    b"Content-Type: application/" + b"a." * 1900 + b"\r\n", b"Content-Type: application/json" + b" " * 3900 + b";\r\n",
], ids=range(8))
def test_no_header_line_is_expensive(line: bytes) -> None:
    """No pattern backtracks: a hostile line of 4 KiB costs at most the time of a few thousand short looks at it."""
    def refuse(pieces: List[bytes]) -> None:
        assert _decode(pieces).error is ProtocolError

    assert _seconds(lambda: refuse([line])) < 0.05
    assert _seconds(lambda: refuse(CHUNKINGS["bytes"](line))) < 1.0


@pytest.mark.fault("F18")
@pytest.mark.parametrize("make", [
    lambda n: [FIRST.lower() * n], lambda n: [FIRST * n], lambda n: [FIRST[:-1]] + [FIRST[-1:] + FIRST[:-1]] * n,
    lambda n: [b"Content-Length: %d\r\n\r\n" % n, *[b"x"] * n],
    lambda n: [b"Content-Length: %d\r\n\r\n" % (n * 9), b"x" * n * 8],
], ids=["other-headers-at-once", "our-headers-at-once", "never-at-a-boundary", "body-by-bytes", "one-long-piece"])
def test_time_is_linear(make: Callable[[int], List[bytes]]) -> None:
    """Eight times the bytes cost about eight times the work, not 64 times, however they arrive."""
    few, many = make(1000), make(8000)
    assert _seconds(lambda: _decode(many)) < 24 * _seconds(lambda: _decode(few)) + 0.002


@pytest.mark.fault("F8")
def test_an_announced_length_allocates_nothing() -> None:
    """A header that announces 16 MiB costs no memory before the body comes, and then about twice the body's size."""
    size = framing.DEFAULT_MAX_FRAME_BYTES // 8
    piece = b"x" * 65536
    tracemalloc.start()
    try:
        decoder = FrameDecoder()
        decoder.feed(b"Content-Length: %d\r\n\r\n" % framing.DEFAULT_MAX_FRAME_BYTES)
        assert tracemalloc.get_traced_memory()[1] < 16_384
        decoder = FrameDecoder()
        decoder.feed(b"Content-Length: %d\r\n\r\n" % size)
        bodies = [body for _ in range(size // len(piece)) for body in decoder.feed(piece)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [len(body) for body in bodies] == [size]
    assert peak < 2.5 * size


@pytest.mark.fault("F3")
def test_an_endless_line_is_not_stored() -> None:
    """Of a piece of 8 MiB without a line end at most 64 KiB is copied."""
    garbage = b"a" * (8 << 20)
    for skip_stray in (False, True):
        tracemalloc.start()
        try:
            assert _decode([b"a", garbage], skip_stray=skip_stray).error is ProtocolError
            assert tracemalloc.get_traced_memory()[1] < 512 * 1024
        finally:
            tracemalloc.stop()
