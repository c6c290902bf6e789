"""The LSP base protocol's framing (LSP 3.17, "Base Protocol"): `Content-Length: <n>`, an empty line, n bytes.

Owns the cutting of a byte stream into frames and the refusal of everything else, as soon as a line cannot become right.
It is fed by one reader thread and locks nothing. A framing error is final: looking for the next header inside a running
stream would let one peer's data pass for another message (smuggling), so there is no resynchronisation. The one
exception is output before the first frame, since runtimes print banners: whole lines of it are skipped and handed out.

Must not import anything that does I/O, keeps time, starts threads or logs.
"""
from __future__ import annotations

import re
from typing import List, Optional

from legacy_plugins.errors import FrameTooLarge, ProtocolError

#: The largest header block that is read, in bytes: a good one has about 25.
MAX_HEADER_BYTES = 4096
#: The most fields that a header block may have.
MAX_HEADER_FIELDS = 16
#: How much of other output may come before the first frame, in bytes.
MAX_STRAY_BYTES = 64 * 1024
#: The default bound on a frame's body, both ways, in bytes.
DEFAULT_MAX_FRAME_BYTES = 16 * 1024 * 1024

# No pattern has two neighbours that can match the same byte: each takes time linear in the line, whatever is in it.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_USUAL_HEADER = re.compile(rb"Content-Length: ([0-9]{1,10})\r\n\r\n")
_FIELD = re.compile(_TOKEN + rb":[\t\x20-\x7e]*\Z")
# What a line may look like while its end has not come yet.
_FIELD_START = re.compile(rb"(?:" + _TOKEN + rb"(?::[\t\x20-\x7e]*\r?)?|\r)\Z")
_LENGTH_START = re.compile(rb"content-length:[ \t]*(?:[0-9]{1,10}[ \t]*\r?)?\Z", re.I)
_LENGTH = re.compile(rb"[0-9]{1,10}\Z")
_JSON_TYPE = re.compile(
    rb"application/(?:[a-z0-9.-]+\+)?(?:json|vscode-jsonrpc|json-?rpc)"
    rb"(?:[ \t]*;[ \t]*charset=(?:utf-?8|\"utf-?8\"))?\Z", re.I)
_REFUSED_FIELDS = frozenset((b"transfer-encoding", b"content-encoding"))


