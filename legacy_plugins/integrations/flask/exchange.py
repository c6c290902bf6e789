"""Flask's request as the bridge takes it, and the bridge's answer as Flask sends it.

Owns everything in which werkzeug's view of a request differs from the bridge's. Runs on the web server's thread.
"""
from __future__ import annotations

from typing import Any, Callable, Optional
from urllib.parse import urlencode

from flask import Response, current_app, request, send_file
from werkzeug.exceptions import BadGateway

from legacy_plugins.http import HttpRequest, HttpResponse

# Where servers keep the request target as it was sent: gunicorn and werkzeug, then uWSGI, mod_wsgi and waitress.
_TARGETS = ("RAW_URI", "REQUEST_URI")


def bridge_request() -> HttpRequest:
    """The current request. The path is decoded here, since `request.path` hides a doubled slash at its start."""
    environ = request.environ
    return HttpRequest(
        method=request.method,
        path=str(environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8", "replace"),
        raw_path=next((environ[key] for key in _TARGETS if environ.get(key)), None),
        script_root=request.script_root.rstrip("/"),
        headers=list(request.headers.items()),
        query=dict(request.args.lists()),
        content_type=request.content_type,
        content_length=request.content_length,
        read_body=_body_reader(),
        client_address=request.remote_addr,
        scheme=request.scheme,
        host=request.host,
        native=_native(),
        request_id=request.headers.get("X-Request-ID"),
    )


def _body_reader() -> Callable[[int], bytes]:
    """A function that reads the request's body, which a hook of the application may have read before.

    The stream itself is touched at the first reading: werkzeug refuses a body over MAX_CONTENT_LENGTH there (413).
    """
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        known = _body_read_before()
        if known is None:
            return request.stream.read(size)
        chunk = known[position:position + size]
        position += len(chunk)
        return chunk

    return read


def _body_read_before() -> Optional[bytes]:
    """The body where it is no longer in the stream: kept by `get_data`, or parsed as a form, as CSRF checks do."""
    cached = getattr(request, "_cached_data", None)
    if cached is not None:
        return bytes(cached)
    if "form" in vars(_native()) and request.mimetype == "application/x-www-form-urlencoded":
        return urlencode(list(request.form.items(multi=True))).encode("ascii")
    return None


def _native() -> Any:
    """The current request itself, not the proxy for it."""
    proxy: Any = request
    return proxy._get_current_object()


def flask_response(answer: HttpResponse) -> Response:
    """The response of an answer; one that the application's `authorize` gave is sent as it is."""
    if answer.native is not None:
        return current_app.make_response(answer.native)
    if answer.file is not None:
        return _file_response(answer)
    response = current_app.response_class([answer.body] if answer.body else [], status=answer.status)
    response.headers.clear()  # werkzeug put a default content type there
    response.headers.extend(list(answer.headers))
    return response


def _file_response(answer: HttpResponse) -> Response:
    """The file by Flask's own means: ranges, conditions, the server's file wrapper. Our headers win over Flask's."""
    try:
        response = send_file(str(answer.file), mimetype=answer.header("content-type"), conditional=answer.status == 200)
    except OSError:
        raise BadGateway("the plugin's file is gone") from None
    if answer.status != 200:
        response.status_code = answer.status
    for name in {name for name, _ in answer.headers}:
        response.headers.remove(name)
    for name, value in answer.headers:
        if response.status_code != 304 or name != "content-type":
            response.headers.add(name, value)
    return response
