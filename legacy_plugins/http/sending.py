"""A file on its way to a client: ranges and conditions (RFC 9110, sections 13 and 14) by werkzeug, for every framework.

Owns whose header fields win, and what is answered when the file is gone by now. Runs on the web server's thread. Must
not import a framework; werkzeug is what routes are matched with too.
"""
from __future__ import annotations

import os
import re
from typing import Any, Callable, Dict, Mapping, Match, Optional, Tuple, Union

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Response

from legacy_plugins.http.messages import HttpResponse
from legacy_plugins.http.problems import HttpProblem, problem_response

_NOT_MODIFIED = 304
_PRECONDITION_FAILED = 412
# One range (RFC 9110, section 14.1.2).
_RANGE = re.compile(r"bytes[ \t]*=[ \t,]*(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))[ \t,]*\Z", re.IGNORECASE)


def file_environ(environ: Mapping[str, Any], path: str) -> Dict[str, Any]:
    """The WSGI environ for werkzeug's `send_file`: without a Range that is to be ignored (RFC 9110, section 14.2).

    That is one in another unit, one that is malformed, several at once, and the last bytes of a shorter file (or no
    bytes); werkzeug would refuse them (416), or send something else.
    """
    copy = dict(environ)
    match = _RANGE.match(copy.get("HTTP_RANGE", ""))
    if match is None or _is_ignored(match, path):
        copy.pop("HTTP_RANGE", None)
    return copy


def _is_ignored(match: Match[str], path: str) -> bool:
    first, last, suffix = match.groups()
    if first is not None:
        return last is not None and int(last) < int(first)
    try:
        return not 0 < int(suffix or 0) <= os.path.getsize(path)
    except OSError:
        return False  # gone: told when it is opened


def sent_file(answer: HttpResponse, method: str, send_file: Callable[..., Response]) -> Union[Response, HttpResponse]:
    """werkzeug's response that sends `answer.file`, with the answer's status and header fields, which win.

    A file that is gone since it was checked, a range outside it, and a precondition that does not hold make another
    answer: 502, 416 and 412. `method`: the request's. `send_file(path, mimetype=..., conditional=...)`: werkzeug's own
    with its other arguments bound, `environ` being `file_environ`'s. A status other than 200 is kept, and conditions do
    not apply to it.
    """
    try:
        response = send_file(str(answer.file), mimetype=answer.header("content-type"),
                             conditional=answer.status == 200)
    except OSError:
        return _instead(answer, method, HttpProblem(502, "the plugin's answer was not valid"))
    except RequestedRangeNotSatisfiable as error:
        outside = HttpProblem(416, "the range lies outside the file", headers=_size(error.length))
        return _instead(answer, method, outside)
    if response.status_code == _PRECONDITION_FAILED:
        response.close()
        return _instead(answer, method, HttpProblem(412, "the file is not the one that the request is about"))
    if answer.status != 200:
        response.status_code = answer.status
    for name in {name for name, _ in answer.headers}:
        response.headers.remove(name)
    for name, value in answer.headers:
        if response.status_code != _NOT_MODIFIED or name != "content-type":
            response.headers.add(name, value)
    return response


def _instead(answer: HttpResponse, method: str, problem: HttpProblem) -> HttpResponse:
    known = answer.header("x-request-id") or ""
    return problem_response(problem, plugin=None, request_id=known).finished(method, known)


def _size(length: Optional[int]) -> Tuple[Tuple[str, str], ...]:
    """The length to ask for ranges of (RFC 9110, section 14.4)."""
    return () if length is None else (("Content-Range", f"bytes */{length}"),)