def encode_frame(body: bytes, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> bytes:
    """One frame as one bytes object.

    Raises `FrameTooLarge` when the body has more than `max_frame_bytes` bytes; nothing has been sent then.
    """
    if len(body) > max_frame_bytes:
        raise FrameTooLarge(f"the message has {len(body)} bytes, the limit (limits.maxFrameBytes) is "
                            f"{max_frame_bytes}; send less at once or raise the limit on both sides")
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def quote(data: bytes, limit: int = 80) -> str:
    """At most `limit` bytes of foreign data as printable ASCII in quotes, for messages."""
    text = data[:limit].decode("ascii", "backslashreplace")
    printable = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    return f"'{printable}'" + ("..." if len(data) > limit else "")


class FrameDecoder:
    """Cuts a byte stream into the bodies of its frames.

    `feed` returns the bodies that are complete; when the stream broke the rules, `error` is set, the bodies before the
    break have still been returned, and everything after it is ignored. `take_stray` hands out the lines that came
    before the first frame, where `skip_stray` allows such. How the stream was cut into pieces changes none of this.
    """

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES, *, skip_stray: bool = False) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.error: Optional[ProtocolError] = None
        self.truncated = False  # the error is that the stream ended inside a frame
        self._line = b""  # what has come of the current line, of a header or before the first frame
        self._header = _Header(max_frame_bytes)
        self._body_bytes: Optional[int] = None  # the length that the current frame's header told, once it is read
        self._body = bytearray()
        self._before_first = True
        self._skip_stray = skip_stray
        self._stray_left = MAX_STRAY_BYTES
        self._strays: List[bytes] = []

    @property
    def partial(self) -> bool:
        """Whether a frame has begun and is not complete yet."""
        if self._body_bytes is not None or self._header.size:
            return True
        return bool(self._line) and not self._is_stray(self._line)

    def feed(self, data: bytes) -> List[bytes]:
        """Take the next bytes of the stream, in pieces of any size; return the bodies that they complete."""
        bodies: List[bytes] = []
        start = 0
        try:
            while start < len(data) and self.error is None:
                if self._body_bytes is None:
                    start = self._take_header(data, start, bodies)
                if self._body_bytes is not None:
                    start = self._take_body(data, start, self._body_bytes, bodies)
        except ProtocolError as error:
            self.error = error
            self._forget()
        return bodies

    def finish(self) -> None:
        """Tell that the stream has ended; an incomplete frame becomes an `error`, an incomplete other line a stray."""
        if self.error is not None:
            return
        if self._body_bytes is not None:
            self.error = ProtocolError(f"the stream was truncated inside a frame, after {len(self._body)} of "
                                       f"{self._body_bytes} bytes of its body")
        elif self.partial:
            self.error = ProtocolError(f"the stream was truncated inside a frame's header, at {quote(self._line)}")
        elif self._line:
            self._strays.append(self._line)
        self.truncated = self.error is not None
        self._forget()

    def take_stray(self) -> List[bytes]:
        """The lines of other output that were skipped since the last call."""
        strays, self._strays = self._strays, []
        return strays

    def _forget(self) -> None:
        """Drop what has come of a line or a frame; nothing is partial any more."""
        self._line, self._body, self._body_bytes = b"", bytearray(), None
        self._header = _Header(self.max_frame_bytes)

    def _take_header(self, data: bytes, start: int, bodies: List[bytes]) -> int:
        """Take whole frames, or the next line; returns where the data goes on, in a body if `_body_bytes` is set."""
        if not self._line and not self._header.size:
            start = self._whole_frames(data, start, bodies)
            if self._body_bytes is not None or start == len(data):
                return start
        end = data.find(b"\n", start, start + MAX_STRAY_BYTES) + 1
        piece = data[start:end or start + MAX_STRAY_BYTES]
        self._line += piece
        if self._is_stray(self._line):
            self._skip_line(complete=end > 0)
        elif end:
            self._body_bytes = self._header.add(self._line)
            self._line = b""
        else:
            self._header.check_unfinished(self._line)
        return start + len(piece)

    def _whole_frames(self, data: bytes, start: int, bodies: List[bytes]) -> int:
        """The usual case, fast: frames with our own kind of header. Stops in a body that is not complete."""
        while True:
            header = _USUAL_HEADER.match(data, start)
            if header is None:
                return start
            length = int(header.group(1))
            if length > self.max_frame_bytes:
                return start
            start = header.end()
            end = start + length
            if end > len(data):
                self._body_bytes = length
                return start
            bodies.append(data[start:end])
            self._before_first = False
            start = end

    def _take_body(self, data: bytes, start: int, length: int, bodies: List[bytes]) -> int:
        """Take what has come of the current body; returns where the data goes on."""
        end = min(start + length - len(self._body), len(data))
        self._body += data[start:end]
        if len(self._body) == length:
            bodies.append(bytes(self._body))
            self._forget()
            self._before_first = False
        return end

    def _is_stray(self, line: bytes) -> bool:
        """Whether a line, or what has come of it, is other output before the first frame that may be skipped."""
        if not (self._before_first and self._skip_stray) or self._header.size:
            return False
        start = line[:8].lower()
        return not b"content-".startswith(start) and not start.startswith(b"{")

    def _skip_line(self, *, complete: bool) -> None:
        """Skip the current line, or wait for its end; refuse it when there was too much."""
        if len(self._line) + (not complete) > self._stray_left:
            raise ProtocolError(f"plugin wrote non-protocol data to stdout, more than {MAX_STRAY_BYTES} bytes before "
                                f"its first frame: {quote(self._line)}; write to stderr instead")
        if complete:
            self._strays.append(self._line)
            self._stray_left -= len(self._line)
            self._line = b""


