"""What went wrong, as RFC 9457 problem details: the statuses of the web edge and the texts that clients may see.

Owns `HttpProblem`, which unwinds a request to its answer, and the way from the library's errors to one. The texts name
no path, no program and nothing that a plugin wrote, with one exception: the message of a JSON-RPC error by which the
plugin chose a client error. Any thread. Must not import a framework.
"""
from __future__ import annotations

import json
import math
import re
from http import HTTPStatus
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from legacy_plugins import errors
from legacy_plugins.http.messages import HttpResponse

#: The media type of RFC 9457, section 3.
PROBLEM_JSON = "application/problem+json"

_LONGEST_MESSAGE = 500
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_Fields = Tuple[Tuple[str, str], ...]

# The most specific class first; what clients are told instead of the error's own text, which is for the log.
_DETAILS: Tuple[Tuple[type, str], ...] = (
    (errors.UnknownPlugin, "there is no such plugin"),
    (errors.FrameTooLarge, "the request is larger than the plugin takes"),
    (errors.ProtocolError, "the plugin's answer was not valid"),
    (errors.RpcError, "the plugin answered with an error"),
    (errors.PluginTimeout, "the plugin did not answer in time"),
    (errors.PluginBusy, "the plugin has too much to do; try again"),
    (errors.PluginCrashed, "the plugin ended while it handled the request"),
    (errors.PluginUnavailable, "the plugin is not available"),
    (errors.ConfigError, "the plugin is not configured rightly"),
    (errors.PluginError, "the plugin failed"),
)


class HttpProblem(Exception):
    """Ends the handling of a request with a status.

    `detail`: one sentence for the client. `headers`: further fields of the answer. `faults`: what is wrong with the
    body, each with a JSON pointer and a detail. `reason`: what the log should say about a fault of the plugin's.
    """

    def __init__(self, status: int, detail: str, *, headers: _Fields = (), faults: Sequence[Mapping[str, str]] = (),
                 reason: Optional[str] = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.faults: List[Mapping[str, str]] = list(faults)
        self.reason = reason


def retry_after(seconds: float) -> Tuple[str, str]:
    """A Retry-After field: whole seconds, rounded up, at least 1 (RFC 9110, section 10.2.3)."""
    return "Retry-After", str(max(1, math.ceil(seconds)))


def bad_answer(reason: str) -> HttpProblem:
    """The problem of a result that is no HTTP response; `reason` goes to the log, not to the client."""
    return HttpProblem(502, "the plugin's answer was not valid", reason=reason)


def problem_of(error: errors.PluginError) -> HttpProblem:
    """What a client is told about an error of the library."""
    if isinstance(error, errors.RpcError) and error.http_status == error.code:
        return HttpProblem(error.code, _printable(error.message))
    detail = next(text for kind, text in _DETAILS if isinstance(error, kind))
    delay = getattr(error, "retry_after", None)
    if delay is None and isinstance(error, errors.PluginBusy):
        delay = 1.0
    headers = (retry_after(delay),) if delay is not None and error.http_status in (429, 503) else ()
    return HttpProblem(error.http_status, detail, headers=headers, reason=str(error))


def problem_response(problem: HttpProblem, *, plugin: Optional[str], request_id: str) -> HttpResponse:
    """The answer: `type`, `title`, `status`, `detail`, `plugin`, `requestId` and, for a body's faults, `errors`."""
    document: Dict[str, Any] = {"type": "about:blank", "title": _title(problem.status), "status": problem.status,
                                "detail": problem.detail, "requestId": request_id}
    if plugin is not None:
        document["plugin"] = plugin
    if problem.faults:
        document["errors"] = problem.faults
    headers = (("Content-Type", PROBLEM_JSON), ("X-Content-Type-Options", "nosniff"), *problem.headers)
    return HttpResponse(problem.status, headers, json.dumps(document).encode("ascii"))


def _title(status: int) -> str:
    """The status's reason phrase: what RFC 9457 asks for with the type `about:blank`."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Error" if status < 500 else "Server Error"


def _printable(message: Any) -> str:
    """A plugin's message as clients get it: bounded, without control characters."""
    return _UNPRINTABLE.sub("\ufffd", str(message)[:_LONGEST_MESSAGE])
