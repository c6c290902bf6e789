"""Django's request as the bridge takes it, whether it came over WSGI or ASGI.

Owns everything in which Django's view of a request differs from the bridge's. Runs on the web server's thread.
"""
from __future__ import annotations

import re
from typing import Any, Mapping, Optional

from django.http import HttpRequest

from legacy_plugins.http import messages
from legacy_plugins.http.wsgi import request_target, wsgi_request
from legacy_plugins.integrations.django.body import RequestBody

# What Django makes of path bytes that are not UTF-8, and what a client sends who means such an escape itself.
_ESCAPED_AGAIN = re.compile("%[89A-F][0-9A-F]")
_MEANT = re.compile("%25[89A-F][0-9A-F]")
# Its scheme is bounded, and it is looked for at the beginning alone: a search would take quadratic time.
_ORIGIN = re.compile("[A-Za-z][A-Za-z0-9+.-]{0,30}://[^/?]*")
_HTTP_1 = ("1.0", "1.1", None)


def request_environ(request: HttpRequest) -> Mapping[str, Any]:
    """The WSGI environ of a request, or what it would be for one that came over ASGI."""
    environ = dict(request.META)
    scope = getattr(request, "scope", None)
    if scope is None:
        return environ
    # Django has the whole body already; whether there is one says its length, a coding, or HTTP/2.
    environ["wsgi.input_terminated"] = "HTTP_TRANSFER_ENCODING" in environ or scope.get("http_version") not in _HTTP_1
    environ["QUERY_STRING"] = request.META.get("QUERY_STRING", "").encode("utf-8").decode("latin-1")
    raw_path = scope.get("raw_path")
    if raw_path:
        environ["RAW_URI"] = raw_path.decode("latin-1")
    return environ


def bridge_request(request: HttpRequest, environ: Mapping[str, Any]) -> messages.HttpRequest:
    """The request. A Host that ALLOWED_HOSTS does not have raises here, which Django answers itself (400)."""
    return wsgi_request(environ, method=request.method or "",
                        path=_path(request.path_info, request_target(environ)),
                        script_root=environ.get("SCRIPT_NAME", ""), scheme=request.scheme, host=request.get_host(),
                        read_body=RequestBody(request, environ).read, native=request)


def _path(path_info: str, target: Optional[str]) -> str:
    """The decoded path, with U+FFFD for what was not UTF-8: Django puts escapes there, as if clients had meant them."""
    escapes = len(_ESCAPED_AGAIN.findall(path_info))
    if not escapes or (target is not None and len(_MEANT.findall(_target_path(target))) == escapes):
        return path_info
    return _ESCAPED_AGAIN.sub("\ufffd", path_info)


def _target_path(target: str) -> str:
    """The path of a request target, which some clients send with an origin before it."""
    path = target.partition("?")[0]
    origin = _ORIGIN.match(path)
    return path[origin.end():] if origin is not None else path
