"""The framing as a plugin's author would write it: forty lines that share nothing with the library."""
from __future__ import annotations

import json
import os
import threading
from typing import Any, Dict, Optional

_writing = threading.Lock()
_buffer = b""


def read() -> Optional[Dict[str, Any]]:
    """The next message from stdin, None at its end."""
    global _buffer
    while b"\r\n\r\n" not in _buffer:
        if not _fill():
            return None
    header, _buffer = _buffer.split(b"\r\n\r\n", 1)
    length = int(dict(line.split(b": ") for line in header.split(b"\r\n"))[b"Content-Length"])
    while len(_buffer) < length:
        if not _fill():
            return None
    body, _buffer = _buffer[:length], _buffer[length:]
    message: Dict[str, Any] = json.loads(body.decode("utf-8"))
    return message


def _fill() -> bool:
    global _buffer
    try:
        data = os.read(0, 65536)
    except OSError:
        return False
    _buffer += data
    return bool(data)


def raw(data: bytes) -> None:
    """Write bytes to stdout, all of them, whatever they are."""
    with _writing:
        while data:
            data = data[os.write(1, data):]


def frame(body: bytes) -> bytes:
    """A frame around a body."""
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def write(**message: Any) -> None:
    """Send a message."""
    raw(frame(json.dumps(dict(message, jsonrpc="2.0")).encode("utf-8")))


def answer(request_id: Any, result: Any) -> None:
    """Send a good answer."""
    write(id=request_id, result=result)
