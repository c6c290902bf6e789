"""The bridge's answer as Django sends it: bodies, fields, cookies, files.

Owns everything in which Django's responses differ from the bridge's, and what keeps the project's middleware from
spoiling them. Runs on the web server's thread.
"""
from __future__ import annotations

import functools
import inspect
from http.cookies import CookieError, Morsel
from typing import Any, FrozenSet

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from werkzeug.utils import send_file

from legacy_plugins.http import messages
from legacy_plugins.http.identity import request_id
from legacy_plugins.http.problems import PROBLEM_JSON, HttpProblem, problem_response
from legacy_plugins.http.sending import file_environ, sent_file

_PARTIAL = 206


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
    if answer.status in messages.BODILESS:
        response.settled = frozenset({"content-length"})
    # Said in the log already, with the reason; Django would say it again, as an error, and mail it to the admins.
    response._has_been_logged = answer.status >= 500 and answer.header("content-type") == PROBLEM_JSON
    return response


def too_large(request: HttpRequest) -> HttpResponseBase:
    """413 for a body that Django would not read for its check; Django's own answer would be a 400 that says nothing."""
    known = request_id(request.META.get("HTTP_X_REQUEST_ID"))
    problem = HttpProblem(413, "the body is larger than this site takes")
    return django_response(request, problem_response(problem, plugin=None, request_id=known).finished("POST", known))


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
    pieces = sent.get_app_iter(environ)
    if hasattr(request, "scope") and hasattr(StreamingHttpResponse, "__aiter__"):  # ASGI, from Django 4.2 on
        pieces = _AsyncPieces(pieces)
    response = _StreamingResponse(pieces, status=sent.status_code)
    del response.headers["Content-Type"]
    for name, value in sent.get_wsgi_headers(environ):
        _add(response, name, value)
    if sent.status_code in messages.BODILESS:
        response.settled = frozenset({"content-length", "content-encoding"})
    elif sent.status_code == _PARTIAL:
        response.settled = frozenset({"content-encoding"})
    return response


class _AsyncPieces:
    """A file's pieces for ASGI, each read on a thread; Django would read an ordinary iterator to its end first."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = iter(pieces)
        self.close = pieces.close

    def __aiter__(self) -> _AsyncPieces:
        return self

    def __anext__(self) -> Any:
        return sync_to_async(self._next)()

    def _next(self) -> Any:
        try:
            return next(self._pieces)
        except StopIteration:
            raise StopAsyncIteration from None


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
