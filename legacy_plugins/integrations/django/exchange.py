"""Django's request as the bridge takes it, and the bridge's answer as Django sends it.

Owns everything in which Django's view of a request differs from the bridge's. Runs on the web server's thread.
"""
from __future__ import annotations

import functools
import inspect
import re
from http.cookies import CookieError, Morsel
from typing import Any, FrozenSet, Mapping, Optional

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from werkzeug.utils import send_file

from legacy_plugins.http import messages
from legacy_plugins.http.problems import PROBLEM_JSON
from legacy_plugins.http.sending import file_environ, sent_file
from legacy_plugins.http.wsgi import request_target, wsgi_request
from legacy_plugins.integrations.django.body import RequestBody

# What Django makes of path bytes that are not UTF-8, and what a client sends who means such an escape itself.
_ESCAPED_AGAIN = re.compile("%[89A-F][0-9A-F]")
_MEANT = re.compile("%25[89A-F][0-9A-F]")
_ORIGIN = re.compile("[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
_BODILESS = (204, 304)
_PARTIAL = 206


def request_environ(request: HttpRequest) -> Mapping[str, Any]:
    """The WSGI environ of a request, or what it would be for one that came over ASGI."""
    scope = getattr(request, "scope", None)
    if scope is None:
        return dict(request.META)
    environ = {**request.META, "wsgi.input_terminated": True}  # Django has the whole body already
    environ["QUERY_STRING"] = request.META.get("QUERY_STRING", "").encode("utf-8").decode("latin-1")
    raw_path = scope.get("raw_path")
    if raw_path:
        environ["RAW_URI"] = raw_path.decode("latin-1")
    return environ


def bridge_request(request: HttpRequest, environ: Mapping[str, Any]) -> messages.HttpRequest:
    """The request. A Host that ALLOWED_HOSTS does not have raises here, which Django answers itself (400)."""
    return wsgi_request(environ, path=_path(request.path_info, request_target(environ)),
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
    return _ORIGIN.sub("", target.partition("?")[0], 1) if not target.startswith("/") else target.partition("?")[0]


def django_response(request: HttpRequest, answer: messages.HttpResponse) -> HttpResponseBase:
    """The response of an answer; one that the project's `authorize` gave is sent as it is."""
    if answer.native is not None:
        return _own_response(answer.native)
    if answer.file is not None:
        return _file_response(request, answer)
    response = _Response(answer.body, status=answer.status)
    del response.headers["Content-Type"]  # Django put its default there
    for name, value in answer.headers:
        _add(response, name, value)
    if answer.status in _BODILESS:
        response.settled = frozenset({"content-length"})
    # Said in the log already, with the reason; Django would say it again, as an error, and mail it to the admins.
    response._has_been_logged = answer.status >= 500 and answer.header("content-type") == PROBLEM_JSON
    return response


def _own_response(verdict: Any) -> HttpResponseBase:
    if isinstance(verdict, HttpResponseBase):
        return verdict
    if inspect.iscoroutine(verdict):
        verdict.close()
        raise TypeError("authorize is a coroutine function; plugins' routes need an ordinary one")
    raise TypeError(f"authorize returned {type(verdict).__name__}; return a mapping (allowed; it becomes `user`), True "
                    "(allowed), None or False (403), or an HttpResponse")


def _file_response(request: HttpRequest, answer: messages.HttpResponse) -> HttpResponseBase:
    """The file by werkzeug, whose ranges and conditions Django has not."""
    environ = {key: value for key, value in request.META.items() if key != "wsgi.file_wrapper"}
    send = functools.partial(send_file, environ=file_environ(environ, str(answer.file)))
    sent: Any = sent_file(answer, request.method, send)
    if isinstance(sent, messages.HttpResponse):
        return django_response(request, sent)
    sent.autocorrect_location_header = False  # werkzeug 2.0 would make it absolute
    response = _StreamingResponse(sent.get_app_iter(environ), status=sent.status_code)
    del response.headers["Content-Type"]
    for name, value in sent.get_wsgi_headers(environ):
        _add(response, name, value)
    if sent.status_code in _BODILESS:
        response.settled = frozenset({"content-length", "content-encoding"})
    elif sent.status_code == _PARTIAL:
        response.settled = frozenset({"content-encoding"})
    return response


class _Settled(HttpResponseBase):
    """A response in which middleware finds some fields present, so that it neither adds nor encodes anything.

    Django's own would state a length where there may be none (RFC 9110, section 8.6), and compress a part of a file as
    if it were the whole.
    """

    settled: FrozenSet[str] = frozenset()

    def has_header(self, header: str) -> bool:
        """Whether the field is there, or is to be left as it is."""
        return header.lower() in self.settled or bool(super().has_header(header))


class _Response(_Settled, HttpResponse):
    """With a body."""


class _StreamingResponse(_Settled, StreamingHttpResponse):
    """With a file."""


class _Cookie(Morsel):  # type: ignore[type-arg]
    """A Set-Cookie field as it came: Django keeps those apart from the header."""

    def __init__(self, field: str) -> None:
        super().__init__()
        self._field = field
        name, _, value = field.partition(";")[0].partition("=")
        try:
            self.set(name.strip(), value.strip(), value.strip())
        except CookieError:
            pass  # a name that Python does not take; it is sent all the same

    def __reduce__(self) -> Any:
        return _Cookie, (self._field,)  # caches pickle responses

    def OutputString(self, attrs: Any = None) -> str:  # noqa: N802 - the name of `http.cookies`
        """The field's value."""
        return self._field


def _add(response: HttpResponseBase, name: str, value: str) -> None:
    """One field more. Django has one value by name, so a list's members are joined (RFC 9110, section 5.3)."""
    if name.lower() == "set-cookie":
        dict.__setitem__(response.cookies, f"set-cookie {len(response.cookies)}", _Cookie(value))
    elif name in response.headers:
        response.headers[name] = f"{response.headers[name]}, {value}"
    else:
        response.headers[name] = value


