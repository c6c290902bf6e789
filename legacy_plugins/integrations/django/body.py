"""A request's body, wherever it is: still in the stream, or read by a middleware before.

Owns the application's own limit, DATA_UPLOAD_MAX_MEMORY_SIZE: a body over it is 413, as one over the plugin's. Runs on
the web server's thread.
"""
from __future__ import annotations

from typing import Any, Mapping, Optional

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, UnreadablePostError

from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.http.wsgi import content_length

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class RequestBody:
    """Reads the body piece by piece: `read(n)` gives at most n bytes, b"" at the end.

    `environ`: the request's, as `http.wsgi` reads it.
    """

    def __init__(self, request: HttpRequest, environ: Mapping[str, Any]) -> None:
        self._request = request
        self._environ = environ
        self._length = content_length(environ)
        self._position = 0
        self._untouched = not request._read_started

    def read(self, size: int) -> bytes:
        """Raises `HttpProblem` 413 over the application's limit, 500 where a middleware has taken the body away."""
        self._check(self._length)
        piece = self._piece(size)
        self._position += len(piece)
        self._check(self._position)
        return piece

    def _piece(self, size: int) -> bytes:
        if self._length is None and "wsgi.input" in self._environ:  # Django reads no body without a stated length
            piece: bytes = self._environ["wsgi.input"].read(size)
            return piece
        known: Optional[bytes] = getattr(self._request, "_body", None)  # `request.body` was used, by request.POST too
        if known is not None:
            return known[self._position:self._position + size]
        if not self._untouched:
            raise HttpProblem(500, "the request's body is gone",
                              reason="a middleware has read the stream of the request's body before its view; it "
                                     "should use request.body, which is kept, or come after the view")
        try:
            read: bytes = self._request.read(size)
        except UnreadablePostError:
            return b""  # the client is gone
        return read

    def _check(self, length: Optional[int]) -> None:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if limit is not None and length is not None and length > limit:
            raise HttpProblem(413, f"the body is larger than {limit} bytes")


def keep_form(request: HttpRequest, environ: Mapping[str, Any], limit: int) -> None:
    """Read an upload's form as bytes before Django's CSRF check parses it, which would leave none for the plugin.

    `limit`: no body above so many bytes reaches a plugin anyway. Raises `RequestDataTooBig` for such a form, before
    the check parses it (files to disk), and `UnreadablePostError` where the client goes away.
    """
    if request.method != "POST" or request.content_type not in _FORMS or request._read_started:
        return
    length = content_length(environ)
    if length is None:
        return
    allowed = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if length > limit or (allowed is not None and length > allowed):
        raise RequestDataTooBig("the form is larger than any plugin takes")
    _ = request.body