class _Header:
    """The header block of one frame, taken line by line."""

    def __init__(self, max_frame_bytes: int) -> None:
        self.size = 0  # in bytes, of the lines that are complete
        self._max_frame_bytes = max_frame_bytes
        self._fields = 0
        self._length: Optional[int] = None

    def add(self, line: bytes) -> Optional[int]:
        """Take a line with its end; the body's length when the line ends the block, else None."""
        last = line == b"\r\n"
        if last and self._length is None:
            raise self._no_length()
        self._check_size(line, last)
        if not last:
            self._add_field(line)
        self.size += len(line)
        return self._length if last else None

    def check_unfinished(self, line: bytes) -> None:
        """Refuse a line whose end has not come when no end can make it right."""
        self._check_size(line, last=False)
        if line == b"\r" and self._length is None:
            raise self._no_length()
        if not _FIELD_START.match(line):
            raise self._bad_line(line, "it cannot become `Name: value` in printable ASCII, ended by CR LF")
        if line[:15].lower() == b"content-length:" and not _LENGTH_START.match(line):
            raise self._bad_line(line, "the value must be 1 to 10 ASCII digits")

    def _check_size(self, line: bytes, last: bool) -> None:
        size = self.size + len(line)
        if size > MAX_HEADER_BYTES or (size == MAX_HEADER_BYTES and not last):
            raise ProtocolError(f"the header has no end within {MAX_HEADER_BYTES} bytes; its last line begins "
                                f"{quote(line)}")

    def _add_field(self, line: bytes) -> None:
        """Judge a field: RFC 9110 token name, printable ASCII value, no folding."""
        if not line.endswith(b"\r\n"):
            raise self._bad_line(line[:-1], "it ends with a bare LF, not CR LF")
        if not _FIELD.match(line[:-2]):
            raise self._bad_line(line[:-2], "it is not `Name: value` in printable ASCII")
        self._fields += 1
        if self._fields > MAX_HEADER_FIELDS:
            raise ProtocolError(f"the header has more than {MAX_HEADER_FIELDS} fields")
        name, _, value = line[:-2].partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name == b"content-length":
            self._set_length(value)
        elif name == b"content-type" and not _JSON_TYPE.match(value):
            raise ProtocolError(f"Content-Type {quote(value)} is not JSON in UTF-8; leave the field out or send "
                                "`application/vscode-jsonrpc; charset=utf-8`")
        elif name in _REFUSED_FIELDS:
            raise ProtocolError(f"the header field {quote(name)} is not part of this protocol; leave it out")

    def _set_length(self, value: bytes) -> None:
        if not _LENGTH.match(value):
            raise ProtocolError(f"Content-Length {quote(value)} is not 1 to 10 ASCII digits")
        if self._length is not None:
            raise ProtocolError(f"the header has a second Content-Length, {quote(value)} after {self._length}")
        self._length = int(value)
        if self._length > self._max_frame_bytes:
            raise FrameTooLarge(f"the frame announces {self._length} bytes, the limit (limits.maxFrameBytes) is "
                                f"{self._max_frame_bytes}; nothing of it was read")

    def _no_length(self) -> ProtocolError:
        """The error for an empty line too early."""
        if self.size:
            return ProtocolError("the header has no Content-Length")
        return ProtocolError("plugin wrote non-protocol data to stdout: an empty line where a header must begin; write "
                             "nothing after a message's body, and everything else to stderr")

    def _bad_line(self, line: bytes, reason: str) -> ProtocolError:
        """The error for a line that is no field, with a diagnosis where it may be something else."""
        if self.size or line[:8].lower() == b"content-":
            return ProtocolError(f"malformed header line {quote(line)}: {reason}")
        if not line:
            return self._no_length()
        if line.startswith(b"{"):
            return ProtocolError(f"plugin writes newline-delimited JSON to stdout ({quote(line)}); add a "
                                 "Content-Length header before each message")
        return ProtocolError(f"plugin wrote non-protocol data to stdout: {quote(line)}; write to stderr instead (or "
                             "the Content-Length before it was too small: it counts bytes of UTF-8, not characters)")
