"""Flask's request as the bridge takes it, and the bridge's answer as Flask sends it.

Owns everything in which werkzeug's view of a request differs from the bridge's. Runs on the web server's thread.
"""
from __future__ import annotations

import functools
import io
from dataclasses import replace
from typing import Any, Callable, Optional
from urllib.parse import urlencode

from flask import Request, Response, current_app, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import ClientDisconnected
from werkzeug.utils import send_file

from legacy_plugins.http import HttpRequest, HttpResponse
from legacy_plugins.http.problems import HttpProblem
from legacy_plugins.http.sending import file_environ, sent_file
from legacy_plugins.http.wsgi import text, wsgi_request

_FORM = "application/x-www-form-urlencoded"


def bridge_request() -> HttpRequest:
    """The current request. The path is decoded here, since `request.path` hides a doubled slash at its start."""
    native = _native()
    environ = native.environ
    form = _encoded_form(native)
    made = wsgi_request(environ, method=native.method, path=text(environ.get("PATH_INFO", "")),
                        script_root=native.root_path, scheme=native.scheme, host=native.host,
                        read_body=_body_reader(native) if form is None else io.BytesIO(form).read, native=native)
    return made if form is None else replace(made, content_length=len(form))


def _native() -> Request:
    """The current request itself, not the proxy for it, which costs a look-up with each attribute."""
    proxy: Any = request
    native: Request = proxy._get_current_object()
    return native


def _body_reader(native: Request) -> Callable[[int], bytes]:
    """A function that reads the request's body, which a hook may have read before and kept (`request.get_data()`).

    The stream itself is touched at the first reading: werkzeug refuses a body over MAX_CONTENT_LENGTH there (413).
    """
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        known = _kept_body(native)
        if known is None and _is_parsed(native):
            raise HttpProblem(500, "the request's body is gone",
                              reason="the application or its authorize hook has read request.form or request.files, "
                                     "which takes the bytes away; call request.get_data() before, which keeps them")
        if known is None:
            try:
                return native.stream.read(size)
            except ClientDisconnected:
                return b""  # the bridge says how much of the body came
        chunk = known[position:position + size]
        position += len(chunk)
        return chunk

    return read


def _kept_body(native: Request) -> Optional[bytes]:
    """The body where `get_data` or `get_json` kept it."""
    cached: Optional[bytes] = getattr(native, "_cached_data", None)
    return cached


def _is_parsed(native: Request) -> bool:
    """Whether werkzeug has made the body's bytes into a form."""
    return "form" in vars(native) and native.mimetype in (_FORM, "multipart/form-data")


def _encoded_form(native: Request) -> Optional[bytes]:
    """A form that was parsed before the view, as CSRF checks do, encoded anew; None for any other body.

    It means the same and may have another length, which the bridge is told.
    """
    if native.mimetype != _FORM or not _is_parsed(native) or _kept_body(native):
        return None
    return urlencode(list(native.form.items(multi=True))).encode("ascii")


def flask_response(answer: HttpResponse) -> Response:
    """The response of an answer; one that the application's `authorize` gave is sent as it is."""
    if answer.native is not None:
        return current_app.make_response(answer.native)
    if answer.file is not None:
        send = functools.partial(send_file, environ=file_environ(request.environ, answer.file),
                                 use_x_sendfile=current_app.config["USE_X_SENDFILE"],
                                 response_class=current_app.response_class, max_age=current_app.get_send_file_max_age)
        sent: Any = sent_file(answer, request.method, send)
        return flask_response(sent) if isinstance(sent, HttpResponse) else sent
    headers = Headers(list(answer.headers))
    response = current_app.response_class([answer.body] if answer.body else [], status=answer.status, headers=headers)
    if answer.header("content-type") is None:
        response.headers.remove("Content-Type")  # werkzeug put its default there
    return response
