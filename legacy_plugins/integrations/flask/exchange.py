"""Flask's request as the bridge takes it, and the bridge's answer as Flask sends it.

Owns everything in which werkzeug's view of a request differs from the bridge's. Runs on the web server's thread.
"""
from __future__ import annotations

from typing import Any, Callable, List, Mapping, Optional, Tuple
from urllib.parse import urlencode

from flask import Request, Response, current_app, request, send_file
from werkzeug.datastructures import Headers
from werkzeug.exceptions import BadGateway

from legacy_plugins.http import HttpRequest, HttpResponse

# Where servers keep the request target as it was sent: gunicorn and werkzeug, then uWSGI, mod_wsgi and waitress.
_TARGETS = ("RAW_URI", "REQUEST_URI")


def bridge_request() -> HttpRequest:
    """The current request. The path is decoded here, since `request.path` hides a doubled slash at its start."""
    native = _native()
    environ = native.environ
    return HttpRequest(
        method=native.method,
        path=environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace"),
        raw_path=next((environ[key] for key in _TARGETS if environ.get(key)), None),
        script_root=native.root_path.rstrip("/"),
        headers=_header_fields(environ),
        query=dict(native.args.lists()),
        content_type=environ.get("CONTENT_TYPE"),
        content_length=_content_length(native),
        read_body=_body_reader(native),
        client_address=native.remote_addr,
        scheme=native.scheme,
        host=native.host,
        native=native,
        request_id=environ.get("HTTP_X_REQUEST_ID"),
    )


def _native() -> Request:
    """The current request itself, not the proxy for it, which costs a look-up with each attribute."""
    proxy: Any = request
    native: Request = proxy._get_current_object()
    return native


def _header_fields(environ: Mapping[str, Any]) -> List[Tuple[str, str]]:
    """The request's header fields, in upper case, as WSGI has them (PEP 3333)."""
    fields = [(key[5:].replace("_", "-"), value) for key, value in environ.items() if key.startswith("HTTP_")]
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            fields.append((key.replace("_", "-"), environ[key]))
    return fields


def _content_length(native: Request) -> Optional[int]:
    """The body's length; without a stated one werkzeug has no body, unless the server ends the stream itself."""
    stated = native.content_length
    return 0 if stated is None and not native.environ.get("wsgi.input_terminated") else stated


def _body_reader(native: Request) -> Callable[[int], bytes]:
    """A function that reads the request's body, which a hook of the application may have read before.

    The stream itself is touched at the first reading: werkzeug refuses a body over MAX_CONTENT_LENGTH there (413).
    """
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        known = _body_read_before(native)
        if known is None:
            return native.stream.read(size)
        chunk = known[position:position + size]
        position += len(chunk)
        return chunk

    return read


def _body_read_before(native: Request) -> Optional[bytes]:
    """The body where it is no longer in the stream: kept by `get_data`, or parsed as a form, as CSRF checks do."""
    cached = getattr(native, "_cached_data", None)
    if cached is not None:
        return bytes(cached)
    if "form" in vars(native) and native.mimetype == "application/x-www-form-urlencoded":
        return urlencode(list(native.form.items(multi=True))).encode("ascii")
    return None


def flask_response(answer: HttpResponse) -> Response:
    """The response of an answer; one that the application's `authorize` gave is sent as it is."""
    if answer.native is not None:
        return current_app.make_response(answer.native)
    if answer.file is not None:
        return _file_response(answer)
    headers = Headers(list(answer.headers))
    response = current_app.response_class([answer.body] if answer.body else [], status=answer.status, headers=headers)
    if answer.header("content-type") is None:
        response.headers.remove("Content-Type")  # werkzeug put its default there
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
