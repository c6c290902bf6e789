"""The LSP base protocol's framing (LSP 3.17, "Base Protocol"): `Content-Length: <n>`, an empty line, n bytes.

Owns the cutting of a byte stream into frames and the refusal of everything else, at the first impossible byte. It is
fed by one reader thread and locks nothing. A framing error is final: looking for the next header inside a running
stream would let one peer's data pass for another message (smuggling), so there is no resynchronisation. The one
exception is output before the first frame, since runtimes print banners: whole lines of it are skipped and handed out.

Must not import anything that does I/O, keeps time, starts threads or logs.
"""
from __future__ import annotations

import re
from typing import List, Optional, Tuple

from legacy_plugins.errors import FrameTooLarge, ProtocolError

#: The largest header block that is read, in bytes: a good one has about 25.
MAX_HEADER_BYTES = 4096
#: The most fields that a header block may have.
MAX_HEADER_FIELDS = 16
#: How much of other output may come before the first frame, in bytes.
MAX_STRAY_BYTES = 64 * 1024
#: The default bound on a frame's body, both ways, in bytes.
DEFAULT_MAX_FRAME_BYTES = 16 * 1024 * 1024

_USUAL_HEADER = re.compile(rb"Content-Length: ([0-9]{1,10})\r\n\r\n")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e]*?)[ \t]*\Z")
# What the beginning of a field line may look like while its end has not come yet.
_FIELD_START = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*(?:(?<!^):[\t\x20-\x7e]*\r?)?\Z|\r\Z")
_LENGTH_START = re.compile(rb"(?i:content-length):[ \t]*[0-9]{0,10}[ \t]*\r?\Z")
_LENGTH = re.compile(rb"[0-9]{1,10}\Z")
_JSON_TYPE = re.compile(
    rb"application/(?:[a-z0-9.-]+\+)?(?:json|vscode-jsonrpc|jsonrpc)(?:[ \t]*;[ \t]*charset=\"?utf-?8\"?)?\Z", re.I)
_REFUSED_FIELDS = frozenset((b"transfer-encoding", b"content-encoding"))


def encode_frame(body: bytes, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> bytes:
    """One frame as one bytes object.

    Raises `FrameTooLarge` when the body has more than `max_frame_bytes` bytes; nothing has been sent then.
    """
    if len(body) > max_frame_bytes:
        raise FrameTooLarge(f"the message has {len(body)} bytes, the limit (limits.maxFrameBytes) is {max_frame_bytes}; "
                            "send less at once or raise the limit on both sides")
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def quote(data: bytes, limit: int = 80) -> str:
    """At most `limit` bytes of foreign data as printable ASCII in quotes, for messages."""
    text = data[:limit].decode("ascii", "backslashreplace")
    printable = "".join(char if char.isprintable() else "\\x%02x" % ord(char) for char in text)
    return f"'{printable}'" + ("..." if len(data) > limit else "")


class FrameDecoder:
    """Cuts a byte stream into the bodies of its frames.

    `feed` returns the bodies that are complete; when the stream broke the rules, `error` is set, the bodies before the
    break have still been returned, and everything after it is ignored. `take_stray` hands out the lines that came
    before the first frame, where `skip_stray` allows such.
    """

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES, *, skip_stray: bool = False) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.error: Optional[ProtocolError] = None
        self._buffer = bytearray()
        self._body_bytes: Optional[int] = None  # the length that the current frame's header told, once it is read
        self._strays: List[bytes] = []
        self._stray_left = MAX_STRAY_BYTES if skip_stray else 0
        self._before_first = skip_stray

    @property
    def partial(self) -> bool:
        """Whether a frame has begun and is not complete yet."""
        return self._body_bytes is not None or (bool(self._buffer) and not self._before_first)

    def feed(self, data: bytes) -> List[bytes]:
        """Take the next bytes of the stream, in pieces of any size; return the bodies that they complete."""
        bodies: List[bytes] = []
        if self.error is not None:
            return bodies
        if not self._buffer and self._body_bytes is None:
            data = self._whole_frames(data, bodies)
        self._buffer += data
        try:
            while self._next_body(bodies):
                pass
        except ProtocolError as error:
            self.error = error
            self._buffer.clear()
        return bodies

    def finish(self) -> None:
        """Tell that the stream has ended; an incomplete frame becomes an `error`."""
        if self.error is None and self.partial:
            missing = "" if self._body_bytes is None else f", {len(self._buffer)} of {self._body_bytes} bytes of a body"
            self.error = ProtocolError(f"the stream was truncated inside a frame{missing}")

    def take_stray(self) -> List[bytes]:
        """The lines of other output that were skipped since the last call."""
        strays, self._strays = self._strays, []
        return strays

    def _whole_frames(self, data: bytes, bodies: List[bytes]) -> bytes:
        """The usual case without copying: complete frames with our own kind of header. Returns what is left."""
        start = 0
        while True:
            header = _USUAL_HEADER.match(data, start)
            if header is None:
                break
            length = int(header.group(1))
            end = header.end() + length
            if length > self.max_frame_bytes or end > len(data):
                break
            bodies.append(data[header.end():end])
            self._before_first = False
            start = end
        return data[start:] if start else data

    def _next_body(self, bodies: List[bytes]) -> bool:
        """Move on by one step; False when more bytes are needed."""
        if self._body_bytes is None:
            if self._before_first and not self._skip_stray_line():
                return False
            if not self._buffer or not self._read_header():
                return False
        assert self._body_bytes is not None
        if len(self._buffer) < self._body_bytes:
            return False
        bodies.append(bytes(self._buffer[:self._body_bytes]))
        del self._buffer[:self._body_bytes]
        self._body_bytes = None
        self._before_first = False
        return True

    def _skip_stray_line(self) -> bool:
        """Before the first frame: True once the buffer begins with a header; skips lines that are none."""
        while self._buffer:
            start = bytes(self._buffer[:8]).lower()
            if start == b"content-":
                return True
            if b"content-".startswith(start):
                return False
            if start.startswith(b"{"):
                raise ProtocolError(f"plugin writes newline-delimited JSON to stdout ({quote(bytes(self._buffer[:81]))}); "
                                    "add a Content-Length header before each message")
            end = self._buffer.find(b"\n") + 1
            if (end or len(self._buffer)) > self._stray_left:
                raise _not_protocol(bytes(self._buffer[:81]))
            if not end:
                return False
            self._strays.append(bytes(self._buffer[:end]))
            self._stray_left -= end
            del self._buffer[:end]
        return False

    def _read_header(self) -> bool:
        """Read the header block, if it is complete, into `_body_bytes`; refuse an impossible one at once."""
        block = bytes(self._buffer[:MAX_HEADER_BYTES])
        end = block.find(b"\r\n\r\n")
        lines = (block if end < 0 else block[:end + 2]).split(b"\n")
        tail = lines.pop()
        for line in lines:
            if not line.endswith(b"\r"):
                raise _bad_line(line, "it ends with a bare LF, not CR LF")
        fields = [_parse_field(line[:-1]) for line in lines]
        if len(fields) > MAX_HEADER_FIELDS:
            raise ProtocolError(f"the header has more than {MAX_HEADER_FIELDS} fields")
        length = _content_length(fields, complete=end >= 0)
        if end < 0:
            _check_unfinished(tail)
            if len(block) == MAX_HEADER_BYTES:
                raise ProtocolError(f"the header has no end within {MAX_HEADER_BYTES} bytes: {quote(block)}")
            return False
        if length > self.max_frame_bytes:
            raise FrameTooLarge(f"the frame announces {length} bytes, the limit (limits.maxFrameBytes) is "
                                f"{self.max_frame_bytes}; nothing of it was read")
        del self._buffer[:end + 4]
        self._body_bytes = length
        return True


