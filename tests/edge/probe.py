"""HTTP/1.1 spoken by hand: requests are sent as the bytes they are, answers are read as strictly as a proxy could.

Nothing here forgives: a line break that is not CR LF, a second length, a body where there may be none, a byte behind
the end of the answer are each an assertion.
"""
from __future__ import annotations

import re
import select
import socket
import uuid
from typing import Dict, List, NamedTuple, Optional, Tuple

SECONDS = 30.0
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [\x20-\x7e]*)?\Z")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*\Z")
#: What servers, frameworks and the library put on any answer themselves.
OURS = frozenset({"server", "date", "connection", "keep-alive", "via", "content-length", "content-type",
                  "x-content-type-options", "x-request-id", "x-frame-options", "referrer-policy",
                  "cross-origin-opener-policy"})


class Answer(NamedTuple):
    """A response as it came over the wire."""

    status: int
    fields: List[Tuple[str, str]]
    body: bytes

    def all(self, name: str) -> List[str]:
        """The values of a field; `name` in lower case."""
        return [value for field, value in self.fields if field == name]

    def others(self) -> Dict[str, str]:
        """The fields that are not `OURS`."""
        return {name: value for name, value in self.fields if name not in OURS}


class Probe:
    """One connection to a server."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._received = b""

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes; a server that has closed already has said all it wants to."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self, method: bytes = b"GET") -> Optional[Answer]:
        """Read one answer to a request with this method; None where the server closes without one."""
        head = self._head()
        if head is None:
            return None
        first, *lines = head.split(b"\r\n")
        status = _STATUS.match(first)
        assert status is not None, f"not a status line: {first!r}"
        fields: List[Tuple[str, str]] = []
        for line in lines:
            field = _FIELD.match(line)
            assert field is not None, f"not a header field: {line!r}"
            fields.append((field.group(1).decode().lower(), field.group(2).decode("latin-1")))
        answer = Answer(int(status.group(1)), fields, b"")
        if answer.status == 100:
            return self.answer(method)
        return answer._replace(body=self._body(method, answer))

    def speaks_within(self, seconds: float) -> bool:
        """Whether the server says something, or closes, within some seconds."""
        return bool(self._received or select.select([self.socket], [], [], seconds)[0])

    def closed(self) -> bool:
        """Whether the server closes the connection now, with nothing said before."""
        assert self._received == b"", f"bytes behind the answer: {self._received[:200]!r}"
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _head(self) -> Optional[bytes]:
        while b"\r\n\r\n" not in self._received:
            if not self._fill():
                assert self._received == b"", f"half an answer: {self._received[:200]!r}"
                return None
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        return head

    def _fill(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self._received += data
        return bool(data)

    def _body(self, method: bytes, answer: Answer) -> bytes:
        lengths, codings = answer.all("content-length"), answer.all("transfer-encoding")
        assert len(lengths) <= 1, f"lengths: {lengths}"
        assert not (lengths and codings), "both a length and a transfer coding"
        assert codings in ([], ["chunked"]), f"transfer codings: {codings}"
        if method == b"HEAD" or answer.status in (204, 304):
            return b""
        if codings:
            return self._chunks()
        if lengths:
            assert re.fullmatch(r"[0-9]+", lengths[0]), f"length: {lengths[0]!r}"
            return self._exactly(int(lengths[0]))
        while self._fill():
            pass
        body, self._received = self._received, b""
        return body

    def _exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            assert self._fill(), f"the body ended after {len(self._received)} of {size} bytes"
        body, self._received = self._received[:size], self._received[size:]
        return body

    def _chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self._received:
                assert self._fill(), "a chunk's size is missing"
            line, _, self._received = self._received.partition(b"\r\n")
            size = int(line, 16)
            body += self._exactly(size)
            assert self._exactly(2) == b"\r\n"
            if not size:
                return body


PLAIN = b"GET /plain HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: follow-up\r\n\r\n"


def ask(port: int, head: bytes, body: bytes = b"", *, method: bytes = b"GET") -> Tuple[Optional[Answer], str]:
    """Send a request, and an ordinary one after it on the same connection; the first answer, and the id that was sent.

    `head`: the request line and header fields but Host, X-Request-ID and the empty line. The second answer must be the
    ordinary view's, unless the server closes the connection; either way nothing may come in between. Nothing is sent
    ahead: some servers let a request wait that came with another, or drain for minutes what nobody asked for.
    """
    request_id = uuid.uuid4().hex
    with Probe(port) as probe:
        probe.send(head + b"\r\nHost: localhost\r\nX-Request-ID: " + request_id.encode() + b"\r\n\r\n" + body)
        answer = probe.answer(method)
        if answer is not None and answer.all("connection") == ["close"]:
            assert probe.closed()
        elif answer is not None:
            probe.send(PLAIN)
            in_sync(probe)
        return answer, request_id


def in_sync(probe: Probe) -> None:
    """Assert that the next answer on a connection is the ordinary view's, or that the connection is closed."""
    second = probe.answer()
    if second is not None:
        assert (second.status, second.body) == (200, b"plain"), f"out of step: {second}"
