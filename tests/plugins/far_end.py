"""The other end of a conversation in the test's own hands, over a socket pair: a byte stream that is no pipe.

`SocketStream` is all that a conversation needs of a socket; `FarEnd` speaks the wire's framing by itself.
"""
from __future__ import annotations

import json
import select
import socket
from typing import Any, Dict, Optional, Tuple

from legacy_plugins.transport.base import ByteStream, StreamClosed
from tests.plugins.programs import SECONDS


class SocketStream(ByteStream):
    """One end of a connected stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._halves = 2  # open ones
        self._writing = True

    def read(self) -> bytes:
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._close_half()
        return data

    def interrupt(self) -> bool:
        try:
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # closed already
        return True

    def write(self, data: memoryview) -> int:
        if not self._writing:
            raise StreamClosed("closed")
        try:
            return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise StreamClosed(str(error)) from None

    def wait_writable(self, timeout: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        return bool(poll.poll(timeout * 1000))

    def close_write(self) -> None:
        if self._writing:
            self._writing = False
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the other side is gone
            self._close_half()

    def _close_half(self) -> None:
        self._halves -= 1
        if not self._halves:
            self._socket.close()


class FarEnd:
    """Reads and writes frames when the test says so."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.socket.settimeout(SECONDS)
        self._buffer = b""

    def take(self) -> Optional[Dict[str, Any]]:
        """The next message, None at the end of the stream."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._fill():
                return None
        header, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        length = int(header[len(b"Content-Length: "):])
        while len(self._buffer) < length:
            assert self._fill(), "the stream ended inside a frame"
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        message: Dict[str, Any] = json.loads(body.decode("utf-8"))
        assert message.pop("jsonrpc") == "2.0"
        return message

    def _fill(self) -> bool:
        data = self.socket.recv(65536)
        self._buffer += data
        return bool(data)

    def send(self, **message: Any) -> None:
        """Send a message."""
        self.body(json.dumps(dict(message, jsonrpc="2.0")))

    def body(self, text: str) -> None:
        """Send a frame around any text."""
        body = text.encode("utf-8", "surrogatepass")
        self.raw(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def raw(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def answer(self, result: Any = None) -> Dict[str, Any]:
        """Take a request and answer it; the request."""
        request = self.take()
        assert request is not None
        self.send(id=request["id"], result=result)
        return request

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


def socket_pair(buffer_bytes: Optional[int] = None) -> Tuple[SocketStream, FarEnd]:
    """A stream, and its far end; `buffer_bytes`: how much may be under way to it, about."""
    near, far = socket.socketpair()
    if buffer_bytes is not None:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    return SocketStream(near), FarEnd(far)