def _not_protocol(data: bytes) -> ProtocolError:
    return ProtocolError(f"plugin wrote non-protocol data to stdout: {quote(data)}; write to stderr instead")


def _bad_line(line: bytes, reason: str) -> ProtocolError:
    """The error for a bad line: malformed when it at least looks like a field, else foreign output."""
    if b":" not in line or not line.lower().startswith(b"content-"):
        return _not_protocol(line.rstrip(b"\r"))
    return ProtocolError(f"malformed header line {quote(line)}: {reason}")


def _parse_field(line: bytes) -> Tuple[bytes, bytes]:
    """A header line as (lower-case name, value); RFC 9110 token names, printable ASCII values, no folding."""
    field = _FIELD.match(line)
    if field is None:
        raise _bad_line(line, "it is not `Name: value` in printable ASCII")
    return field.group(1).lower(), field.group(2)


def _check_unfinished(tail: bytes) -> None:
    """Refuse a line whose end has not come when no end can make it right."""
    if not _FIELD_START.match(tail):
        raise _bad_line(tail, "it cannot become `Name: value`")
    if tail.lower().startswith(b"content-length:") and not _LENGTH_START.match(tail):
        raise _bad_line(tail, "the value must be 1 to 10 ASCII digits")


def _content_length(fields: List[Tuple[bytes, bytes]], *, complete: bool) -> int:
    """The block's Content-Length. `complete` False: only refuse what is wrong already."""
    lengths = [value for name, value in fields if name == b"content-length"]
    for name, value in fields:
        if name == b"content-type" and not _JSON_TYPE.match(value):
            raise ProtocolError(f"Content-Type {quote(value)} is not JSON in UTF-8; leave the field out or send "
                                "`application/vscode-jsonrpc; charset=utf-8`")
        if name in _REFUSED_FIELDS:
            raise ProtocolError(f"the header field {quote(name)} is not part of this protocol")
    for value in lengths:
        if not _LENGTH.match(value):
            raise ProtocolError(f"Content-Length {quote(value)} is not 1 to 10 ASCII digits")
    if len(lengths) > 1:
        raise ProtocolError("the header has more than one Content-Length")
    if complete and not lengths:
        raise ProtocolError("the header has no Content-Length")
    return int(lengths[0]) if lengths else 0
