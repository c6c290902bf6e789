"""The body of a request: read within the operator's bound, decoded by its media type.

Owns what reaches a plugin as `body` and `bodyEncoding`: parsed JSON, text, or base64. Runs on the web server's thread;
reading may block for as long as the client takes, which is why it happens before the request takes one of the plugin's
places. Must not look at routes beyond being told whether one has a schema.
"""
from __future__ import annotations

import base64
import re
from typing import Any, Callable, NamedTuple, Optional, Tuple

from legacy_plugins.errors import ProtocolError
from legacy_plugins.http.messages import HttpRequest
from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.protocol.codec import MAX_DEPTH, JsonCodec, check_structure

#: The methods that mean nothing without a body; the schema of a route that also has others is not asked of those.
METHODS_WITH_BODY = ("POST", "PUT", "PATCH")

_CHUNK = 65536
_LENGTH = re.compile(r"[0-9]+\Z")
_JSON = frozenset({"application/json", "text/json"})
_FORM = "application/x-www-form-urlencoded"
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
# What text may be encoded in, as Python names it. Python has codecs that take quadratic time or are no charsets at all.
_TEXT_CHARSETS = {**dict.fromkeys(_UTF8, "utf-8"), "iso-8859-1": "latin-1", "latin-1": "latin-1", "latin1": "latin-1",
                  "windows-1252": "cp1252", "cp1252": "cp1252"}
# Room for the message that goes round the body: what the plugin's own reader counts too.
_AROUND, _BEHIND = b"[[[[" + b"[]," * 4096, b"]]]]"
_codec = JsonCodec()


class Body(NamedTuple):
    """A request's body on its way to a plugin: `value` is JSON, a string, or None; `size` in bytes as it was sent."""

    value: Any
    encoding: Optional[str]
    size: int


NO_BODY = Body(None, None, 0)


def read_body(request: HttpRequest, limit: int) -> bytes:
    """The body's bytes; raises `HttpProblem` 413 over `limit` bytes, before more than one byte beyond it was read.

    A body of a stated length is read to that length. One that ends early or cannot be read is refused (400), and so is
    a request that does not say once and clearly where its body ends (400, or 411 where the server cannot find the end).
    """
    _check_framing(request)
    stated = request.content_length
    if stated is not None and stated > limit:
        raise _too_large(limit)
    body = _read(request.read_body, limit + 1 if stated is None else stated)
    if stated is None and len(body) > limit:
        raise _too_large(limit)
    if stated is not None and len(body) < stated:
        raise HttpProblem(400, f"the body ended after {len(body)} of {stated} bytes")
    return body


def _check_framing(request: HttpRequest) -> None:
    """Refuse what one server takes for a body and the next for another request (RFC 9112, sections 6.1 and 6.3).

    Servers differ: some leave a chunked body unread, or take a malformed length for none.
    """
    lengths = [value.strip() for name, value in request.headers if name.lower() == "content-length"]
    codings = [value.strip().lower() for name, value in request.headers if name.lower() == "transfer-encoding"]
    if codings and (lengths or codings != ["chunked"]):
        raise HttpProblem(400, "send the body with a Content-Length, or chunked and in no other transfer coding")
    if codings and request.content_length is not None:
        raise HttpProblem(411, "this server does not take chunked bodies; send a Content-Length")
    if lengths and (len(lengths) > 1 or not _LENGTH.match(lengths[0])):
        raise HttpProblem(400, "the Content-Length is not one number")


def _read(read: Callable[[int], bytes], wanted: int) -> bytes:
    """Up to `wanted` bytes."""
    chunks = []
    while wanted > 0:
        try:
            chunk = read(min(wanted, _CHUNK))
        except Exception as error:
            if _is_the_clients_doing(error):
                raise HttpProblem(400, "the body could not be read to its end") from None
            raise
        if not chunk:
            break
        chunks.append(chunk)
        wanted -= len(chunk)
    return b"".join(chunks)


def _is_the_clients_doing(error: Exception) -> bool:
    """Whether a server says that the client went away, stalled, or sent bad chunks; gunicorn has its own errors."""
    return isinstance(error, OSError) or type(error).__module__ == "gunicorn.http.errors"


def decode_body(request: HttpRequest, data: bytes, *, needs_json: bool) -> Body:
    """The body as plugins get it.

    `needs_json`: the route has a schema, so that any other media type is refused (415). Raises `HttpProblem` 400 for a
    body that is not what its media type says, 415 for a charset or content coding that is not taken.
    """
    if not data:
        return NO_BODY
    for name, value in request.headers:
        if name.lower() == "content-encoding" and value.strip().lower() != "identity":
            raise HttpProblem(415, "a body with a content coding is not taken; send it as it is")
    media_type, charset = _media_type(request.content_type)
    if media_type in _JSON or media_type.endswith("+json"):
        return Body(_json(data, charset), "json", len(data))
    if needs_json:
        raise HttpProblem(415, f"this route takes JSON, not {media_type or 'a body without a media type'}")
    if media_type.startswith("text/") or media_type == _FORM:
        return Body(_text(data, charset), "utf-8", len(data))
    return Body(base64.b64encode(data).decode("ascii"), "base64", len(data))


def _media_type(content_type: Optional[str]) -> Tuple[str, str]:
    """The media type and the charset of a Content-Type, in lower case; UTF-8 where it names none."""
    essence, *parameters = (content_type or "").split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return essence.strip().lower(), value.strip().strip('"').lower()
    return essence.strip().lower(), "utf-8"


def _json(data: bytes, charset: str) -> Any:
    if charset not in _UTF8:  # RFC 8259, section 8.1
        raise HttpProblem(415, f"JSON is encoded in UTF-8, not {charset[:40]}")
    try:
        if data.count(b"[") + data.count(b"{") > MAX_DEPTH - len(_BEHIND):
            check_structure(_AROUND + data + _BEHIND)
        value = _codec.decode(data)
        if b"\\ud" in data.lower():  # the only way in which a lone surrogate gets into a string
            _codec.encode(value).encode("utf-8")
    except ProtocolError as error:
        raise _malformed(str(error)) from None
    except ValueError:
        raise _malformed("a string has half of a surrogate pair") from None
    return value


def _text(data: bytes, charset: str) -> str:
    codec = _TEXT_CHARSETS.get(charset)
    if codec is None:
        raise HttpProblem(415, f"text in {charset[:40]} is not taken; send UTF-8")
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        raise _malformed(f"it is not {charset} at byte {error.start}") from None


def _malformed(reason: str) -> HttpProblem:
    return HttpProblem(400, "the body is malformed", faults=[{"pointer": "", "detail": reason[:200]}])


def _too_large(limit: int) -> HttpProblem:
    return HttpProblem(413, f"the body is larger than {limit} bytes")
